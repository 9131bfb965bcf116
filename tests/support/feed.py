"""Pulling what changed as a client does, a puller that goes by the time as many do, and writers that take long."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from auth.action import Action
from models.record import Record
from resolvers.change import Change, Intent, commit_change
from tests.support.mutation import mutate
from tests.support.trail import an_actor
from tests.support.world import Answer, Client, World

PULL: Final = """
query Pull($after: String, $first: Int, $types: [ChangedType!], $project: ID) {
  changes(after: $after, first: $first, types: $types, projectId: $project) {
    cursor hasMore accessChanged
    changes { kind type id at record { id siteName comment } device { id model } project { id name }
      site { id name exactLocation { latitude } } }
  }
}
"""


async def page(client: Client, after: str | None, *, first: int = 50, **more: Any) -> Answer:
    """Ask for one page."""
    return await client.run(PULL, {"after": after, "first": first, **more})


async def cursor_of(client: Client) -> str:
    """Return the cursor of now."""
    found: str = (await page(client, None)).data["changes"]["cursor"]
    return found


async def pull(
    client: Client, after: str, *, first: int = 50, denied: Collection[str] = (), **more: Any
) -> tuple[list[dict[str, Any]], str]:
    """Return all that changed since a cursor, page by page, and the cursor to go on from.

    denied: the codes of errors that may come with values that are left out.
    """
    found: list[dict[str, Any]] = []
    while True:
        answer = await page(client, after, first=first, **more)
        assert set(answer.codes) <= set(denied), answer.errors
        got = answer.body["data"]["changes"]
        assert len(got["changes"]) <= first
        found += got["changes"]
        after = got["cursor"]
        if not got["hasMore"]:
            return found, after


def told(changes: Collection[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return what became of which object."""
    return [(one["kind"], one["id"]) for one in changes]


async def a_record(client: Client, project: str, **more: Any) -> str:
    """Make a record, and return its id."""
    given = {"projectId": project, "siteCode": "F-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER", **more}
    payload = (await mutate(client, "createRecord", given, "record { id }")).data["createRecord"]
    assert payload["errors"] == [], payload
    return str(payload["record"]["id"])


async def renamed(client: Client, record: str, name: str, *, version: int = 1) -> None:
    """Give a record's site another name."""
    given = {"id": record, "expectedVersion": version, "siteName": name}
    payload = (await mutate(client, "updateRecord", given)).data["updateRecord"]
    assert payload["errors"] == [], payload


async def deleted(client: Client, record: str, *, version: int = 1) -> None:
    """Delete a record."""
    given = {"id": record, "expectedVersion": version, "reason": "Made by mistake."}
    payload = (await mutate(client, "deleteRecord", given)).data["deleteRecord"]
    assert payload["errors"] == [], payload


async def write(organization_id: UUID, record_id: UUID, name: str) -> None:
    """Change a record, past the API."""
    await (await SlowWrite.begin(organization_id, record_id, name)).end()


@dataclass
class SlowWrite:
    """A change of a record, in a transaction that stays open until it is ended."""

    record_id: UUID
    _ends: asyncio.Event
    _task: asyncio.Task[None]

    @classmethod
    async def begin(cls, organization_id: UUID, record_id: UUID, name: str) -> "SlowWrite":
        """Return once the record is changed, and nobody else sees it."""
        begun, ends = asyncio.Event(), asyncio.Event()

        async def work(change: Change) -> None:
            record = await Record.get(id=record_id, using_db=change.connection)
            record.site_name = name
            record.version += 1
            await record.save(using_db=change.connection, update_fields=["site_name", "version"])
            begun.set()
            await ends.wait()

        intent = Intent(Action.RECORD_UPDATE, an_actor(organization_id), entity="record")
        task = asyncio.create_task(commit_change(intent, work))
        beginning = asyncio.create_task(begun.wait())
        await asyncio.wait({task, beginning}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            # It never began: what kept it from that is raised.
            beginning.cancel()
            await task
        return cls(record_id, ends, task)

    async def end(self) -> None:
        """Commit."""
        self._ends.set()
        await self._task


@asynccontextmanager
async def writing_slowly(organization_id: UUID, record_id: UUID, name: str) -> AsyncIterator[None]:
    """Change a record in a transaction that was begun before the block, and commits after it."""
    slow = await SlowWrite.begin(organization_id, record_id, name)
    try:
        yield
    finally:
        await slow.end()


@dataclass
class PullerByTime:
    """Goes by the time of changes, from the newest that it saw: what `updated_at > x` comes to."""

    world: World
    organization_id: UUID
    since: datetime = datetime(1, 1, 1, tzinfo=UTC)

    async def pull(self) -> list[UUID]:
        """Return the records that changed after the newest change that it saw."""
        rows = await self.world.sql(
            "select c.entity_id, e.at from change c join audit_entry e on e.id = c.entry_id"
            " where e.organization_id = $1 and c.entity = 'record' and e.at > $2 order by e.at",
            self.organization_id,
            self.since,
        )
        if rows:
            self.since = rows[-1]["at"]
        return [row["entity_id"] for row in rows]
