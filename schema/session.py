"""Signing in, refreshing and signing out."""

from datetime import datetime

import strawberry

from auth.action import Action
from models.session import Session
from resolvers.session import SignedIn, refresh, sign_out
from resolvers.sign_in import sign_in
from schema.context import context_of
from schema.field import derived, structure
from schema.mutation import UserError, current_change, mutation
from schema.node import parse_id


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
    @mutation("Sign in with an address and a password.", None)
    async def sign_in(info: strawberry.Info, input: SignInInput) -> SessionPayload | None:
        context = context_of(info)
        device_id = (
            parse_id(input.device_id, "Device", at=("input", "deviceId")) if input.device_id is not None else None
        )
        return _tokens(
            await sign_in(
                context.services,
                context.actor,
                email=input.email,
                password=input.password,
                organization=input.organization,
                device_id=device_id,
            )
        )

    @mutation("Exchange a refresh token for new tokens.", None)
    async def refresh_session(info: strawberry.Info, input: RefreshSessionInput) -> SessionPayload | None:
        context = context_of(info)
        return _tokens(await refresh(context.services, context.actor, refresh_token=input.refresh_token))

    @mutation(
        "End this sign-in: its tokens are refused from the next request on.",
        Action.SESSION_SIGN_OUT,
        entity=Session,
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
