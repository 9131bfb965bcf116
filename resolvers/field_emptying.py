"""Emptying what records keep of fields that their project does without, where somebody decided that.

What is left is found by query, batch by batch, each batch one audited change of the system's own; who is killed in the
middle has lost nothing. That a field was emptied is no change of what the rest says: a record's version, its review and
who had a hand in it stay. What a legal hold keeps is passed over until the hold is lifted, and is looked for each time.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.inventory import Entity, entity_of, switched_columns
from models.legal_hold import lock_holds
from models.measurement import Measurement
from models.project import Project
from models.reading import OneStatement
from models.record import Record
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.trail import job_actor

BATCH: Final = 500
"""Rows of one change."""
EMPTY_FIELDS: Final = "empty_fields"
"""The background job's name."""

_PENDING: Final = """
    select p.id from project p join organization o on o.id = p.organization_id
     where p.organization_id = $1 and p.fields_emptying and o.status <> 'ERASING' order by p.id
"""
# Held, so that nobody decides otherwise until this batch is done; who adds records holds it alike.
_HOLD: Final = "select fields_off from project where organization_id = $1 and id = $2 and fields_emptying for share"
_HELD: Final = """
    fieldward_held(r.organization_id, r.id, null, r.project_id, r.site_code,
                   array_append(r.contributor_ids, r.created_by_id))
"""
_FINISH: Final = """
    update project set fields_emptying = null where organization_id = $1 and id = $2 and fields_emptying returning id
"""


class FieldEmptying:
    """Empties what is left to empty, in any organization. One for a process.

    batch: how many rows of one change.
    """

    def __init__(self, *, batch: int = BATCH) -> None:
        self._batch = batch

    async def step(self, organization_id: UUID) -> bool:
        """Do one batch, or note that a project is done. Returns whether there may be more to do at once."""
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            projects = [row["id"] for row in await connection.fetch(_PENDING, organization_id)]
        for project_id in projects:
            if await self._step(organization_id, project_id):
                return True
        return False

    async def _step(self, organization_id: UUID, project_id: UUID) -> bool:
        actor = job_actor(organization_id)
        table, rows, off = entity_of(Record), list[UUID](), list[str]()
        is_done = False

        async def decide(connection: BaseDBAsyncClient) -> Intent | None:
            nonlocal table, rows, off, is_done
            await lock_holds(connection, organization_id)
            held = await fetch(connection, _HOLD, organization_id, project_id)
            if not held:
                return None
            off = list(held[0]["fields_off"] or ())
            for table in (entity_of(Record), entity_of(Measurement)):
                rows = await _left(connection, table, off, organization_id, project_id, self._batch)
                if rows:
                    return Intent(Action.PROJECT_EMPTY_FIELDS, actor, entity=table.name, subjects=rows)
            is_done = not await _kept_back(connection, off, organization_id, project_id)
            if not is_done:
                return None
            return Intent(Action.PROJECT_EMPTY_FIELDS, actor, entity=entity_of(Project).name, subjects=[project_id])

        async def work(change: Change) -> bool:
            if is_done:
                return bool(await fetch(change.connection, _FINISH, organization_id, project_id))
            await _empty(change, table, off, rows)
            return True

        return bool(await commit_decided(actor, decide, work))


def _kept_columns(entity: Entity, off: Sequence[str]) -> list[str]:
    """Return the columns that are emptied. By a digest of what a record was made from, values could still be tried."""
    names = [one.name for one in switched_columns(entity, off)]
    return [*names, "creation_digest"] if names and "creation_digest" in entity.columns else names


def _something(entity: Entity, off: Sequence[str], alias: str) -> str:
    names = [one.name for one in switched_columns(entity, off)]
    return " or ".join(f'{alias}."{name}" is not null' for name in names) or "false"


def _from(entity: Entity) -> str:
    if entity.model is Record:
        return "record r"
    return "measurement t join record r on r.organization_id = t.organization_id and r.id = t.record_id"


def _alias(entity: Entity) -> str:
    return "r" if entity.model is Record else "t"


async def _left(
    connection: BaseDBAsyncClient,
    entity: Entity,
    off: Sequence[str],
    organization_id: UUID,
    project_id: UUID,
    most: int,
) -> list[UUID]:
    """Return some rows that keep something of what is switched off and that nothing holds, locked."""
    alias = _alias(entity)
    found = await fetch(
        connection,
        f"select {alias}.id from {_from(entity)} where {alias}.organization_id = $1 and {alias}.project_id = $2"
        f" and ({_something(entity, off, alias)}) and not {_HELD} limit $3 for update of {alias}",
        organization_id,
        project_id,
        most,
    )
    return [row["id"] for row in found]


async def _kept_back(connection: Any, off: Sequence[str], organization_id: UUID, project_id: UUID) -> bool:
    """Return whether a hold keeps something that would be emptied."""
    for entity in (entity_of(Record), entity_of(Measurement)):
        alias = _alias(entity)
        [found] = await fetch(
            connection,
            f"select exists (select from {_from(entity)} where {alias}.organization_id = $1"
            f" and {alias}.project_id = $2 and ({_something(entity, off, alias)})) as is_left",
            organization_id,
            project_id,
        )
        if found["is_left"]:
            return True
    return False


async def _empty(change: Change, entity: Entity, off: Sequence[str], rows: Sequence[UUID]) -> None:
    sets = ", ".join(f'"{name}" = null' for name in _kept_columns(entity, off))
    await fetch(
        change.connection,
        f'update "{entity.name}" set {sets} where organization_id = $1 and id = any($2::uuid[])',
        change.organization_id,
        list(rows),
    )
