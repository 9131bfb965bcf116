"""The servers of one database: which of them takes writes at the moment, and how each is reached.

One server is asked as it is named. Of several, one takes writes and the others follow it; which that is changes while
the service runs. A connection that is to write is opened at whichever server says that it takes writes. A server that
says so, and stands on an older timeline than one that was seen before, was the primary once and has not heard that it
is none any more: it is not believed. Of each connection it is known at which server it ends, so that all that lead to
one can be cut at once: what waits for an answer that never comes fails then, and goes on elsewhere.

Standard: PostgreSQL 18, "Database Connection Control Functions" (`host`, `target_session_attrs`) and "Timelines".
"""

import asyncio
import math
import random
import socket
import time
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import asyncpg

Credentials = dict[str, Any]
"""asyncpg's arguments for a connection."""

ANSWER_S: Final = 2.0
"""Seconds that a server of several may take to let somebody in, before another one is asked."""
AGAIN_S: Final = 0.3
"""Seconds after which a server that takes no writes is asked again, while none does."""
PATIENCE_S: Final = 5.0
"""Seconds for which they are asked in one go."""
SILENT_MS: Final = 6_000
"""Milliseconds for which a server's machine may acknowledge nothing, before a connection to it counts as lost."""

_WRITING: Final = frozenset({"read-write", "primary"})
_STANDING: Final = """
    select pg_is_in_recovery() as follows,
           case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_lsn()) end as wal_file,
           case when not pg_is_in_recovery() then pg_current_wal_flush_lsn() end - '0/0'::pg_lsn as position
"""
_UNREACHED: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class NoPrimaryError(ConnectionError):
    """None of the servers takes writes, as far as they can be reached."""


class NoStandbyError(ConnectionError):
    """None of the servers follows another, as far as they can be reached."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens. host: a name, an address, or the directory of a socket."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server said of itself. timeline, position: of one that takes writes; bytes of its log, on disk."""

    follows: bool
    timeline: int = 0
    position: int = 0


class Cluster:
    """The servers of one database, as one role reaches them.

    primary: the server that took writes when it was last looked at. is_lost: it was looked for, and none was found;
    nobody else looks for it then until somebody has found it (`look`).
    """

    def __init__(self, credentials: Credentials) -> None:
        given = dict(credentials)
        hosts, ports = given.pop("host", "localhost"), given.pop("port", 5432)
        self._attributes: str | None = given.pop("target_session_attrs", None)
        self._credentials = given
        self.servers: Sequence[Server] = (
            [Server(host, port) for host, port in zip(hosts, ports, strict=True)]
            if isinstance(hosts, list)
            else [Server(hosts, ports)]
        )
        self.primary: Server | None = None
        self.is_lost = False
        self.timeline = 0
        self.position = 0
        self._seen_at = -math.inf
        self._connections: WeakKeyDictionary[asyncpg.Connection, Server] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<cluster of {len(self.servers)}>"

    @property
    def has_several(self) -> bool:
        """Whether there is more than one server, and so another to go to."""
        return len(self.servers) > 1

    @property
    def silent_for_s(self) -> float:
        """Seconds since a server was last seen to take writes; infinite where none ever was."""
        return time.monotonic() - self._seen_at

    async def connect(self, **more: Any) -> asyncpg.Connection:
        """Return a connection to the server that takes writes.

        more: further arguments of asyncpg's, over those of the credentials.

        Raises:
            NoPrimaryError: there is none of several, or it is known to be lost.
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: one server, and it is away.
        """
        if not self.has_several:
            if self._attributes is not None:
                more = {"target_session_attrs": self._attributes, **more}
            return await self._open(self.servers[0], more)
        if self.is_lost:
            raise NoPrimaryError("No server takes writes at the moment.")
        return await self._find(more)

    async def connect_to(self, server: Server) -> asyncpg.Connection:
        """Return a connection to one of the servers, whatever it is at the moment.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: it does not let us in.
        """
        return await self._open(server, {})

    async def look(self, **more: Any) -> asyncpg.Connection:
        """Look for the server that takes writes, also where it is known to be lost; return a connection to it.

        Where it is, each server is asked again and again for a while, whatever the others are waited for.

        Raises:
            NoPrimaryError: there is none.
        """
        if not self.is_lost:
            return await self._find(more)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._race([self._ask_on(one, more) for one in self.servers])
        except TimeoutError as error:
            raise NoPrimaryError("No server takes writes at the moment.") from error

    async def connect_standby(self, **more: Any) -> asyncpg.Connection:
        """Return a connection to one of the servers that follow, whichever it is.

        Raises:
            NoStandbyError: there is none.
        """
        others = [one for one in self.servers if self.is_lost or one != self.primary]
        for server in random.sample(others, len(others)):
            try:
                async with asyncio.timeout(ANSWER_S):
                    connection = await self._open(server, more)
                    standing = await self._standing(connection)
            except _UNREACHED:
                continue
            if standing.follows:
                return connection
            connection.terminate()
        raise NoStandbyError("No standby can be reached at the moment.")

    async def note(self, connection: asyncpg.Connection) -> bool:
        """Ask the server of a connection whether it still takes writes, remember how far it is, and return that.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: it does not answer.
        """
        standing = await self._standing(connection)
        if standing.follows or standing.timeline < self.timeline:
            return False
        self._see(self._connections.get(connection), standing)
        return True

    def lose(self) -> None:
        """Remember that none of the servers takes writes, and cut what leads to them."""
        self.is_lost, self.primary = True, None
        self.cut(self.servers)

    def cut_others(self) -> int:
        """Cut what leads to servers that are not the primary; return how many connections that were."""
        return self.cut([one for one in self.servers if one != self.primary])

    def cut(self, servers: Collection[Server]) -> int:
        """End every connection that leads to one of the servers; return how many. Who waits on one is told so."""
        ended = 0
        for connection, server in list(self._connections.items()):
            if server in servers and not connection.is_closed():
                connection.terminate()
                ended += 1
        return ended

    async def _find(self, more: Credentials) -> asyncpg.Connection:
        """Ask the server that was the primary; unless it still is, ask all at once."""
        known = self.primary
        if known is not None:
            try:
                return await self._open_primary(known, more)
            except _UNREACHED:
                pass
        return await self._race([self._open_primary(one, more) for one in self.servers])

    async def _race(self, asked: Sequence[Coroutine[Any, Any, asyncpg.Connection]]) -> asyncpg.Connection:
        """Return what comes first of what opens a connection to the primary."""
        tasks = [asyncio.create_task(one) for one in asked]
        failure: Exception | None = None
        try:
            for finished in asyncio.as_completed(tasks):
                try:
                    found = await finished
                    break
                except _UNREACHED as error:
                    failure = error
            else:
                raise NoPrimaryError("No server takes writes at the moment.") from failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # Of two that claim it, the one that was found first is taken, unless the other stands on a newer timeline.
        for task in tasks:
            if not task.cancelled() and task.exception() is None and task.result() is not found:
                task.result().terminate()
        if self._connections.get(found) != self.primary:
            found.terminate()
            raise NoPrimaryError("Two servers claimed to take writes.")
        return found

    async def _open_primary(self, server: Server, more: Credentials) -> asyncpg.Connection:
        connection: asyncpg.Connection | None = None
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._open(server, more)
                standing = await self._standing(connection)
            if standing.follows or standing.timeline < self.timeline:
                raise NoPrimaryError("This server takes no writes.")
        except BaseException:
            if connection is not None:
                connection.terminate()
            raise
        self._see(server, standing)
        return connection

    async def _ask_on(self, server: Server, more: Credentials) -> asyncpg.Connection:
        while True:
            try:
                return await self._open_primary(server, more)
            except _UNREACHED:
                await asyncio.sleep(AGAIN_S)

    def _see(self, server: Server | None, standing: Standing) -> None:
        if server is None or standing.timeline < self.timeline:
            return
        self.primary, self.is_lost = server, False
        self.timeline, self.position = standing.timeline, max(standing.position, self.position)
        self._seen_at = time.monotonic()

    async def _open(self, server: Server, more: Credentials) -> asyncpg.Connection:
        connection: asyncpg.Connection = await asyncpg.connect(
            host=server.host, port=server.port, **{**self._credentials, **more}
        )
        _notice_silence(connection)
        self._connections[connection] = server
        return connection

    @staticmethod
    async def _standing(connection: asyncpg.Connection) -> Standing:
        row = await connection.fetchrow(_STANDING, timeout=ANSWER_S)
        assert row is not None
        if row["follows"]:
            return Standing(follows=True)
        return Standing(follows=False, timeline=timeline_of(row["wal_file"]), position=int(row["position"]))


def timeline_of(wal_file: str) -> int:
    """Return the timeline of a file of the log: the first eight digits of its name (PostgreSQL, "WAL Internals")."""
    return int(wal_file[:8], 16)


def requires_writes(attributes: str) -> bool:
    """Return whether what a URL says of `target_session_attrs` is what the service takes: a server to write to."""
    return attributes in _WRITING


def _notice_silence(connection: asyncpg.Connection) -> None:
    """Have the system notice that the machine at the other end is gone, also while an answer is waited for."""
    # asyncpg keeps it to itself, and sets TCP_NODELAY on the same.
    transport: Any = getattr(connection, "_transport")  # noqa: B009
    found = transport.get_extra_info("socket")
    if found is None or found.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    wanted: list[tuple[int, str, int]] = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 2),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 2),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        # Linux's alone; elsewhere the system's own patience with what is not acknowledged counts.
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", SILENT_MS),
    ]
    for level, name, value in wanted:
        if (option := getattr(socket, name, None)) is not None:
            with suppress(OSError):
                found.setsockopt(level, option, value)
