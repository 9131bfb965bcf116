"""Rows of a file become records, some at a time, however large the file is and in whatever order its rows come.

Rows of one activity are one record, and no format promises that they stand together. So the file is read twice at
least. The first time only notes which activities come up in several places: some bytes for each stretch of rows, and
nothing else is kept. The second time, what stands together is put out as soon as its last row was read. Activities that
are scattered are gathered in as many further readings as it takes to never hold more than `MOST_HELD` of their rows.
Rows are counted and weighed: some have many cells, or have many results made of them.

The same file gives the same batches each time, so that a batch's number says where to go on.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Final, TextIO
from uuid import UUID

from resolvers.wqx_layout import Layout
from resolvers.wqx_row import Facts, FileColumns, ReportedMeasurement, Result
from resolvers.wqx_table import CellError, TableRow
from resolvers.wqx_value import result_id, stable_id

MOST_RECORDS: Final = 500
"""Records of one batch, which is one change: its audit entry holds them all, and its transaction stays short."""
MOST_MEASUREMENTS: Final = 2_000
"""Results after which a batch is full, so that those of few records with many stay short, too."""
MOST_TOLD: Final = 5_000
"""Rows after which a batch is full that holds nothing but blank and rejected ones."""
MOST_HELD: Final = 20_000
"""Rows of scattered activities that are held at once."""
MOST_WEIGHT: Final = 64_000_000
"""About how many bytes the rows of a batch take, each as often as it has results, after which it is full."""
MOST_WEIGHT_HELD: Final = 320_000_000
"""About how many bytes the rows of scattered activities take that are held at once."""
MOST_RESULTS: Final = 500
"""Results of one activity: what a record can show."""


@dataclass(frozen=True, slots=True)
class ReportedRecord:
    """One activity: a visit to a site, with its results in the order of the file. `line` is that of its first row.

    `source_key` is the provider's own identity of it, organization and activity. `activity_type` tells a sample from
    a blank or a replicate taken for quality control. Latitude and longitude are degrees of WGS 84 or NAD 83.
    `columns` says which of the file's columns say what.
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
    columns: FileColumns = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that became nothing. `column` is empty where the row as a whole is at fault.

    `value` is the cell's first 80 characters, and may be as confidential as its column is.
    """

    line: int
    column: str
    reason: str
    value: str = field(repr=False)


@dataclass(slots=True)
class Batch:
    """Some records, and the rows that were rejected or blank on the way to them. `number` counts from 0.

    rows: how many rows of the file that is.
    """

    number: int
    records: list[ReportedRecord] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    measurements: int = 0
    weight: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is enough for one change."""
        return (
            len(self.records) >= MOST_RECORDS
            or self.measurements >= MOST_MEASUREMENTS
            or len(self.rejections) + len(self.blank) >= MOST_TOLD
            or self.weight >= MOST_WEIGHT
        )

    def __bool__(self) -> bool:
        return bool(self.records or self.rejections or self.blank)


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first reading found: the rows below the header, and which activities are scattered, by their digests.

    readings: how often the file is read after that.
    """

    rows: int
    scattered: "Scattered"
    readings: int

    def reading_of(self, digest: int) -> int:
        """Return in which of the readings an activity is gathered."""
        return digest % self.readings if digest in self.scattered else 0


def look_through(stream: TextIO, layout: Layout, *, tick: Callable[[int], None] = lambda _rows: None) -> Survey:
    """Read a file for the first time.

    tick: told, every thousand rows, how many were read; what it raises ends the reading.

    Raises:
        WqxFormatError: the file is not of that layout.
    """
    stretches, lengths, weights = array("Q"), array("L"), array("Q")
    rows, before = 0, None
    for row in layout.rows(stream):
        rows += 1
        if not rows % 1000:
            tick(rows)
        if not row.cells:
            continue
        key = layout.key_of(row.cells)
        if key == before:
            lengths[-1] += 1
            weights[-1] += row.weight
            continue
        stretches.append(_digest(key))
        lengths.append(1)
        weights.append(row.weight)
        before = key
    scattered = _repeated(stretches)
    held = weight = 0
    if scattered:
        for digest, length, its_weight in zip(stretches, lengths, weights, strict=True):
            if digest in scattered:
                held, weight = held + length, weight + its_weight
    return Survey(rows, scattered, max(1, -(-held // MOST_HELD), -(-weight // MOST_WEIGHT_HELD)))


def read_batches(
    open_again: Callable[[], TextIO], layout: Layout, survey: Survey, project_id: UUID, *, from_batch: int = 0
) -> Iterator[Batch]:
    """Yield what the file holds, in batches that are the same each time.

    open_again: returns the file from its beginning. project_id: whose the records are to be: ids are made of it.
    from_batch: the number of the first that is wanted.
    """
    number = 0
    for reading in range(survey.readings):
        for batch in _read(open_again(), layout, survey, reading, project_id, number):
            number = batch.number + 1
            if batch.number >= from_batch:
                yield batch


def _read(
    stream: TextIO, layout: Layout, survey: Survey, reading: int, project_id: UUID, number: int
) -> Iterator[Batch]:
    batch = Batch(number)
    current: _Activity | None = None
    held: dict[str, _Activity] = {}
    columns = layout.columns
    for row in layout.rows(stream):
        if not row.cells:
            if reading == 0:
                if row.fault is None:
                    batch.blank.append(row.line)
                else:
                    batch.rejections.append(_rejection(row.line, row.fault))
        else:
            key = layout.key_of(row.cells)
            if current is not None and current.key != key:
                current.put_into(batch, project_id)
                current = None
            digest = _digest(key) if survey.scattered else 0
            if survey.reading_of(digest) != reading:
                continue
            try:
                results = layout.results(row)
            except CellError as error:
                batch.rejections.append(_rejection(row.line, error))
            else:
                if digest in survey.scattered:
                    held.setdefault(key, _Activity(key, columns)).take(row, results, batch)
                else:
                    if current is None:
                        current = _Activity(key, columns)
                    current.take(row, results, batch)
        if batch.is_full:
            yield batch
            batch = Batch(batch.number + 1)
    for activity in filter(None, (current, *held.values())):
        activity.put_into(batch, project_id)
        if batch.is_full:
            yield batch
            batch = Batch(batch.number + 1)
    if batch:
        yield batch


class _Activity:
    """The rows of one activity so far, and what they say of it together."""

    __slots__ = ("_columns", "_facts", "_lines", "_results", "_weight", "key")

    def __init__(self, key: str, columns: FileColumns) -> None:
        self.key = key
        self._columns = columns
        self._facts: Facts | None = None
        self._results: list[Result] = []
        # The lines of its rows, once they are too many: then there is nothing else to keep of it.
        self._lines: list[int] | None = None
        self._weight = 0

    def take(self, row: TableRow, results: Sequence[Result], batch: Batch) -> None:
        """Take in a row, or reject it where it contradicts the ones before or is one too many."""
        line = row.line
        if self._lines is not None:
            batch.rejections.append(_too_many(line))
            return
        facts = self._facts
        try:
            for result in results:
                facts = result.facts if facts is None else facts.joined(result.facts)
        except CellError as error:
            column = self._columns.visit.get(error.column, error.column)
            batch.rejections.append(Rejection(line, column, error.reason, error.value))
            return
        if len(self._results) + len(results) > MOST_RESULTS:
            self._lines = sorted({one.measurement.line for one in self._results} | {line})
            batch.rejections += [_too_many(one) for one in self._lines]
            self._results.clear()
            return
        self._facts = facts
        self._results += results
        # Each result keeps its row.
        self._weight += row.weight * len(results)

    def put_into(self, batch: Batch, project_id: UUID) -> None:
        """Put the record that it is into a batch, if there is one."""
        if self._facts is not None and self._results:
            batch.records.append(self._record(self._facts, project_id))
            batch.measurements += len(self._results)
            batch.weight += self._weight

    def _record(self, facts: Facts, project_id: UUID) -> ReportedRecord:
        first, at, columns = self._results[0], facts.moment.at, self._columns
        if facts.position is not None:
            where = facts.position.column
            columns = replace(columns, visit={**columns.visit, "latitude": where, "longitude": where})
        # The organization is none of it: a project that came with an archive knows its files again.
        key = (project_id.bytes, first.organization, first.activity)
        ids = {
            id(result): result_id(at, ("measurement", *key, *result.identity), (result.content, str(number)))
            for result, number in self._told_apart()
        }
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
            measurements=tuple(replace(result.measurement, id=ids[id(result)]) for result in self._results),
            columns=columns,
        )

    def _told_apart(self) -> Iterator[tuple[Result, int]]:
        """Yield each result with its number among those that are alike, in identity and content, as the file has them.

        None that is not like it counts: whatever a later file has besides, it keeps its number.
        """
        seen: Counter[tuple[tuple[str, ...], bytes]] = Counter()
        for result in self._results:
            seen[result.identity, result.content] += 1
            yield result, seen[result.identity, result.content]


class Scattered:
    """Digests of activities, in order, eight bytes each: a set of a million objects would be the most of all memory."""

    def __init__(self, digests: "array[int]") -> None:
        self._digests = digests

    def __contains__(self, digest: int) -> bool:
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest

    def __len__(self) -> int:
        return len(self._digests)


def _repeated(stretches: "array[int]") -> Scattered:
    """Return the digests that come up more than once. They are sorted a part at a time, to hold no list of them all."""
    found = array("Q")
    for part in range(_PARTS):
        before, added = None, False
        for digest in sorted(one for one in stretches if one >> (64 - _PART_BITS) == part):
            if digest != before:
                before, added = digest, False
            elif not added:
                found.append(digest)
                added = True
    return Scattered(found)


_PART_BITS: Final = 4
_PARTS: Final = 1 << _PART_BITS


def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _rejection(line: int, error: CellError) -> Rejection:
    return Rejection(line, error.column, error.reason, error.value)


def _too_many(line: int) -> Rejection:
    return Rejection(line, "", f"is of an activity with more than {MOST_RESULTS} results", "")


def _source_key(organization: str, activity: str) -> str:
    """A slash in the organization is written out, so that no two activities share a key."""
    return f"{organization.replace('%', '%25').replace('/', '%2F')}/{activity}"
