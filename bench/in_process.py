"""Fieldward's whole application in this process: what a server calls for each request, without the socket."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Scope

from bench.targets.base import RefusedError


class App:
    """The application, answering requests one at a time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def ask(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the answer to a GraphQL request, as it would be sent.

        Raises:
            RefusedError: there are errors in it.
        """
        parts: list[bytes] = []
        status = 0
        sent = {"host": "bench", "content-type": "application/json", "content-length": str(len(body)), **headers}
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("bench", 80),
        }

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        answer = b"".join(parts)
        if status != 200 or _has_errors(answer):
            raise RefusedError(f"The application answered {status}: {answer[:800].decode(errors='replace')}")
        return answer


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[App]:
    """Yield the application, with what it opens when a server starts it."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    lifespan = asyncio.create_task(_run(app(scope, to_app.get, from_app.put)))
    await to_app.put({"type": "lifespan.startup"})
    if (await from_app.get())["type"] != "lifespan.startup.complete":
        await lifespan
        raise RefusedError("The application does not start.")
    try:
        yield App(app)
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await lifespan


async def _run(work: Any) -> None:
    await work


def _has_errors(answer: bytes) -> bool:
    parsed = orjson.loads(answer)
    payloads = (parsed.get("data") or {}).values()
    return bool(parsed.get("errors")) or any(isinstance(one, dict) and one.get("errors") for one in payloads)
