"""How much a request may bring: more from those who show a token of ours than from those who don't."""

from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import InvalidInputError
from schema.transport import refused

ANONYMOUS_LIMIT: Final = 64 * 1024
SIGNED_IN_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a body. Texts are limited far below; this much is read so that the one too long can be named."""


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """Middleware: stops reading a body at its limit and answers 413.

    is_signed: whether an `Authorization` header holds a token that we signed.
    """

    def __init__(self, app: ASGIApp, is_signed: Callable[[str], bool]) -> None:
        self._app = app
        self._is_signed = is_signed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counting what comes in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        signed = self._is_signed(headers.get(b"authorization", b"").decode("latin-1"))
        limit = SIGNED_IN_LIMIT if signed else ANONYMOUS_LIMIT
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        received = 0
        started = False

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _TooLargeError
            return message

        async def noting_send(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counting_receive, noting_send)
        except _TooLargeError:
            if not started:
                await _too_large(limit)(scope, receive, send)


def _too_large(limit: int) -> Response:
    error = InvalidInputError(f"Expected a request of at most {limit} bytes.", field=("body",))
    return Response(orjson.dumps(refused(error)), status_code=413, media_type="application/json")
