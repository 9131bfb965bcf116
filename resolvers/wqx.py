"""Reads a result file of the US Water Quality Portal into records and their measurements.

Promises: every row below the header becomes one measurement, one rejection or one blank (`rows == measurements +
rejected + blank`), and no row raises. Nothing is guessed: a value that is no number keeps its text and has no number;
a row whose meaning is in doubt is rejected with its line, its column and a reason. The same file gives the same ids
each time, and so do its lines in another order. Nothing is stored here, and no clock is read.

A row is judged in this order, and the first fault is the one told: the row as CSV; the number of its cells; a cell
too long or with characters that are no text; organization, activity and site; date, time and time zone; place;
characteristic; value, or else a detection condition; detection limit; texts too long to be stored; and, last, whether
it contradicts the earlier rows of its activity.

Rows of one activity (same organization and activity identifier) are one record. What they say of the activity must
agree where both say anything; what one leaves empty the other fills in.

Standard: the portal's result profile in the older layout (`resolvers/wqx_table.py`), Water Quality Exchange (WQX).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TextIO
from uuid import UUID

from resolvers.wqx_row import Facts, ReportedMeasurement, Result, parse
from resolvers.wqx_table import CellError, WqxFormatError, as_text, read_rows
from resolvers.wqx_value import stable_id

__all__ = [
    "Counts",
    "Rejection",
    "ReportedMeasurement",
    "ReportedRecord",
    "WqxFile",
    "WqxFormatError",
    "as_text",
    "read_results",
]


@dataclass(frozen=True, slots=True)
class ReportedRecord:
    """One activity: a visit to a site, with its results in the order of the file. `line` is that of its first row.

    `source_key` is the provider's own identity of it, organization and activity. `activity_type` tells a sample from
    a blank or a replicate taken for quality control. Latitude and longitude are degrees in the datum of the file.
    """

    line: int
    id: UUID
    source_key: str
    site_code: str
    site_name: str | None
    latitude: Decimal | None
    longitude: Decimal | None
    collected_at: datetime
    collected_at_reported: str
    activity_type: str | None
    medium: str | None
    method: str | None
    collector: str | None = field(repr=False)
    comment: str | None = field(repr=False)
    measurements: tuple[ReportedMeasurement, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that became nothing. `column` is empty where the row as a whole is at fault.

    `value` is the cell's first 80 characters, and may be as confidential as its column is.
    """

    line: int
    column: str
    reason: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """`rows == measurements + rejected + blank`; rows are those below the header."""

    rows: int
    records: int
    measurements: int
    rejected: int
    blank: int


@dataclass(frozen=True, slots=True)
class WqxFile:
    """What a file held: records in the order of their first rows, rejections in the order of the file."""

    records: tuple[ReportedRecord, ...]
    rejections: tuple[Rejection, ...]
    counts: Counts


def read_results(stream: TextIO, *, organization_id: UUID, project_id: UUID) -> WqxFile:
    """Return what the file holds, read from where the stream stands. Give bytes through `as_text`.

    Ids are of version 7, from the moment of collection and the identity of activity and result within the
    organization and project; two results that differ in nothing that identifies them are told apart by their
    content, and only equal ones by their order.

    Raises:
        WqxFormatError: the file is not in this layout; names the columns that are missing.
    """
    activities: dict[tuple[str, str], _Activity] = {}
    rejections: list[Rejection] = []
    rows = blank = measurements = 0
    for row in read_rows(stream):
        rows += 1
        try:
            if row.fault is not None:
                raise row.fault
            if not row.cells:
                blank += 1
                continue
            _place(activities, parse(row.line, row.cells))
            measurements += 1
        except CellError as error:
            rejections.append(Rejection(row.line, error.column, error.reason, error.value))
    records = tuple(activity.record(organization_id, project_id) for activity in activities.values())
    counts = Counts(rows, len(records), measurements, len(rejections), blank)
    return WqxFile(records, tuple(rejections), counts)


@dataclass(slots=True)
class _Activity:
    """The rows of one activity so far, and what they say of it together."""

    facts: Facts
    results: list[Result]

    def record(self, organization_id: UUID, project_id: UUID) -> ReportedRecord:
        first, facts = self.results[0], self.facts
        at = facts.moment.at
        key = (organization_id.bytes, project_id.bytes, first.organization, first.activity)
        ids = {id(result): stable_id(at, ("measurement", *key, *parts)) for result, parts in self._told_apart()}
        return ReportedRecord(
            line=first.measurement.line,
            id=stable_id(at, ("record", *key)),
            source_key=_source_key(first.organization, first.activity),
            site_code=facts.site_code,
            site_name=facts.site_name,
            latitude=facts.position.latitude if facts.position else None,
            longitude=facts.position.longitude if facts.position else None,
            collected_at=at,
            collected_at_reported=facts.moment.reported,
            activity_type=facts.activity_type,
            medium=facts.medium,
            method=facts.method,
            collector=facts.collector,
            comment=facts.comment,
            measurements=tuple(replace(result.measurement, id=ids[id(result)]) for result in self.results),
        )

    def _told_apart(self) -> Iterator[tuple[Result, tuple[str, ...]]]:
        """Yield each result with its identity and its place among those of the same identity, by their content."""
        seen: dict[tuple[str, ...], int] = {}
        for result in sorted(self.results, key=lambda result: result.content):
            occurrence = seen[result.identity] = seen.get(result.identity, 0) + 1
            yield result, (*result.identity, str(occurrence))


def _place(activities: dict[tuple[str, str], _Activity], result: Result) -> None:
    key = (result.organization, result.activity)
    activity = activities.get(key)
    if activity is None:
        activities[key] = _Activity(result.facts, [result])
        return
    activity.facts = activity.facts.joined(result.facts)
    activity.results.append(result)


def _source_key(organization: str, activity: str) -> str:
    """A slash in the organization is written out, so that no two activities share a key."""
    return f"{organization.replace('%', '%25').replace('/', '%2F')}/{activity}"
