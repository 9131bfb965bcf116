"""Reading on behalf of a viewer: one snapshot per request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from models.transaction import Tenant, read_transaction


class Reader:
    """A read-only transaction of one tenant, opened at the first read and closed by whoever made the reader.

    Everything an operation reads is of one moment. After a mutation the reader is closed, so that what the payload
    shows is what was committed. After the operation it is ended: what was still about to read would open a transaction
    that nobody closes.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._stack = AsyncExitStack()
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()
        self._has_ended = False
        self.statements = 0

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield the connection for one statement. Statements of one operation wait for each other.

        Raises:
            EndedError: the operation that it read for is over.
        """
        async with self._lock:
            if self._has_ended:
                raise EndedError("The operation is over: nothing is read for it any more.")
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(read_transaction(self._tenant))
            self.statements += 1
            yield self._connection

    async def close(self) -> None:
        """End the transaction. The next use opens another, which sees what was committed meanwhile."""
        async with self._lock:
            self._connection = None
            stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def end(self) -> None:
        """End the transaction for good."""
        self._has_ended = True
        await self.close()


class EndedError(Exception):
    """Something was about to read for an operation that is over."""
