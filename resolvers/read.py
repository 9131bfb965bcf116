"""Reading on behalf of a viewer: one snapshot per request, or one statement that needs none."""

import asyncio
from types import TracebackType

import asyncpg

from models.reading import OneStatement, Snapshot
from models.transaction import AWAY, Tenant, unavailable


class Reader:
    """What an operation reads of one tenant: opened at the first read and closed by whoever made the reader.

    Everything an operation reads is of one moment: of one snapshot, or of the one statement that it takes. After a
    mutation the reader is closed, so that what the payload shows is what was committed. After the operation it is
    ended: what was still about to read would open a transaction that nobody closes.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.statements = 0
        self._snapshot: Snapshot | None = None
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()
        self._takes_one = False
        self._has_read_one = False
        self._has_ended = False

    def expect_one(self) -> None:
        """Say that one statement is all that is read until the reader is closed: it is read without a transaction.

        Raises:
            AnotherStatementError: something was read already.
        """
        if self._connection is not None or self._lock.locked():
            raise AnotherStatementError("Expected to be told before anything is read.")
        self._takes_one = True

    def use(self) -> "OneStatement | _Turn":
        """Return a context manager of the connection, for one statement. Statements of one operation take turns.

        Raises:
            EndedError: the operation that it read for is over.
            AnotherStatementError: this is the second statement where one was expected.
            UnavailableError: the database is away.
        """
        if not self._takes_one:
            return _Turn(self)
        if self._has_ended:
            raise EndedError("The operation is over: nothing is read for it any more.")
        if self._has_read_one:
            raise AnotherStatementError("The operation was to take one statement: another would see another moment.")
        self._has_read_one = True
        self.statements += 1
        return OneStatement(self._tenant)

    async def close(self) -> None:
        """End the transaction. The next use opens another, which sees what was committed meanwhile."""
        self._takes_one = self._has_read_one = False
        async with self._lock:
            snapshot, self._snapshot, self._connection = self._snapshot, None, None
            if snapshot is not None:
                snapshot.end()

    async def end(self) -> None:
        """End the transaction for good."""
        self._has_ended = True
        await self.close()

    async def _begin_turn(self) -> asyncpg.Connection:
        await self._lock.acquire()
        try:
            if self._has_ended:
                raise EndedError("The operation is over: nothing is read for it any more.")
            if self._connection is None:
                snapshot = Snapshot(self._tenant)
                self._connection = await snapshot.__aenter__()
                self._snapshot = snapshot
        except BaseException:
            self._lock.release()
            raise
        self.statements += 1
        return self._connection

    def _end_turn(self) -> None:
        self._lock.release()


class _Turn:
    """A reader's connection for as long as a statement takes."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def __aenter__(self) -> asyncpg.Connection:
        return await self._reader._begin_turn()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader._end_turn()
        if isinstance(error, AWAY):
            raise unavailable(error) from error


class EndedError(Exception):
    """Something was about to read for an operation that is over."""


class AnotherStatementError(Exception):
    """More was about to be read than the one statement that was expected, and so of another moment."""
