"""Reading on behalf of a viewer: one snapshot per request, and the log of what was seen."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import asyncpg

from auth.action import Action
from models.audit_entry import EntryKind, Outcome
from models.encryption.keyring import active_keyring
from models.inventory import Column
from models.transaction import Tenant, read_transaction
from resolvers.entry_writer import EntryWriter
from resolvers.trail import Actor, new_entry


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


class ReadLog:
    """Which values of CONFIDENTIAL and PERSONAL columns a request has opened: column by column, row by row."""

    def __init__(self) -> None:
        self._rows: defaultdict[tuple[str, str], set[UUID]] = defaultdict(set)

    def note(self, column: Column, row_id: UUID) -> None:
        """Remember that the row's value of the column is in the answer."""
        self._rows[column.entity, column.name].add(row_id)

    def note_all(self, column: Column, row_ids: Sequence[UUID]) -> None:
        """Remember that the rows' values of the column are in the answer."""
        if row_ids:
            self._rows[column.entity, column.name].update(row_ids)

    async def write(self, actor: Actor, writer: EntryWriter) -> None:
        """Commit one audit entry per column read, with the set of rows, and forget them.

        To be awaited before the answer leaves. Raises if it can't be written: then the answer is withheld.
        """
        if not self._rows:
            return
        await active_keyring().load(actor.key_owners)
        entries = [
            new_entry(
                actor,
                kind=EntryKind.READ,
                action=Action.FIELD_READ,
                outcome=Outcome.DONE,
                entity=entity,
                field=field,
                entity_ids=sorted(rows),
            )
            for (entity, field), rows in sorted(self._rows.items())
        ]
        await writer.write(actor.organization_id, entries)
        self._rows.clear()
