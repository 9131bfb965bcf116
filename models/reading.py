"""Reading: connections that can't write, for one statement or for several of one moment.

Outside of these blocks no row of any tenant is seen, whatever the query. Entries of the audit trail that are a
transaction by themselves are written by `OneStatement`, too, over connections of their own.
"""

import re
from types import TracebackType
from typing import Final, Self, cast

import asyncpg

from models.pool import Lent, Purpose, pool_for
from models.staleness import Stale, staleness
from models.transaction import AWAY, DEMOTED, Tenant, unavailable

_BEGIN: Final = "begin isolation level repeatable read read only"


class _Taken:
    """A connection of a tenant's, between taking it and giving it back."""

    __slots__ = ("_lent", "_pool", "_purpose", "_seat", "_tenant")

    def __init__(self, tenant: Tenant, purpose: Purpose = Purpose.READING) -> None:
        self._tenant = tenant
        self._purpose = purpose

    async def _lend(self) -> asyncpg.Connection:
        stale = staleness() if self._purpose is Purpose.READING else None
        try:
            if stale is None or not await self._take_standby(stale):
                await self._take(self._purpose)
        except AWAY as error:
            raise unavailable(error) from error
        self._lent = Lent(self._seat.connection)
        return cast(asyncpg.Connection, self._lent)

    async def _take_standby(self, stale: Stale) -> bool:
        """Take a standby's connection once it is as far as it must be. Return False where the primary is to be read."""
        try:
            await self._take(Purpose.STANDBY, stale)
        except AWAY:
            if not stale.or_primary:
                raise
            return False
        stale.note()
        return True

    async def _take(self, purpose: Purpose, stale: Stale | None = None) -> None:
        self._pool = pool_for(purpose)
        self._seat = await self._pool.take(self._tenant)
        if stale is not None:
            try:
                await stale.reach(self._seat.connection)
            except BaseException:
                self._pool.settle(self._seat)
                raise
        await self._begin()

    async def _begin(self) -> None:
        """Do what comes before the first statement."""


class OneStatement(_Taken):
    """`async with` a connection for one statement of a tenant's. A statement by itself sees one moment.

    Raises:
        UnavailableError: the database is away, or took too long.
    """

    __slots__ = ()

    async def __aenter__(self) -> asyncpg.Connection:
        return await self._lend()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lent.take_back()
        if error is None:
            self._pool.give_back(self._seat)
            return
        if isinstance(error, DEMOTED) and self._purpose is Purpose.APPENDING:
            # The server takes no writes any more: the next one gets a connection to one that does.
            self._seat.connection.terminate()
            self._pool.settle(self._seat)
            raise unavailable(error) from error
        self._pool.settle(self._seat)
        if isinstance(error, AWAY):
            raise unavailable(error) from error


class _Reading(_Taken):
    """A transaction that writes nothing."""

    __slots__ = ()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if isinstance(error, AWAY):
            raise unavailable(error) from error

    async def _begin(self) -> None:
        try:
            await self._open(self._seat.connection)
        except BaseException:
            self._pool.settle(self._seat)
            raise

    async def _open(self, connection: asyncpg.Connection) -> None:
        """Begin the transaction."""
        raise NotImplementedError

    def end(self) -> None:
        """End the transaction. Nothing was written, so nobody waits for it: there is nothing to commit."""
        self._lent.take_back()
        self._pool.settle(self._seat)


class Snapshot(_Reading):
    """`async with` a connection on which all statements see one moment of a tenant's rows.

    at: which moment; that of the first statement where none is given.

    Raises:
        UnavailableError: the database is away, or took too long, or the moment is kept no longer.
    """

    __slots__ = ("_moment",)

    def __init__(self, tenant: Tenant, *, at: "Moment | None" = None) -> None:
        super().__init__(tenant)
        self._moment = at

    async def __aenter__(self) -> asyncpg.Connection:
        return await self._lend()

    async def _open(self, connection: asyncpg.Connection) -> None:
        if self._moment is None:
            await connection.execute(_BEGIN)
        else:
            await self._moment.open_again(connection)


class Moment(_Reading):
    """`async with` a moment that any number of snapshots see, of any tenant, for as long as the block runs.

    It is kept by a transaction that does nothing, on a connection of its own, and is of that one server. No table is
    locked between two snapshots. What was deleted or replaced since it began, the server keeps until it ends.

    longest_pause_s: between two snapshots; after that the server ends it, so that nobody who went away holds on to it.

    Raises:
        UnavailableError: the database is away.
    """

    __slots__ = ("_longest_pause_s", "_name")

    def __init__(self, *, longest_pause_s: float) -> None:
        super().__init__(Tenant(), Purpose.KEEPING)
        self._longest_pause_s = longest_pause_s

    async def __aenter__(self) -> Self:
        await self._lend()
        return self

    async def _open(self, connection: asyncpg.Connection) -> None:
        pause_ms = int(self._longest_pause_s * 1000)
        await connection.execute(f"{_BEGIN}; set local idle_in_transaction_session_timeout = {pause_ms}")
        name = await connection.fetchval("select pg_export_snapshot()")
        if not _NAME.fullmatch(name):
            raise LostMomentError("The server calls a snapshot by no name that is known.")
        self._name = name

    async def open_again(self, connection: asyncpg.Connection) -> None:
        """Begin a transaction at this moment, on a connection that is in none.

        Raises:
            LostMomentError: it is kept no longer, or by another server than the connection is to.
        """
        # Also the sign that it is still wanted.
        await self._lent.execute("select 1")
        try:
            # It can't be bound. What stands there is a name that the server gave.
            await connection.execute(f"{_BEGIN}; set transaction snapshot '{self._name}'")
        except _NO_SUCH_MOMENT as error:
            raise LostMomentError("The server keeps no such snapshot.") from error


class LostMomentError(ConnectionError):
    """A moment is over although somebody reads by it."""


_NAME: Final = re.compile(r"[0-9A-F-]{1,64}")
_NO_SUCH_MOMENT: Final = (asyncpg.InvalidParameterValueError, asyncpg.UndefinedObjectError)
