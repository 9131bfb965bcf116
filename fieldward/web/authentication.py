"""From a request to who asks: the bearer token, the client's words for itself, the peer's address."""

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request

from auth.errors import UnauthenticatedError
from auth.principal import SYSTEM_ID, Channel, Origin, Viewer
from auth.token import SERVICE_PREFIX, ProgramClaims, ServiceToken
from fieldward.web.request import REQUEST_ID
from fieldward.web.trace_context import TRACEPARENT, trace_id_of
from models.transaction import Tenant
from resolvers.program import authenticate_program, authenticate_service_account
from resolvers.read import Reader
from resolvers.run_as import run_as
from resolvers.services import Services
from resolvers.session import authenticate, claims_of, learned_claims_of
from resolvers.trail import Actor
from schema.context import RequestContext
from schema.transport import ContextFactory

RUN_AS: Final = "fieldward-run-as"
"""The header that names as whom an admin looks (`resolvers/run_as.py`)."""
_TRACE: Final = TRACEPARENT.encode()

_LONGEST: Final = 200
"""Characters of what a client says of itself that the trail keeps."""
_WHOLE: Final = frozenset(name.encode() for name in (RUN_AS, TRACEPARENT))
"""Headers of which all that were sent count, so that two are never taken for one."""
_READ: Final = _WHOLE | frozenset(
    name.encode() for name in ("authorization", "user-agent", "graphql-client-name", "graphql-client-version")
)

Said = dict[bytes, str]


def context_factory(services: Services) -> ContextFactory:
    """Return the function that makes the context of a request's operation."""

    async def make_context(request: Request) -> RequestContext:
        said = _said(request.scope["headers"])
        origin = _origin(request, said)
        token = _bearer(said.get(b"authorization", ""))
        refusal = None
        if token is not None:
            try:
                viewer = await _viewer_of(services, origin, token)
            except UnauthenticatedError as error:
                refusal = error
            else:
                return await _context_of(services, origin, viewer, said.get(RUN_AS.encode()))
        anonymous = Actor(SYSTEM_ID, origin, floodgate=services.floodgate)
        return RequestContext(services, anonymous, Reader(Tenant()), refusal=refusal)

    return make_context


async def _viewer_of(services: Services, origin: Origin, token: str) -> Viewer:
    if token.startswith(SERVICE_PREFIX):
        return await authenticate_service_account(services, origin, token=ServiceToken.parse(token))
    claims = await learned_claims_of(services, token)
    if isinstance(claims, ProgramClaims):
        return await authenticate_program(services, origin, claims=claims)
    return await authenticate(services, origin, claims=claims)


async def _context_of(services: Services, origin: Origin, viewer: Viewer, looking: str | None) -> RequestContext:
    actor = Actor(viewer.organization_id, origin, viewer, floodgate=services.floodgate)
    reader = Reader(Tenant(organization_id=viewer.organization_id))
    if looking is not None:
        try:
            actor = await run_as(actor, viewer, reader, looking)
        finally:
            await reader.close()
    return RequestContext(services, actor, reader)


def origin_of(request: Request) -> Origin:
    """Return where a request came from, cut to what the trail keeps."""
    return _origin(request, _said(request.scope["headers"]))


def _origin(request: Request, said: Said) -> Origin:
    """Return where a request came from, cut to what the trail keeps."""
    peer = request.scope.get("client")
    return Origin(
        channel=Channel.API,
        request_id=request.scope[REQUEST_ID],
        client_name=_short(said.get(b"graphql-client-name")),
        client_version=_short(said.get(b"graphql-client-version")),
        ip_address=peer[0][:64] if peer else None,
        user_agent=_short(said.get(b"user-agent")),
        trace_id=trace_id_of(said[_TRACE]) if _TRACE in said else None,
    )


def _said(headers: Iterable[tuple[bytes, bytes]]) -> Said:
    """Return the headers that are read here. Of one that is sent twice the first counts, of `_WHOLE` all do."""
    said: Said = {}
    for name, value in headers:
        if name in _READ:
            text = value.decode("latin-1")
            if name not in said:
                said[name] = text
            elif name in _WHOLE:
                said[name] += f",{text}"
    return said


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
    return token.strip() or None if scheme.lower() == "bearer" else None


def _short(text: str | None) -> str | None:
    if not text:
        return None
    shown = text if text.isprintable() else "".join(character for character in text if character.isprintable())
    return shown.strip()[:_LONGEST] or None
