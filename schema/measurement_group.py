"""Measurements in groups: how many there are, and the statistics of their values.

Values of different units are never put together: whoever asks for a statistic groups by UNIT as well. A result that
has no number, such as one below the limit of detection, counts as a measurement and in no statistic; `valueCount` says
of how many values the statistics are.
"""

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from models.aggregation import Function
from models.condition import Criterion
from models.measurement import Measurement as MeasurementModel
from models.record import Medium
from models.record import Record as RecordModel
from schema.aggregate import Asked, groups, groups_of, key, measure
from schema.filter import IdFilter, NumberFilter, TextFilter, conditions_of, filters
from schema.record import RecordFilter, record_conditions


def _of_values(description: str, function: Function) -> Any:
    return measure(
        f"{description} Takes UNIT among the keys; null if no measurement of the group has a number.",
        function,
        "value",
        of=MeasurementModel,
        within="unit",
    )


@groups_of(MeasurementModel, parent=(RecordModel, "record_id"))
@strawberry.type(
    description="Measurements that are alike in what they are grouped by, and the statistics of their values."
)
class MeasurementGroup:
    project_id: strawberry.ID | None = key(
        "The global id of the project.", "project_id", of=MeasurementModel, links_to="Project"
    )
    site_code: str | None = key("The code of the record's site.", "site_code", of=RecordModel)
    medium: Medium | None = key("What was sampled.", "medium", of=RecordModel)
    collected_at: datetime | None = key(
        "The beginning of the bucket in which the records were collected.", "collected_at", of=RecordModel
    )
    characteristic: str | None = key("What was measured.", "characteristic", of=MeasurementModel)
    fraction: str | None = key(
        "Which part of the sample: total, dissolved, suspended.", "fraction", of=MeasurementModel
    )
    unit: str | None = key("The unit of the values.", "unit", of=MeasurementModel)
    count: int = measure(
        "How many measurements there are, with a number or without.", Function.COUNT, of=MeasurementModel
    )
    value_count: int | None = measure(
        "How many of the measurements have a number: of those the statistics are.",
        Function.COUNT,
        "value",
        of=MeasurementModel,
    )
    value_min: float | None = _of_values("The smallest value.", Function.MIN)
    value_max: float | None = _of_values("The largest value.", Function.MAX)
    value_sum: float | None = _of_values("The values added up.", Function.SUM)
    value_avg: float | None = _of_values("The arithmetic mean of the values.", Function.AVERAGE)
    value_p05: float | None = _of_values("The fifth percentile of the values, interpolated.", Function.PERCENTILE_5)
    value_p10: float | None = _of_values("The tenth percentile of the values, interpolated.", Function.PERCENTILE_10)
    value_p25: float | None = _of_values("The first quartile of the values, interpolated.", Function.PERCENTILE_25)
    value_median: float | None = _of_values("The median of the values, interpolated.", Function.MEDIAN)
    value_p75: float | None = _of_values("The third quartile of the values, interpolated.", Function.PERCENTILE_75)
    value_p90: float | None = _of_values(
        "The ninetieth percentile of the values, interpolated.", Function.PERCENTILE_90
    )
    value_p95: float | None = _of_values(
        "The ninety-fifth percentile of the values, interpolated.", Function.PERCENTILE_95
    )


@strawberry.enum(description="What measurements are grouped by.")
class MeasurementGroupKey(Enum):
    PROJECT = strawberry.enum_value("project_id", description="By project.")
    SITE_CODE = strawberry.enum_value("site_code", description="By the code of the record's site.")
    MEDIUM = strawberry.enum_value("medium", description="By what was sampled.")
    COLLECTED_AT = strawberry.enum_value(
        "collected_at", description="By when the records were collected; takes a bucket."
    )
    CHARACTERISTIC = strawberry.enum_value("characteristic", description="By what was measured.")
    FRACTION = strawberry.enum_value("fraction", description="By the part of the sample.")
    UNIT = strawberry.enum_value("unit", description="By the unit of the values.")


@filters(MeasurementModel)
@strawberry.input(description="Which measurements. All that is given must hold.")
class MeasurementFilter:
    project_id: IdFilter | None = strawberry.field(default=None, description="By project.")
    characteristic: TextFilter | None = strawberry.field(default=None, description="By what was measured.")
    fraction: TextFilter | None = strawberry.field(default=None, description="By the part of the sample.")
    unit: TextFilter | None = strawberry.field(default=None, description="By the unit of the value.")
    qualifier: TextFilter | None = strawberry.field(default=None, description="By the laboratory's qualifier.")
    detection_condition: TextFilter | None = strawberry.field(default=None, description="By why there is no value.")
    method: TextFilter | None = strawberry.field(default=None, description="By the analytical method.")
    result_status: TextFilter | None = strawberry.field(default=None, description="By how final the result is.")
    value: NumberFilter | None = strawberry.field(
        default=None, description="By the value, whatever its unit: name that beside it."
    )
    value_type: TextFilter | None = strawberry.field(
        default=None, description="By whether the value was measured or calculated."
    )


async def measurement_conditions(
    info: strawberry.Info, filter: MeasurementFilter | None, *, argument: str = "filter"
) -> list[Criterion]:
    """Return the conditions that a filter asks for. argument: the name under which it was given."""
    return await conditions_of(info, filter, MeasurementModel, links={"project_id": "Project"}, argument=argument)


async def group_measurements(
    info: strawberry.Info, filter: MeasurementFilter | None, record: RecordFilter | None, asked: Asked
) -> list[MeasurementGroup]:
    """Return the groups of measurements that the viewer sees, of the records that the viewer sees."""
    return await groups(
        info,
        MeasurementGroup,
        asked,
        conditions=await measurement_conditions(info, filter),
        of_parent=await record_conditions(info, record, argument="record"),
    )
