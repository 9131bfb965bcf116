"""Connections, each set to the one tenant whose rows it sees.

Row-level security reads the tenant from a setting. Here the setting stays with the connection until another tenant
needs it, so that a statement by itself is one way to the database. A connection leaves by `TenantPool.take` alone, and
only once it is set to the tenant that was asked for. Who took it can't use it once it was given back. Of which nobody
can say what it is set to, or what it is doing, is closed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Any, Final

import asyncpg

from models.transaction import AWAY, Tenant
from models.waiting import LONGEST_WAIT_S, Line

LONGEST_IDLE_S: Final = 300
"""Seconds after which a connection that nobody used is closed, if it is not the last."""

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Seat:
    """A connection, and the tenant that it is set to; None where nobody can say."""

    __slots__ = ("connection", "idle_since", "tenant")

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.tenant: Tenant | None = None
        self.idle_since = 0.0


class Lent:
    """A connection, for as long as it is whose who took it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection: asyncpg.Connection | None = connection

    def __getattr__(self, name: str) -> Any:
        if self._connection is None:
            raise GivenBackError("The connection was given back, and may be another tenant's by now.")
        return getattr(self._connection, name)

    def take_back(self) -> None:
        """Let nobody use it by this any more."""
        self._connection = None


class TenantPool:
    """Connections for one purpose, opened as they are needed.

    connect: opens one.
    largest: how many there are at the most. line: who waits until one is opened or given back.
    """

    def __init__(self, connect: Connect, *, largest: int) -> None:
        self._connect = connect
        self._largest = largest
        self._places = 0
        self.line = Line()
        self._seats: set[Seat] = set()
        self._idle: list[Seat] = []
        self._waiting: deque[asyncio.Future[Seat | None]] = deque()
        self._settling: set[asyncio.Task[None]] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def in_use(self) -> int:
        """How many connections somebody holds, or is about to."""
        return self._places - len(self._idle)

    @property
    def largest(self) -> int:
        """How many connections there are at the most."""
        return self._largest

    async def take(self, tenant: Tenant) -> Seat:
        """Return a connection that is set to the tenant, for `give_back` or `settle`. Who came first is served first.

        Raises:
            TimeoutError: for `LONGEST_WAIT_S` there was none.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is away.
        """
        seat = self._idle_seat(tenant)
        if seat is None:
            with self.line.waiting(tenant.organization_id):
                async with asyncio.timeout(LONGEST_WAIT_S):
                    seat = await self._open_or_wait()
        if seat.tenant != tenant:
            await self._enter(seat, tenant)
        return seat

    def give_back(self, seat: Seat) -> None:
        """Hand on a connection on which every statement is done."""
        if self._is_closed or seat.connection.is_closed():
            self._drop(seat)
        elif seat.connection.is_in_transaction():
            self.settle(seat)
        elif (waiter := self._next_waiter()) is not None:
            waiter.set_result(seat)
        else:
            loop = asyncio.get_running_loop()
            seat.idle_since = loop.time()
            self._idle.append(seat)
            if self._trimming is None:
                self._trimming = loop.call_later(LONGEST_IDLE_S, self._trim)

    def settle(self, seat: Seat) -> None:
        """Hand on a connection once its transaction is over, and what was cancelled on it has stopped."""
        if seat.connection.is_closed():
            self._drop(seat)
            return
        task = asyncio.get_running_loop().create_task(self._settle(seat))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Close all connections, also those that somebody still holds."""
        self._is_closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(asyncpg.InterfaceError("The pool is closed."))
        await asyncio.gather(*self._settling, return_exceptions=True)
        idle, self._idle = self._idle, []
        for seat in idle:
            try:
                async with asyncio.timeout(1):
                    await seat.connection.close()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pass
        for seat in list(self._seats):
            self._drop(seat)

    def _idle_seat(self, tenant: Tenant) -> Seat | None:
        """Return the tenant's connection that was used last, else the one that was used the longest ago."""
        idle = self._idle
        for index in range(len(idle) - 1, -1, -1):
            if idle[index].tenant == tenant:
                seat = idle.pop(index)
                if not seat.connection.is_closed():
                    return seat
                self._drop(seat)
        while idle:
            seat = idle.pop(0)
            if not seat.connection.is_closed():
                return seat
            self._drop(seat)
        return None

    async def _open_or_wait(self) -> Seat:
        if self._is_closed:
            raise asyncpg.InterfaceError("The pool is closed.")
        if self._places < self._largest:
            self._places += 1
            return await self._open()
        waiter: asyncio.Future[Seat | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            seat = await waiter
        except BaseException:
            # What was handed to somebody who stopped waiting at that moment goes on to the next.
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(waiter)
            elif waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        return seat or await self._open()

    async def _open(self) -> Seat:
        """Return a new connection, in a place that was taken for it."""
        try:
            connection = await self._connect()
        except BaseException:
            self._free_place()
            raise
        seat = Seat(connection)
        self._seats.add(seat)
        if self._is_closed:
            self._drop(seat)
            raise asyncpg.InterfaceError("The pool is closed.")
        return seat

    async def _enter(self, seat: Seat, tenant: Tenant) -> None:
        seat.tenant = None
        try:
            await seat.connection.execute(tenant.entering(for_good=True))
        except BaseException:
            self._drop(seat)
            raise
        seat.tenant = tenant

    async def _settle(self, seat: Seat) -> None:
        connection = seat.connection
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                # asyncpg sends nothing before what was cancelled has stopped. Only then it knows of a transaction.
                if not connection.is_in_transaction():
                    await connection.execute("select 1")
                if connection.is_in_transaction():
                    await connection.execute("rollback")
        except BaseException as error:
            self._drop(seat)
            if not isinstance(error, AWAY):
                raise
        else:
            self.give_back(seat)

    def _drop(self, seat: Seat) -> None:
        """Close a connection at once and give its place to whoever waits."""
        seat.connection.terminate()
        if seat in self._seats:
            self._seats.discard(seat)
            self._free_place()

    def _pass_on(self, seat: Seat | None) -> None:
        if seat is None:
            self._free_place()
        else:
            self.give_back(seat)

    def _free_place(self) -> None:
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._places -= 1

    def _next_waiter(self) -> asyncio.Future[Seat | None] | None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                return waiter
        return None

    def _trim(self) -> None:
        """Close what nobody used for long; the list is in the order in which they were given back."""
        loop = asyncio.get_running_loop()
        while len(self._idle) > 1 and loop.time() - self._idle[0].idle_since >= LONGEST_IDLE_S:
            self._drop(self._idle.pop(0))
        self._trimming = loop.call_later(LONGEST_IDLE_S, self._trim)


class GivenBackError(Exception):
    """A connection was about to be used by somebody who had given it back."""


class Purpose(StrEnum):
    """What connections are for."""

    READING = "READING"
    APPENDING = "APPENDING"
    STANDBY = "STANDBY"
    KEEPING = "KEEPING"


_open_pools: Final[dict[tuple[asyncio.AbstractEventLoop, Purpose], list[TenantPool]]] = {}
"""By the event loop that they belong to; the last one counts."""


@asynccontextmanager
async def open_pool(purpose: Purpose, connect: Connect, *, largest: int) -> AsyncIterator[TenantPool]:
    """Let the connections of a purpose be taken from here for as long as the block runs."""
    key = asyncio.get_running_loop(), purpose
    pool = TenantPool(connect, largest=largest)
    pools = _open_pools.setdefault(key, [])
    pools.append(pool)
    try:
        yield pool
    finally:
        pools.remove(pool)
        if not pools:
            del _open_pools[key]
        await pool.close()


def pools_here() -> Mapping[Purpose, TenantPool]:
    """Return the pools that are open."""
    loop = asyncio.get_running_loop()
    return {purpose: pools[-1] for (its, purpose), pools in _open_pools.items() if its is loop}


def pool_for(purpose: Purpose) -> TenantPool:
    """Return the pool that is open. Raises `LookupError` if none is."""
    return _open_pools[asyncio.get_running_loop(), purpose][-1]
