"""Writing entries of reads: those that wait at the same moment, of one organization, in one transaction.

Each is committed before its request is answered. Requests that read at the same time share the way to the disk.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from models.audit_writing import SealedEntry, append_entries

MOST_AT_ONCE: Final = 64
"""Requests whose entries share a transaction."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    entries: Sequence[SealedEntry]
    done: asyncio.Future[None]


class EntryWriter:
    """Commits entries, of each organization one transaction at a time."""

    def __init__(self) -> None:
        # Of each organization that is being written for, who came meanwhile.
        self._waiting: dict[UUID, list[_Waiting]] = {}
        self._at_work: set[asyncio.Task[None]] = set()

    async def write(self, organization_id: UUID, entries: Sequence[SealedEntry]) -> None:
        """Return once the entries are committed.

        Raises:
            Whatever kept them from being committed. Then none of them is in the trail.
        """
        waiting = self._waiting.get(organization_id)
        if waiting is not None:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(_Waiting(entries, done))
            await done
            return
        self._waiting[organization_id] = []
        try:
            await append_entries(entries)
        finally:
            if self._waiting[organization_id]:
                # A task, since a request that is given up must not take others' entries with it.
                task = asyncio.create_task(self._work(organization_id))
                self._at_work.add(task)
                task.add_done_callback(self._at_work.discard)
            else:
                del self._waiting[organization_id]

    async def _work(self, organization_id: UUID) -> None:
        try:
            while waiting := self._waiting[organization_id]:
                batch, self._waiting[organization_id] = waiting[:MOST_AT_ONCE], waiting[MOST_AT_ONCE:]
                await _commit(batch)
        finally:
            # Nobody is left waiting for a writer that was stopped.
            for one in self._waiting.pop(organization_id):
                one.done.cancel()


async def _commit(batch: Sequence[_Waiting]) -> None:
    try:
        await append_entries([entry for one in batch for entry in one.entries])
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
