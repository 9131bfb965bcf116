"""Records in groups: how many there are, and from when to when.

Who made or reviewed a record is no key, nor is the device, which is always one person's: a count of somebody's work is
about them.
"""

from datetime import datetime
from enum import Enum

import strawberry

from models.aggregation import Function
from models.record import Medium, RecordStatus
from models.record import Record as RecordModel
from schema.aggregate import Asked, groups, groups_of, key, measure
from schema.filter import words_of
from schema.record import RecordFilter, record_conditions


@groups_of(RecordModel)
@strawberry.type(description="Records that are alike in what they are grouped by.")
class RecordGroup:
    project_id: strawberry.ID | None = key(
        "The global id of the project.", "project_id", of=RecordModel, links_to="Project"
    )
    site_code: str | None = key("The site's code.", "site_code", of=RecordModel)
    status: RecordStatus | None = key("How far the review is.", "status", of=RecordModel)
    medium: Medium | None = key("What was sampled.", "medium", of=RecordModel)
    collected_at: datetime | None = key(
        "The beginning of the bucket in which they were collected.", "collected_at", of=RecordModel
    )
    count: int = measure("How many records there are.", Function.COUNT, of=RecordModel)
    collected_at_min: datetime | None = measure(
        "When the first was collected.", Function.MIN, "collected_at", of=RecordModel
    )
    collected_at_max: datetime | None = measure(
        "When the last was collected.", Function.MAX, "collected_at", of=RecordModel
    )


@strawberry.enum(description="What records are grouped by.")
class RecordGroupKey(Enum):
    PROJECT = strawberry.enum_value("project_id", description="By project.")
    SITE_CODE = strawberry.enum_value("site_code", description="By the site's code.")
    STATUS = strawberry.enum_value("status", description="By status.")
    MEDIUM = strawberry.enum_value("medium", description="By what was sampled.")
    COLLECTED_AT = strawberry.enum_value("collected_at", description="By when they were collected; takes a bucket.")


async def group_records(
    info: strawberry.Info, filter: RecordFilter | None, asked: Asked, *, search: str | None = None
) -> list[RecordGroup]:
    """Return the groups of records that the viewer sees."""
    conditions = [*await record_conditions(info, filter), *words_of(search)]
    return await groups(info, RecordGroup, asked, conditions=conditions)
