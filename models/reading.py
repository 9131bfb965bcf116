"""Reading: connections that can't write, for one statement or for several of one moment.

Outside of these blocks no row of any tenant is seen, whatever the query. Entries of the audit trail that are a
transaction by themselves are written by `OneStatement`, too, over connections of their own.
"""

from types import TracebackType
from typing import Final, cast

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

    async def __aenter__(self) -> asyncpg.Connection:
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


class Snapshot(_Taken):
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
