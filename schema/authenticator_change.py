"""Mutations of what somebody signs in with beside their password."""

from collections.abc import Sequence

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.authenticator import Authenticator as AuthenticatorModel
from models.membership import Membership
from resolvers.authenticator import (
    begin_totp,
    confirm_totp,
    remove_authenticator,
    rename_authenticator,
    renew_recovery_codes,
)
from resolvers.factor_reset import reset_second_factors
from resolvers.membership import AT_USER
from resolvers.passkey import begin_passkey_registration, register_passkey
from schema.context import context_of
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation
from schema.node import parse_id
from schema.passkey import PasskeyRequestPayload, asked_payload
from schema.qr import qr_svg
from schema.role_change import UserPayload
from schema.written import writes

AT_ID = ("input", "id")


@strawberry.input(description="The code of an app that was begun to be added.")
class ConfirmTotpInput:
    id: strawberry.ID = strawberry.field(description="Which one: `authenticatorId` of beginTotp.")
    code: str = strawberry.field(description="What the app shows now.")
    name: str | None = strawberry.field(default=None, description="Your own word for it.")


@strawberry.input(description="A passkey that your browser made.")
class RegisterPasskeyInput:
    challenge: str = strawberry.field(description="The token of beginPasskeyRegistration.")
    passkey: str = strawberry.field(description="The credential: the text of its `toJSON()`.")
    name: str | None = strawberry.field(default=None, description="Your own word for it.")


@strawberry.input(description="Another name.")
class RenameAuthenticatorInput:
    id: strawberry.ID = strawberry.field(description="Which app or passkey.")
    name: str = strawberry.field(description="Your own word for it.")


@strawberry.input(description="Which app or passkey is to go.")
class RemoveAuthenticatorInput:
    id: strawberry.ID = strawberry.field(description="Which one.")


@writes(Membership, beside=("user_id",))
@strawberry.input(description="Who lost all that they had beside their password.")
class ResetSecondFactorsInput:
    user_id: strawberry.ID = strawberry.field(description="Who.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="What an app that shows codes is given, or why there is none. Shown this once.")
class BeginTotpPayload:
    authenticator_id: strawberry.ID | None = strawberry.field(description="Its global id.", metadata=derived())
    secret: str | None = strawberry.field(description="The secret in base32, to be typed.", metadata=derived())
    uri: str | None = strawberry.field(description="The same as an `otpauth:` URI.", metadata=derived())
    qr: str | None = strawberry.field(description="The URI as a QR code, in SVG.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why there is none.", metadata=derived())


@structure
@strawberry.type(description="An authenticator that was added, or why it was not.")
class AddAuthenticatorPayload:
    authenticator_id: strawberry.ID | None = strawberry.field(description="Its global id.", metadata=derived())
    recovery_codes: list[str] | None = strawberry.field(
        description="For the day on which it is gone, each for once. Shown this once; null if it is not your first.",
        metadata=derived(),
    )
    errors: list[UserError] = strawberry.field(description="Why it was not added.", metadata=derived())


@structure
@strawberry.type(description="New recovery codes, or why there are none.")
class RecoveryCodesPayload:
    recovery_codes: list[str] | None = strawberry.field(
        description="Each for once. Shown this once; those before count no more.", metadata=derived()
    )
    errors: list[UserError] = strawberry.field(description="Why there are none.", metadata=derived())


@structure
@strawberry.type(description="An authenticator after a mutation, or why nothing was done.")
class AuthenticatorPayload:
    authenticator_id: strawberry.ID | None = strawberry.field(description="Its global id.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class AuthenticatorMutation:
    @mutation(
        "Begin to add an app that shows codes: it counts once it is confirmed.",
        Action.AUTHENTICATOR_BEGIN,
        entity=AuthenticatorModel,
        fresh=True,
        own=True,
    )
    async def begin_totp(info: strawberry.Info) -> BeginTotpPayload | None:
        begun = await begin_totp(current_change(info), context_of(info).services.relying_party)
        return BeginTotpPayload(
            authenticator_id=_global_id(begun.authenticator_id),
            secret=begun.secret,
            uri=begun.uri,
            qr=qr_svg(begun.uri),
            errors=[],
        )

    @mutation(
        "Have an app that shows codes count from now on.",
        Action.AUTHENTICATOR_ADD,
        entity=AuthenticatorModel,
        subject="Authenticator",
        fresh=True,
        own=True,
    )
    async def confirm_totp(info: strawberry.Info, input: ConfirmTotpInput) -> AddAuthenticatorPayload | None:
        row_id = parse_id(input.id, "Authenticator", at=AT_ID)
        codes = await confirm_totp(
            current_change(info),
            context_of(info).services,
            authenticator_id=row_id,
            code=input.code,
            name=input.name,
        )
        return AddAuthenticatorPayload(authenticator_id=_global_id(row_id), recovery_codes=_listed(codes), errors=[])

    @mutation(
        "Begin to add a passkey: what the browser is asked to make.",
        Action.AUTHENTICATOR_BEGIN,
        entity=AuthenticatorModel,
        fresh=True,
        own=True,
    )
    async def begin_passkey_registration(info: strawberry.Info) -> PasskeyRequestPayload | None:
        return asked_payload(await begin_passkey_registration(current_change(info), context_of(info).services))

    @mutation(
        "Add the passkey that the browser made.",
        Action.AUTHENTICATOR_ADD,
        entity=AuthenticatorModel,
        fresh=True,
        own=True,
    )
    async def register_passkey(info: strawberry.Info, input: RegisterPasskeyInput) -> AddAuthenticatorPayload | None:
        added = await register_passkey(
            current_change(info),
            context_of(info).services,
            challenge=input.challenge,
            said=input.passkey,
            name=input.name,
        )
        return AddAuthenticatorPayload(
            authenticator_id=_global_id(added.authenticator_id),
            recovery_codes=_listed(added.recovery_codes),
            errors=[],
        )

    @mutation(
        "Make new recovery codes: those before count no more.",
        Action.AUTHENTICATOR_RENEW_CODES,
        entity=AuthenticatorModel,
        fresh=True,
        own=True,
    )
    async def renew_recovery_codes(info: strawberry.Info) -> RecoveryCodesPayload | None:
        return RecoveryCodesPayload(recovery_codes=list(await renew_recovery_codes(current_change(info))), errors=[])

    @mutation(
        "Give an authenticator another name.",
        Action.AUTHENTICATOR_RENAME,
        entity=AuthenticatorModel,
        subject="Authenticator",
        own=True,
    )
    async def rename_authenticator(
        info: strawberry.Info, input: RenameAuthenticatorInput
    ) -> AuthenticatorPayload | None:
        row_id = parse_id(input.id, "Authenticator", at=AT_ID)
        await rename_authenticator(current_change(info), authenticator_id=row_id, name=input.name)
        return AuthenticatorPayload(authenticator_id=_global_id(row_id), errors=[])

    @mutation(
        "Take an authenticator away. The last one goes only where your password is long enough to stand alone, and no"
        " organization of yours demands a second factor.",
        Action.AUTHENTICATOR_REMOVE,
        entity=AuthenticatorModel,
        subject="Authenticator",
        fresh=True,
        own=True,
    )
    async def remove_authenticator(
        info: strawberry.Info, input: RemoveAuthenticatorInput
    ) -> AuthenticatorPayload | None:
        row_id = parse_id(input.id, "Authenticator", at=AT_ID)
        await remove_authenticator(current_change(info), authenticator_id=row_id)
        return AuthenticatorPayload(authenticator_id=_global_id(row_id), errors=[])

    @mutation(
        "Take all second factors and recovery codes off a person who lost them, and end all their sign-ins. Only where"
        " their account is used in no other organization. A password that is too short to stand alone ends as well:"
        " they are sent a link to set another.",
        Action.AUTHENTICATOR_RESET,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def reset_second_factors(info: strawberry.Info, input: ResetSecondFactorsInput) -> UserPayload | None:
        return done(
            await reset_second_factors(
                context_of(info).services,
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
            )
        )


def _global_id(row_id: object) -> strawberry.ID:
    return strawberry.ID(f"Authenticator:{row_id}")


def _listed(codes: Sequence[str] | None) -> list[str] | None:
    return None if codes is None else list(codes)
