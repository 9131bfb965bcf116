"""Importing results of files: rows become records with measurements, a batch at a time, each one audited change.

Ids are derived from what a row says of itself, so that a file imported twice changes nothing. One result of its kind in
a record stays that result when its value is corrected; of several, each is told by its content. A row that can't become
anything is reported with its line, column and reason. A dry run goes the same way up to the write.

Of a record that is there, a file says what was said of it before, or its rows are rejected: they contradict it.

New results of a record that is there already go into it as a change of it: by whom is noted, and what was sent back is
a draft again. A record that is under review or approved takes none: what is signed is not added to by a file.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, TextIO
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.errors import NotFoundError
from auth.permission import Permission
from auth.policy import permissions_in, require
from auth.principal import Viewer
from auth.scope import Scope, project_scope
from models.change import ChangeOperation
from models.data_import import RowFate
from models.inventory import entity_of
from models.measurement import Measurement
from models.project import Project
from models.reading import Snapshot
from models.record import Record, RecordStatus
from models.statement import Statement
from models.transaction import Tenant, raw_write_transaction
from models.visibility import visible
from resolvers.activity_stream import MOST_RESULTS, Rejection, ReportedRecord, look_through, read_batches
from resolvers.change import Change, Intent, commit_change
from resolvers.collector import load_collectors
from resolvers.import_contradiction import WRITTEN, contradictions
from resolvers.import_preparing import Prepared, prepare_batch, switched
from resolvers.import_report import Fate, ImportReport, Outcome
from resolvers.locking import Wanted, hold_visible
from resolvers.project import require_active
from resolvers.record import (
    PROJECT_COLUMNS,
    REVIEWED,
    UNDER_WAY,
    NewMeasurement,
    NewRecord,
    measurement_values,
    record_values,
)
from resolvers.trail import Actor
from resolvers.wqx_layout import LEGACY, Layout
from resolvers.wqx_row import ReportedMeasurement
from resolvers.wqx_value import bounds_of, identity_of

_AT_PROJECT: Final = ("project",)
_RESULT: Final = entity_of(Measurement).name
# Ids that an import made begin with the moment of the visit. Those of changes by hand are of another, and any number.
_PAST: Final = f"""
    select distinct c.part_of_id, c.entity_id
      from unnest($2::uuid[], $3::uuid[], $4::uuid[]) as visit(record_id, least, greatest)
      join change c on c.organization_id = $1 and c.part_of_id = visit.record_id
       and c.entity_id between visit.least and visit.greatest
     where c.entity = '{_RESULT}' and c.operation = '{ChangeOperation.DELETE}'
       and not exists (
            select from change again
             where again.organization_id = $1 and again.entity = '{entity_of(Record).name}'
               and again.entity_id = c.part_of_id and again.operation = '{ChangeOperation.INSERT}' and again.id > c.id)
"""
_FULL: Final = f"is of an activity that would have more than {MOST_RESULTS} results with those that are there"
_SIGNED: Final = "is of a record that is under review or approved"
_CONTRADICTS: Final = "contradicts what is stored of the same activity"
_TAKEN: Final = "has an id that something else of the organization has"


async def import_results(
    actor: Actor,
    viewer: Viewer,
    stream: TextIO,
    *,
    project_id: UUID,
    layout: Layout = LEGACY,
    is_dry_run: bool = False,
    drops: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    tell: Callable[[Sequence[Fate]], None] = lambda _fates: None,
) -> ImportReport:
    """Import a result file into a project, as the viewer, and return what became of it.

    stream: one that can be read again from where it stands. is_dry_run: judge each row, and write nothing. drops:
    leave values out of fields that the project does without, instead of rejecting their rows. progress: told how many
    rows of how many are done. tell: told what became of the rows of each batch.

    Raises:
        InvalidInputError: the file is no result file.
        NotFoundError, ForbiddenError: the viewer sees no such project, or has no `record:import` there.
        ConflictError: the project is archived.
    """
    start = stream.tell()

    def again() -> TextIO:
        stream.seek(start)
        return stream

    now = datetime.now(UTC)
    survey = look_through(again(), layout)
    report = ImportReport(rows=survey.rows)
    done = 0
    for batch in read_batches(again, layout, survey, project_id):
        prepared = prepare_batch(project_id, batch, now=now)
        if is_dry_run:
            async with Snapshot(Tenant(organization_id=viewer.organization_id)) as connection:
                outcome = await judge_batch(connection, viewer, project_id, prepared, drops=drops)
        else:
            outcome = await commit_batch(actor, project_id, prepared, drops=drops)
            await look_anew(viewer.organization_id, batch.number)
        report.add(outcome)
        done += len(outcome.fates)
        tell(outcome.fates)
        progress(done, survey.rows)
    return report


async def commit_batch(
    actor: Actor,
    project_id: UUID,
    batch: Prepared,
    *,
    drops: bool = False,
    stands: Callable[[Change], Awaitable[Change]] | None = None,
    beside: Callable[[Change, Outcome], Awaitable[None]] | None = None,
) -> Outcome:
    """Write a batch in one change, and return what became of it.

    stands: asks, in the transaction, who acts now. beside: writes, in the same transaction, what goes with it.

    Raises:
        NotFoundError, ForbiddenError, ConflictError: as `import_results`.
    """
    intent = Intent(
        action=Action.RECORD_IMPORT,
        actor=actor,
        reason=None,
        entity=entity_of(Record).name,
        subjects=[record.id for record, _ in batch.records],
    )

    async def write(change: Change) -> Outcome:
        if stands is not None:
            change = await stands(change)
        outcome = await write_batch(change, project_id, batch, drops=drops)
        if beside is not None:
            await beside(change, outcome)
        return outcome

    return await commit_change(intent, write)


async def look_anew(organization_id: UUID, number: int) -> None:
    """Have the database look anew at what is in the tables, after the first batch and whenever they doubled since.

    number: that of the batch which was committed. Without it, each row may cost a look at all of its organization,
    until the database looks by itself, a minute later.
    """
    if not number & (number + 1):
        async with raw_write_transaction(Tenant(organization_id=organization_id)) as connection:
            await connection.execute("select fieldward_analyze_records()")


async def judge_batch(
    connection: asyncpg.Connection, viewer: Viewer, project_id: UUID, batch: Prepared, *, drops: bool = False
) -> Outcome:
    """Return what would become of a batch, by what is stored now. Nothing is written, and no key is made.

    Raises:
        NotFoundError, ForbiddenError, ConflictError: as the write would.
    """
    statement = Statement()
    project = entity_of(Project)
    where = visible(statement, project, viewer, alias="p")
    found = await connection.fetchrow(
        f'select p.status, p.fields_off from "{project.name}" p'
        f" where {where} and p.id = {statement.argument(project_id)}",
        *statement.arguments,
    )
    if found is None:
        raise NotFoundError("There is nothing with this id.", field=_AT_PROJECT)
    require_may_import(viewer, project_id, found["status"])
    batch = switched(batch, found["fields_off"] or (), drops=drops)
    return (await _sorted(connection, viewer.organization_id, project_id, batch, is_written=False)).outcome


async def write_batch(change: Change, project_id: UUID, batch: Prepared, *, drops: bool = False) -> Outcome:
    """Write what is new of a batch, and return what became of it.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such project, or may not import into it.
        ConflictError: the project is archived.
    """
    project = Wanted(Project, project_id, PROJECT_COLUMNS, at=_AT_PROJECT)
    found = (await hold_visible(change, project)).found(project)
    require_may_import(change.viewer, project_id, found["status"])
    batch = switched(batch, found["fields_off"] or (), drops=drops)
    async with change.connection.acquire_connection() as raw:
        sorted_out = await _sorted(raw, change.organization_id, project_id, batch, is_written=True)
    new = sorted_out.new
    await load_collectors(change.organization_id, [one.collector for _, one in new])
    is_sensitive = found["locations_are_sensitive"]
    records = [record_values(change, reported.id, one, is_sensitive=is_sensitive) for reported, one in new]
    results = [
        measurement_values(change, record_id, project_id, reported.id, position, one)
        for record_id, position, reported, one in sorted_out.results
    ]
    await change.insert_many(Record, records)
    await change.insert_many(Measurement, results)
    if sorted_out.grown:
        await _note_growth(change, sorted_out.grown)
    return sorted_out.outcome


def require_may_import(viewer: Viewer, project_id: UUID, status: Any) -> None:
    """Raise unless the viewer may import into a project of that status, and so write all that a file can bring.

    Raises:
        ForbiddenError: they lack `record:import`, or may not read a column that a file can fill.
        ConflictError: the project is archived.
    """
    scope = project_scope(project_id)
    require(viewer, Permission.RECORD_IMPORT, scope)
    _require_guards(viewer, scope)
    require_active(status, at=_AT_PROJECT)


def _require_guards(viewer: Viewer, scope: Scope) -> None:
    held = permissions_in(viewer, scope)
    for model, new in ((Record, NewRecord), (Measurement, NewMeasurement)):
        entity = entity_of(model)
        for name in new.__slots__:
            guard = entity.columns[name].guard if name in entity.columns else None
            if guard is not None and guard not in held:
                require(viewer, guard, scope, field=_AT_PROJECT)


@dataclass(slots=True)
class _SortedOut:
    """What is new of a batch, and what became of all of it. grown: records that are there and get more results."""

    outcome: Outcome
    new: list[tuple[ReportedRecord, NewRecord]]
    results: list[tuple[UUID, int, ReportedMeasurement, NewMeasurement]]
    grown: list[UUID]


async def _sorted(
    connection: asyncpg.Connection, organization_id: UUID, project_id: UUID, batch: Prepared, *, is_written: bool
) -> _SortedOut:
    rejections = list(batch.rejections)
    ids = [record.id for record, _ in batch.records]
    found = await _known_records(connection, organization_id, ids, is_written=is_written)
    # Ids are made of what a file says, and clients make theirs: one may have been made for another project before. What
    # is there is that project's, and is neither taken for the file's nor added to.
    known = {one: row for one, row in found.items() if row["project_id"] == project_id}
    for record, _ in batch.records:
        if record.id in found and record.id not in known:
            lines = {one.line for one in record.measurements}
            rejections += [Rejection(line, "", _TAKEN, "") for line in sorted(lines)]
    given = [(record.id, stored) for record, stored in batch.records if record.id in known]
    contradicted = await contradictions(connection, organization_id, known, given)
    for record, _ in batch.records:
        if (name := contradicted.get(record.id)) is not None:
            lines = {one.line for one in record.measurements}
            rejections += [Rejection(line, record.columns.visit[name], _CONTRADICTS, "") for line in sorted(lines)]
    free = [
        (record, stored)
        for record, stored in batch.records
        if (record.id in known or record.id not in found) and record.id not in contradicted
    ]
    asked = [record for record, _ in free if record.id in known]
    there = await _stored_results(connection, organization_id, asked)
    # Whoever changes a record makes it another version.
    changed = [record for record in asked if known[record.id]["version"] > 1]
    there = there.with_past(await _past_results(connection, organization_id, changed))
    fates: dict[int, RowFate] = dict.fromkeys(batch.blank, RowFate.BLANK)
    new: list[tuple[ReportedRecord, NewRecord]] = []
    results: list[tuple[UUID, int, ReportedMeasurement, NewMeasurement]] = []
    grown: list[UUID] = []
    records_known = measurements_known = 0
    for record, stored in free:
        is_known = record.id in known
        known_results = _known_results(record, there) if is_known else frozenset()
        fresh = [
            (record.id, position, one, new_one)
            for position, (one, new_one) in enumerate(zip(record.measurements, stored.measurements, strict=True))
            if one.id not in known_results
        ]
        why = _why_not(known[record.id]["status"], there.of_record[record.id] + len(fresh)) if is_known else None
        if fresh and why is not None:
            lines = {one.line for _, _, one, _ in fresh}
            rejections += [Rejection(line, "", why, "") for line in sorted(lines)]
            fresh = []
        elif is_known and fresh:
            grown.append(record.id)
        records_known += is_known
        measurements_known += sum(one.id in known_results for one in record.measurements)
        if not is_known:
            new.append((record, stored))
        results += fresh
        for one in record.measurements:
            fates.setdefault(one.line, RowFate.KNOWN)
        for _, _, one, _ in fresh:
            fates[one.line] = RowFate.CREATED
    told = {line: Fate(line, fate) for line, fate in fates.items()}
    told |= {one.line: Fate(one.line, RowFate.REJECTED, one.column, one.reason) for one in rejections}
    outcome = Outcome(
        [told[line] for line in sorted(told)],
        sorted(rejections, key=lambda one: one.line),
        records_created=len(new),
        records_known=records_known,
        measurements_created=len(results),
        measurements_known=measurements_known,
    )
    return _SortedOut(outcome, new, results, grown)


def _why_not(status: str, results: int) -> str | None:
    """Return why a record of that status may not have so many results, with new ones; None where it may."""
    if status not in UNDER_WAY:
        return _SIGNED
    return _FULL if results > MOST_RESULTS else None


async def _known_records(
    connection: asyncpg.Connection, organization_id: UUID, ids: Sequence[UUID], *, is_written: bool
) -> dict[UUID, asyncpg.Record]:
    """Return of those that are there the project, the status, and what a file may contradict."""
    rows = await connection.fetch(
        f'select id, project_id, status, {", ".join(WRITTEN)} from "{entity_of(Record).name}"'
        " where organization_id = $1 and id = any($2)"
        # In one order, so that two imports of the same file wait for each other and do not lock each other out.
        f"{' order by id for update' if is_written else ''}",
        organization_id,
        ids,
    )
    return {row["id"]: row for row in rows}


@dataclass(frozen=True, slots=True)
class _Stored:
    """Results that are there: those of some records, and any with an id that one of the file's has.

    of_identity: how many of each identity each record has. of_record: how many each has.
    """

    ids: frozenset[UUID]
    of_identity: Mapping[tuple[UUID, int], int]
    of_record: Mapping[UUID, int]

    def with_past(self, past: Collection[tuple[UUID, UUID]]) -> "_Stored":
        """Return them with results that were there. past: of each the record and the id."""
        gone = {(record_id, one) for record_id, one in past if one not in self.ids}
        return replace(
            self,
            ids=self.ids.union(one for _, one in gone),
            of_identity=Counter(self.of_identity) + Counter((record_id, identity_of(one)) for record_id, one in gone),
        )


def _known_results(record: ReportedRecord, there: _Stored) -> Collection[UUID]:
    """Return the ids of those results of a record that are there.

    The only one of an identity in the file is the only one of it in the record, though its value may be another. Where
    there are several, in either, nobody can say which of them was corrected: each is told by its content.
    """
    said = Counter(identity_of(one.id) for one in record.measurements)

    def is_the_only_one(identity: int) -> bool:
        return said[identity] == there.of_identity.get((record.id, identity), 0) == 1

    return {one.id for one in record.measurements if one.id in there.ids or is_the_only_one(identity_of(one.id))}


async def _stored_results(
    connection: asyncpg.Connection, organization_id: UUID, records: Sequence[ReportedRecord]
) -> _Stored:
    if not records:
        return _Stored(frozenset(), {}, {})
    rows = await connection.fetch(
        f'select id, record_id from "{_RESULT}" where organization_id = $1 and (record_id = any($2) or id = any($3))',
        organization_id,
        [record.id for record in records],
        [one.id for record in records for one in record.measurements],
    )
    return _Stored(
        frozenset(row["id"] for row in rows),
        Counter((row["record_id"], identity_of(row["id"])) for row in rows),
        Counter(row["record_id"] for row in rows),
    )


async def _past_results(
    connection: asyncpg.Connection, organization_id: UUID, records: Sequence[ReportedRecord]
) -> set[tuple[UUID, UUID]]:
    """Return the results that were brought into records and that a change of the record took away or put others for:
    of each the record and the id. What somebody corrected by hand is not brought in once more beside it.

    Of a record that was deleted and made again, those since then.
    """
    if not records:
        return set()
    bounds = [bounds_of(record.id) for record in records]
    rows = await connection.fetch(
        _PAST,
        organization_id,
        [record.id for record in records],
        [least for least, _ in bounds],
        [greatest for _, greatest in bounds],
    )
    return {(row["part_of_id"], row["entity_id"]) for row in rows}


async def _note_growth(change: Change, record_ids: Sequence[UUID]) -> None:
    """Note who added to records that were there; what a reviewer said, they said of what there was before."""
    cleared = ", ".join(f"{name} = null" for name in REVIEWED)
    async with change.connection.acquire_connection() as raw:
        await raw.execute(
            f'update "{entity_of(Record).name}" set version = version + 1,'
            f" status = '{RecordStatus.DRAFT}', {cleared}, contributor_ids = contributor_ids"
            " || array(select h from unnest($3::uuid[]) h where not h = any (contributor_ids))"
            " where organization_id = $1 and id = any($2)",
            change.organization_id,
            record_ids,
            sorted(change.viewer.hands),
        )
