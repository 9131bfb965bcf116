"""The feed of changes: which rows an organization's transactions changed, in an order in which nothing comes late.

Times say nothing about the order in which transactions end: one that began long ago may commit last. So the feed goes
by the numbers of transactions, and only as far as the oldest that still runs: all that are older are over, and nothing
is added before it any more. A place in it is an entry of the trail that is there, so that a database that was set back
is found out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.principal import Viewer
from models.base import Placement
from models.change import ChangeOperation
from models.inventory import Entity, entity_of
from models.project import Project
from models.statement import Statement
from models.trail_retention import LEAST_DAYS
from models.visibility import visible

MOST_ENTRIES: Final = 5_000
"""Entries of one look, whatever they changed: most change nothing that the feed tells of."""
MOST_LOOKED_AT: Final = 10_000
"""Changed rows of one look, seen by the viewer or not."""
THE_LAST: Final = 2**62
"""Stands for the last change of an entry."""

_SURELY_KEPT: Final = timedelta(days=LEAST_DAYS - 1)
"""For so long no entry leaves the trail, whatever was decided. A day of it is for transactions that take long."""

# What is emptied is emptied table by table, and a record stays as it is while its measurements lose something. Whoever
# else writes measurements writes their record with them.
_OF_PARTS_ALONE: Final = Action.PROJECT_EMPTY_FIELDS
_PARTS: Final = {"record": "measurement"}
"""What is told of as a part of something else, by the table of that."""

# What is sealed anew says the same as before.
_TOLD: Final = f"e.organization_id = $1 and e.kind = 'CHANGE' and e.action <> '{Action.KEY_RESEAL}'"

_NOW: Final = """
    select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as coming,
           (select system_identifier from pg_control_system()) as cluster, transaction_timestamp() as at
      from pg_current_snapshot() s
"""
_NEWEST: Final = f"""
    select now.*, e.id, e.transaction_id from ({_NOW}) now left join lateral (
        select e.id, e.transaction_id from audit_entry e where {_TOLD} and e.transaction_id < now.oldest
         order by e.transaction_id desc limit 1) e on true
"""
# How far this look goes: to before the oldest transaction that runs, or to the last of so many entries. And where on
# the way it was first decided otherwise which places are shown.
_REACH: Final = f"""
    select now.*, known.id is not null as is_there, expired.id is not null as may_lack,
           reached.id, reached.transaction_id, coalesce(reached.entries, 0) as entries,
           decided.transaction_id as decided_at,
           exists (select from audit_entry e where {_TOLD} and e.transaction_id >= now.oldest) as is_waiting
      from ({_NOW}) now
      left join audit_entry known
        on known.organization_id = $1 and known.id = $2 and known.transaction_id = $3
      left join lateral (
        select x.id from audit_entry x
         where x.organization_id = $1 and x.at > $4 and x.action = '{Action.AUDIT_EXPIRE}' and x.outcome = 'DONE'
         limit 1) expired on true
      left join lateral (
        select e.id, e.transaction_id, count(*) over () as entries from (
            select e.id, e.transaction_id from audit_entry e
             where {_TOLD} and e.transaction_id >= $3 and e.transaction_id < now.oldest
             order by e.transaction_id limit {MOST_ENTRIES}) e
         order by e.transaction_id desc limit 1) reached on true
      left join lateral (
        select e.transaction_id from audit_entry e
          join change l on l.organization_id = $1 and l.entry_id = e.id and l.entity = 'project'
         where {_TOLD} and e.action = '{Action.PROJECT_SET_LOCATION_SENSITIVITY}'
           and e.transaction_id > $3 and e.transaction_id <= reached.transaction_id
           and l.columns ? 'locations_are_sensitive' and {{seen}}
         order by e.transaction_id limit 1) decided on true
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody is in an organization's feed: all up to this change of this entry was told.

    entry_id: None before the first entry. change: the change's number, or `THE_LAST`.
    cluster: the server that counted the transactions.
    at: when this was the end, by the database's clock: what comes after it came later.
    """

    entry_id: UUID | None
    transaction: int
    change: int
    cluster: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ChangedObject:
    """What became of a row between two places: of several changes the last, with what the first was known from.

    is_new: whether it was made between them. is_gone: whether it was deleted.
    """

    entity: str
    row_id: UUID
    at: datetime
    is_new: bool
    is_gone: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What was found from a place on.

    place: where to go on. has_more: whether there is more already.
    is_waiting: whether something was committed that is told of only once an older transaction is over.
    shows_other_places: whether it was decided otherwise, of a project that the viewer sees, which places are shown:
    rows that are not rewritten for that do not change, and show something else than before.
    """

    changed: Sequence[ChangedObject]
    place: Place
    has_more: bool
    is_waiting: bool
    shows_other_places: bool = False


class LostPlaceError(Exception):
    """There is no going on from a place: the trail does not have it, or not all that came after it."""


async def newest_place(connection: asyncpg.Connection, viewer: Viewer) -> Place:
    """Return the end of the feed as of now."""
    [row] = await connection.fetch(_NEWEST, viewer.organization_id)
    return Place(row["id"], row["transaction_id"] or 0, THE_LAST, row["cluster"], row["at"])


async def changed_organizations(connection: asyncpg.Connection, since: int | None) -> tuple[int, Sequence[UUID]]:
    """Return in which organizations transactions that are over changed something, from a number on; and from where
    on to ask the next time. since: None for none yet."""
    [now] = await connection.fetch(_NOW)
    if since is None or since >= now["oldest"]:
        return now["oldest"], ()
    rows = await connection.fetch("select fieldward_changed($1, $2)", since, now["oldest"])
    return now["oldest"], [row[0] for row in rows]


async def look_from(
    connection: asyncpg.Connection,
    viewer: Viewer,
    place: Place,
    entities: Sequence[Entity],
    *,
    limit: int,
    project_id: UUID | None = None,
) -> Look:
    """Return what of these tables changed after a place, as far as the viewer sees the rows: `limit` rows at the most.

    A row that was handed over to somebody else is told of to who saw it before, too.

    connection: of one snapshot. project_id: tell of rows of this project alone.

    Raises:
        LostPlaceError: the place is another server's, or is not in the trail, or changes after it may have left it.
    """
    reaching = Statement()
    for value in (viewer.organization_id, place.entry_id, place.transaction, place.at + _SURELY_KEPT):
        reaching.argument(value)
    seen = _narrowed(reaching, " or ".join(_seen(reaching, viewer, entity_of(Project))), project_id)
    [reach] = await connection.fetch(_REACH.format(seen=seen), *reaching.arguments)
    is_lost = reach["may_lack"] or (place.entry_id is not None and not reach["is_there"])
    if is_lost or reach["cluster"] != place.cluster or place.transaction >= reach["coming"]:
        raise LostPlaceError
    end = Place(reach["id"], reach["transaction_id"], THE_LAST, reach["cluster"], reach["at"])
    if end.entry_id is None or (end.entry_id, place.change) == (place.entry_id, THE_LAST):
        return Look((), replace(place, at=end.at), False, reach["is_waiting"])
    statement = Statement()
    text = _text(statement, viewer, place, end, entities, limit=limit + 1, project_id=project_id)
    rows = await connection.fetch(text, *statement.arguments)
    told, has_more = [row for row in rows if row["row_id"] is not None], reach["entries"] == MOST_ENTRIES
    if len(told) > limit:
        told = told[:limit]
        end = _stopping(end, told[-1]) if told else place
        has_more = True
    elif rows[0]["looked_at"] == MOST_LOOKED_AT:
        end, has_more = _stopping(end, rows[0], by="last_"), True
    if has_more:
        # What is left to tell may be as old as what was told last.
        end = replace(end, at=place.at)
    decided_at = reach["decided_at"]
    shows_other_places = decided_at is not None and decided_at <= end.transaction
    return Look(_together(told), end, has_more, reach["is_waiting"], shows_other_places)


def _text(
    statement: Statement,
    viewer: Viewer,
    place: Place,
    end: Place,
    entities: Sequence[Entity],
    *,
    limit: int,
    project_id: UUID | None,
) -> str:
    """Return the statement of what changed after one place and up to another: one row or more, the last of what was
    looked at in each. Where parts of a row changed without it, it stands once for all of them in an entry, by the last.
    """
    statement.argument(viewer.organization_id)
    since, until = statement.argument(place.transaction), statement.argument(end.transaction)
    change, names = statement.argument(place.change), statement.argument([one.name for one in entities])
    shown = " or ".join(
        f"(l.entity = '{entity.name}' and ({' or '.join(_seen(statement, viewer, entity))}))" for entity in entities
    )
    shown = _narrowed(statement, shown, project_id)
    return f"""
        with looked as materialized (
            select e.id as entry_id, e.transaction_id, e.at, c.* from (
                select e.id, e.transaction_id, e.at, e.action from audit_entry e
                 where {_TOLD} and e.transaction_id >= {since} and e.transaction_id <= {until}
                 order by e.transaction_id) e
            cross join lateral (
                select c.id as change_id, c.operation, c.entity, c.entity_id as row_id, c.organization_id, c.project_id,
                       c.membership_id, {_owner_before(entities)} as owner_before
                  from change c
                 where c.organization_id = $1 and c.entry_id = e.id and c.entity = any({names}::text[])
                   and (e.transaction_id > {since} or c.id > {change})
                {"".join(_of_parts(entities, since, change))}
                 order by change_id offset 0) c
             order by e.transaction_id, c.change_id limit {MOST_LOOKED_AT})
        select f.*, l.* from (
            select count(*) as looked_at, max(transaction_id) as last_transaction_id,
                   (array_agg(entry_id order by transaction_id desc, change_id desc))[1] as last_entry_id,
                   (array_agg(change_id order by transaction_id desc, change_id desc))[1] as last_change_id
              from looked) f
          left join lateral (
            select * from looked l where {shown}
             order by l.transaction_id, l.change_id limit {statement.argument(limit)}) l on true
         order by l.transaction_id, l.change_id
    """


def _narrowed(statement: Statement, shown: str, project_id: UUID | None) -> str:
    """Return the condition, of rows of this project alone if there is one."""
    return f"({shown})" if project_id is None else f"({shown}) and l.project_id = {statement.argument(project_id)}"


def _of_parts(entities: Sequence[Entity], since: str, change: str) -> Iterator[str]:
    """Yield what tells of rows of which parts changed without them."""
    for entity in entities:
        if entity.name in _PARTS:
            yield f"""
                union all
                select max(c.id), '{ChangeOperation.UPDATE}', '{entity.name}', c.part_of_id, c.organization_id,
                       c.project_id, null::uuid, null::uuid
                  from change c
                 where e.action = '{_OF_PARTS_ALONE}' and c.organization_id = $1 and c.entry_id = e.id
                   and c.entity = '{_PARTS[entity.name]}' and (e.transaction_id > {since} or c.id > {change})
                 group by c.part_of_id, c.organization_id, c.project_id
            """


def _seen(statement: Statement, viewer: Viewer, entity: Entity) -> Iterator[str]:
    """Yield the conditions under any of which the viewer sees a changed row, or saw it until it was handed over."""
    placement = entity.placement
    if placement is None:
        raise LookupError(f"The table {entity.name} is not listed.")
    told = Placement(
        project_column="project_id" if placement.project_column else None,
        own_column="membership_id" if placement.own_column else None,
    )
    yield visible(statement, replace(entity, placement=told), viewer, alias="l")
    if placement.own_column:
        before = replace(entity, placement=replace(told, own_column="owner_before"))
        yield visible(statement, before, viewer, alias="l")


def _owner_before(entities: Sequence[Entity]) -> str:
    cases = [
        f"when c.entity = '{entity.name}' then (c.columns -> '{entity.placement.own_column}' ->> 0)::uuid"
        for entity in entities
        if entity.placement is not None and entity.placement.own_column
    ]
    return f"case {' '.join(cases)} end" if cases else "null::uuid"


def _stopping(end: Place, row: asyncpg.Record, *, by: str = "") -> Place:
    """Return the place of a change, which lies before the end."""
    return replace(
        end, entry_id=row[f"{by}entry_id"], transaction=row[f"{by}transaction_id"], change=row[f"{by}change_id"]
    )


def _together(rows: Sequence[asyncpg.Record]) -> Sequence[ChangedObject]:
    """Return each row once, in the order in which they were changed last."""
    found: dict[tuple[str, UUID], ChangedObject] = {}
    for row in rows:
        key = row["entity"], row["row_id"]
        before = found.pop(key, None)
        found[key] = ChangedObject(
            *key,
            at=row["at"],
            is_new=before.is_new if before is not None else row["operation"] == ChangeOperation.INSERT,
            is_gone=row["operation"] == ChangeOperation.DELETE,
        )
    return list(found.values())
