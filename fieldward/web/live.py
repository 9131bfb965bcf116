"""WebSockets: the handshake, who opens a connection, and how many there are.

A connection is opened by a bearer token, in the payload of its first message or in the handshake's `Authorization`, or
by the session's cookie. Browsers send cookies with the handshakes of any site, and no script can add a header of ours
to one: so whatever a browser opens has to be of our own origin.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import structlog
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Scope, Send

from auth.errors import ForbiddenError, UnauthenticatedError
from auth.opaque_token import CookieToken, ServiceToken
from auth.principal import Origin, Viewer
from fieldward.logs import running_request
from fieldward.web.authentication import (
    RUN_AS,
    Said,
    bearer,
    origin_said,
    said_of,
    viewer_of_token,
)
from fieldward.web.cookie import OwnPage, session_token
from fieldward.web.foreign_page import ForeignPages
from fieldward.web.gate import Gate
from fieldward.web.proxy import Network
from fieldward.web.request import GRAPHQL, REQUEST_ID
from models.base import new_id
from models.errors import UnavailableError
from models.transaction import Tenant
from resolvers.live import reader_of, standing_actor
from resolvers.read import Reader
from resolvers.services import Services
from resolvers.session import learned_claims_of
from resolvers.session_cookie import authenticate_cookie
from resolvers.throttle import network_of
from resolvers.trail import Actor
from schema.context import RequestContext
from schema.live_connection import (
    COME_AGAIN,
    FAILED,
    NO_SUCH_PROTOCOL,
    NOT_UNDERSTOOD,
    PROTOCOL,
    ClosedError,
    Connected,
    Live,
    LiveConnection,
)

log = structlog.get_logger()

LARGEST_MESSAGE: Final = 256 * 1024
"""Bytes of a message. What brings more goes by HTTP."""
MOST_CONNECTIONS: Final = 2000
"""Connections of a process."""
MOST_OF_ONE: Final = 20
"""Connections of one person or program to a process."""
MOST_UNKNOWN: Final = 200
"""Connections from one network to a process of who has not said yet who they are: some of all that there may be."""

_LEGACY: Final = "graphql-ws"
"""What `subscriptions-transport-ws` called its protocol, which is not spoken."""


class LiveEndpoint:
    """What is behind `/graphql` for WebSockets."""

    def __init__(
        self,
        live: Live,
        services: Services,
        gate: Gate,
        own_page: OwnPage,
        proxies: Sequence[Network] = (),
        foreign_pages: ForeignPages | None = None,
    ) -> None:
        self._live = live
        self._services = services
        self._gate = gate
        self._own_page = own_page
        self._proxies = proxies
        self._foreign_pages = foreign_pages or ForeignPages()
        self._connections = 0
        self._of_each: Counter[UUID] = Counter()
        self._unknown: Counter[bytes] = Counter()

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a connection and talk over it until it is closed."""
        if (await receive())["type"] != "websocket.connect":
            return
        said = said_of(scope["headers"])
        scope[REQUEST_ID] = new_id()
        running_request.set(scope[REQUEST_ID])
        origin = origin_said(HTTPConnection(scope), said, self._proxies)
        is_own_page = self._own_page.opened(said)
        if scope["path"] != GRAPHQL or not await self._is_let_in(said, origin, is_own_page=is_own_page):
            # Before it was accepted, that is the answer 403.
            await send({"type": "websocket.close"})
            return
        offered: list[str] = scope.get("subprotocols", [])
        if PROTOCOL not in offered:
            # Some clients only learn why if what they offered is accepted first.
            await send({"type": "websocket.accept", "subprotocol": _LEGACY if _LEGACY in offered else None})
            await send(_closing(ClosedError(NO_SUCH_PROTOCOL, "Subprotocol not acceptable")))
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        await self._talk(said, origin, receive, send, is_own_page=is_own_page)

    async def _is_let_in(self, said: Said, origin: Origin, *, is_own_page: bool) -> bool:
        if b"origin" not in said or is_own_page:
            return True
        cookie = session_token(said.get(b"cookie"))
        if cookie is not None:
            # Refused as over HTTP, with an entry of what another site tried.
            try:
                await authenticate_cookie(self._services, origin, cookie, is_own_page=False)
            except (UnauthenticatedError, UnavailableError):
                return False
        # What such a page may do, it may by the token of its first message.
        return cookie is None and self._foreign_pages.lets_in(said[b"origin"])

    async def _talk(self, said: Said, origin: Origin, receive: Receive, send: Send, *, is_own_page: bool) -> None:
        if self._connections >= MOST_CONNECTIONS:
            await send(_closing(ClosedError(COME_AGAIN, "Too many connections. Come again.")))
            return
        network = network_of(origin.ip_address)
        if self._unknown[network] >= MOST_UNKNOWN:
            await send(_closing(ClosedError(COME_AGAIN, "Too many connections from your network. Come again.")))
            return
        self._connections += 1
        self._unknown[network] += 1
        opened: list[Opened] = []

        def forget_network() -> None:
            self._unknown[network] -= 1
            self._unknown += Counter()

        async def initialise(payload: Any) -> Connected:
            self._require_ready()
            opener = await self._opened(said, origin, payload, is_own_page=is_own_page)
            if self._of_each[opener.viewer.principal_id] >= MOST_OF_ONE:
                raise ClosedError(COME_AGAIN, "Too many connections of yours. Close one, or come again.")
            self._of_each[opener.viewer.principal_id] += 1
            opened.append(opener)
            forget_network()
            return opener

        async def next_text() -> str | None:
            message: Message = await receive()
            if message["type"] == "websocket.disconnect":
                return None
            text = message.get("text")
            if not isinstance(text, str):
                raise ClosedError(NOT_UNDERSTOOD, "Expected messages of text")
            return text

        async def send_text(text: str) -> None:
            await _sending(send, {"type": "websocket.send", "text": text})

        async def close(closed: ClosedError) -> None:
            await _sending(send, _closing(closed))

        try:
            await LiveConnection(self._live, initialise, next_text, send_text).run(close)
        except Exception as error:
            log.error("live_connection_failed", exc_info=error)
            await close(ClosedError(FAILED, "Something went wrong on the server."))
        finally:
            self._connections -= 1
            if not opened:
                forget_network()
            for one in opened:
                self._of_each[one.viewer.principal_id] -= 1
                self._of_each += Counter()

    def _require_ready(self) -> None:
        self._gate.require_open()
        if not self._live.listeners.is_hearing:
            raise UnavailableError("What happens is not heard at the moment. Come again.")

    async def _opened(self, said: Said, origin: Origin, payload: Any, *, is_own_page: bool) -> "Opened":
        """Return who opens a connection.

        Raises:
            UnauthenticatedError, ForbiddenError: nobody may, so.
            UnavailableError: it can't be found out.
            ClosedError: the payload is none.
        """
        given = payload if payload is not None else {}
        if not isinstance(given, dict):
            raise ClosedError(NOT_UNDERSTOOD, "Expected a payload that is an object")
        by_name = {str(name).lower(): value for name, value in given.items()}
        if RUN_AS in by_name or RUN_AS.encode() in said:
            raise ForbiddenError("Looking as another goes by HTTP.")
        header = by_name.get("authorization", said.get(b"authorization"))
        if header is not None:
            token = bearer(header) if isinstance(header, str) else None
            if token is None:
                raise UnauthenticatedError("Expected Authorization to be: Bearer, and a token.")
            viewer = await viewer_of_token(self._services, origin, token)
            return Opened(self._services, origin, viewer, token, await self._ends_in_s(token))
        cookie = session_token(said.get(b"cookie"))
        if cookie is None or not is_own_page:
            raise UnauthenticatedError("Sign in first.")
        viewer = await authenticate_cookie(self._services, origin, cookie, is_own_page=True)
        return Opened(self._services, origin, viewer, cookie, None)

    async def _ends_in_s(self, token: str) -> float | None:
        """Return after how many seconds a connection ends that was opened by a token: with that, where it says when."""
        if token.startswith(ServiceToken.prefix):
            return None
        claims = await learned_claims_of(self._services, token)
        return max(0.0, claims.expires_at - self._services.clock().timestamp())


@dataclass(frozen=True, slots=True)
class Opened:
    """Who opened a connection, and by what. Of each operation it is found out anew whether that is still good."""

    services: Services
    origin: Origin
    viewer: Viewer
    by: str | CookieToken
    ends_in_s: float | None

    @property
    def organization_id(self) -> UUID:
        """In which organization."""
        return self.viewer.organization_id

    async def operation_context(self) -> RequestContext:
        """Return the context of a query or mutation: what it takes is looked at as if it came by HTTP.

        Raises:
            UnauthenticatedError: it is not good any more. Leaves an entry.
            UnavailableError: that can't be found out.
        """
        origin = replace(self.origin, request_id=new_id())
        if isinstance(self.by, CookieToken):
            viewer = await authenticate_cookie(self.services, origin, self.by, is_own_page=True)
        else:
            viewer = await viewer_of_token(self.services, origin, self.by)
        actor = Actor(viewer.organization_id, origin, viewer, floodgate=self.services.floodgate)
        context = RequestContext(self.services, actor, Reader(Tenant(organization_id=viewer.organization_id)))
        context.by_cookie = isinstance(self.by, CookieToken)
        return context

    async def event_context(self) -> RequestContext:
        """Return the context of an event, of who it is in the snapshot that the event is read from.

        Raises: as `resolvers/live.py: standing_actor`.
        """
        reader = reader_of(self.viewer)
        actor = Actor(self.organization_id, self.origin, self.viewer, floodgate=self.services.floodgate)
        cookie = self.by if isinstance(self.by, CookieToken) else None
        standing = await standing_actor(self.services, actor, self.viewer, reader, cookie=cookie)
        return RequestContext(self.services, standing, reader)


def _closing(closed: ClosedError) -> Message:
    return {"type": "websocket.close", "code": closed.code, "reason": closed.reason}


async def _sending(send: Send, message: Message) -> None:
    """Send, if anybody is there: who is gone is told nothing."""
    try:
        await send(message)
    except OSError:
        return
