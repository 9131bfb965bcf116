"""A client of graphql-transport-ws that says what it is told to say, and keeps all that it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from tests.conftest import Template
from tests.support.server import Process, Server, database_url, own_data_directory, start_process, wait_until_ready
from tests.support.world import SIGN_IN, Client, World

PROTOCOL: Final = "graphql-transport-ws"
LONGEST_S: Final = 10.0
FOLLOW: Final = """
subscription Follow($after: String, $types: [ChangedType!], $project: ID) {
  changes(after: $after, types: $types, projectId: $project) {
    cursor hasMore accessChanged
    changes { kind type id record { id siteName comment } device { id status } project { id } }
  }
}
"""


@dataclass
class LiveClient:
    """One connection."""

    socket: ClientConnection
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send a message."""
        await self.socket.send(message if isinstance(message, str) else json.dumps(message))

    async def hear(self, *, longest_s: float = LONGEST_S) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(longest_s):
            said: dict[str, Any] = json.loads(await self.socket.recv())
        self.heard.append(said)
        return said

    async def hears_nothing(self, *, for_s: float = 0.7) -> bool:
        """Return whether nothing is said for so long."""
        try:
            await self.hear(longest_s=for_s)
        except TimeoutError:
            return True
        return False

    async def init(self, token: str | None) -> None:
        """Say who it is, and hear that it is let in."""
        payload = {} if token is None else {"payload": {"Authorization": f"Bearer {token}"}}
        await self.send({"type": "connection_init", **payload})
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, query: str = FOLLOW, *, id: str = "1", **variables: Any) -> None:
        """Begin an operation."""
        await self.send({"type": "subscribe", "id": id, "payload": {"query": query, "variables": variables}})

    async def follow(self, *, id: str = "1", **variables: Any) -> str:
        """Follow what changes, and return the cursor of the first page, in which there is nothing."""
        await self.subscribe(id=id, **variables)
        page = await self.page(id=id)
        assert page["changes"] == []
        return str(page["cursor"])

    async def page(self, *, id: str = "1", longest_s: float = LONGEST_S) -> dict[str, Any]:
        """Return the next page."""
        said = await self.hear(longest_s=longest_s)
        assert (said["type"], said["id"]) == ("next", id), said
        found: dict[str, Any] = said["payload"]["data"]["changes"]
        return found

    async def closed(self, *, longest_s: float = LONGEST_S) -> tuple[int, str]:
        """Return with what the server closes the connection; what it says before is kept."""
        try:
            while True:
                await self.hear(longest_s=longest_s)
        except websockets.ConnectionClosed:
            return self.socket.close_code or 0, self.socket.close_reason or ""


@dataclass
class Demo:
    """The people of a demo that runs as a process of its own, signed in when they are asked for."""

    server: Server
    http: httpx.AsyncClient
    _clients: dict[str, Client] = field(default_factory=dict)

    async def client(self, role: str) -> Client:
        """Return a client of who has that role in the demo's first organization."""
        if role not in self._clients:
            email, password = self.server.sign_ins[role]
            answer = await Client(self.http).run(SIGN_IN, {"input": {"email": email, "password": password}})
            assert answer.data["signIn"]["errors"] == []
            self._clients[role] = Client(self.http, answer.data["signIn"]["accessToken"], password=password)
        return self._clients[role]

    async def project(self) -> str:
        """Return the first project's id."""
        query = '{ projects(filter: {code: {eq: "CANAL"}}) { nodes { id } } }'
        (found,) = (await (await self.client("manager")).run(query)).data["projects"]["nodes"]
        return str(found["id"])


@asynccontextmanager
async def connecting(
    url: str, *, protocol: str | None = PROTOCOL, origin: str | None = None, **headers: str
) -> AsyncIterator[LiveClient]:
    """Open a connection to a server."""
    async with websockets.connect(
        f"{url.replace('http', 'ws', 1)}/graphql",
        subprotocols=[websockets.Subprotocol(protocol)] if protocol else None,
        origin=websockets.Origin(origin) if origin else None,
        additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        proxy=None,
    ) as socket:
        yield LiveClient(socket)


@asynccontextmanager
async def two_servers(world: World, template: Template, directory: Path) -> AsyncIterator[tuple[str, str]]:
    """Run two server processes over the world's database, and yield where they listen."""
    urls = {
        "FIELDWARD_DATABASE_URL": database_url(world.service),
        "FIELDWARD_KEYSTORE_URL": database_url(template.postgres.service("fieldward_keys")),
        "FIELDWARD_POOL_SIZE": "6",
        # What this process signs, those take.
        "FIELDWARD_ISSUER": template.settings.token_issuer,
    }
    started: list[Process] = []
    try:
        keys = own_data_directory(template.settings.data_directory, directory / "data")
        started += [start_process(keys, urls, directory / f"{name}.log") for name in ("first", "second")]
        for one in started:
            await asyncio.to_thread(wait_until_ready, one)
        yield started[0].url, started[1].url
    finally:
        exits = [await asyncio.to_thread(one.stop) for one in started]
    assert exits == [0, 0]
    assert not any('"level": "error"' in one.log.read_text() for one in started)
