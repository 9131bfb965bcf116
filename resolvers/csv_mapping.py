"""How a table of any layout is read: which of its columns is what, and how its dates and numbers are written.

A table is long, with a row for each result, or wide, with a row for each visit and a column for each of its results, or
both. Nothing is guessed: what a mapping does not name is kept in the source row and read by nobody; a date in another
order, a time that there was not, or was twice, in its time zone, and a number that is none are faults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TextIO
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from models.errors import InvalidInputError
from resolvers.checking import Path, require_some, require_text
from resolvers.csv_moment import DateOrder, known_zones, moment_of
from resolvers.wqx_row import Facts, ReportedMeasurement, Result
from resolvers.wqx_table import CellError, TableRow, read_table, require_columns
from resolvers.wqx_value import Moment, Position, digest, number

MOST_COLUMNS: Final = 500
"""Columns that a mapping names."""
LONGEST_NAME: Final = 300
"""Characters of a column's name, or of a constant."""


class Delimiter(StrEnum):
    """What stands between the cells of a row."""

    COMMA = "COMMA"
    SEMICOLON = "SEMICOLON"
    TAB = "TAB"
    PIPE = "PIPE"


class Encoding(StrEnum):
    """What the bytes of a file are text in."""

    UTF_8 = "UTF_8"
    UTF_16 = "UTF_16"
    WINDOWS_1252 = "WINDOWS_1252"
    ISO_8859_1 = "ISO_8859_1"


class ImportField(StrEnum):
    """What a column, or a constant, is. The first are of a record, those from CHARACTERISTIC on of a result.

    COLLECTED_AT is a date with its time; DATE and TIME are the two apart. TIME_ZONE is that of the row. ACTIVITY tells
    visits apart; without it, rows of one site and one moment are one record.
    """

    SITE_CODE = "SITE_CODE"
    SITE_NAME = "SITE_NAME"
    LATITUDE = "LATITUDE"
    LONGITUDE = "LONGITUDE"
    COLLECTED_AT = "COLLECTED_AT"
    DATE = "DATE"
    TIME = "TIME"
    TIME_ZONE = "TIME_ZONE"
    ACTIVITY = "ACTIVITY"
    ACTIVITY_TYPE = "ACTIVITY_TYPE"
    MEDIUM = "MEDIUM"
    METHOD = "METHOD"
    COLLECTOR = "COLLECTOR"
    COMMENT = "COMMENT"
    CHARACTERISTIC = "CHARACTERISTIC"
    FRACTION = "FRACTION"
    VALUE = "VALUE"
    UNIT = "UNIT"
    QUALIFIER = "QUALIFIER"
    DETECTION_CONDITION = "DETECTION_CONDITION"
    DETECTION_LIMIT = "DETECTION_LIMIT"
    DETECTION_LIMIT_UNIT = "DETECTION_LIMIT_UNIT"
    DETECTION_LIMIT_TYPE = "DETECTION_LIMIT_TYPE"
    RESULT_METHOD = "RESULT_METHOD"
    RESULT_STATUS = "RESULT_STATUS"
    VALUE_TYPE = "VALUE_TYPE"
    RESULT_COMMENT = "RESULT_COMMENT"


_F = ImportField
_WIDTHS: Final[Mapping[ImportField, int]] = MappingProxyType(
    {
        _F.SITE_CODE: 64,
        _F.SITE_NAME: 200,
        _F.ACTIVITY: 120,
        _F.ACTIVITY_TYPE: 120,
        _F.MEDIUM: 40,
        _F.METHOD: 200,
        _F.COLLECTOR: 200,
        _F.CHARACTERISTIC: 120,
        _F.FRACTION: 60,
        _F.VALUE: 60,
        _F.UNIT: 100,
        _F.QUALIFIER: 120,
        _F.DETECTION_CONDITION: 120,
        _F.DETECTION_LIMIT_UNIT: 40,
        _F.DETECTION_LIMIT_TYPE: 120,
        _F.RESULT_METHOD: 300,
        _F.RESULT_STATUS: 40,
        _F.VALUE_TYPE: 40,
    }
)
"""Characters that the columns of `record` and `measurement` hold."""
_IN_FILES_ALONE: Final = frozenset({_F.COLLECTOR, _F.COMMENT, _F.RESULT_COMMENT, _F.LATITUDE, _F.LONGITUDE})
"""What is, or may become, confidential or somebody's own. A mapping is kept in plain, and shown to who sees imports."""

_DELIMITERS: Final = {Delimiter.COMMA: ",", Delimiter.SEMICOLON: ";", Delimiter.TAB: "\t", Delimiter.PIPE: "|"}
_ENCODINGS: Final = {
    Encoding.UTF_8: "utf-8",
    Encoding.UTF_16: "utf-16",
    Encoding.WINDOWS_1252: "cp1252",
    Encoding.ISO_8859_1: "latin-1",
}
_NO_ID: Final = UUID(int=0)
_OF_ALL: Final = frozenset({_F.FRACTION, _F.UNIT, _F.QUALIFIER, _F.RESULT_METHOD, _F.RESULT_STATUS, _F.VALUE_TYPE})
"""What is said of every result of a row, of those in columns of their own as well."""


@dataclass(frozen=True, slots=True)
class MappedColumn:
    """A column of the file, by its name in the header, and what it is."""

    column: str
    field: ImportField


@dataclass(frozen=True, slots=True)
class MappedConstant:
    """What is the same in every row."""

    field: ImportField
    value: str


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column whose cells are values of one characteristic. An empty cell is no result."""

    column: str
    characteristic: str
    unit: str | None = None
    fraction: str | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvMapping:
    """How a table is read. time_zone: the IANA name of the zone of times that do not say theirs.

    missing: cells that say that there is nothing, such as NA or -9999.
    """

    columns: Sequence[MappedColumn]
    constants: Sequence[MappedConstant] = ()
    results: Sequence[ResultColumn] = ()
    delimiter: Delimiter = Delimiter.COMMA
    encoding: Encoding = Encoding.UTF_8
    decimal_comma: bool = False
    date_order: DateOrder = DateOrder.YMD
    time_zone: str = "UTC"
    missing: Sequence[str] = ()


def require_sound(mapping: CsvMapping, *, at: Path) -> None:
    """Raise `InvalidInputError` unless the mapping says all that it must, and nothing twice.

    at: the path of the input that is the mapping.
    """
    for name in ("columns", "constants", "results", "missing"):
        require_some(getattr(mapping, name), at=(*at, name), most=MOST_COLUMNS)
    for index, one in enumerate(mapping.columns):
        require_text(one.column, at=(*at, "columns", index, "column"), longest=LONGEST_NAME)
    for index, constant in enumerate(mapping.constants):
        if constant.field in _IN_FILES_ALONE:
            raise InvalidInputError(
                f"Expected {constant.field} to be a column of the file: a mapping is no place for it.",
                field=(*at, "constants", index, "field"),
            )
        require_text(constant.value, at=(*at, "constants", index, "value"), longest=LONGEST_NAME)
        width = _WIDTHS.get(constant.field, LONGEST_NAME)
        if len(constant.value.strip()) > width:
            raise InvalidInputError(f"Expected at most {width} characters.", field=(*at, "constants", index, "value"))
    for index, result in enumerate(mapping.results):
        where = (*at, "results", index)
        require_text(result.column, at=(*where, "column"), longest=LONGEST_NAME)
        widths = {"characteristic": 120, "unit": 100, "fraction": 60, "method": 300}
        for name, width in widths.items():
            if (text := getattr(result, name)) is not None:
                require_text(text, at=(*where, name), longest=width)
    for index, text in enumerate(mapping.missing):
        require_text(text, at=(*at, "missing", index), longest=LONGEST_NAME)
    _require_once(mapping, at)
    _require_enough(mapping, at)
    if mapping.time_zone not in known_zones():
        raise InvalidInputError(
            "Expected the IANA name of a time zone, such as Europe/Berlin.", field=(*at, "timeZone")
        )


def _require_once(mapping: CsvMapping, at: Path) -> None:
    fields: set[ImportField] = set()
    for index, one in enumerate(mapping.columns):
        if one.field in fields:
            raise InvalidInputError(f"Expected {one.field} once.", field=(*at, "columns", index, "field"))
        fields.add(one.field)
    for index, constant in enumerate(mapping.constants):
        if constant.field in fields:
            raise InvalidInputError(f"Expected {constant.field} once.", field=(*at, "constants", index, "field"))
        fields.add(constant.field)
    columns: set[str] = set()
    for index, result in enumerate(mapping.results):
        if result.column.strip() in columns:
            raise InvalidInputError("Expected each column once.", field=(*at, "results", index, "column"))
        columns.add(result.column.strip())


def _require_enough(mapping: CsvMapping, at: Path) -> None:
    fields = {one.field for one in mapping.columns} | {one.field for one in mapping.constants}
    columns = (*at, "columns")
    if _F.SITE_CODE not in fields:
        raise InvalidInputError("Expected a column or a constant for SITE_CODE.", field=columns)
    if (_F.COLLECTED_AT in fields) is (_F.DATE in fields):
        raise InvalidInputError("Expected either COLLECTED_AT or DATE.", field=columns)
    if _F.TIME in fields and _F.DATE not in fields:
        raise InvalidInputError("Expected DATE beside TIME.", field=columns)
    if (_F.LATITUDE in fields) is not (_F.LONGITUDE in fields):
        raise InvalidInputError("Expected both LATITUDE and LONGITUDE, or neither.", field=columns)
    if (_F.CHARACTERISTIC in fields) is not (_F.VALUE in fields):
        raise InvalidInputError("Expected both CHARACTERISTIC and VALUE, or neither.", field=columns)
    if _F.VALUE not in fields and not mapping.results:
        raise InvalidInputError("Expected CHARACTERISTIC and VALUE, or columns that are results.", field=columns)


def mapping_text(mapping: CsvMapping) -> str:
    """Return the mapping in JSON, with names as in the API."""
    return orjson.dumps(
        {
            "delimiter": mapping.delimiter,
            "encoding": mapping.encoding,
            "decimalComma": mapping.decimal_comma,
            "dateOrder": mapping.date_order,
            "timeZone": mapping.time_zone,
            "missing": list(mapping.missing),
            "columns": [{"column": one.column, "field": one.field} for one in mapping.columns],
            "constants": [{"field": one.field, "value": one.value} for one in mapping.constants],
            "results": [
                {
                    "column": one.column,
                    "characteristic": one.characteristic,
                    "unit": one.unit,
                    "fraction": one.fraction,
                    "method": one.method,
                }
                for one in mapping.results
            ],
        }
    ).decode()


def mapping_from(text: str | bytes) -> CsvMapping:
    """Return the mapping that JSON says, as `mapping_text` writes it; what is left out is as it is there by default.

    Raises:
        InvalidInputError: it is no such JSON; or the mapping is not sound (`require_sound`).
    """
    try:
        said: Any = orjson.loads(text)
        if not isinstance(said, dict):
            raise TypeError
        known = {"delimiter", "encoding", "decimalComma", "dateOrder", "timeZone", "missing"}
        if unknown := sorted(set(said) - known - {"columns", "constants", "results"}):
            raise InvalidInputError(f"Expected a mapping, without {unknown[0]!r}.", field=("mapping",))
        options: dict[str, Any] = {}
        if "decimalComma" in said:
            if not isinstance(said["decimalComma"], bool):
                raise TypeError
            options["decimal_comma"] = said["decimalComma"]
        if "timeZone" in said:
            options["time_zone"] = _string(said["timeZone"])
        mapping = CsvMapping(
            columns=[MappedColumn(_string(one["column"]), _F(one["field"])) for one in said["columns"]],
            constants=[MappedConstant(_F(one["field"]), _string(one["value"])) for one in said.get("constants", ())],
            results=[
                ResultColumn(_string(one["column"]), _string(one["characteristic"]), *map(_optional, _rest_of(one)))
                for one in said.get("results", ())
            ],
            delimiter=Delimiter(said.get("delimiter", Delimiter.COMMA)),
            encoding=Encoding(said.get("encoding", Encoding.UTF_8)),
            date_order=DateOrder(said.get("dateOrder", DateOrder.YMD)),
            missing=[_string(one) for one in said.get("missing", ())],
            **options,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InvalidInputError(
            "Expected the JSON of a mapping: columns, constants, results, delimiter, encoding, decimalComma, dateOrder,"
            " timeZone, missing.",
            field=("mapping",),
        ) from None
    require_sound(mapping, at=("mapping",))
    return mapping


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _optional(value: object) -> str | None:
    return None if value is None else _string(value)


def _rest_of(said: Mapping[str, Any]) -> Iterator[Any]:
    return (said.get(name) for name in ("unit", "fraction", "method"))


class CsvLayout:
    """The layout of a table that a mapping describes (`resolvers/wqx_layout.py: Layout`)."""

    def __init__(self, mapping: CsvMapping) -> None:
        self._mapping = mapping
        self._columns = {one.field: one.column.strip() for one in mapping.columns}
        self._constants = {one.field: one.value.strip() for one in mapping.constants}
        self._missing = frozenset(one.strip() for one in mapping.missing)
        self._zone = ZoneInfo(mapping.time_zone)
        self._wanted = tuple(dict.fromkeys([*self._columns.values(), *(one.column.strip() for one in mapping.results)]))
        self.encoding = _ENCODINGS[mapping.encoding]

    def rows(self, stream: TextIO) -> Iterator[TableRow]:
        """Yield the rows below the header."""
        return read_table(stream, self._require_header, delimiter=_DELIMITERS[self._mapping.delimiter])

    def key_of(self, cells: Mapping[str, str]) -> str:
        """Return what tells the row's visit apart: as it is read, so that 8:00 and 08:00 are one moment."""
        try:
            return self._visit(cells, self._moment(cells))
        except CellError:
            return "\0".join(cells.values())

    def results(self, row: TableRow) -> Sequence[Result]:
        """Return the results of a row, in the order of the file's columns."""
        cells = row.cells
        facts = self._facts(cells)
        visit = self._visit(cells, facts.moment)
        source = {
            name: cell for name, cell in cells.items() if cell.strip() and name != self._columns.get(_F.COLLECTOR)
        }
        content = digest(text for pair in sorted(cells.items()) for text in pair)
        found = [
            Result(
                organization="",
                activity=visit,
                facts=facts,
                identity=("csv", one.characteristic, one.fraction or "", one.unit or "", one.method or ""),
                content=content,
                measurement=one,
            )
            for one in self._measurements(row.line, cells, source)
        ]
        if not found:
            raise CellError("", "has no result")
        return found

    def _visit(self, cells: Mapping[str, str], moment: Moment) -> str:
        if (activity := self._said(cells, _F.ACTIVITY)) is not None:
            return activity
        parts = (self._said(cells, _F.SITE_CODE), moment.at.isoformat(), self._said(cells, _F.ACTIVITY_TYPE))
        return "|".join((part or "").replace("%", "%25").replace("|", "%7C") for part in parts)

    def _facts(self, cells: Mapping[str, str]) -> Facts:
        site = self._text(cells, _F.SITE_CODE)
        if site is None:
            raise CellError(self._name(_F.SITE_CODE), "is missing")
        self._text(cells, _F.ACTIVITY)
        return Facts(
            site_code=site,
            moment=self._moment(cells),
            position=self._position(cells),
            site_name=self._text(cells, _F.SITE_NAME),
            activity_type=self._text(cells, _F.ACTIVITY_TYPE),
            medium=self._text(cells, _F.MEDIUM),
            method=self._text(cells, _F.METHOD),
            collector=self._text(cells, _F.COLLECTOR),
            comment=self._text(cells, _F.COMMENT),
        )

    def _moment(self, cells: Mapping[str, str]) -> Moment:
        is_whole = _F.COLLECTED_AT in self._columns or _F.COLLECTED_AT in self._constants
        name = _F.COLLECTED_AT if is_whole else _F.DATE
        return moment_of(
            self._said(cells, name) or "",
            None if is_whole else self._said(cells, _F.TIME) or "",
            self._said(cells, _F.TIME_ZONE) or "",
            order=self._mapping.date_order,
            zone=self._zone,
            names=(self._name(name), self._name(_F.TIME), self._name(_F.TIME_ZONE)),
        )

    def _position(self, cells: Mapping[str, str]) -> Position | None:
        found = []
        for one, bound in ((_F.LATITUDE, 90), (_F.LONGITUDE, 180)):
            text = self._said(cells, one)
            degrees = None if text is None else self._number(text)
            if text is not None and (degrees is None or abs(degrees) > bound):
                raise CellError(self._name(one), f"is not a number of degrees from -{bound} to {bound}", text)
            found.append(degrees)
        north, east = found
        if north is None and east is None:
            return None
        if north is None or east is None:
            name = self._name(_F.LATITUDE if north is None else _F.LONGITUDE)
            raise CellError(name, "is missing beside the other half of the place")
        return Position(north, east, self._name(_F.LATITUDE))

    def _measurements(
        self, line: int, cells: Mapping[str, str], source: Mapping[str, str]
    ) -> Iterator[ReportedMeasurement]:
        shared = {one: self._text(cells, one) for one in _OF_ALL}
        condition = self._text(cells, _F.DETECTION_CONDITION)
        value = self._said(cells, _F.VALUE)
        if value is not None or condition is not None:
            characteristic = self._text(cells, _F.CHARACTERISTIC)
            if characteristic is None:
                raise CellError(self._name(_F.CHARACTERISTIC), "is missing")
            yield ReportedMeasurement(
                line=line,
                id=_NO_ID,
                characteristic=characteristic,
                fraction=shared[_F.FRACTION],
                value=None if value is None else self._number(value),
                value_reported=self._text(cells, _F.VALUE),
                unit=shared[_F.UNIT],
                speciation=None,
                qualifier=shared[_F.QUALIFIER],
                detection_condition=condition,
                detection_limit=self._limit(cells),
                detection_limit_unit=self._text(cells, _F.DETECTION_LIMIT_UNIT),
                detection_limit_type=self._text(cells, _F.DETECTION_LIMIT_TYPE),
                method=shared[_F.RESULT_METHOD],
                result_status=shared[_F.RESULT_STATUS],
                value_type=shared[_F.VALUE_TYPE],
                comment=self._text(cells, _F.RESULT_COMMENT),
                source=source,
            )
        for one in self._mapping.results:
            text = self._kept(cells[one.column.strip()])
            if text is None:
                continue
            if len(text) > _WIDTHS[_F.VALUE]:
                raise CellError(one.column, f"is longer than {_WIDTHS[_F.VALUE]} characters", text)
            yield ReportedMeasurement(
                line=line,
                id=_NO_ID,
                characteristic=one.characteristic.strip(),
                fraction=one.fraction or shared[_F.FRACTION],
                value=self._number(text),
                value_reported=text,
                unit=one.unit or shared[_F.UNIT],
                speciation=None,
                qualifier=shared[_F.QUALIFIER],
                detection_condition=None,
                detection_limit=None,
                detection_limit_unit=None,
                detection_limit_type=None,
                method=one.method or shared[_F.RESULT_METHOD],
                result_status=shared[_F.RESULT_STATUS],
                value_type=shared[_F.VALUE_TYPE],
                comment=None,
                source=source,
            )

    def _limit(self, cells: Mapping[str, str]) -> Any:
        text = self._said(cells, _F.DETECTION_LIMIT)
        limit = None if text is None else self._number(text)
        if text is not None and limit is None:
            raise CellError(self._name(_F.DETECTION_LIMIT), "is not a number", text)
        return limit

    def _number(self, text: str) -> Any:
        # Beside a comma, a point would stand for thousands, or for nothing that is certain.
        if self._mapping.decimal_comma:
            text = "" if "." in text else text.replace(",", ".")
        return number(text)

    def _text(self, cells: Mapping[str, str], one: ImportField) -> str | None:
        text = self._said(cells, one)
        if text is not None and len(text) > (width := _WIDTHS.get(one, 10_000)):
            raise CellError(self._name(one), f"is longer than {width} characters", text)
        return text

    def _said(self, cells: Mapping[str, str], one: ImportField) -> str | None:
        column = self._columns.get(one)
        return self._constants.get(one) if column is None else self._kept(cells[column])

    def _kept(self, cell: str) -> str | None:
        text = cell.strip()
        return None if not text or text in self._missing else text

    def _name(self, one: ImportField) -> str:
        return self._columns.get(one, str(one))

    def _require_header(self, header: Sequence[str]) -> None:
        require_columns(header, wanted=self._wanted, optional=frozenset())
