"""Reading together what is asked for together: one statement for all that wait at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar
from uuid import UUID

V = TypeVar("V")

Fetch = Callable[[list[UUID]], Awaitable[Mapping[UUID, V]]]


class Gathered(Generic[V]):
    """Values by id. Each id is fetched once; what is asked for before a fetch begins is fetched by it.

    fetch: returns what there is of the ids. An id that has nothing is not asked for again.
    """

    def __init__(self, fetch: Fetch[V]) -> None:
        self._fetch = fetch
        self._found: dict[UUID, V] = {}
        self._asked: set[UUID] = set()
        self._wanted: dict[UUID, None] = {}
        self._next: asyncio.Task[None] | None = None
        self._under_way: list[asyncio.Task[None]] = []

    async def load(self, ids: Collection[UUID]) -> Mapping[UUID, V]:
        """Return all that was found so far, these ids among it as far as there is something."""
        new = [one for one in ids if one not in self._asked]
        if new:
            self._asked.update(new)
            self._wanted.update(dict.fromkeys(new))
            if self._next is None:
                self._next = asyncio.create_task(self._run())
                self._next.add_done_callback(_look_at)
                self._under_way.append(self._next)
        # What others asked for may still be under way.
        for task in [one for one in self._under_way if not one.done()]:
            # Whoever stops waiting stops nothing that others wait for.
            await asyncio.shield(task)
        for task in self._under_way:
            if task.done() and (error := task.exception()) is not None:
                raise error
        return self._found

    async def _run(self) -> None:
        # Whoever is about to ask in this turn of the loop asks before the fetch begins.
        await asyncio.sleep(0)
        wanted, self._wanted, self._next = list(self._wanted), {}, None
        self._found.update(await self._fetch(wanted))


def _look_at(task: asyncio.Task[None]) -> None:
    """Take note of how it ended: those who waited for it may have stopped waiting."""
    if not task.cancelled():
        task.exception()
