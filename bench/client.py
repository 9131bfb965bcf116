"""Our own load generator: `python -m bench.client` reads a `Load` as JSON and prints a `Counted`.

At a pace, requests are due at equal intervals, whether or not earlier ones have been answered, and a latency counts
from when its request was due: a server that falls behind can't hide it.
"""

import asyncio
import sys
import time
from collections import deque
from dataclasses import asdict
from itertools import cycle
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools
import orjson

from bench.load import Counted, Load

GRACE_S: Final = 30
"""Seconds that requests on their way are waited for at the end."""


class _Connection(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, run: "_Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._due = 0.0
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)
        self.is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self.is_busy:
            self._run.note_loss(self)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due then."""
        assert self._transport is not None
        self._due, self._parts, self.is_busy = due, [], True
        self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        self.is_busy = False
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._run.bytes += len(data)
        self._parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        """Take a part of an answer."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Note an answer, and take the next request."""
        body = b"".join(self._parts)
        failed = self._parser.get_status_code() != 200 or b'"errors":[{' in body or b'"errors": [{' in body
        if failed:
            self._run.example = f"{self._parser.get_status_code()} {body[:300].decode(errors='replace')}"
        keeps = self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        self.is_busy = False
        self._run.note_answer(self, time.perf_counter() - self._due, failed=failed or not keeps)


class _Run:
    def __init__(self, load: Load) -> None:
        self._load = load
        parts = urlsplit(load.url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        head = "".join(
            f"{name}: {value}\r\n"
            for name, value in {"host": parts.netloc, "content-type": "application/json", **load.headers}.items()
        )
        path = parts.path or "/"
        self._requests = cycle(
            f"POST {path} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body for body in load.bodies
        )
        self._latencies: list[float] = []
        self._errors = 0
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._ends_at = 0.0
        self._over = asyncio.Event()
        self._on_the_way = 0
        self.bytes = 0
        self.example = ""

    async def run(self) -> Counted:
        """Make the load."""
        loop = asyncio.get_running_loop()
        connections = [
            (await loop.create_connection(lambda: _Connection(self), self._host, self._port))[1]
            for _ in range(self._load.connections)
        ]
        started = time.perf_counter()
        self._ends_at = started + self._load.seconds
        if self._load.rate is None:
            for connection in connections:
                self._send(connection, time.perf_counter())
            await asyncio.sleep(self._load.seconds)
        else:
            self._idle.extend(connections)
            await self._pace(started, self._load.rate)
        answered, ended = len(self._latencies), time.perf_counter()
        if self._on_the_way or self._waiting:
            await asyncio.wait_for(self._over.wait(), GRACE_S)
        if self._load.rate is not None:
            # What was due counts, and so does the time until its last answer.
            answered, ended = len(self._latencies), time.perf_counter()
        for connection in connections:
            connection.close()
        ordered = sorted(self._latencies) or [0.0]
        return Counted(
            requests=answered,
            seconds=ended - started,
            bytes=self.bytes,
            p50_ms=_percentile(ordered, 50) * 1000,
            p99_ms=_percentile(ordered, 99) * 1000,
            errors=self._errors,
            example=self.example,
        )

    def note_answer(self, connection: _Connection, latency_s: float, *, failed: bool) -> None:
        """Count an answer; the connection is free for the next request."""
        self._on_the_way -= 1
        self._latencies.append(latency_s)
        self._errors += failed
        now = time.perf_counter()
        if self._load.rate is None:
            if now < self._ends_at:
                self._send(connection, now)
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)
        if now >= self._ends_at and not self._on_the_way and not self._waiting:
            self._over.set()

    def note_loss(self, connection: _Connection) -> None:
        """Count a connection that broke with a request on its way."""
        connection.is_busy = False
        self._on_the_way -= 1
        self._errors += 1
        if not self._on_the_way:
            self._over.set()

    def _send(self, connection: _Connection, due: float) -> None:
        self._on_the_way += 1
        connection.send(next(self._requests), due)

    async def _pace(self, started: float, rate: float) -> None:
        for number in range(int(rate * self._load.seconds)):
            due = started + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._waiting.append(due)
        self._ends_at = time.perf_counter()


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def main() -> None:
    """Make the load that standard input describes."""
    asked: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    load = Load(**{**asked, "bodies": [body.encode() for body in asked["bodies"]]})
    try:
        import uvloop

        counted = uvloop.run(_Run(load).run())
    except ImportError:
        counted = asyncio.run(_Run(load).run())
    sys.stdout.buffer.write(orjson.dumps(asdict(counted)))


if __name__ == "__main__":
    main()
