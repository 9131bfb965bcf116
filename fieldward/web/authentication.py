"""From a request to who asks: the bearer token or the cookie, the client's words for itself, the peer's address.

Where a request has an `Authorization` header, that alone says who asks, good or not, and no cookie is looked at.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from starlette.requests import HTTPConnection, Request

from auth.errors import CrossSiteError, FieldwardError, UnauthenticatedError
from auth.opaque_token import ServiceToken
from auth.principal import SYSTEM_ID, Channel, Origin, Viewer
from auth.token import ProgramClaims
from fieldward.web.cookie import READ, OwnPage, client_token, session_token
from fieldward.web.proxy import Network, client_address
from fieldward.web.request import REQUEST_ID
from fieldward.web.trace_context import TRACEPARENT, trace_id_of
from models.transaction import Tenant
from resolvers.idempotency import key_of
from resolvers.program import authenticate_program, authenticate_service_account
from resolvers.read import Reader
from resolvers.run_as import run_as
from resolvers.services import Services
from resolvers.session import authenticate, learned_claims_of
from resolvers.session_cookie import authenticate_cookie, is_open
from resolvers.trail import Actor
from schema.context import RequestContext
from schema.cookie import ended_session_cookie
from schema.transport import ContextFactory

RUN_AS: Final = "fieldward-run-as"
"""The header that names as whom an admin looks (`resolvers/run_as.py`)."""
_TRACE: Final = TRACEPARENT.encode()

_LONGEST: Final = 200
"""Characters of what a client says of itself that the trail keeps."""
_FORWARDED: Final = b"x-forwarded-for"
_KEY: Final = b"idempotency-key"
_WHOLE: Final = frozenset((RUN_AS.encode(), _TRACE, _FORWARDED, _KEY))
"""Headers of which all that were sent count, so that two are never taken for one."""
_CLIENT: Final = b"fieldward-client"
"""The header by which a client is known that keeps no cookies."""
_SAID: Final = ("authorization", "user-agent", "graphql-client-name", "graphql-client-version")
_READ: Final = _WHOLE | READ | {_CLIENT} | {name.encode() for name in _SAID}

Said = dict[bytes, str]


def context_factory(services: Services, own_page: OwnPage, proxies: Sequence[Network] = ()) -> ContextFactory:
    """Return the function that makes the context of a request's operation.

    own_page: says what is a page of this server. proxies: those in front, which say from where a request came.
    """

    async def make_context(request: Request) -> RequestContext:
        said = said_of(request.scope["headers"])
        origin = origin_said(request, said, proxies)
        key = key_of(said[_KEY]) if _KEY in said else None
        is_own_page = own_page.sent(said)
        header = said.get(b"authorization")
        refusal: UnauthenticatedError | None = None
        by_cookie = False
        try:
            viewer = None
            if header is not None:
                token = bearer(header)
                viewer = await viewer_of_token(services, origin, token) if token is not None else None
            elif (cookie := session_token(said.get(b"cookie"))) is not None:
                by_cookie = True
                viewer = await authenticate_cookie(services, origin, cookie, is_own_page=is_own_page)
        except UnauthenticatedError as error:
            refusal = error
        else:
            if viewer is not None:
                context = await _context_of(services, origin, viewer, said.get(RUN_AS.encode()))
                context.is_own_page, context.by_cookie = is_own_page, by_cookie
                context.idempotency_key = key
                return context
        anonymous = Actor(SYSTEM_ID, origin, floodgate=services.floodgate)
        context = RequestContext(services, anonymous, Reader(Tenant()), refusal=refusal)
        context.is_own_page = is_own_page
        context.idempotency_key = key
        if by_cookie and not isinstance(refusal, CrossSiteError):
            # It holds nothing any more. Where another site had it sent, it may well hold something.
            context.headers.append(ended_session_cookie())
        return context

    return make_context


async def viewer_of_token(services: Services, origin: Origin, token: str) -> Viewer:
    """Return whom a bearer token stands for.

    Raises:
        UnauthenticatedError: it is not good. Leaves an entry where it is known whose it was.
    """
    if token.startswith(ServiceToken.prefix):
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


def origin_of(request: Request, proxies: Sequence[Network]) -> Origin:
    """Return where a request came from, cut to what the trail keeps."""
    return origin_said(request, said_of(request.scope["headers"]), proxies)


def origin_said(request: HTTPConnection, said: Said, proxies: Sequence[Network]) -> Origin:
    """Return where a request came from, cut to what the trail keeps."""
    peer = request.scope.get("client")
    address = client_address(peer[0] if peer else None, said.get(_FORWARDED), proxies)
    return Origin(
        channel=Channel.API,
        request_id=request.scope[REQUEST_ID],
        client_name=_short(said.get(b"graphql-client-name")),
        client_version=_short(said.get(b"graphql-client-version")),
        ip_address=address[:64] if address else None,
        user_agent=_short(said.get(b"user-agent")),
        trace_id=trace_id_of(said[_TRACE]) if _TRACE in said else None,
        client_token=said.get(_CLIENT) or client_token(said.get(b"cookie")),
    )


def said_of(headers: Iterable[tuple[bytes, bytes]]) -> Said:
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


async def holds_our_token(services: Services, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request holds a token that we signed and that has not run out, or the cookie of a session.

    The cookie is looked up, as it is once more when all of the request is there.
    """
    header = headers.get(b"authorization")
    try:
        if header is None:
            cookie = session_token(headers.get(b"cookie", b"").decode("latin-1"))
            return cookie is not None and await is_open(services, cookie)
        token = bearer(header.decode("latin-1"))
        if token is None:
            return False
        await learned_claims_of(services, token)
    except FieldwardError:
        return False
    return True


def bearer(header: str) -> str | None:
    """Return the token of an `Authorization` header; None where there is none."""
    scheme, _, token = header.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _short(text: str | None) -> str | None:
    if not text:
        return None
    shown = text if text.isprintable() else "".join(character for character in text if character.isprintable())
    return shown.strip()[:_LONGEST] or None
