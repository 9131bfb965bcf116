"""Mutations of passwords: changing one's own, and setting a new one by a link in a letter."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.membership import Membership
from resolvers.mailing import SEND_MAIL
from resolvers.membership import AT_USER
from resolvers.password_change import change_password
from resolvers.password_reset import request_reset, reset_password, start_reset
from schema.context import context_of
from schema.cookie import session_cookie
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation
from schema.node import parse_id
from schema.role_change import UserPayload
from schema.written import writes


@strawberry.input(description="A password in the place of the one before.")
class ChangePasswordInput:
    current_password: str = strawberry.field(description="The one before.")
    new_password: str = strawberry.field(
        description="At least 15 characters, 12 beside a second factor, and not easy to guess."
    )


@strawberry.input(description="Whose password was lost.")
class RequestPasswordResetInput:
    email: str = strawberry.field(description="The address that they sign in with.")


@writes(Membership, beside=("user_id",))
@strawberry.input(description="Whom a link to set a new password is sent to.")
class StartPasswordResetInput:
    user_id: strawberry.ID = strawberry.field(description="Whom.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="A new password, by a link.")
class ResetPasswordInput:
    token: str = strawberry.field(description="What the link ends with. It works once, for half an hour.")
    new_password: str = strawberry.field(
        description="At least 15 characters, 12 beside a second factor, and not easy to guess."
    )


@structure
@strawberry.type(description="What became of it. No errors say that it was done, or that it was taken on.")
class PasswordPayload:
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class PasswordMutation:
    @mutation(
        "Change your password. You stay signed in here and are signed out everywhere else. Where you have a second"
        " factor it takes a fresh sign-in with it: else REAUTHENTICATE.",
        Action.USER_CHANGE_PASSWORD,
        notes_itself=True,
        signed_in=True,
    )
    async def change_password(info: strawberry.Info, input: ChangePasswordInput) -> PasswordPayload | None:
        context = context_of(info)
        cookie = await change_password(
            context.services, context.actor, current_password=input.current_password, new=input.new_password
        )
        context.services.wake_afterwards(SEND_MAIL)
        if cookie is not None:
            context.headers.append(session_cookie(cookie))
        return PasswordPayload(errors=[])

    @mutation(
        "Have a link to set a new password sent to the account of an address, if there is one. Nothing says whether"
        " there is.",
        Action.USER_REQUEST_PASSWORD_RESET,
        notes_itself=True,
    )
    async def request_password_reset(info: strawberry.Info, input: RequestPasswordResetInput) -> PasswordPayload | None:
        context = context_of(info)
        await request_reset(context.services, context.actor, email=input.email)
        return PasswordPayload(errors=[])

    @mutation(
        "Have a link to set a new password sent to a member. Nobody but they get to see it.",
        Action.USER_START_PASSWORD_RESET,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def start_password_reset(info: strawberry.Info, input: StartPasswordResetInput) -> UserPayload | None:
        return done(
            await start_reset(
                context_of(info).services,
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
            )
        )

    @mutation(
        "Set a new password by a link that was sent to you. You are signed out everywhere, and sign in anew.",
        Action.USER_RESET_PASSWORD,
        notes_itself=True,
    )
    async def reset_password(info: strawberry.Info, input: ResetPasswordInput) -> PasswordPayload | None:
        context = context_of(info)
        await reset_password(context.services, context.actor, token=input.token, new=input.new_password)
        return PasswordPayload(errors=[])
