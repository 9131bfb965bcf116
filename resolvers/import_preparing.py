"""What is stored of the records that a file reports, made of a batch alone. What fits no column is rejected."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import orjson

from models.errors import InvalidInputError
from models.inventory import entity_of
from models.measurement import Measurement
from models.record import Medium, Record
from resolvers.activity_stream import Batch, Rejection, ReportedRecord
from resolvers.checking import CLOCK_TOLERANCE, input_name, require_fit
from resolvers.record import NewMeasurement, NewRecord
from resolvers.switched_off import IS_OFF, emptied, given_of_off
from resolvers.wqx_row import ReportedMeasurement

_MEDIA = {medium.value: medium for medium in Medium}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch with all that is to be known of it before anything is looked up: what is stored of each record that fits.

    Made apart, since it is most of an import's work and needs nothing but the batch: a server does it in a thread.
    """

    records: Sequence[tuple[ReportedRecord, NewRecord]]
    rejections: Sequence[Rejection]
    blank: Sequence[int]


def prepare_batch(project_id: UUID, batch: Batch, *, now: datetime) -> Prepared:
    """Return the batch as it would be stored, with what fits no column among its rejections.

    now: when its import was started: nothing was sampled later, but for what clocks are ahead.
    """
    rejections, latest = list(batch.rejections), now + CLOCK_TOLERANCE
    records = [
        (record, new)
        for record in batch.records
        if (new := _fitting(project_id, record, rejections, latest=latest)) is not None
    ]
    return Prepared(records, rejections, batch.blank)


def switched(batch: Prepared, off: Collection[str], *, drops: bool) -> Prepared:
    """Return the batch without what the project does without.

    off: what that is. drops: leave the values out; if not, the rows that have some are rejected, with the column. The
    row of the file, which repeats them, is kept in neither case.
    """
    if not off:
        return batch
    rejections, records = list(batch.rejections), []
    for reported, new in batch.records:
        lines = sorted({one.line for one in reported.measurements})
        at_fault = [] if drops else list(given_of_off(entity_of(Record), off, new.values))
        if at_fault:
            column = reported.columns.visit.get(at_fault[0], input_name(at_fault[0]))
            rejections += [Rejection(line, column, IS_OFF, "") for line in lines]
            continue
        bad = {} if drops else _lines_at_fault(reported, new, off)
        named = reported.columns.result
        rejections += [
            Rejection(line, named.get(name, input_name(name)), IS_OFF, "") for line, name in sorted(bad.items())
        ]
        kept = [
            (one, replace(stored, **emptied(entity_of(Measurement), off, stored.values)))
            for one, stored in zip(reported.measurements, new.measurements, strict=True)
            if one.line not in bad
        ]
        if kept:
            values = emptied(entity_of(Record), off, new.values)
            records.append(
                (
                    replace(reported, measurements=tuple(one for one, _ in kept)),
                    replace(new, **values, measurements=[stored for _, stored in kept]),
                )
            )
    return Prepared(records, rejections, batch.blank)


def _lines_at_fault(reported: ReportedRecord, new: NewRecord, off: Collection[str]) -> dict[int, str]:
    """Return the rows of which a measurement has a value that is switched off, with its column."""
    found = {}
    for one, stored in zip(reported.measurements, new.measurements, strict=True):
        values = {name: value for name, value in stored.values.items() if name != "source_row"}
        for name in given_of_off(entity_of(Measurement), off, values):
            found[one.line] = name
    return found


def _fitting(
    project_id: UUID, record: ReportedRecord, rejections: list[Rejection], *, latest: datetime
) -> NewRecord | None:
    """Return what is stored of a record. One whose values no column takes is rejected, and so are all of its rows."""
    new = record_of(project_id, record)
    if new.collected_at > latest:
        column = record.columns.visit.get("date", input_name("collected_at"))
        rejections += _all_rows(record, column, "lies in the future", new.collected_at_reported or "")
        return None
    try:
        require_fit(entity_of(Record), new.values, at=())
        for one in new.measurements:
            require_fit(entity_of(Measurement), one.values, at=())
    except InvalidInputError as error:
        column = str(error.field[-1]) if error.field else ""
        rejections += _all_rows(record, column, error.message)
        return None
    return new


def _all_rows(record: ReportedRecord, column: str, reason: str, value: str = "") -> list[Rejection]:
    return [Rejection(line, column, reason, value) for line in sorted({one.line for one in record.measurements})]


def record_of(project_id: UUID, reported: ReportedRecord) -> NewRecord:
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
        measurements=[measurement_of(one) for one in reported.measurements],
    )


def measurement_of(reported: ReportedMeasurement) -> NewMeasurement:
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
        source_row=orjson.dumps(dict(reported.source)).decode(),
    )


def _unit(reported: ReportedMeasurement) -> str | None:
    """Return the unit with what a concentration is counted as, if that is said: `mg/l as N`."""
    return " ".join(filter(None, (reported.unit, reported.speciation))) or None


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
