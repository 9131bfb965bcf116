"""Measurements over time: one series for each place and kind of value, no longer than a chart is wide.

Values of different media, fractions or units are never put together: they are series of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import strawberry

from models.aggregation import Function, Joined, Key
from models.condition import Condition, Operator
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.measurement import Measurement as MeasurementModel
from models.record import Medium
from models.record import Record as RecordModel
from models.series import Point, Series, SeriesOver, fetch_series
from resolvers.checking import require_storable
from schema.aggregate import AGGREGATES, AggregateField, groups_of, measure, part, told_apart_by
from schema.context import ResolveInfo
from schema.measurement_group import MeasurementFilter, measurement_conditions
from schema.record import RecordFilter, record_conditions

DEFAULT_WIDTH: Final = 500
WIDEST: Final = 4000
"""The width in pixels of the widest screens that are sold."""
MOST_POINTS: Final = 20_000
"""Points of all series of an answer together: some megabytes."""
MOST_SERIES: Final = 200


def _of_values(description: str, function: Function) -> Any:
    return measure(description, function, "value", of=MeasurementModel)


@groups_of(MeasurementModel, parent=(RecordModel, "record_id"), are_asked_for=False)
@strawberry.type(
    description="A moment of a series: one value, or a span of time and what there is to say of the values in it."
)
class SeriesPoint:
    at: datetime | None = told_apart_by(
        "The moment of the value, or the beginning of the span.", "collected_at", of=RecordModel
    )
    count: int | None = _of_values("How many values there are.", Function.COUNT)
    min: float | None = _of_values("The smallest value.", Function.MIN)
    max: float | None = _of_values("The largest value.", Function.MAX)
    mean: float | None = _of_values("The arithmetic mean.", Function.AVERAGE)
    first: float | None = _of_values("The first value in time; of several, the smallest.", Function.MIN)
    last: float | None = _of_values("The last value in time; of several, the largest.", Function.MAX)


@groups_of(MeasurementModel, parent=(RecordModel, "record_id"), are_asked_for=False)
@strawberry.type(description="The values of one characteristic at one site over time, in one unit.")
class MeasurementSeries:
    project_id: strawberry.ID | None = told_apart_by(
        "The global id of the project.", "project_id", of=MeasurementModel, links_to="Project"
    )
    site_code: str | None = told_apart_by("The code of the records' site.", "site_code", of=RecordModel)
    medium: Medium | None = told_apart_by("What was sampled.", "medium", of=RecordModel)
    fraction: str | None = told_apart_by(
        "Which part of the sample: total, dissolved, suspended.", "fraction", of=MeasurementModel
    )
    unit: str | None = told_apart_by("The unit of the values.", "unit", of=MeasurementModel)
    count: int | None = _of_values("How many values the series has, in all its points.", Function.COUNT)
    span_seconds: float | None = part(
        "How long the span of a point is; null where every point is one value, at its own moment.",
        of=MeasurementModel,
    )
    points: list[SeriesPoint] = part(
        "The points, in the order of time. Spans without a value are left out.", of=MeasurementModel
    )


@dataclass(frozen=True, slots=True)
class SeriesWindow:
    """What a chart shows: of which characteristic, from when until before when, and how many points wide."""

    characteristic: str
    start: datetime
    end: datetime
    width: int


async def list_series(
    info: strawberry.Info, window: SeriesWindow, filter: MeasurementFilter | None, record: RecordFilter | None
) -> list[MeasurementSeries]:
    """Return the series that the viewer may see, by project, site, medium, fraction and unit. One statement.

    Raises:
        InvalidInputError: the window is none, or there are more series than one answer has room for.
    """
    _require_sensible(window)
    raw: ResolveInfo = info._raw_info
    declared = AGGREGATES[MeasurementSeries.__name__]
    most = min(MOST_SERIES, MOST_POINTS // window.width)
    conditions = await measurement_conditions(info, filter)
    of_parent = await record_conditions(info, record, argument="record")
    asked = SeriesOver(
        entity=entity_of(MeasurementModel),
        parent=Joined(entity_of(RecordModel), "record_id", of_parent),
        keys=[_key(one) for one in declared.keys.values()],
        value="value",
        moment="collected_at",
        start=window.start,
        end=window.end,
        width=window.width,
        most=most,
        conditions=[*conditions, Condition("characteristic", Operator.EQUALS, window.characteristic)],
    )
    async with raw.context.reader.use() as connection:
        found = await fetch_series(connection, raw.context.viewer, asked)
    if found.count > most:
        raise InvalidInputError(
            f"Expected at most {most} series of {window.width} points, got {found.count}. Narrow the filter of the"
            " records, such as to some sites, or ask for less width.",
            field=("record",),
        )
    return [_shown(one, declared.keys) for one in found.series]


def _require_sensible(window: SeriesWindow) -> None:
    require_storable(window.characteristic, at=("characteristic",))
    if not 1 <= window.width <= WIDEST:
        raise InvalidInputError(f"Expected a width from 1 to {WIDEST}.", field=("width",))
    if window.end <= window.start:
        raise InvalidInputError("Expected an end after the start.", field=("end",))


def _key(one: AggregateField) -> Key:
    if one.column is None:
        raise LookupError("A key is a column.")
    return Key(one.column, of_parent=one.model is RecordModel)


def _shown(series: Series, keys: Mapping[str, AggregateField]) -> MeasurementSeries:
    shown: dict[str, Any] = {
        name: f"{one.links_to}:{value}" if one.links_to else value
        for (name, one), value in zip(keys.items(), series.keys, strict=True)
    }
    return MeasurementSeries(
        **shown,
        count=series.count,
        span_seconds=None if series.span is None else series.span.total_seconds(),
        points=[_point(one) for one in series.points],
    )


def _point(point: Point) -> SeriesPoint:
    return SeriesPoint(
        at=point.at,
        count=point.count,
        min=point.smallest,
        max=point.largest,
        mean=point.mean,
        first=point.first,
        last=point.last,
    )
