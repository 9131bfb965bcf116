"""Requests put to the application as a server puts them, for what no client library sends."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from tests.support.world import World, json_body

OWN = "application/graphql-response+json"
VIEWER = "{ viewer { role } }"
ASKED = json_body({"query": VIEWER})
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Sent:
    """What the application sent: status, headers in their order, and the body."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def media_type(self) -> str:
        """The body's media type."""
        return self.header("content-type")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors; fails where there is anything beside them."""
        shown = json.loads(self.body)
        assert list(shown) == ["errors"]
        errors: list[dict[str, Any]] = shown["errors"]
        return errors

    def header(self, name: str) -> str:
        """Return the one value of a header."""
        (value,) = (value for key, value in self.headers if key == name.encode())
        return value.decode()


@dataclass(frozen=True)
class Request:
    """A request as it is put to the application.

    body: in the pieces that it comes in. None stands for a client that goes away.
    """

    body: Sequence[bytes | None] = (ASKED,)
    headers: Sequence[tuple[bytes, bytes]] = (JSON,)
    method: str = "POST"
    path: str = "/graphql"
    query_string: bytes = b""
    before_body: Callable[[], Awaitable[None]] | None = None

    def scope(self) -> Scope:
        """Return what a server makes of it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query_string,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 4711),
            "server": ("fieldward.test", 80),
            "state": {},
        }


def given(body: Any, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request with a JSON body."""
    return Request((body if isinstance(body, bytes) else json_body(body),), (JSON, *headers))


def typed(*content_types: str, body: bytes = ASKED) -> Request:
    """Return a request whose body is said to be of these types."""
    return Request((body,), [(b"content-type", one.encode("latin-1")) for one in content_types])


async def put(app: ASGIApp, request: Request) -> Sent | None:
    """Put a request to the application, and return what it sent; None where it sent nothing."""
    pieces = list(request.body)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        if request.before_body is not None:
            await request.before_body()
        if not pieces or pieces[0] is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(request.scope(), receive, send)
    if not sent:
        return None
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [one["type"] for one in rest] == ["http.response.body"] * len(rest)
    assert not rest[-1].get("more_body", False)
    return Sent(start["status"], list(start["headers"]), b"".join(one.get("body", b"") for one in rest))


async def answered(app: ASGIApp, request: Request) -> Sent:
    """Put a request that gets an answer."""
    sent = await put(app, request)
    assert sent is not None
    assert int(sent.header("content-length")) == len(sent.body)
    return sent


async def open_transactions(world: World) -> int:
    """Return how many transactions the service has open and keeps open: nobody waits for those that are ending."""
    found = 0
    for _ in range(100):
        found = await world.value(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"
        )
        if not found:
            break
        await asyncio.sleep(0.02)
    return found
