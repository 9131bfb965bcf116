"""From a request to who asks: the bearer token, the client's words for itself, the peer's address."""

from dataclasses import replace
from typing import Final

from starlette.requests import Request

from auth.errors import UnauthenticatedError
from auth.principal import SYSTEM_ID, Channel, Origin, Viewer
from auth.token import SERVICE_PREFIX, ServiceToken
from fieldward.web.request import REQUEST_ID
from models.transaction import Tenant
from resolvers.read import Reader
from resolvers.run_as import run_as
from resolvers.service_account import authenticate_service_account
from resolvers.services import Services
from resolvers.session import authenticate, claims_of
from resolvers.trail import Actor
from schema.context import RequestContext
from schema.transport import ContextFactory

RUN_AS: Final = "fieldward-run-as"
"""The header that names as whom an admin looks (`resolvers/run_as.py`)."""

_LONGEST: Final = 200
"""Characters of what a client says of itself that the trail keeps."""


def context_factory(services: Services) -> ContextFactory:
    """Return the function that makes the context of a request's operation."""

    async def make_context(request: Request) -> RequestContext:
        actor = Actor(SYSTEM_ID, origin_of(request), floodgate=services.floodgate)
        token = _bearer(request.headers.get("authorization", ""))
        if token is None:
            return RequestContext(services, actor, Reader(Tenant()))
        reader = Reader(Tenant())
        try:
            reader = _reader_of(services, token)
            viewer = await _viewer_of(services, actor, reader, token)
        except UnauthenticatedError as refusal:
            await reader.close()
            return RequestContext(services, actor, Reader(Tenant()), refusal=refusal)
        except BaseException:
            await reader.close()
            raise
        inside = replace(actor, organization_id=viewer.organization_id, viewer=viewer)
        said = request.headers.getlist(RUN_AS)
        if said:
            try:
                inside = await run_as(actor, viewer, reader, ",".join(said))
            except BaseException:
                await reader.close()
                raise
        return RequestContext(services, inside, reader)

    return make_context


def _reader_of(services: Services, token: str) -> Reader:
    """Return a reader of the tenant that the token names."""
    if token.startswith(SERVICE_PREFIX):
        return Reader(Tenant(organization_id=ServiceToken.parse(token).organization_id))
    claims = claims_of(services, token)
    return Reader(Tenant(organization_id=claims.organization_id, user_id=claims.user_id))


async def _viewer_of(services: Services, actor: Actor, reader: Reader, token: str) -> Viewer:
    if token.startswith(SERVICE_PREFIX):
        return await authenticate_service_account(actor, reader, token=ServiceToken.parse(token))
    return await authenticate(services, actor, reader, claims=claims_of(services, token))


def origin_of(request: Request) -> Origin:
    """Return where a request came from, cut to what the trail keeps."""
    headers = request.headers
    return Origin(
        channel=Channel.API,
        request_id=request.scope[REQUEST_ID],
        client_name=_short(headers.get("graphql-client-name")),
        client_version=_short(headers.get("graphql-client-version")),
        ip_address=request.client.host[:64] if request.client else None,
        user_agent=_short(headers.get("user-agent")),
    )


def holds_our_token(services: Services, header: str) -> bool:
    """Return whether an `Authorization` header holds a token that we signed and that has not run out."""
    token = _bearer(header)
    if token is None:
        return False
    try:
        claims_of(services, token)
    except UnauthenticatedError:
        return False
    return True


def _bearer(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _short(text: str | None) -> str | None:
    shown = "".join(character for character in text or "" if character.isprintable())
    return shown.strip()[:_LONGEST] or None
