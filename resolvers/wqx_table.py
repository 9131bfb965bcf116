"""The rows of a table in a text file, such as a Water Quality Portal result file, each with the line it starts on.

Promises: a row that cannot be read is a row with a fault, never an exception; memory is bounded by the longest row
allowed, whatever the stream holds; no cell that leaves here holds a control character or half a character. Only a
file that is not this layout at all is refused.

Standard: RFC 4180, read strictly (a quote in the wrong place is a fault, not a guess); the columns named here are those
of the portal's result profile in the older layout of 64 columns ("WQX 2.2", now called legacy). Columns may come in any
order, and ones that are not read may be absent or added.
"""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import BinaryIO, ClassVar, Final, TextIO

from auth.errors import Code, FieldwardError

CELL_LIMIT: Final = 10_000
"""Characters in one cell: what a comment may hold."""

MOST_COLUMNS: Final = 2_000
"""Columns of a file: ten times those of the largest layout of the portal."""
CELL_WEIGHT: Final = 64
"""What a cell weighs beside its characters: about what it takes of memory, however little is in it."""

_ROW_LIMIT: Final = 200_000
_SHOWN: Final = 80
# C0 and C1 but for tab and line ends; and lone surrogates, which is what bytes outside UTF-8 turn into.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Column(StrEnum):
    """The columns that are read. All but those in `OPTIONAL` must be there: without them a result means less.

    The standardized places are in the newer layout alone, and go by their names there.
    """

    ORGANIZATION = "OrganizationIdentifier"
    ORGANIZATION_NAME = "OrganizationFormalName"
    ACTIVITY = "ActivityIdentifier"
    ACTIVITY_TYPE = "ActivityTypeCode"
    MEDIUM = "ActivityMediaName"
    DATE = "ActivityStartDate"
    TIME = "ActivityStartTime/Time"
    ZONE = "ActivityStartTime/TimeZoneCode"
    CONDUCTING_ORGANIZATION = "ActivityConductingOrganizationText"
    SITE = "MonitoringLocationIdentifier"
    SITE_NAME = "MonitoringLocationName"
    LATITUDE = "ActivityLocation/LatitudeMeasure"
    LONGITUDE = "ActivityLocation/LongitudeMeasure"
    SITE_LATITUDE = "LatitudeMeasure"
    SITE_LONGITUDE = "LongitudeMeasure"
    DATUM = "ActivityLocation/HorizontalCoordinateReferenceSystemDatumName"
    SITE_DATUM = "HorizontalCoordinateReferenceSystemDatumName"
    STANDARD_LATITUDE = "ActivityLocation_LatitudeStandardized"
    STANDARD_LONGITUDE = "ActivityLocation_LongitudeStandardized"
    STANDARD_DATUM = "ActivityLocation_HorzCoordStandardizedDatum"
    SITE_STANDARD_LATITUDE = "Location_LatitudeStandardized"
    SITE_STANDARD_LONGITUDE = "Location_LongitudeStandardized"
    SITE_STANDARD_DATUM = "Location_HorzCoordStandardizedDatum"
    ACTIVITY_COMMENT = "ActivityCommentText"
    SAMPLING_METHOD = "SampleCollectionMethod/MethodIdentifier"
    SAMPLING_METHOD_CONTEXT = "SampleCollectionMethod/MethodIdentifierContext"
    SAMPLING_METHOD_NAME = "SampleCollectionMethod/MethodName"
    DETECTION_CONDITION = "ResultDetectionConditionText"
    CHARACTERISTIC = "CharacteristicName"
    FRACTION = "ResultSampleFractionText"
    VALUE = "ResultMeasureValue"
    UNIT = "ResultMeasure/MeasureUnitCode"
    QUALIFIER = "MeasureQualifierCode"
    RESULT_STATUS = "ResultStatusIdentifier"
    STATISTICAL_BASE = "StatisticalBaseCode"
    VALUE_TYPE = "ResultValueTypeName"
    RESULT_COMMENT = "ResultCommentText"
    ANALYTICAL_METHOD = "ResultAnalyticalMethod/MethodIdentifier"
    ANALYTICAL_METHOD_CONTEXT = "ResultAnalyticalMethod/MethodIdentifierContext"
    ANALYTICAL_METHOD_NAME = "ResultAnalyticalMethod/MethodName"
    LIMIT_TYPE = "DetectionQuantitationLimitTypeName"
    LIMIT = "DetectionQuantitationLimitMeasure/MeasureValue"
    LIMIT_UNIT = "DetectionQuantitationLimitMeasure/MeasureUnitCode"
    SPECIATION = "MethodSpecificationName"
    RESULT_DEPTH = "ResultDepthHeightMeasure/MeasureValue"
    RESULT_DEPTH_UNIT = "ResultDepthHeightMeasure/MeasureUnitCode"
    RESULT_DEPTH_REFERENCE = "ResultDepthAltitudeReferencePointText"
    TAXON = "SubjectTaxonomicName"
    TISSUE = "SampleTissueAnatomyName"
    WEIGHT_BASIS = "ResultWeightBasisText"
    TIME_BASIS = "ResultTimeBasisText"
    TEMPERATURE_BASIS = "ResultTemperatureBasisText"
    PARTICLE_SIZE_BASIS = "ResultParticleSizeBasisText"


OPTIONAL: Final = frozenset(
    {
        Column.SITE_NAME,
        Column.LATITUDE,
        Column.LONGITUDE,
        Column.SITE_LATITUDE,
        Column.SITE_LONGITUDE,
        Column.DATUM,
        Column.SITE_DATUM,
        Column.STANDARD_LATITUDE,
        Column.STANDARD_LONGITUDE,
        Column.STANDARD_DATUM,
        Column.SITE_STANDARD_LATITUDE,
        Column.SITE_STANDARD_LONGITUDE,
        Column.SITE_STANDARD_DATUM,
        Column.SPECIATION,
        Column.RESULT_DEPTH,
        Column.RESULT_DEPTH_UNIT,
        Column.RESULT_DEPTH_REFERENCE,
        Column.TAXON,
        Column.TISSUE,
        Column.WEIGHT_BASIS,
        Column.TIME_BASIS,
        Column.TEMPERATURE_BASIS,
        Column.PARTICLE_SIZE_BASIS,
    }
)


class WqxFormatError(FieldwardError):
    """The file is not a result file in this layout. Names the columns at fault, never a cell."""

    code: ClassVar[Code] = Code.INVALID_INPUT


class CellError(ValueError):
    """One row is no good because of one cell; `column` is empty where the whole row is at fault."""

    def __init__(self, column: str, reason: str, value: str = "") -> None:
        super().__init__(reason)
        self.column = str(column)
        self.reason = reason
        self.value = _FORBIDDEN.sub("\ufffd", value[:_SHOWN])


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: its cells by column, or what is wrong with it. `cells` is empty for a blank row and for a faulty one.

    weight: about how many bytes of memory it takes.
    """

    line: int
    cells: Mapping[str, str] = field(repr=False)
    fault: CellError | None = None
    weight: int = 0


def as_text(source: BinaryIO, encoding: str = "utf-8") -> TextIO:
    """Return the bytes as the text that `read_rows` wants: line ends kept, bytes outside UTF-8 marked, not refused.

    Closing the text closes the source. What is not text in UTF-16 is refused by `read_table`.
    """
    errors = "strict" if encoding == "utf-16" else "surrogateescape"
    return io.TextIOWrapper(source, encoding=encoding, errors=errors, newline="")


HeaderRule = Callable[[Sequence[str]], None]
"""Raises `WqxFormatError` where a header is not one of the layout that is read."""


def read_rows(stream: TextIO) -> Iterator[TableRow]:
    """Yield the rows below the header of a result file in the older layout, in order; see `read_table`."""
    return read_table(stream, require_columns)


def read_table(stream: TextIO, require_header: HeaderRule, *, delimiter: str = ",") -> Iterator[TableRow]:
    """Yield the rows below the header, in order, each with its cells by the names of the header.

    Of columns with one name, which `require_header` lets pass where they are not read, each gets one of its own, and so
    does one without a name: no cell is lost.

    The limit that the `csv` module shares between all its users is left as it is: a cell beyond it is a fault, too.

    Raises:
        WqxFormatError: at the first step, when the header does not fit; at any step, when the stream refuses to decode
            (use `as_text`, which marks such bytes instead).
    """
    lines = _Lines(stream)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    header = _header(reader)
    require_header(header)
    header = _told_apart(header)
    while True:
        start = lines.next_row()
        try:
            cells = next(reader, None)
        except csv.Error:
            last = "" if lines.count == start else f", up to line {lines.count}"
            yield TableRow(start, {}, CellError("", f"cannot be read as CSV: its quotes or line ends do not fit{last}"))
            continue
        except _RowTooLongError:
            yield TableRow(start, {}, CellError("", f"is longer than {_ROW_LIMIT} characters"))
            continue
        if cells is None:
            return
        yield _row(start, header, cells)


def require_columns(
    header: Sequence[str], *, wanted: Collection[str] = tuple(Column), optional: Collection[str] = OPTIONAL
) -> None:
    """Raise `WqxFormatError` where a header lacks a column that is wanted and not optional, or has one twice."""
    missing = [str(column) for column in wanted if column not in optional and column not in header]
    if missing:
        raise WqxFormatError(f"The header lacks {', '.join(missing)}.")
    repeated = [str(column) for column in wanted if header.count(column) > 1]
    if repeated:
        raise WqxFormatError(f"The header has more than one {', '.join(repeated)}.")


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except (csv.Error, _RowTooLongError):
        raise WqxFormatError("The first line cannot be read as a CSV header.") from None
    if len(header) > MOST_COLUMNS:
        raise WqxFormatError(f"The header has more than {MOST_COLUMNS} columns.")
    return header


def _told_apart(header: list[str]) -> list[str]:
    """Return the names of columns so that each is there once: `Notes`, `Notes (2)`; `column 7` where there is none."""
    told: list[str] = []
    seen: set[str] = set()
    taken = set(header)
    for position, name in enumerate(header, start=1):
        stem = chosen = name or f"column {position}"
        number = 1
        while (not name or name in seen) and chosen in taken:
            number += 1
            chosen = f"{stem} ({number})"
        seen.add(name)
        taken.add(chosen)
        told.append(chosen)
    return told


def _row(line: int, header: list[str], cells: list[str]) -> TableRow:
    if not any(map(str.strip, cells)):
        return TableRow(line, {})
    if len(cells) != len(header):
        fault = CellError("", f"has {len(cells)} cells where the header has {len(header)}", ",".join(cells))
        return TableRow(line, {}, fault)
    # Nearly every row is good: it is looked at as a whole, and cell by cell only to name the one at fault.
    text = "".join(cells)
    if max(map(len, cells)) > CELL_LIMIT or _FORBIDDEN.search(text):
        for column, cell in zip(header, cells, strict=True):
            if len(cell) > CELL_LIMIT:
                return TableRow(line, {}, CellError(column, f"is longer than {CELL_LIMIT} characters", cell))
            if _FORBIDDEN.search(cell):
                what = "holds a control character or bytes that are not UTF-8"
                return TableRow(line, {}, CellError(column, what, cell))
    weight = len(text) + CELL_WEIGHT * len(cells)
    return TableRow(line, dict(zip(header, cells, strict=True)), weight=weight)


class _RowTooLongError(Exception):
    pass


class _Lines:
    """Physical lines for the CSV reader, counted, and bounded per row.

    A class, not a generator: it has to go on after it raised.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_row = 0
        self.count = 0

    def next_row(self) -> int:
        """Begin a row, and return the number of its first line."""
        self._in_row = 0
        return self.count + 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._piece()
        if not line:
            raise StopIteration
        self.count += 1
        if self.count == 1:
            line = line.removeprefix("\ufeff")
        self._in_row += len(line)
        if self._in_row > _ROW_LIMIT:
            while len(line) > _ROW_LIMIT and not line.endswith("\n"):
                line = self._piece()
            raise _RowTooLongError
        return line

    def _piece(self) -> str:
        try:
            return self._stream.readline(_ROW_LIMIT + 1)
        except UnicodeError:
            raise WqxFormatError(f"The file is not {self._stream.encoding.upper()} text.") from None
