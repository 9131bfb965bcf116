"""One row of a Water Quality Portal result file: what it says of its activity, and what it measured.

Promises: a row comes out whole or as a `CellError` for its first fault, judged in the order that `resolvers/wqx.py`
states. Nothing is guessed, shortened or silently dropped from the columns that are read.

Standard: Water Quality Exchange (WQX), the portal's result profile in the older layout (`resolvers/wqx_table.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from resolvers.wqx_table import CellError, Column
from resolvers.wqx_value import Moment, Position, digest, is_good_datum, method, moment, number, position

METHOD_WIDTH: Final = 200
ANALYTICAL_METHOD_WIDTH: Final = 300

WIDTHS: Final[Mapping[Column, int]] = MappingProxyType(
    {
        Column.ORGANIZATION: 64,
        Column.ACTIVITY: 120,
        Column.ACTIVITY_TYPE: 120,
        Column.MEDIUM: 40,
        Column.SITE: 64,
        Column.SITE_NAME: 200,
        Column.CONDUCTING_ORGANIZATION: 200,
        Column.ORGANIZATION_NAME: 200,
        Column.CHARACTERISTIC: 120,
        Column.FRACTION: 60,
        Column.VALUE: 60,
        Column.UNIT: 40,
        Column.QUALIFIER: 120,
        Column.DETECTION_CONDITION: 120,
        Column.LIMIT_UNIT: 40,
        Column.LIMIT_TYPE: 120,
        Column.RESULT_STATUS: 40,
        Column.VALUE_TYPE: 40,
        Column.SPECIATION: 40,
    }
)
"""Characters that the columns of `record` and `measurement` hold, so that a row accepted here can be stored."""


# Of the activity, then of its site: what is given, with its datum, and the same as the portal standardized it.
_PLACES: Final = (
    (
        ((Column.LATITUDE, Column.LONGITUDE), Column.DATUM),
        ((Column.STANDARD_LATITUDE, Column.STANDARD_LONGITUDE), Column.STANDARD_DATUM),
    ),
    (
        ((Column.SITE_LATITUDE, Column.SITE_LONGITUDE), Column.SITE_DATUM),
        ((Column.SITE_STANDARD_LATITUDE, Column.SITE_STANDARD_LONGITUDE), Column.SITE_STANDARD_DATUM),
    ),
)

_NO_ID: Final = UUID(int=0)

# What makes a result the same result when it is read again: never its value, which may be corrected. All of it is in
# both layouts: what only one of them has, as a biological intent, would give the same row another id in the other.
_IDENTITY: Final = (
    Column.CHARACTERISTIC,
    Column.FRACTION,
    Column.UNIT,
    Column.ANALYTICAL_METHOD_CONTEXT,
    Column.ANALYTICAL_METHOD,
    Column.ANALYTICAL_METHOD_NAME,
    Column.VALUE_TYPE,
    Column.STATISTICAL_BASE,
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
)

# What tells results of one identity apart, under names that are the same in both layouts. How far its review has come
# is not of it, nor is what the row says of its activity: either may change, and it is the same result. Nor is anything
# that is sealed where it is stored, as comments are: an id that is made of it would tell who guesses right. (Depth and
# taxon are sealed as well, and are of the identity: without them results were lost.)
_CONTENT: Final = (
    Column.VALUE,
    Column.QUALIFIER,
    Column.DETECTION_CONDITION,
    Column.LIMIT,
    Column.LIMIT_UNIT,
    Column.LIMIT_TYPE,
)


@dataclass(frozen=True, slots=True)
class ReportedMeasurement:
    """One result. `value_reported` is the cell as it stands in the file, `value` its number where it is one.

    `speciation` says what a concentration is counted as (`as N`): it belongs to the unit. `source` is the row as it
    was reported, each cell that says anything by its column: the columns that are not read here are not lost. Who
    collected is left out: a name lies under a key of its own alone, so that it can be masked and erased.
    """

    line: int
    id: UUID
    characteristic: str
    fraction: str | None
    value: Decimal | None
    value_reported: str | None
    unit: str | None
    speciation: str | None
    qualifier: str | None
    detection_condition: str | None
    detection_limit: Decimal | None
    detection_limit_unit: str | None
    detection_limit_type: str | None
    method: str | None
    result_status: str | None
    value_type: str | None
    comment: str | None = field(repr=False)
    source: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FileColumns:
    """Which columns of a file say what is stored, by the name of the column that keeps it.

    visit: of a record; `date` and `time` as well, which make its moment. result: of a measurement.
    """

    visit: Mapping[str, str]
    result: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a row says of its activity. Contradictions are looked for in the order of the fields."""

    site_code: str
    moment: Moment
    position: Position | None
    site_name: str | None
    activity_type: str | None
    medium: str | None
    method: str | None
    collector: str | None = field(repr=False)
    comment: str | None = field(repr=False)

    def joined(self, later: "Facts") -> "Facts":
        """Return these facts with what is empty filled in from the later ones.

        Raises:
            CellError: both say something, and not the same; names the fact as `FileColumns.visit` does.
        """
        if self == later:
            return self
        filled: dict[str, Any] = {}  # each value is of its own field's type
        for name in (one.name for one in fields(self)):
            mine, theirs = getattr(self, name), getattr(later, name)
            if mine is None:
                filled[name] = theirs
            elif theirs is not None and mine != theirs:
                raise _contradiction(name, self, later)
        return replace(self, **filled)


@dataclass(frozen=True, slots=True)
class Result:
    """A row that is good in itself, before it has met the others of its activity.

    `measurement` has no id yet; `identity` is what tells it from others in the activity, `content` a digest of what
    tells apart several of one identity.
    """

    organization: str
    activity: str
    facts: Facts
    identity: tuple[str, ...]
    content: bytes = field(repr=False)
    measurement: ReportedMeasurement


def parse(
    line: int,
    cells: Mapping[str, str],
    *,
    read_from: Mapping[str, str] | None = None,
    names: Mapping[Column, str] = MappingProxyType({}),
) -> Result:
    """Return the result in the cells of a row.

    read_from: the cells as the file has them, where they have other names than those of the older layout; names: of
    each column, the file's.

    Raises:
        CellError: for the first fault.
    """
    organization = _required(cells, Column.ORGANIZATION)
    activity = _required(cells, Column.ACTIVITY)
    facts = _facts(cells, names)
    own = cells if read_from is None else read_from
    measurement = _measurement(line, cells, own, names)
    _require_storable(cells, facts, measurement)
    return Result(
        organization=organization,
        activity=activity,
        facts=facts,
        identity=tuple(cells.get(column, "").strip() for column in _IDENTITY),
        content=digest(cells.get(column, "").strip() for column in _CONTENT),
        measurement=measurement,
    )


def _facts(cells: Mapping[str, str], names: Mapping[Column, str]) -> Facts:
    return Facts(
        site_code=_required(cells, Column.SITE),
        moment=moment(cells[Column.DATE], cells[Column.TIME], cells[Column.ZONE]),
        position=_position(cells, names),
        site_name=_text(cells, Column.SITE_NAME),
        activity_type=_text(cells, Column.ACTIVITY_TYPE),
        medium=_text(cells, Column.MEDIUM),
        method=method(
            cells[Column.SAMPLING_METHOD_CONTEXT],
            cells[Column.SAMPLING_METHOD],
            cells[Column.SAMPLING_METHOD_NAME],
        ),
        collector=_text(cells, _collector_column(cells)),
        comment=_text(cells, Column.ACTIVITY_COMMENT),
    )


def _measurement(
    line: int, cells: Mapping[str, str], own: Mapping[str, str], names: Mapping[Column, str]
) -> ReportedMeasurement:
    characteristic = _required(cells, Column.CHARACTERISTIC)
    value = cells[Column.VALUE]
    condition = _text(cells, Column.DETECTION_CONDITION)
    if not value.strip() and condition is None:
        raise CellError(Column.VALUE, "is missing, and there is no detection condition either")
    collector = _collector_column(cells)
    collected = names.get(collector, collector)
    return ReportedMeasurement(
        line=line,
        id=_NO_ID,
        characteristic=characteristic,
        fraction=_text(cells, Column.FRACTION),
        value=number(value),
        value_reported=value if value.strip() else None,
        unit=_text(cells, Column.UNIT),
        speciation=_text(cells, Column.SPECIATION),
        qualifier=_text(cells, Column.QUALIFIER),
        detection_condition=condition,
        detection_limit=_limit(cells),
        detection_limit_unit=_text(cells, Column.LIMIT_UNIT),
        detection_limit_type=_text(cells, Column.LIMIT_TYPE),
        method=method(
            cells[Column.ANALYTICAL_METHOD_CONTEXT],
            cells[Column.ANALYTICAL_METHOD],
            cells[Column.ANALYTICAL_METHOD_NAME],
        ),
        result_status=_text(cells, Column.RESULT_STATUS),
        value_type=_text(cells, Column.VALUE_TYPE),
        comment=_text(cells, Column.RESULT_COMMENT),
        source={column: cell for column, cell in own.items() if cell.strip() and column != collected},
    )


def _collector_column(cells: Mapping[str, str]) -> Column:
    """Return the column that says who collected."""
    return Column.CONDUCTING_ORGANIZATION if _text(cells, Column.CONDUCTING_ORGANIZATION) else Column.ORGANIZATION_NAME


def _position(cells: Mapping[str, str], names: Mapping[Column, str]) -> Position | None:
    for (columns, datum_column), (standard_columns, standard_datum_column) in _PLACES:
        found = position(*(cells.get(column, "") for column in columns), columns=columns)
        if found is None:
            continue
        datum = _text(cells, datum_column)
        if datum is not None and not is_good_datum(datum):
            columns = standard_columns
            found = position(*(cells.get(column, "") for column in columns), columns=columns)
            if found is None or not is_good_datum(cells.get(standard_datum_column, "")):
                why = "is neither WGS84 nor NAD83, and there is no standardized place in one of them"
                raise CellError(datum_column, why, datum)
        return replace(found, column=names.get(columns[0], columns[0]))
    return None


def _limit(cells: Mapping[str, str]) -> Decimal | None:
    """The limit has no text beside its number, so one that is no number would be lost: it is a fault."""
    text = _text(cells, Column.LIMIT)
    if text is None:
        return None
    limit = number(text)
    if limit is None:
        raise CellError(Column.LIMIT, "is not a number", text)
    return limit


def _require_storable(cells: Mapping[str, str], facts: Facts, measurement: ReportedMeasurement) -> None:
    lengths = [(column, len(cells.get(column, "")), width) for column, width in WIDTHS.items()]
    lengths.append((Column.SAMPLING_METHOD, len(facts.method or ""), METHOD_WIDTH))
    lengths.append((Column.ANALYTICAL_METHOD, len(measurement.method or ""), ANALYTICAL_METHOD_WIDTH))
    for column, length, width in lengths:
        if length > width:
            raise CellError(column, f"is longer than {width} characters", cells[column])


def _contradiction(name: str, earlier: Facts, later: Facts) -> CellError:
    column, value = name, getattr(later, name)
    if name == "moment":
        column = "time" if earlier.moment.day == later.moment.day else "date"
        value = later.moment.reported
    elif later.position is not None and name == "position":
        column = later.position.column
        value = f"{later.position.latitude} {later.position.longitude}"
    return CellError(column, "contradicts an earlier row of the same activity", value)


def _required(cells: Mapping[str, str], column: Column) -> str:
    text = _text(cells, column)
    if text is None:
        raise CellError(column, "is missing")
    return text


def _text(cells: Mapping[str, str], column: Column) -> str | None:
    return cells.get(column, "").strip() or None
