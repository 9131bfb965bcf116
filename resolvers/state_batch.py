"""Finding out who asks: requests of one organization that arrive at the same time share a statement.

No request is answered by a statement that began before it arrived: what was revoked until then is revoked for it. Who
comes while one is under way shares the next. Nothing is kept.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from uuid import UUID

import asyncpg

from models.reading import OneStatement
from models.staleness import staleness
from models.transaction import Tenant
from resolvers.standing import State

Fetch = Callable[[asyncpg.Connection, UUID, Collection[UUID]], Awaitable[Mapping[UUID, State]]]
_Answers = list[asyncio.Future[State | None]]


class StateBatches:
    """The states of sessions, or of service accounts: of each organization one statement at a time.

    fetch: reads the states of some rows of an organization, in one statement.
    """

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._waiting: dict[UUID, dict[UUID, _Answers]] = {}
        self._at_work: dict[UUID, asyncio.Task[None]] = {}

    async def load(self, organization_id: UUID, row_id: UUID) -> State | None:
        """Return what is known of the row as of now or later; None if there is no such row.

        Raises:
            UnavailableError: the database is away.
        """
        if staleness() is not None:
            # What a standby says is no answer for those who ask the primary.
            async with OneStatement(Tenant(organization_id=organization_id)) as connection:
                return (await self._fetch(connection, organization_id, [row_id])).get(row_id)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[State | None] = loop.create_future()
        self._waiting.setdefault(organization_id, {}).setdefault(row_id, []).append(answer)
        if organization_id not in self._at_work:
            self._at_work[organization_id] = loop.create_task(self._work(organization_id))
        return await answer

    async def _work(self, organization_id: UUID) -> None:
        try:
            while organization_id in self._waiting:
                await self._answer(organization_id)
        finally:
            del self._at_work[organization_id]
            # Nobody is left waiting for a task that was stopped.
            for answer in _each(self._waiting.pop(organization_id, {})):
                answer.cancel()

    async def _answer(self, organization_id: UUID) -> None:
        asked: dict[UUID, _Answers] = {}
        try:
            async with OneStatement(Tenant(organization_id=organization_id)) as connection:
                # Who came while a connection was waited for is among them; who comes from here on is not.
                asked = self._waiting.pop(organization_id)
                found = await self._fetch(connection, organization_id, list(asked))
        except Exception as error:
            for answer in _each(asked or self._waiting.pop(organization_id)):
                answer.set_exception(error)
        except BaseException:
            for answer in _each(asked):
                answer.cancel()
            raise
        else:
            for row_id, answers in asked.items():
                state = found.get(row_id)
                for answer in answers:
                    if not answer.done():
                        answer.set_result(state)


def _each(asked: Mapping[UUID, _Answers]) -> Iterable[asyncio.Future[State | None]]:
    """Yield what is still waited for."""
    return (answer for answers in asked.values() for answer in answers if not answer.done())
