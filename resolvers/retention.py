"""How long what is kept, and what would be deleted now: deciding it, and looking at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import ORGANIZATION
from models.audit_entry import EntryKind
from models.base import new_id
from models.data_kind import MOST_DAYS, WAITING_DAYS, DataKind
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.reading import OneStatement, Snapshot
from models.retention import DataRetention
from models.trail_retention import LEAST_DAYS as LEAST_TRAIL_DAYS
from models.trail_retention import MOST_DAYS as MOST_TRAIL_DAYS
from models.trail_retention import TrailRetention
from models.transaction import Tenant
from resolvers.change import Change
from resolvers.membership import lock_standing
from resolvers.retention_due import DELETED, Due, due_of, periods
from resolvers.writing import require_writable

MOST_IDS: Final = 1000
"""Ids of one page of a preview."""

_DECIDED: Final = """
    select r.kind, r.days,
           (select max(e.at) from change c
              join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
             where c.organization_id = r.organization_id and c.entity = '{table}' and c.entity_id = r.id) as decided_at
      from {table} r where r.organization_id = $1
"""
_DAYS: Final = "select days from data_retention where organization_id = $1 and kind = $2"
_COUNTING: Final = """
    select days, cutoff
      from data_retention, fieldward_retention_cutoff(organization_id, kind) as cutoff
     where organization_id = $1 and kind = $2 and cutoff is not null
"""


@dataclass(frozen=True, slots=True)
class HowLong:
    """How long data of a type, or entries of a kind of the audit trail, are kept. days: None for good.

    data, trail: which it is; one of them. counts_from: from when the period counts, in words. decided_at: when it was
    decided; None where nobody did. counts_since: from when on the decision counts: a week after it.
    """

    data: DataKind | None
    trail: EntryKind | None
    days: int | None
    least_days: int
    most_days: int
    counts_from: str
    decided_at: datetime | None

    @property
    def counts_since(self) -> datetime | None:
        """From when on something is deleted by it; None where nothing is."""
        if self.decided_at is None or self.days is None:
            return None
        return self.decided_at + timedelta(days=WAITING_DAYS)


@dataclass(frozen=True, slots=True)
class ProjectCount:
    """How many rows of a preview lie in a project; None: in none."""

    project_id: UUID | None
    rows: int


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run of one type would do now. days: by this period; None: by none, and so nothing.

    due: rows whose period is over: `deleted` ones would go, with `parts` of theirs, `held` ones are kept by a hold,
    `named` ones by something that names them. by_project: those that would go. ids: a page of them, in their order.
    """

    kind: DataKind
    days: int | None
    due: int = 0
    deleted: int = 0
    parts: int = 0
    held: int = 0
    named: int = 0
    by_project: Sequence[ProjectCount] = ()
    ids: Sequence[UUID] = ()
    has_more: bool = False


async def set_retention(change: Change, *, kind: DataKind, days: int | None) -> UUID:
    """Decide after how many days data of a type are deleted, None for never, and return the decision's row.

    Raises:
        ForbiddenError: without `retention:set`.
        InvalidInputError: fewer days than the type's least, or more than `MOST_DAYS`.
        ConflictError: it is decided so already.
    """
    # One at a time, by whoever may once their turn has come.
    change = await lock_standing(change)
    require(change.viewer, Permission.RETENTION_SET, ORGANIZATION)
    require_writable(
        change, entity_of(DataRetention), ORGANIZATION, {"kind": kind, "days": days}, at=("input",), is_new=True
    )
    least = periods()[kind].least_days
    if days is not None and not least <= days <= MOST_DAYS:
        raise InvalidInputError(f"Expected {least} to {MOST_DAYS} days, or null.", field=("input", "days"))
    decided = await DataRetention.get_or_none(
        organization_id=change.organization_id, kind=kind, using_db=change.connection
    )
    if (decided.days if decided is not None else None) == days:
        raise ConflictError("It is decided so already.", field=("input", "days"))
    if decided is None:
        row_id = new_id()
        row = {"id": row_id, "organization_id": change.organization_id, "created_at": change.at}
        await change.insert(DataRetention, [{**row, "kind": kind, "days": days}])
        return row_id
    decided.days = days
    await decided.save(using_db=change.connection, update_fields=["days"])
    return decided.id


async def how_long(organization_id: UUID) -> Sequence[HowLong]:
    """Return how long everything is kept that a period can be set for: data by their types, then the audit trail."""
    data = await _decided(organization_id, entity_of(DataRetention).name)
    trail = await _decided(organization_id, entity_of(TrailRetention).name)
    nothing = (None, None)
    found = []
    for kind, one in periods().items():
        days, decided_at = data.get(kind, nothing)
        found.append(HowLong(kind, None, days, one.least_days, MOST_DAYS, one.counts_from, decided_at))
    for entries, words in _TRAIL_COUNTS_FROM.items():
        days, decided_at = trail.get(entries, nothing)
        found.append(HowLong(None, entries, days, LEAST_TRAIL_DAYS, MOST_TRAIL_DAYS, words, decided_at))
    return found


async def preview(
    viewer: Viewer, *, kind: DataKind, days: int | None = None, after: UUID | None = None, first: int = 100
) -> Preview:
    """Return what a run of the type would delete now, and delete nothing.

    days: by this period instead of the one that was decided; the week in which a decision does not count yet is not
    waited for. after, first: which page of the ids.

    Raises:
        ForbiddenError: without `retention:read`, or without reading all rows of the type in the organization.
        InvalidInputError: a page of more than `MOST_IDS`, or a period that nobody can set.
    """
    require(viewer, Permission.RETENTION_READ, ORGANIZATION)
    # Which rows there are is told to those alone who see them all.
    require(viewer, DELETED[kind].entity.read, ORGANIZATION)
    if not 1 <= first <= MOST_IDS:
        raise InvalidInputError(f"Expected 1 to {MOST_IDS}.", field=("first",))
    least = periods()[kind].least_days
    if days is not None and not least <= days <= MOST_DAYS:
        raise InvalidInputError(f"Expected {least} to {MOST_DAYS} days, or null.", field=("days",))
    async with Snapshot(Tenant(organization_id=viewer.organization_id)) as connection:
        due = await due_of(connection, kind)
        if days is None:
            days = await connection.fetchval(_DAYS, viewer.organization_id, kind)
        if days is None:
            return Preview(kind, None)
        cutoff = await connection.fetchval("select now() - make_interval(hours => $1 * 24)", days)
        return await _looked_at(connection, due, viewer.organization_id, days, cutoff, after, first)


async def ahead_of_run(organization_id: UUID, kind: DataKind) -> Preview | None:
    """Return what a run of the type would delete if it began now, whoever asks; None where none would begin: no period
    is decided, or that was less than a week ago."""
    async with Snapshot(Tenant(organization_id=organization_id)) as connection:
        row = await connection.fetchrow(_COUNTING, organization_id, kind)
        if row is None:
            return None
        due = await due_of(connection, kind)
        return await _looked_at(connection, due, organization_id, row["days"], row["cutoff"], None, 1)


async def _looked_at(
    connection: Any, due: Due, organization_id: UUID, days: int, cutoff: datetime, after: UUID | None, first: int
) -> Preview:
    counts = await connection.fetchrow(
        f"select count(*) as due, count(*) filter (where {due.held}) as held,"
        f" count(*) filter (where not {due.held} and {due.named}) as named from {due.table} where {due.over}",
        organization_id,
        cutoff,
    )
    goes = f"{due.over} and not {due.held} and not {due.named}"
    projects = await connection.fetch(
        f"select {due.how.project} as project_id, count(*) as rows from {due.table} where {goes} group by 1 order by 1",
        organization_id,
        cutoff,
    )
    parts = 0
    if due.how.counted is not None:
        table, column = due.how.counted.split(".")
        parts = await connection.fetchval(
            f"select count(*) from {due.table} join {table} p on p.organization_id = t.organization_id"
            f" and p.{column} = t.id where {goes}",
            organization_id,
            cutoff,
        )
    ids = await connection.fetch(
        f"select t.id from {due.table} where {goes} and ($3::uuid is null or t.id > $3) order by t.id limit $4",
        organization_id,
        cutoff,
        after,
        first + 1,
    )
    return Preview(
        due.kind,
        days,
        due=counts["due"],
        deleted=counts["due"] - counts["held"] - counts["named"],
        parts=parts,
        held=counts["held"],
        named=counts["named"],
        by_project=[ProjectCount(row["project_id"], row["rows"]) for row in projects],
        ids=[row["id"] for row in ids[:first]],
        has_more=len(ids) > first,
    )


_TRAIL_COUNTS_FROM: Final = {
    EntryKind.READ: "when it was written and sealed",
    EntryKind.ATTEMPT: "when it was written and sealed",
    EntryKind.CHANGE: "when the last of the rows that it changed was deleted; what tells of rows that are there stays",
}


async def _decided(organization_id: UUID, table: str) -> dict[str, tuple[int | None, datetime | None]]:
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        rows = await connection.fetch(_DECIDED.format(table=table), organization_id)
    return {row["kind"]: (row["days"], row["decided_at"]) for row in rows}
