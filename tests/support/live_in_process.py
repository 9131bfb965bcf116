"""A connection that follows what changes, in this process: it is woken when it is told to be, by nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from auth.principal import Channel, Origin, Viewer
from fieldward.demo.people import PEOPLE
from models.base import new_id
from resolvers.account import member_viewer
from resolvers.live import Listeners, reader_of
from resolvers.services import Services
from resolvers.trail import Actor
from schema.context import RequestContext
from schema.document import Documents
from schema.live_connection import ClosedError, Live, LiveConnection
from tests.support.live import FOLLOW
from tests.support.world import World

LONGEST_S: Final = 10.0


@dataclass
class Somebody:
    """Who opened the connection. check: called before each look; what it raises is why they do not stand."""

    services: Services
    viewer: Viewer
    check: Callable[[], None] = lambda: None
    ends_in_s: float | None = None

    @property
    def organization_id(self) -> UUID:
        return self.viewer.organization_id

    async def operation_context(self) -> RequestContext:
        self.check()
        actor = Actor(self.organization_id, Origin(channel=Channel.API, request_id=new_id()), self.viewer)
        return RequestContext(self.services, actor, reader_of(self.viewer))

    async def event_context(self) -> RequestContext:
        return await self.operation_context()


@dataclass
class InProcess:
    """One connection, from the client's side."""

    who: Somebody
    listeners: Listeners
    _said: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _heard: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _closed: asyncio.Future[ClosedError] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def run(self, live: Live) -> None:
        """Serve the connection."""

        async def initialise(_: Any) -> Somebody:
            return self.who

        async def close(closed: ClosedError) -> None:
            self._closed.set_result(closed)

        send: Callable[[str], Awaitable[None]] = self._heard.put
        await LiveConnection(live, initialise, self._said.get, send).run(close)

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self._said.put(json.dumps(message))

    async def hear(self, *, longest_s: float = LONGEST_S) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(longest_s):
            said: dict[str, Any] = json.loads(await self._heard.get())
        return said

    async def page(self, *, longest_s: float = LONGEST_S) -> dict[str, Any]:
        """Return the next page, in which nothing failed."""
        said = await self.hear(longest_s=longest_s)
        assert (said["type"], set(said["payload"])) == ("next", {"data"}), said
        found: dict[str, Any] = said["payload"]["data"]["changes"]
        return found

    async def follow(self, query: str = FOLLOW, **variables: Any) -> dict[str, Any]:
        """Follow what changes, and return the first page."""
        await self.send(type="subscribe", id="1", payload={"query": query, "variables": variables})
        return await self.page()

    def wake(self) -> None:
        """Say that something may have happened."""
        self.listeners.wake(self.who.organization_id)

    def unheard(self) -> list[dict[str, Any]]:
        """Return what was said and not heard yet."""
        found = []
        while not self._heard.empty():
            found.append(json.loads(self._heard.get_nowait()))
        return found

    async def closed(self, *, longest_s: float = LONGEST_S) -> tuple[int, str]:
        """Return with what the server closes the connection."""
        async with asyncio.timeout(longest_s):
            closed = await asyncio.shield(self._closed)
        return closed.code, closed.reason


@asynccontextmanager
async def following(world: World, key: str, services: Services | None = None) -> AsyncIterator[InProcess]:
    """Open a connection of a person of the demo. services: with which it is served; the world's, if none are named."""
    person = next(one for one in PEOPLE if one.key == key)
    viewer = await member_viewer(person.organization, email=person.email)
    listeners = Listeners()
    listeners.resume()
    live = InProcess(Somebody(services or world.services, viewer), listeners)
    serving = asyncio.create_task(live.run(Live(world.api, Documents(), listeners, asyncio.Semaphore(2))))
    try:
        await live.send(type="connection_init")
        assert await live.hear() == {"type": "connection_ack"}
        yield live
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
