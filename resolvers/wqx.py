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

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO
from uuid import UUID

from resolvers.activity_stream import Rejection, ReportedRecord, look_through, read_batches
from resolvers.wqx_layout import LEGACY, Layout
from resolvers.wqx_row import ReportedMeasurement
from resolvers.wqx_table import WqxFormatError, as_text

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


def read_results(stream: TextIO, *, project_id: UUID, layout: Layout = LEGACY) -> WqxFile:
    """Return what the file holds, read from where the stream stands. Give bytes through `as_text`.

    For files that fit into memory; an import takes `resolvers/activity_stream.py: read_batches`.

    Ids are of version 7, from the moment of collection and the identity of activity and result within the
    project; two results that differ in nothing that identifies them are told apart by their
    content, and only those that are alike in that, too, by their order.

    Raises:
        WqxFormatError: the file is not in this layout; names the columns that are missing.
    """
    text = _again(stream)
    survey = look_through(text(), layout)
    records: list[ReportedRecord] = []
    rejections: list[Rejection] = []
    blank = 0
    for batch in read_batches(text, layout, survey, project_id):
        records += batch.records
        rejections += batch.rejections
        blank += len(batch.blank)
    records.sort(key=lambda record: record.line)
    rejections.sort(key=lambda rejection: rejection.line)
    measurements = sum(len(record.measurements) for record in records)
    counts = Counts(survey.rows, len(records), measurements, len(rejections), blank)
    return WqxFile(tuple(records), tuple(rejections), counts)


def _again(stream: TextIO) -> Callable[[], TextIO]:
    start = stream.tell()

    def opened() -> TextIO:
        stream.seek(start)
        return stream

    return opened
