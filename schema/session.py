"""Sign-ins: those that there are, refreshing one, and signing out."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.action import Action
from auth.errors import CrossSiteError
from auth.permission import Permission
from models.condition import Condition, Operator
from models.device import Device as DeviceModel
from models.membership import Membership
from models.order import Order
from models.session import Factor
from models.session import Session as SessionModel
from resolvers.change import Intent, record_attempt
from resolvers.session import Delivery, SignedIn, refresh, replace_session, sign_out
from schema.connection import PageArguments, Parent, page_of
from schema.context import RequestContext, context_of
from schema.cookie import client_cookie, ended_session_cookie, session_cookie
from schema.device import Device
from schema.field import column, derived, link, resolved, stands_for, structure
from schema.mutation import UserError, current_change, mutation
from schema.node import Node

if TYPE_CHECKING:
    from schema.user import User


@stands_for(SessionModel)
@strawberry.type(description="A sign-in of one person, on one device or browser.")
class Session(Node):
    name: str | None = column("What the person calls it, or what the client said of itself.")
    created_at: datetime | None = column("When it began.")
    last_seen_at: datetime | None = column(
        "When it was last refreshed or, in a browser, used, to a few minutes; null if not since it began.",
        name="refreshed_at",
    )
    authenticated_at: datetime | None = column("When it was last proved by the factors who it is.")
    idle_expires_at: datetime | None = column("When it ends if it is not used until then.")
    expires_at: datetime | None = column("When it ends, used or not.")
    revoked_at: datetime | None = column("When it was ended; null if it was not.")
    device: Device | None = link("The registered device; null for a browser.", to=DeviceModel, by="device_id")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Whose it is.", to=Membership, by="membership_id"
    )

    @resolved("By what was proved who it is.", derived(Permission.MEMBERSHIP_READ, needs=("factors",)))
    def factors(src: strawberry.Parent[Any]) -> list[Factor] | None:
        return [Factor(one) for one in src["factors"]]

    @resolved("Whether it is the one that asks.", derived(Permission.MEMBERSHIP_READ, needs=("id",)))
    def is_current(src: strawberry.Parent[Any], info: strawberry.Info) -> bool | None:
        return bool(src["id"] == context_of(info).viewer.session_id)


async def list_sessions(info: strawberry.Info, membership_id: Any, page: PageArguments) -> Any:
    """Return a page of the sign-ins of a member that stand, the newest first."""
    now = context_of(info).moment
    return await page_of(
        info,
        SessionModel,
        page,
        order=Order("created_at", descending=True),
        conditions=[
            Condition("revoked_at", Operator.EQUALS, None),
            Condition("idle_expires_at", Operator.AT_LEAST, now),
            Condition("expires_at", Operator.AT_LEAST, now),
        ],
        parent=Parent("membership_id", membership_id),
    )


@strawberry.input(description="A refresh token.")
class RefreshSessionInput:
    refresh_token: str = strawberry.field(description="The newest one of the session. Each works once.")
    device_proof: str | None = strawberry.field(
        default=None, description="The device's proof of its key, for this token. Demanded on a device."
    )
    app_version: str | None = strawberry.field(
        default=None, description="The version of the collecting app that runs on the device."
    )


@structure
@strawberry.type(description="What is still asked before a sign-in gives tokens.")
class SignInChallenge:
    token: str = strawberry.field(description="Names the question in completeSignIn.", metadata=derived())
    methods: list[Factor] = strawberry.field(description="By what it can be answered.", metadata=derived())
    passkey_options: str | None = strawberry.field(
        description="In JSON, for `PublicKeyCredential.parseRequestOptionsFromJSON`; null where you have no passkey.",
        metadata=derived(),
    )
    expires_at: datetime = strawberry.field(description="Until when it can be answered.", metadata=derived())


@structure
@strawberry.type(
    description="The tokens of a sign-in; or what is still asked; or why there are none. One by cookie has none."
)
class SignInPayload:
    access_token: str | None = strawberry.field(
        description="To be sent as `Authorization: Bearer …`.", metadata=derived()
    )
    access_token_expires_at: datetime | None = strawberry.field(
        description="When it is to be refreshed.", metadata=derived()
    )
    refresh_token: str | None = strawberry.field(description="Exchanges for new tokens, once.", metadata=derived())
    challenge: SignInChallenge | None = strawberry.field(
        description="Where you have a second factor: what completeSignIn answers.", metadata=derived()
    )
    client_token: str | None = strawberry.field(
        description="To be sent as `Fieldward-Client` with later sign-ins: whoever guesses at the account does not hold"
        " up a client that is known. Kept by a browser in a cookie.",
        metadata=derived(),
    )
    errors: list[UserError] = strawberry.field(description="Why there are none.", metadata=derived())


@structure
@strawberry.type(description="The end of a sign-in.")
class SignOutPayload:
    errors: list[UserError] = strawberry.field(description="Why it did not end.", metadata=derived())


@strawberry.type
class SessionMutation:
    @mutation("Exchange a refresh token for new tokens.", Action.SESSION_REFRESH, notes_itself=True)
    async def refresh_session(info: strawberry.Info, input: RefreshSessionInput) -> SignInPayload | None:
        context = context_of(info)
        signed_in = await refresh(
            context.services,
            context.actor,
            refresh_token=input.refresh_token,
            device_proof=input.device_proof,
            app_version=input.app_version,
        )
        return await given(context, signed_in)

    @mutation(
        "End this sign-in: its tokens are refused from the next request on.",
        Action.SESSION_SIGN_OUT,
        entity=SessionModel,
        own=True,
    )
    async def sign_out(info: strawberry.Info) -> SignOutPayload | None:
        await sign_out(current_change(info))
        context = context_of(info)
        if context.by_cookie:
            context.headers.append(ended_session_cookie())
        return SignOutPayload(errors=[])


async def require_own_page(context: RequestContext, delivery: Delivery) -> None:
    """Raise `CrossSiteError`, and leave an entry, where a cookie is wanted and nothing shows that it is our page's."""
    if delivery is Delivery.COOKIE and not context.is_own_page:
        error = CrossSiteError("A cookie is for pages of this server, which send Fieldward-CSRF: 1.")
        await record_attempt(Intent(action=Action.SESSION_SIGN_IN, actor=context.actor), error)
        raise error


async def given(context: RequestContext, signed_in: SignedIn) -> SignInPayload:
    """Return what a sign-in answers: its tokens or, by cookie, none of them. The cookies go into the answer's head."""
    if signed_in.cookie is not None:
        if context.by_cookie:
            # The browser forgets the secret of the session before, which nobody is to find and use.
            await replace_session(context.actor)
        context.headers.append(session_cookie(signed_in.cookie))
        if signed_in.client_token is not None:
            context.headers.append(client_cookie(signed_in.client_token))
        return SignInPayload(
            access_token=None,
            access_token_expires_at=None,
            refresh_token=None,
            challenge=None,
            client_token=None,
            errors=[],
        )
    return SignInPayload(
        access_token=signed_in.access_token,
        access_token_expires_at=signed_in.access_token_expires_at,
        refresh_token=signed_in.refresh_token,
        challenge=None,
        client_token=signed_in.client_token,
        errors=[],
    )
