"""Refreshing a sign-in, and ending it."""

from datetime import datetime

import strawberry

from auth.action import Action
from models.session import Session
from resolvers.session import SignedIn, refresh, sign_out
from schema.context import context_of
from schema.field import derived, structure
from schema.mutation import UserError, current_change, mutation


@strawberry.input(description="A refresh token.")
class RefreshSessionInput:
    refresh_token: str = strawberry.field(description="The newest one of the session. Each works once.")


@structure
@strawberry.type(description="The tokens of a sign-in, or why there are none.")
class SessionPayload:
    access_token: str | None = strawberry.field(
        description="To be sent as `Authorization: Bearer …`.", metadata=derived()
    )
    access_token_expires_at: datetime | None = strawberry.field(
        description="When it is to be refreshed.", metadata=derived()
    )
    refresh_token: str | None = strawberry.field(description="Exchanges for new tokens, once.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why there are none.", metadata=derived())


@structure
@strawberry.type(description="The end of a sign-in.")
class SignOutPayload:
    errors: list[UserError] = strawberry.field(description="Why it did not end.", metadata=derived())


@strawberry.type
class SessionMutation:
    @mutation("Exchange a refresh token for new tokens.", None)
    async def refresh_session(info: strawberry.Info, input: RefreshSessionInput) -> SessionPayload | None:
        context = context_of(info)
        return _tokens(await refresh(context.services, context.actor, refresh_token=input.refresh_token))

    @mutation(
        "End this sign-in: its tokens are refused from the next request on.",
        Action.SESSION_SIGN_OUT,
        entity=Session,
        own=True,
    )
    async def sign_out(info: strawberry.Info) -> SignOutPayload | None:
        await sign_out(current_change(info))
        return SignOutPayload(errors=[])


def _tokens(signed_in: SignedIn) -> SessionPayload:
    return SessionPayload(
        access_token=signed_in.access_token,
        access_token_expires_at=signed_in.access_token_expires_at,
        refresh_token=signed_in.refresh_token,
        errors=[],
    )
