"""Reading: connections that can't write, each set to the one tenant whose rows it sees.

Row-level security reads the tenant from a setting. Here the setting stays with the connection until another tenant
needs it, so that a statement by itself is one way to the database. Outside of these functions no row of any tenant is
seen, whatever the query: a connection leaves by `ReadingPool.take` alone, and only once it is set to the tenant that
was asked for. Who took it can't use it once it was given back. Of which nobody can say what it is set to, or what it is
doing, is closed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Final, cast

import asyncpg

from models.transaction import AWAY, LONGEST_WAIT_S, Tenant, unavailable

LONGEST_IDLE_S: Final = 300
"""Seconds after which a connection that nobody used is closed, if it is not the last."""

_BEGIN: Final = "begin isolation level repeatable read read only"

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Seat:
    """A connection, and the tenant that it is set to; None where nobody can say."""

    __slots__ = ("connection", "idle_since", "tenant")

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.tenant: Tenant | None = None
        self.idle_since = 0.0


class _Lent:
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


class ReadingPool:
    """Connections for reading, opened as they are needed.

    connect: opens one. It must be one that can't write.
    largest: how many there are at the most.
    """

    def __init__(self, connect: Connect, *, largest: int) -> None:
        self._connect = connect
        self._largest = largest
        self._places = 0
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

    async def take(self, tenant: Tenant) -> Seat:
        """Return a connection that is set to the tenant, for `give_back` or `settle`. Who came first is served first.

        Raises:
            TimeoutError: for `LONGEST_WAIT_S` there was none.
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: the database is away.
        """
        seat = self._idle_seat(tenant)
        if seat is None:
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


class _Reading:
    """A connection of a tenant's, between taking it and giving it back."""

    __slots__ = ("_lent", "_pool", "_seat", "_tenant")

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant

    async def __aenter__(self) -> asyncpg.Connection:
        self._pool = reading_pool()
        try:
            self._seat = await self._pool.take(self._tenant)
            await self._begin()
        except AWAY as error:
            raise unavailable(error) from error
        self._lent = _Lent(self._seat.connection)
        return cast(asyncpg.Connection, self._lent)

    async def _begin(self) -> None:
        """Do what comes before the first statement."""


class OneStatement(_Reading):
    """`async with` a connection for one statement of a tenant's. A statement by itself sees one moment.

    Raises:
        UnavailableError: the database is away, or took too long.
    """

    __slots__ = ()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lent.take_back()
        if error is None:
            self._pool.give_back(self._seat)
            return
        self._pool.settle(self._seat)
        if isinstance(error, AWAY):
            raise unavailable(error) from error


class Snapshot(_Reading):
    """`async with` a connection on which all statements see one moment of a tenant's rows.

    Raises:
        UnavailableError: the database is away, or took too long.
    """

    __slots__ = ()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if isinstance(error, AWAY):
            raise unavailable(error) from error

    async def _begin(self) -> None:
        try:
            await self._seat.connection.execute(_BEGIN)
        except BaseException:
            self._pool.settle(self._seat)
            raise

    def end(self) -> None:
        """End the transaction. Nothing was written, so nobody waits for it: there is nothing to commit."""
        self._lent.take_back()
        self._pool.settle(self._seat)


class GivenBackError(Exception):
    """A connection was about to be used by somebody who had given it back."""


_open_pools: Final[dict[asyncio.AbstractEventLoop, list[ReadingPool]]] = {}
"""By the event loop that they belong to; the last one counts."""


@asynccontextmanager
async def open_reading(connect: Connect, *, largest: int) -> AsyncIterator[ReadingPool]:
    """Let `OneStatement` and `Snapshot` read over such connections for as long as the block runs."""
    loop = asyncio.get_running_loop()
    pool = ReadingPool(connect, largest=largest)
    pools = _open_pools.setdefault(loop, [])
    pools.append(pool)
    try:
        yield pool
    finally:
        pools.remove(pool)
        if not pools:
            del _open_pools[loop]
        await pool.close()


def reading_pool() -> ReadingPool:
    """Return the pool that is open. Raises `LookupError` if none is."""
    return _open_pools[asyncio.get_running_loop()][-1]
