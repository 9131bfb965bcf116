"""A flood: `python -m drills.flood` reads a `Flood` as JSON and prints a `Flooded`.

At a rate, requests are due at equal intervals whether or not earlier ones were answered, over many connections, each
with at most one request on its way. An answer is told by what it is: served, told to come again (429 or 503, with
`Retry-After`), or anything else, which there must be none of.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

GRACE_S: Final = 30
"""Seconds that answers are waited for at the end."""
AGAIN: Final = frozenset({429, 503})
_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Flood:
    """What to send where: bodies in turn, by tokens in turn. rate: requests a second; None for the next one as soon as
    one is answered."""

    url: str
    tokens: Sequence[str]
    bodies: Sequence[str]
    connections: int
    seconds: float
    rate: float | None = None


@dataclass(slots=True)
class Flooded:
    """What became of the requests. Milliseconds are from when a request was sent, sorted; late_ms: from when it was due
    until it was sent, of all. examples: of what was neither served nor told to come again."""

    due: int = 0
    sent: int = 0
    seconds: float = 0.0
    served_ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    others: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def served(self) -> int:
        """Requests that were answered."""
        return len(self.served_ms)

    @property
    def refused(self) -> int:
        """Requests that were told to come again."""
        return len(self.refused_ms)


class _Connection(asyncio.Protocol):
    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._sent = 0.0
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._run.note_loss(self)

    def send(self, request: bytes) -> None:
        """Send a request."""
        assert self._transport is not None
        self._headers, self._parts, self.is_busy = {}, [], True
        self._sent = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of an answer."""
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        """Take a part of an answer."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Note an answer, and be free for the next request."""
        took_ms = (time.perf_counter() - self._sent) * 1000
        status, body = self._parser.get_status_code(), b"".join(self._parts)
        self._parser = httptools.HttpResponseParser(self)
        self.is_busy = False
        self._run.note_answer(self, status, self._headers, body, took_ms)


class _Run:
    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        parts = urlsplit(flood.url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._requests = cycle(
            f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
            f"authorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
            for body in flood.bodies
            for token in flood.tokens
        )
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._connections: set[_Connection] = set()
        self._on_the_way = 0
        self._is_over = False
        self._done = asyncio.Event()
        self._statuses: Counter[str] = Counter()
        self.found = Flooded()

    async def run(self) -> Flooded:
        """Send all of it."""
        loop = asyncio.get_running_loop()
        for _ in range(self._flood.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
            self._connections.add(connection)
            self._idle.append(connection)
        began = time.perf_counter()
        if self._flood.rate is None:
            await self._as_answered()
        else:
            await self._at_pace(began, self._flood.rate)
        self._is_over = True
        self.found.seconds = time.perf_counter() - began
        if self._on_the_way:
            await asyncio.wait_for(self._done.wait(), GRACE_S)
        for connection in [*self._connections]:
            connection.close()
        self.found.statuses = dict(self._statuses)
        self.found.served_ms.sort()
        self.found.refused_ms.sort()
        self.found.late_ms.sort()
        return self.found

    def note_answer(
        self, connection: _Connection, status: int, headers: dict[bytes, bytes], body: bytes, took_ms: float
    ) -> None:
        """Count an answer; the connection is free for the next request."""
        self._on_the_way -= 1
        self._statuses[str(status)] += 1
        if status == 200 and b'"errors":[{' not in body:
            self.found.served_ms.append(took_ms)
        elif status in AGAIN and headers.get(b"retry-after", b"").isdigit():
            self.found.refused_ms.append(took_ms)
        else:
            self._note_other(f"{status} {body[:200].decode(errors='replace')}")
        self._go_on(connection)

    def note_loss(self, connection: _Connection) -> None:
        """Count a connection that broke with a request on its way, and open another in its place."""
        self._connections.discard(connection)
        if connection.is_busy:
            connection.is_busy = False
            self._on_the_way -= 1
            self._note_other("the connection broke")
        if not self._is_over and not self._done.is_set():
            task = asyncio.ensure_future(self._reopen())
            task.add_done_callback(self._note_if_none)
        self._end_if_over()

    def _note_if_none(self, opened: "asyncio.Future[None]") -> None:
        if opened.exception() is not None:
            self._note_other("no connection can be made")

    async def _reopen(self) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        self._connections.add(connection)
        self._go_on(connection)

    def _note_other(self, what: str) -> None:
        self.found.others += 1
        if len(self.found.examples) < _EXAMPLES:
            self.found.examples.append(what)

    def _go_on(self, connection: _Connection) -> None:
        if connection in self._connections:
            if not self._is_over and self._flood.rate is None:
                self._send(connection)
            elif self._waiting:
                self._send(connection, self._waiting.popleft())
            elif connection in self._connections:
                self._idle.append(connection)
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._is_over and not self._on_the_way and not self._waiting:
            self._done.set()

    def _send(self, connection: _Connection, due: float | None = None) -> None:
        self._on_the_way += 1
        self.found.sent += 1
        if due is not None:
            self.found.late_ms.append((time.perf_counter() - due) * 1000)
        connection.send(next(self._requests))

    def _free(self) -> _Connection | None:
        """Return a connection with nothing on its way, of those that the server has not closed meanwhile."""
        while self._idle:
            connection = self._idle.popleft()
            if connection in self._connections:
                return connection
        return None

    async def _as_answered(self) -> None:
        while (connection := self._free()) is not None:
            self._send(connection)
        await asyncio.sleep(self._flood.seconds)

    async def _at_pace(self, began: float, rate: float) -> None:
        for number in range(int(rate * self._flood.seconds)):
            due = began + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            elif number % 64 == 0:
                # Behind: answers are read nevertheless.
                await asyncio.sleep(0)
            self.found.due += 1
            connection = self._free()
            if connection is not None:
                self._send(connection, due)
            else:
                self._waiting.append(due)
        # What found no connection until here was never sent: the flood is over.
        self._waiting.clear()


def main() -> None:
    """Make the flood that standard input describes."""
    asked: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    found = uvloop.run(_Run(Flood(**asked)).run())
    sys.stdout.buffer.write(orjson.dumps(asdict(found)))


if __name__ == "__main__":
    main()
