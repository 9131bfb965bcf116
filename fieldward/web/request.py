"""The frame of each request: its id, the keyring that opens values within it, and the headers of every answer."""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldward.logs import running_request
from fieldward.web.header import Header
from fieldward.web.transport import Transport, refused
from models.base import new_id
from models.encryption.keyring import Keyring
from resolvers.meter import Meter
from schema.transport import NOTHING, Answer

GRAPHQL: Final = "/graphql"
REQUEST_ID: Final = "fieldward.request_id"
"""The request's id in its ASGI scope."""
QUERY: Final = "fieldward.query"
"""What stood behind the question mark of the address, in the scope. But for `/graphql`, it stands here alone."""

_VARY: Final = (b"vary", b"accept, accept-encoding, authorization, cookie")
"""What answers of `/graphql` depend on. Nothing keeps them; what does all the same keeps them apart."""

_BEGUN: Final = frozenset({"websocket.accept", "websocket.http.response.body"})
UNKNOWN: Final = "unknown"
"""What an address counts as that leads nowhere."""

Endpoint = Callable[[Scope, Receive], Awaitable[Answer | None]]


class Frame:
    """The ASGI application: makes each request's id and activates the keyring while it runs.

    What goes to `/graphql` passes nothing else on its way; a framework's layers cost more than an operation may.

    endpoint: returns the answer to a request for `/graphql`, or None where nobody waits for it.
    live: talks over WebSockets.
    others: the application behind all other addresses, which has the lifespan.
    headers: those of every answer. transport: says what came by TLS. meter: counts the requests.
    """

    def __init__(
        self,
        keyring: Keyring,
        endpoint: Endpoint,
        live: ASGIApp,
        others: ASGIApp,
        meter: Meter,
        *,
        headers: Sequence[Header],
        transport: Transport,
    ) -> None:
        self._keyring = keyring
        self._endpoint = endpoint
        self._live = live
        self._others = others
        self._headers = headers
        self._shown_headers = [(name.decode(), value.decode()) for name, value in headers]
        self._transport = transport
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside its frame."""
        if scope["type"] == "websocket":
            await self._open(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        began, meter = perf_counter(), self._meter
        request_id = scope[REQUEST_ID] = new_id()
        shown_id = str(request_id).encode()
        if not self._transport.lets_in(scope):
            await self._send(refused().answer, shown_id, send)
            return
        running_request.set(request_id)
        meter.in_progress += 1
        try:
            with self._keyring.activate():
                if scope["path"] == GRAPHQL:
                    answer = await self._endpoint(scope, receive)
                    if answer is not None:
                        await self._send(answer, shown_id, send)
                        meter.note(GRAPHQL, answer.kind, answer.status, perf_counter() - began)
                        if answer.code is not None:
                            meter.refuse(answer.code)
                else:
                    status = await self._send_other(scope, receive, send, shown_id)
                    meter.note(route_of(scope), NOTHING, status, perf_counter() - began)
        finally:
            meter.in_progress -= 1

    async def _send_other(self, scope: Scope, receive: Receive, send: Send, shown_id: bytes) -> int:
        """Have another address answered, and return with which status."""
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = shown_id.decode()
                for name, value in self._shown_headers:
                    headers.setdefault(name, value)
            await send(message)

        # What an address asks for may be the secret of a link: it is taken out before anything notes the address.
        scope[QUERY], scope["query_string"] = scope["query_string"], b""
        await self._others(scope, receive, send_with_headers)
        return status

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Talk over a WebSocket. What its handshake is answered has the headers, too."""

        has_begun, extensions = False, scope.get("extensions") or {}

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "websocket.accept":
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            elif message["type"] == "websocket.close" and not has_begun and "websocket.http.response" in extensions:
                start = {"type": "websocket.http.response.start", "status": 403, "headers": _headed(self._headers)}
                await send(start)
                message = {"type": "websocket.http.response.body", "body": b""}
            has_begun = has_begun or message["type"] in _BEGUN
            await send(message)

        if not self._transport.lets_in(scope):
            await receive()
            await send_with_headers({"type": "websocket.close"})
            return
        with self._keyring.activate():
            await self._live(scope, receive, send_with_headers)

    async def _send(self, answer: Answer, request_id: bytes, send: Send) -> None:
        status, media_type, body, more, *_ = answer
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", media_type),
            *more,
            _VARY,
            (b"x-request-id", request_id),
            *self._headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _headed(headers: Sequence[Header]) -> list[Header]:
    return [(b"content-length", b"0"), (b"x-request-id", str(new_id()).encode()), *headers]


def route_of(scope: Scope) -> str:
    """Return the address that a request was answered at, as it is declared; never as it was asked for."""
    if scope["path"] == GRAPHQL:
        return GRAPHQL
    return getattr(scope.get("route"), "path", UNKNOWN)
