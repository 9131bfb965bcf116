"""Importing results of the US Water Quality Portal: rows become records with measurements.

Ids are derived from what a row says of itself, so that a file imported twice changes nothing. Records go in batches,
each one audited change; a row that can't become anything is reported with its line, column and reason.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import TextIO
from uuid import UUID

from auth.action import Action
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import Scope, project_scope
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.measurement import Measurement
from models.project import Project
from models.record import Medium, Record
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_fit
from resolvers.collector import load_collectors
from resolvers.locking import Wanted, hold_visible
from resolvers.project import require_active
from resolvers.record import PROJECT_COLUMNS, NewMeasurement, NewRecord, measurement_values, record_values
from resolvers.trail import Actor
from resolvers.wqx import Rejection, ReportedMeasurement, ReportedRecord, read_results
from resolvers.writing import require_guards

BATCH = 500
"""Records of one change. Its audit entry holds them all, and its transaction stays short."""

_MEDIA = {medium.value: medium for medium in Medium}


@dataclass(slots=True)
class ImportReport:
    """What became of a file. Every row is in exactly one of measurements (new or known), rejections and blank."""

    rows: int = 0
    records_created: int = 0
    records_known: int = 0
    measurements_created: int = 0
    measurements_known: int = 0
    blank: int = 0
    rejections: list[Rejection] = field(default_factory=list)


async def import_results(
    actor: Actor,
    viewer: Viewer,
    stream: TextIO,
    *,
    project_id: UUID,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ImportReport:
    """Import a result file into a project, as the viewer, and return what became of each row.

    progress: told how many records of how many are done.

    Raises:
        InvalidInputError: the file is no result file.
        NotFoundError, ForbiddenError: the viewer sees no such project, or has no `record:import` there.
        ConflictError: the project is archived.
    """
    file = read_results(stream, organization_id=viewer.organization_id, project_id=project_id)
    report = ImportReport(rows=file.counts.rows, blank=file.counts.blank, rejections=list(file.rejections))
    fitting = [record for record in file.records if _fits(record, report)]
    done = 0
    for batch in _batches(fitting):
        intent = Intent(
            action=Action.RECORD_IMPORT,
            actor=actor,
            reason=None,
            entity=entity_of(Record).name,
            subjects=[record.id for record in batch],
        )

        async def write(change: Change, batch: Sequence[ReportedRecord] = batch) -> None:
            await _write(change, project_id, batch, report)

        await commit_change(intent, write)
        done += len(batch)
        progress(done, len(fitting))
    return report


async def _write(change: Change, project_id: UUID, batch: Sequence[ReportedRecord], report: ImportReport) -> None:
    project = Wanted(Project, project_id, PROJECT_COLUMNS, at=("project",))
    found = (await hold_visible(change, project)).found(project)
    require(change.viewer, Permission.RECORD_IMPORT, project_scope(project_id))
    _require_guards(change, project_scope(project_id))
    require_active(found["status"], at=("project",))
    known = await _known(change, Record, [record.id for record in batch])
    known_results = await _known(change, Measurement, [result.id for record in batch for result in record.measurements])
    await load_collectors(change.organization_id, [one.collector for one in batch])
    is_sensitive = found["locations_are_sensitive"]
    new = [
        record_values(change, one.id, _record(project_id, one), is_sensitive=is_sensitive)
        for one in batch
        if one.id not in known
    ]
    results = [
        measurement_values(change, reported.id, project_id, one.id, position, _measurement(one))
        for reported in batch
        for position, one in enumerate(reported.measurements)
        if one.id not in known_results
    ]
    await change.insert(Record, new)
    await change.insert(Measurement, results)
    report.records_created += len(new)
    report.records_known += len(batch) - len(new)
    report.measurements_created += len(results)
    report.measurements_known += sum(len(one.measurements) for one in batch) - len(results)


def _require_guards(change: Change, scope: Scope) -> None:
    """A file brings what it brings: whoever imports may write every column that a file can fill."""
    for model, new in ((Record, NewRecord), (Measurement, NewMeasurement)):
        entity = entity_of(model)
        columns = [name for name in new.__slots__ if name in entity.columns]
        require_guards(change, entity, scope, columns, at=("project",))


async def _known(change: Change, model: type[Record] | type[Measurement], ids: list[UUID]) -> set[UUID]:
    statement = Statement()
    rows = await fetch(
        change.connection,
        f'select id from "{entity_of(model).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and id = any({statement.argument(ids)}::uuid[])",
        *statement.arguments,
    )
    return {row["id"] for row in rows}


def _fits(record: ReportedRecord, report: ImportReport) -> bool:
    """Reject a record, and so its rows, whose values no column takes; say so for each row."""
    try:
        require_fit(entity_of(Record), _record(UUID(int=0), record).values, at=())
        for one in record.measurements:
            require_fit(entity_of(Measurement), _measurement(one).values, at=())
    except InvalidInputError as error:
        column = str(error.field[-1]) if error.field else ""
        report.rejections += [Rejection(one.line, column, error.message, "") for one in record.measurements]
        return False
    return True


def _record(project_id: UUID, reported: ReportedRecord) -> NewRecord:
    return NewRecord(
        project_id=project_id,
        site_code=reported.site_code,
        site_name=reported.site_name,
        latitude=_float(reported.latitude),
        longitude=_float(reported.longitude),
        collected_at=reported.collected_at,
        collected_at_reported=reported.collected_at_reported,
        medium=_MEDIA.get((reported.medium or "").upper(), Medium.OTHER),
        activity_type=reported.activity_type,
        method=reported.method,
        collector=reported.collector,
        comment=reported.comment,
    )


def _measurement(reported: ReportedMeasurement) -> NewMeasurement:
    return NewMeasurement(
        characteristic=reported.characteristic,
        fraction=reported.fraction,
        value=_float(reported.value),
        value_reported=reported.value_reported,
        unit=_unit(reported),
        qualifier=reported.qualifier,
        detection_condition=reported.detection_condition,
        detection_limit=_float(reported.detection_limit),
        detection_limit_unit=reported.detection_limit_unit,
        detection_limit_type=reported.detection_limit_type,
        method=reported.method,
        result_status=reported.result_status,
        value_type=reported.value_type,
        comment=reported.comment,
        source_row=json.dumps(dict(reported.source), ensure_ascii=False),
    )


def _unit(reported: ReportedMeasurement) -> str | None:
    """Return the unit with what a concentration is counted as, if that is said: `mg/l as N`."""
    return " ".join(filter(None, (reported.unit, reported.speciation))) or None


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _batches(records: Iterable[ReportedRecord]) -> Iterator[list[ReportedRecord]]:
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        yield batch
