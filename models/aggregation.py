"""The one way to aggregate: the rows that a viewer sees, grouped and computed by the database, in one statement.

What a group is keyed by and what is computed touch columns as filters and orders do. A row counts only where the
viewer may read every column that is touched, so that no aggregate tells more than the rows themselves would.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import asyncpg
from tortoise import fields

from auth.principal import Viewer
from models.condition import Criterion
from models.inventory import Column, Entity
from models.listing import matching, plain_column
from models.statement import Statement
from models.withholding import value_of


class Function(StrEnum):
    """What is computed of a column's values in a group. Rows without a value count for none but COUNT of no column."""

    COUNT = "count"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    AVERAGE = "avg"
    PERCENTILE_5 = "0.05"
    PERCENTILE_10 = "0.1"
    PERCENTILE_25 = "0.25"
    MEDIAN = "0.5"
    PERCENTILE_75 = "0.75"
    PERCENTILE_90 = "0.9"
    PERCENTILE_95 = "0.95"


OF_NUMBERS: Final = frozenset(Function) - {Function.COUNT, Function.MIN, Function.MAX}
"""The functions that take a column of numbers."""

_EXACT: Final = frozenset({Function.SUM, Function.AVERAGE})


class Bucket(StrEnum):
    """Into which spans moments are put, in UTC. A week begins on Monday (ISO 8601)."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Key:
    """A column that groups are told apart by; a moment by the beginning of its bucket.

    of_parent: the column is the parent's.
    """

    column: str
    bucket: Bucket | None = None
    of_parent: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """What is computed for each group; with `column` None the rows are counted."""

    function: Function
    column: str | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """The rows that the aggregated rows belong to: by which column, and which of them.

    Only rows whose parent is visible, meets the conditions, and may be read in the columns touched are counted.
    """

    entity: Entity
    column: str
    conditions: Sequence[Criterion] = ()


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What to compute: `limit` groups at the most, ordered by the keys, without a value last.

    Without a key there is one group of all rows, even of none. There is a key or a measure.
    """

    entity: Entity
    keys: Sequence[Key]
    measures: Sequence[Measure]
    limit: int
    conditions: Sequence[Criterion] = ()
    parent: Joined | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """The values of a group's keys and what was computed for it, in the order they were asked for."""

    keys: tuple[Any, ...]
    measures: tuple[Any, ...]


async def fetch_groups(connection: asyncpg.Connection, viewer: Viewer, aggregation: Aggregation) -> list[Group]:
    """Return the groups. One statement.

    Raises:
        LookupError: a column is unknown, encrypted, not in the API, or not of the kind that is computed with;
            or nothing is asked for.
    """
    statement = Statement()
    text = _text(statement, viewer, aggregation)
    count = len(aggregation.keys)
    return [
        Group(keys=tuple(row)[:count], measures=tuple(map(finite, tuple(row)[count:])))
        for row in await connection.fetch(text, *statement.arguments)
    ]


def is_number(column: Column) -> bool:
    """Return whether the column's values can be added up."""
    return isinstance(column.field, fields.FloatField | fields.IntField | fields.BigIntField | fields.SmallIntField)


def is_moment(column: Column) -> bool:
    """Return whether the column's values are moments, which are put into buckets."""
    return isinstance(column.field, fields.DatetimeField)


def _text(statement: Statement, viewer: Viewer, aggregation: Aggregation) -> str:
    keys = [_key(statement, aggregation, key) for key in aggregation.keys]
    measures = [_measure(aggregation.entity, measure) for measure in aggregation.measures]
    if not keys and not measures:
        raise LookupError("There is nothing to compute.")
    table, where = _source(statement, viewer, aggregation)
    columns = ", ".join(f"{one} as c{index}" for index, one in enumerate([*keys, *measures]))
    # By their places, since a bucket's argument would be another expression each time it is written.
    places = ", ".join(str(index + 1) for index in range(len(keys)))
    order = ", ".join(f"{index + 1} nulls last" for index in range(len(keys)))
    grouped = f" group by {places} order by {order}" if keys else ""
    return f"select {columns} from {table} where {where}{grouped} limit {statement.argument(aggregation.limit)}"


def _source(statement: Statement, viewer: Viewer, aggregation: Aggregation) -> tuple[str, str]:
    own = [
        *(key.column for key in aggregation.keys if not key.of_parent),
        *(measure.column for measure in aggregation.measures if measure.column is not None),
    ]
    of_parent = [key.column for key in aggregation.keys if key.of_parent]
    return source_of(
        statement,
        viewer,
        aggregation.entity,
        aggregation.conditions,
        aggregation.parent,
        touched=own,
        touched_of_parent=of_parent,
    )


def source_of(
    statement: Statement,
    viewer: Viewer,
    entity: Entity,
    conditions: Sequence[Criterion],
    parent: Joined | None,
    *,
    touched: Sequence[str],
    touched_of_parent: Sequence[str],
) -> tuple[str, str]:
    """Return what is computed from, the rows as `t` and their parents as `p`, and the condition of those that count.

    touched: the rows' columns that the statement groups or computes by, besides those of the conditions; and their
        parents'.

    Raises:
        LookupError: as `models/listing.py: matching` does.
    """
    table = f'"{entity.name}" t'
    if parent is None:
        return table, matching(statement, viewer, entity, conditions, touched=touched, alias="t")
    # Primary keys begin with the tenant, so the tenant joins too.
    tenants = _tenant(entity), _tenant(parent.entity)
    table += f' join "{parent.entity.name}" p on p.{tenants[1]} = t.{tenants[0]} and p.id = t.{parent.column}'
    where = [
        matching(statement, viewer, entity, conditions, touched=[*touched, parent.column], alias="t"),
        matching(statement, viewer, parent.entity, parent.conditions, touched=touched_of_parent, alias="p"),
    ]
    return table, " and ".join(where)


def _tenant(entity: Entity) -> str:
    if entity.placement is None or entity.placement.tenant_column is None:
        raise LookupError(f"The table {entity.name} is of no tenant.")
    return entity.placement.tenant_column


def key_column(entity: Entity, parent: Entity | None, key: Key) -> Column:
    """Return the column of a key. Raises `LookupError` where it is none, or of a parent that there is not."""
    if not key.of_parent:
        return plain_column(entity, key.column)
    if parent is None:
        raise LookupError(f"There is no parent whose {key.column} would be a key.")
    return plain_column(parent, key.column)


def _key(statement: Statement, aggregation: Aggregation, key: Key) -> str:
    column = key_column(aggregation.entity, aggregation.parent.entity if aggregation.parent else None, key)
    entity = aggregation.parent.entity if key.of_parent and aggregation.parent else aggregation.entity
    if key.bucket is not None and not is_moment(column):
        raise LookupError(f"The column {entity.name}.{column.name} holds no moments.")
    name = value_of(column, "p" if key.of_parent else "t")
    return name if key.bucket is None else f"date_trunc({statement.argument(key.bucket)}, {name}, 'UTC')"


def _measure(entity: Entity, measure: Measure) -> str:
    if measure.column is None:
        if measure.function is not Function.COUNT:
            raise LookupError(f"Of no column there is no {measure.function}.")
        return "count(*)"
    column = plain_column(entity, measure.column)
    name = value_of(column, "t")
    if measure.function not in OF_NUMBERS:
        return f"{measure.function}({name})"
    if not is_number(column):
        raise LookupError(f"The column {entity.name}.{column.name} holds no numbers.")
    if measure.function in _EXACT:
        # Decimals add up to the same whatever the order of the rows, and don't overflow on the way.
        return f"{measure.function}({exact(name)})"
    return f"percentile_cont({measure.function}) within group (order by {name})"


def exact(value: str) -> str:
    """Return SQL for a double as a decimal of all its digits. Cast at once, it would lose what is beyond the 15th."""
    return f"({value})::text::numeric"


def finite(value: Any) -> Any:
    """Return a number as a float, or None where it is beyond what a float holds."""
    if isinstance(value, Decimal):
        value = float(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
