"""Signing in, in one step or two, by a password or a passkey; and proving anew who one is."""

import strawberry

from auth.action import Action
from models.session import Session
from resolvers.fresh_sign_in import reauthenticate
from resolvers.passkey import begin_passkey_proof
from resolvers.second_factor import Answer
from resolvers.session import Delivery
from resolvers.sign_in import Challenged, begin_passkey_sign_in, complete_sign_in, sign_in, sign_in_with_passkey
from schema.context import context_of
from schema.cookie import session_cookie
from schema.field import derived, structure
from schema.mutation import UserError, current_change, mutation
from schema.node import parse_id
from schema.passkey import PasskeyRequestPayload, asked_payload
from schema.session import SignInChallenge, SignInPayload, given, require_own_page

_TOTP = "The code that the app shows now."
_RECOVERY_CODE = "A recovery code, which is spent by that."
_PASSKEY = "The credential: the text of its `toJSON()`."
_DELIVERY = (
    "TOKENS for programs; COOKIE for a page of this server, which sends `Fieldward-CSRF: 1` with it and with each"
    " request after it."
)
_CLIENT_NAME = "What you call this sign-in; else what the client says of itself."


@strawberry.input(description="An address and a password, and where to sign in.")
class SignInInput:
    email: str = strawberry.field(description="The address.")
    password: str = strawberry.field(description="The password.")
    organization: str | None = strawberry.field(
        default=None, description="The organization's slug; needed only if you belong to several."
    )
    device_id: strawberry.ID | None = strawberry.field(
        default=None, description="The registered device that you sign in on; none for a browser."
    )
    device_proof: str | None = strawberry.field(
        default=None, description="The device's proof of its key, for this sign-in. Demanded on a device."
    )
    delivery: Delivery = strawberry.field(default=Delivery.TOKENS, description=_DELIVERY)
    client_name: str | None = strawberry.field(default=None, description=_CLIENT_NAME)


@strawberry.input(description="The second step of a sign-in: one of a code, a recovery code and a passkey.")
class CompleteSignInInput:
    challenge: str = strawberry.field(description="The token of the first step's challenge.")
    totp: str | None = strawberry.field(default=None, description=_TOTP)
    recovery_code: str | None = strawberry.field(default=None, description=_RECOVERY_CODE)
    passkey: str | None = strawberry.field(default=None, description=_PASSKEY)
    delivery: Delivery = strawberry.field(default=Delivery.TOKENS, description=_DELIVERY)
    client_name: str | None = strawberry.field(default=None, description=_CLIENT_NAME)


@strawberry.input(description="A passkey, and where to sign in.")
class SignInWithPasskeyInput:
    challenge: str = strawberry.field(description="The token of beginPasskeySignIn.")
    passkey: str = strawberry.field(description=_PASSKEY)
    organization: str | None = strawberry.field(
        default=None, description="The organization's slug; needed only if you belong to several."
    )
    delivery: Delivery = strawberry.field(default=Delivery.TOKENS, description=_DELIVERY)
    client_name: str | None = strawberry.field(default=None, description=_CLIENT_NAME)


@strawberry.input(
    description="Your password, with a second factor if you have one; or a passkey alone, which is both at once."
)
class ReauthenticateInput:
    password: str | None = strawberry.field(default=None, description="Your password.")
    totp: str | None = strawberry.field(default=None, description=_TOTP)
    recovery_code: str | None = strawberry.field(default=None, description=_RECOVERY_CODE)
    challenge: str | None = strawberry.field(
        default=None, description="With a passkey: the token of beginPasskeyProof."
    )
    passkey: str | None = strawberry.field(default=None, description=_PASSKEY)


@structure
@strawberry.type(description="That you proved anew who you are, or why you did not.")
class ReauthenticatePayload:
    errors: list[UserError] = strawberry.field(description="Why it did not prove it.", metadata=derived())


@strawberry.type
class SignInMutation:
    @mutation("Sign in with an address and a password.", Action.SESSION_SIGN_IN, notes_itself=True)
    async def sign_in(info: strawberry.Info, input: SignInInput) -> SignInPayload | None:
        context = context_of(info)
        device_id = (
            parse_id(input.device_id, "Device", at=("input", "deviceId")) if input.device_id is not None else None
        )
        await require_own_page(context, input.delivery)
        answered = await sign_in(
            context.services,
            context.actor,
            email=input.email,
            password=input.password,
            organization=input.organization,
            device_id=device_id,
            device_proof=input.device_proof,
            delivery=input.delivery,
            client_name=input.client_name,
        )
        return _asked(answered) if isinstance(answered, Challenged) else await given(context, answered)

    @mutation("Answer the challenge of a sign-in.", Action.SESSION_SIGN_IN, notes_itself=True)
    async def complete_sign_in(info: strawberry.Info, input: CompleteSignInInput) -> SignInPayload | None:
        context = context_of(info)
        answer = Answer(totp=input.totp, recovery_code=input.recovery_code, passkey=input.passkey)
        await require_own_page(context, input.delivery)
        signed_in = await complete_sign_in(
            context.services,
            context.actor,
            challenge=input.challenge,
            answer=answer,
            delivery=input.delivery,
            client_name=input.client_name,
        )
        return await given(context, signed_in)

    @mutation(
        "Begin to sign in with a passkey alone: what the browser is asked.", Action.SESSION_SIGN_IN, notes_itself=True
    )
    async def begin_passkey_sign_in(info: strawberry.Info) -> PasskeyRequestPayload | None:
        return asked_payload(await begin_passkey_sign_in(context_of(info).services, context_of(info).actor))

    @mutation("Sign in with a passkey alone.", Action.SESSION_SIGN_IN, notes_itself=True)
    async def sign_in_with_passkey(info: strawberry.Info, input: SignInWithPasskeyInput) -> SignInPayload | None:
        context = context_of(info)
        await require_own_page(context, input.delivery)
        signed_in = await sign_in_with_passkey(
            context.services,
            context.actor,
            challenge=input.challenge,
            passkey=input.passkey,
            organization=input.organization,
            delivery=input.delivery,
            client_name=input.client_name,
        )
        return await given(context, signed_in)

    @mutation(
        "Begin to prove anew who you are by a passkey: what the browser is asked.",
        Action.SESSION_CHALLENGE,
        entity=Session,
        own=True,
    )
    async def begin_passkey_proof(info: strawberry.Info) -> PasskeyRequestPayload | None:
        return asked_payload(await begin_passkey_proof(current_change(info), context_of(info).services))

    @mutation(
        "Prove anew who you are: for a while, this sign-in does what takes a fresh one, and stands on these factors.",
        Action.SESSION_REAUTHENTICATE,
        notes_itself=True,
        signed_in=True,
    )
    async def reauthenticate(info: strawberry.Info, input: ReauthenticateInput) -> ReauthenticatePayload | None:
        context = context_of(info)
        cookie = await reauthenticate(
            context.services,
            context.actor,
            password=input.password,
            answer=Answer(totp=input.totp, recovery_code=input.recovery_code, passkey=input.passkey),
            challenge=input.challenge,
        )
        if cookie is not None:
            context.headers.append(session_cookie(cookie))
        return ReauthenticatePayload(errors=[])


def _asked(challenged: Challenged) -> SignInPayload:
    challenge = SignInChallenge(
        token=challenged.token,
        methods=list(challenged.methods),
        passkey_options=challenged.passkey_options,
        expires_at=challenged.expires_at,
    )
    return SignInPayload(
        access_token=None,
        access_token_expires_at=None,
        refresh_token=None,
        challenge=challenge,
        client_token=None,
        errors=[],
    )
