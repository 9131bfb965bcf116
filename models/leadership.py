"""Which of several server processes does what only one need do: who holds a lock of the database.

The lock lives as long as the connection that took it. A process that dies, or loses the database, has lost it with
that, and another one has it a moment later; after a failover whoever reaches the new primary first.
"""

import asyncio
from contextlib import suppress
from typing import Final

import asyncpg

from models.pool import Connect
from models.transaction import AWAY, database_failures

SEALING: Final = 4_614_531_919
"""The advisory lock of who seals the audit trail, and publishes its heads."""


class Leadership:
    """Asks for a lock over a connection of its own, and keeps both.

    connect: opens a connection; nothing else is done over it.
    """

    def __init__(self, connect: Connect, lock: int) -> None:
        self._connect = connect
        self._lock = lock
        self._connection: asyncpg.Connection | None = None
        self._has_lock = False
        self._turn = asyncio.Lock()

    async def is_ours(self) -> bool:
        """Return whether this process has the lock, and the connection that holds it lives.

        Raises:
            UnavailableError: the database is away. Then it has not.
        """
        async with self._turn:
            return await self._ask()

    def let_go(self) -> None:
        """Give up the lock, by closing its connection."""
        self._has_lock = False
        if self._connection is not None:
            with suppress(*AWAY):
                self._connection.terminate()
            self._connection = None

    async def _ask(self) -> bool:
        with database_failures():
            try:
                if self._connection is None or self._connection.is_closed():
                    self._has_lock = False
                    self._connection = await self._connect()
                if self._has_lock:
                    await self._connection.fetchval("select 1")
                else:
                    self._has_lock = await self._connection.fetchval("select pg_try_advisory_lock($1)", self._lock)
            except AWAY:
                self.let_go()
                raise
        return self._has_lock
