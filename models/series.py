"""Values over time, as a chart needs them: one series for each combination of keys, no longer than the chart is wide.

A series that has few values is told value by value. Any other is cut into equal spans of time, and each span says how
many values it has, the smallest, the largest, their mean, the first and the last: so a chart of them shows every peak
that a chart of all values would. The database computes it, in one statement, of the rows of which the viewer may read
every column that is touched (`models/aggregation.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import asyncpg

from auth.principal import Viewer
from models.aggregation import Joined, Key, exact, finite, is_moment, is_number, key_column, source_of
from models.condition import Criterion
from models.inventory import Entity
from models.listing import plain_column
from models.statement import Statement
from models.withholding import value_of


@dataclass(frozen=True, slots=True)
class SeriesOver:
    """What is asked for: the values of a column by the moment of their parent, from `start` until before `end`.

    keys: the columns that series are told apart by. moment: the parent's column. width: how many points a series has
        at the most. most: how many series there are at the most.
    """

    entity: Entity
    parent: Joined
    keys: Sequence[Key]
    value: str
    moment: str
    start: datetime
    end: datetime
    width: int
    most: int
    conditions: Sequence[Criterion] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A span's beginning, and what is said of the values in it; or the very moment of one value."""

    at: datetime
    count: int
    smallest: float
    largest: float
    mean: float | None
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Series:
    """The values of a series' keys, and its points in the order of time. span: None where each point is one value."""

    keys: tuple[Any, ...]
    points: Sequence[Point]
    span: timedelta | None

    @property
    def count(self) -> int:
        """How many values it has."""
        return sum(point.count for point in self.points)


@dataclass(frozen=True, slots=True)
class Found:
    """How many series there are, and which: none of them where there are more than asked for."""

    count: int
    series: Sequence[Series]


async def fetch_series(connection: asyncpg.Connection, viewer: Viewer, asked: SeriesOver) -> Found:
    """Return the series, in the order of their keys, without a value last. One statement.

    Raises:
        LookupError: a column is unknown, encrypted, not in the API, or not of the kind that it must be.
    """
    statement, span = Statement(), _span(asked)
    rows = await connection.fetch(_text(statement, viewer, asked, span), *statement.arguments)
    count = len(asked.keys)
    told = [row for row in rows if row["at"] is not None]
    # A group's rows are of one series, and all of them are values or all spans.
    grouped: Iterator[tuple[tuple[tuple[Any, ...], bool], Iterator[asyncpg.Record]]] = groupby(
        told, key=lambda row: (tuple(row)[:count], row["is_raw"])
    )
    series = [
        Series(keys=keys, points=[_point(row) for row in points], span=None if is_raw else span)
        for (keys, is_raw), points in grouped
    ]
    return Found(count=rows[0]["series"], series=series)


def _span(asked: SeriesOver) -> timedelta:
    """Return the length of a span: whole microseconds, so that no more than `width` of them reach the end."""
    microsecond = timedelta(microseconds=1)
    return max(-((asked.start - asked.end) // microsecond // asked.width), 1) * microsecond


def _text(statement: Statement, viewer: Viewer, asked: SeriesOver, span: timedelta) -> str:
    entity, parent = asked.entity, asked.parent
    stored, moment_column = plain_column(entity, asked.value), plain_column(parent.entity, asked.moment)
    if not is_number(stored):
        raise LookupError(f"The column {entity.name}.{stored.name} holds no numbers.")
    if not is_moment(moment_column):
        raise LookupError(f"The column {parent.entity.name}.{moment_column.name} holds no moments.")
    value, moment = value_of(stored, "t"), value_of(moment_column, "p")
    keys = [value_of(key_column(entity, parent.entity, key), "p" if key.of_parent else "t") for key in asked.keys]
    table, where = source_of(
        statement,
        viewer,
        entity,
        asked.conditions,
        parent,
        touched=[stored.name, *(key.column for key in asked.keys if not key.of_parent)],
        touched_of_parent=[moment_column.name, *(key.column for key in asked.keys if key.of_parent)],
    )
    start, end = statement.argument(asked.start), statement.argument(asked.end)
    width, most = statement.argument(asked.width), statement.argument(asked.most)
    where += f" and {value} is not null and {moment} >= {start} and {moment} < {end}"
    names = [f"k{index}" for index in range(len(keys))]
    listed = ", ".join(names)
    keyed = ", ".join(f"{key} as {name}" for key, name in zip(keys, names, strict=True))
    # Arrays are compared by their first elements first: by the moment, and at the same moment by the value.
    timed = f"array[date_part('epoch', {moment}), {value}]"
    binned = f"date_bin({statement.argument(span)}::interval, {moment}, {start})"
    # A row as text is unambiguous, and tells null from an empty text.
    own, told = f"row({', '.join(keys)})::text", f"row({listed})::text"
    order = ", ".join(f"{name} nulls last" for name in names)
    return f"""
        with binned as (
          select {keyed}, {binned} as at, count(*) as n, min({value}) as smallest, max({value}) as largest,
                 avg({exact(value)}) as mean, (min({timed}))[2] as first, (max({timed}))[2] as last
          from {table} where {where} group by {listed}, at
        ), counted as (
          select *, sum(n) over (partition by {listed}) as total from binned
        ), few as (
          select distinct {told} as key from counted where total <= {width}
        ), found as (
          select count(*) as series from (select distinct {listed} from binned) one
        ), told as (
          select {listed}, at, n, smallest, largest, mean, first, last, false as is_raw from counted
          where total > {width}
          union all
          select {keyed}, {moment}, 1, {value}, {value}, {exact(value)}, {value}, {value}, true
          from {table} where {where} and {own} = any (array(select key from few))
            and exists (select from few) and (select series from found) <= {most}
        )
        select {", ".join(f"o.{name}" for name in names)}, o.at, o.n, o.smallest, o.largest, o.mean, o.first, o.last,
               o.is_raw, c.series
        from found c left join told o on c.series <= {most}
        order by {order}, at, first
    """


def _point(row: asyncpg.Record) -> Point:
    return Point(
        at=row["at"],
        count=row["n"],
        smallest=row["smallest"],
        largest=row["largest"],
        mean=finite(row["mean"]),
        first=row["first"],
        last=row["last"],
    )
