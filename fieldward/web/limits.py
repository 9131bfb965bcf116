"""How much a request may bring, and in what time: more from those who show a token of ours than from others."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from types import coroutine
from typing import Any, Final, cast

from starlette.types import Message, Receive, Scope

from auth.errors import Code
from schema.transport import RefusedError

ANONYMOUS_LIMIT: Final = 64 * 1024
SIGNED_IN_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a body. Texts are limited far below; this much is read so that the one too long can be named."""
BODY_TIMEOUT_S = 30
MOST_HELD: Final = 256 * 1024 * 1024
"""Bytes of larger bodies that a process holds at a time while they arrive."""


_COME_AGAIN: Final = ((b"retry-after", b"3"),)


class GoneError(Exception):
    """The client went away before all of its request was there."""


class BodyLimit:
    """Reads bodies, and stops at their limit.

    is_signed: whether a request with these headers holds a token of ours, or the cookie of a session. Asked only of
        what is larger than anybody may send.
    """

    def __init__(self, is_signed: Callable[[Mapping[bytes, bytes]], Awaitable[bool]]) -> None:
        self._is_signed = is_signed
        self._held = 0

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Return a request's body once all of it is there.

        Raises:
            RefusedError: it is too large, or takes too long to arrive.
            GoneError: the client has gone.
        """
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        declared = headers.get(b"content-length", b"0")
        room = _Room(self._is_signed, headers)
        await room.require(int(declared) if declared.isdigit() and len(declared) < 20 else math.inf)
        # Most often the body came with the headers, and a timer would cost more than all else that is done for it: the
        # first step is taken by hand, and only what has to wait is timed.
        receiving = cast(Coroutine[Any, Any, Message], receive())
        message: Message | None = None
        try:
            waits_for = receiving.send(None)
        except StopIteration as here:
            message = here.value
            if not message.get("more_body", False):
                return await _piece(room, message, 0)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                if message is None:
                    message = await _go_on(receiving, waits_for)
                return await self._gathered(room, message, receive)
        except TimeoutError:
            raise RefusedError(408, "The request took too long to arrive.") from None

    async def _gathered(self, room: "_Room", message: Message, receive: Receive) -> bytes:
        """Return a body that comes in several pieces."""
        body = bytearray()
        try:
            while True:
                piece = await _piece(room, message, len(body))
                if len(body) + len(piece) > ANONYMOUS_LIMIT and self._held + len(piece) > MOST_HELD:
                    raise RefusedError(
                        503, "Too much is being sent at once. Try again.", Code.UNAVAILABLE, headers=_COME_AGAIN
                    )
                body += piece
                self._held += len(piece)
                if not message.get("more_body", False):
                    return bytes(body)
                message = await receive()
        finally:
            self._held -= len(body)


class _Room:
    """How much one request may bring. Who sends it is asked once, and only where it is more than anybody may send."""

    def __init__(
        self, is_signed: Callable[[Mapping[bytes, bytes]], Awaitable[bool]], headers: Mapping[bytes, bytes]
    ) -> None:
        self._is_signed = is_signed
        self._headers = headers
        self._limit: int | None = None

    async def require(self, size: float) -> None:
        """Raise `RefusedError` where so many bytes are too many."""
        if size <= ANONYMOUS_LIMIT:
            return
        if self._limit is None:
            self._limit = SIGNED_IN_LIMIT if await self._is_signed(self._headers) else ANONYMOUS_LIMIT
        if size > self._limit:
            raise RefusedError(413, f"Expected a request of at most {self._limit} bytes.", field=["body"])


async def _piece(room: _Room, message: Message, before: int) -> bytes:
    """Return what a message brings; `before` is how much came already."""
    if message["type"] == "http.disconnect":
        raise GoneError
    piece: bytes = message.get("body", b"")
    await room.require(before + len(piece))
    return piece


@coroutine
def _go_on(begun: Coroutine[Any, Any, Message], waits_for: Any) -> Generator[Any, Any, Message]:
    """Await a coroutine whose first step was taken, and which waits for something."""
    while True:
        try:
            try:
                value = yield waits_for
            except BaseException as error:
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(value)
        except StopIteration as done:
            message: Message = done.value
            return message
