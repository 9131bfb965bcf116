"""Writing entries of reads: those that wait at the same moment, of one organization, in one transaction.

Each is committed before its request is answered. Requests that read at the same time share the way to the disk.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.audit_writing import SealedEntry, insert_entries
from models.transaction import Tenant, append_transaction

MOST_AT_ONCE: Final = 64
"""Requests whose entries share a transaction."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    entries: Sequence[SealedEntry]
    done: asyncio.Future[None]


class EntryWriter:
    """Commits entries, of each organization one transaction at a time."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, list[_Waiting]] = {}
        self._at_work: dict[UUID, asyncio.Task[None]] = {}

    async def write(self, organization_id: UUID, entries: Sequence[SealedEntry]) -> None:
        """Return once the entries are committed.

        Raises:
            Whatever kept them from being committed. Then none of them is in the trail.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(organization_id, []).append(_Waiting(entries, done))
        if organization_id not in self._at_work:
            self._at_work[organization_id] = asyncio.create_task(self._work(organization_id))
        await done

    async def _work(self, organization_id: UUID) -> None:
        try:
            while waiting := self._waiting.pop(organization_id, None):
                batch, rest = waiting[:MOST_AT_ONCE], waiting[MOST_AT_ONCE:]
                if rest:
                    self._waiting[organization_id] = rest
                await _commit(organization_id, batch)
        finally:
            del self._at_work[organization_id]
            # Nobody is left waiting for a writer that was stopped.
            for one in self._waiting.pop(organization_id, ()):
                one.done.cancel()


async def _commit(organization_id: UUID, batch: Sequence[_Waiting]) -> None:
    try:
        async with append_transaction(Tenant(organization_id=organization_id)) as connection:
            await insert_entries(connection, [entry for one in batch for entry in one.entries])
    except BaseException as error:
        for one in batch:
            if not one.done.done():
                one.done.set_exception(error if isinstance(error, Exception) else RuntimeError("The writer stopped."))
        if not isinstance(error, Exception):
            raise
        return
    for one in batch:
        if not one.done.done():
            one.done.set_result(None)
