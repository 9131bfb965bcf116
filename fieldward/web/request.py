"""The frame of each request: its id, the keyring that opens values within it, and the headers of every answer."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldward.logs import running_request
from models.base import new_id
from models.encryption.keyring import Keyring
from resolvers.meter import Meter
from schema.transport import NOTHING, Answer

GRAPHQL: Final = "/graphql"
REQUEST_ID: Final = "fieldward.request_id"
"""The request's id in its ASGI scope."""
QUERY: Final = "fieldward.query"
"""What stood behind the question mark of the address, in the scope. But for `/graphql`, it stands here alone."""

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_VARY: Final = (b"vary", b"accept, accept-encoding, authorization, cookie")
"""What answers of `/graphql` depend on. Nothing keeps them; what does all the same keeps them apart."""

UNKNOWN: Final = "unknown"
"""What an address counts as that leads nowhere."""

Endpoint = Callable[[Scope, Receive], Awaitable[Answer | None]]


class Frame:
    """The ASGI application: makes each request's id and activates the keyring while it runs.

    What goes to `/graphql` passes nothing else on its way; a framework's layers cost more than an operation may.

    endpoint: returns the answer to a request for `/graphql`, or None where nobody waits for it.
    live: talks over WebSockets.
    others: the application behind all other addresses, which has the lifespan.
    meter: counts the requests.
    """

    def __init__(self, keyring: Keyring, endpoint: Endpoint, live: ASGIApp, others: ASGIApp, meter: Meter) -> None:
        self._keyring = keyring
        self._endpoint = endpoint
        self._live = live
        self._others = others
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request inside its frame."""
        if scope["type"] == "websocket":
            with self._keyring.activate():
                await self._live(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        began, meter = perf_counter(), self._meter
        request_id = scope[REQUEST_ID] = new_id()
        shown_id = str(request_id).encode()
        running_request.set(request_id)
        meter.in_progress += 1
        try:
            with self._keyring.activate():
                if scope["path"] == GRAPHQL:
                    answer = await self._endpoint(scope, receive)
                    if answer is not None:
                        await _send(answer, shown_id, send)
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
                for name, value in _HEADERS:
                    headers.setdefault(name.decode(), value.decode())
            await send(message)

        # What an address asks for may be the secret of a link: it is taken out before anything notes the address.
        scope[QUERY], scope["query_string"] = scope["query_string"], b""
        await self._others(scope, receive, send_with_headers)
        return status


def route_of(scope: Scope) -> str:
    """Return the address that a request was answered at, as it is declared; never as it was asked for."""
    if scope["path"] == GRAPHQL:
        return GRAPHQL
    return getattr(scope.get("route"), "path", UNKNOWN)


async def _send(answer: Answer, request_id: bytes, send: Send) -> None:
    status, media_type, body, more, *_ = answer
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"content-type", media_type),
        *more,
        _VARY,
        (b"x-request-id", request_id),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
