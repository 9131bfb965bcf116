"""Mappings: which of a table's columns is what, and how its dates and numbers are written.

A table is long, with a row for each result, or wide, with a row for each visit and a column for each of its results, or
both. A mapping says all that it must, and nothing twice; `resolvers/csv_layout.py` reads by it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from models.errors import InvalidInputError
from resolvers.checking import Path, require_some, require_text
from resolvers.csv_moment import NO_ZONE, DateOrder, known_zones

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
WIDTHS: Final[Mapping[ImportField, int]] = MappingProxyType(
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
_OF_VALUE: Final = frozenset(
    {_F.DETECTION_CONDITION, _F.DETECTION_LIMIT, _F.DETECTION_LIMIT_UNIT, _F.DETECTION_LIMIT_TYPE}
)
"""What is said of one characteristic, as a limit is. All else of a result may be said of several."""


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
    time_zone: str = NO_ZONE
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
        width = WIDTHS.get(constant.field, LONGEST_NAME)
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
    if _F.VALUE not in fields:
        _require_of_each(mapping, at)


def _require_of_each(mapping: CsvMapping, at: Path) -> None:
    """Raise `InvalidInputError` for what none of the results would have, of a table with a column for each of them."""
    for name in ("columns", "constants"):
        for index, one in enumerate(getattr(mapping, name)):
            if one.field in _OF_VALUE:
                raise InvalidInputError(
                    f"Expected no {one.field} without VALUE: it is said of the result in VALUE alone.",
                    field=(*at, name, index, "field"),
                )
