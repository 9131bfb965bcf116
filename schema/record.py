"""Records and their measurements."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from models.condition import Criterion
from models.device import Device as DeviceModel
from models.measurement import Measurement as MeasurementModel
from models.membership import Membership
from models.order import Order
from models.project import Project as ProjectModel
from models.record import Medium, RecordStatus, SignatureMeaning
from models.record import Record as RecordModel
from models.record_version import RecordVersion as RecordVersionModel
from models.site import Site as SiteModel
from resolvers.record import MOST_MEASUREMENTS
from schema.connection import (
    After,
    Before,
    Connection,
    First,
    Last,
    OrderDirection,
    PageArguments,
    Parent,
    page_of,
)
from schema.field import column, link, listed, resolved, rows, stands_for
from schema.filter import (
    EnumFilter,
    ExactTextFilter,
    IdFilter,
    NumberFilter,
    TextFilter,
    TimeFilter,
    conditions_of,
    filters,
    words_of,
)
from schema.node import Node
from schema.order import order_of, which_way
from schema.place import Point
from schema.record_history import RecordVersion, list_versions
from schema.site import Site, load_site
from schema.viewer_can import RecordViewerCan, ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.device import Device
    from schema.project import Project
    from schema.user import User


@strawberry.type
class MeasurementFields:
    """What a measurement says, now or as of a moment."""

    characteristic: str | None = column("What was measured.")
    fraction: str | None = column("Which part of the sample: total, dissolved, suspended.")
    value: float | None = column("The number, where what was reported is one.")
    value_reported: str | None = column("The value exactly as it was reported.")
    unit: str | None = column("The unit of the value.")
    qualifier: str | None = column("The laboratory's qualifier of the value.")
    detection_condition: str | None = column("Why there is no value, such as: Not Detected.")
    detection_limit: float | None = column("The limit of detection or quantitation.")
    detection_limit_unit: str | None = column("The unit of that limit.")
    detection_limit_type: str | None = column("Which limit it is.")
    method: str | None = column("The analytical method.")
    result_status: str | None = column("How final the result is, as it was reported.")
    value_type: str | None = column("Whether the value was measured or calculated.")
    comment: str | None = column("What was noted about the result.")
    source_row: str | None = column(
        "The row of the file that it was imported from, as a JSON object by column; without who collected."
    )


@stands_for(MeasurementModel)
@strawberry.type(description="One result of a record, in the words of the Water Quality Exchange (WQX).")
class Measurement(Node, MeasurementFields):
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@strawberry.type
class RecordFields:
    """What a record says, now or as of a moment. A link leads to what it names as that is now."""

    site_code: str | None = column("The site's code.")
    site_name: str | None = column("The site's name.")
    latitude: float | None = column("Degrees north, WGS 84; of the centre of its cell where `locationIsCoarse`.")
    longitude: float | None = column("Degrees east, WGS 84; of the centre of its cell where `locationIsCoarse`.")
    location_is_coarse: bool | None = column(
        "Whether `latitude` and `longitude` are the centre of a cell of 0.1 by 0.1 degrees in which the place lies, as"
        " in projects whose locations are sensitive."
    )
    exact_location: Point | None = column(
        "Where it was made, in projects whose locations are sensitive; in others null."
    )
    collected_at: datetime | None = column("When it was collected.")
    collected_at_reported: str | None = column("The time of collection as it was reported, if from elsewhere.")
    received_at: datetime | None = column("When the server received it.")
    medium: Medium | None = column("What was sampled.")
    activity_type: str | None = column("What it is, in WQX's words: a routine sample, a blank, a replicate.")
    method: str | None = column("How it was collected.")
    collector: str | None = column("Who collected it; a pseudonym for those who may not read names.")
    comment: str | None = column("What was noted in the field.")
    status: RecordStatus | None = column("How far the review is.")
    reviewer: str | None = column("The name of who reviewed it, as it was then; it stays when they are erased.")
    reviewed_at: datetime | None = column("When it was approved or rejected.")
    review_reason: str | None = column("What the reviewer said.")
    review_meaning: SignatureMeaning | None = column("What the reviewer's signature says, where it was approved.")
    created_at: datetime | None = column("When it was made.")
    version: int = column("Counts the changes; an update names the one it saw.")
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project it belongs to.", to=ProjectModel, by="project_id"
    )
    device: Annotated["Device", strawberry.lazy("schema.device")] | None = link(
        "The device it was made on, if you see that device.", to=DeviceModel, by="device_id"
    )
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who entered it, if you see the organization's people.", to=Membership, by="created_by_id"
    )
    reviewed_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who reviewed it, if you see the organization's people.", to=Membership, by="reviewed_by_id"
    )


@stands_for(RecordModel)
@strawberry.type(description="One field event: a visit to a site, and what was found there.")
class Record(Node, RecordFields):
    viewer_can: RecordViewerCan = viewer_can(RecordViewerCan, needs=("created_by_id", "contributor_ids", "status"))

    measurements: list[Measurement] = listed(
        "The results, in the order of the report.",
        of=MeasurementModel,
        by="record_id",
        order=Order("position"),
        limit=MOST_MEASUREMENTS,
    )

    @resolved(
        "The site that it was made at: that of the project which has the record's `siteCode`. Null where there is none,"
        " or none that you see.",
        rows(SiteModel, needs=("project_id", "site_code")),
    )
    async def site(src: strawberry.Parent[Any], info: strawberry.Info) -> Site | None:
        found: Any = await load_site(info, src["project_id"], src["site_code"])
        return found

    @resolved(
        "What it was: each version, with what became of it and of its measurements. What was reverted, and the"
        " reverting, are versions like any other. What a record was that was deleted is in `auditEntries` alone.",
        rows(RecordVersionModel),
    )
    async def history(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        direction: OrderDirection = OrderDirection.DESC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[RecordVersion]:
        return await list_versions(info, src["id"], direction, PageArguments(first, after, last, before))


@strawberry.enum(description="What records are ordered by.")
class RecordOrderField(Enum):
    COLLECTED_AT = strawberry.enum_value("collected_at", description="When they were collected.")
    CREATED_AT = strawberry.enum_value("created_at", description="When they were made.")
    RECEIVED_AT = strawberry.enum_value("received_at", description="When the server received them.")
    SITE_CODE = strawberry.enum_value("site_code", description="The site's code.")
    SITE_NAME = strawberry.enum_value("site_name", description="The site's name.")
    MEDIUM = strawberry.enum_value("medium", description="What was sampled, by the name of the medium.")
    METHOD = strawberry.enum_value("method", description="How they were collected.")
    STATUS = strawberry.enum_value("status", description="The status, by its name.")
    REVIEWED_AT = strawberry.enum_value("reviewed_at", description="When they were approved or rejected.")


@strawberry.input(description="One key of the order of records.")
class RecordOrder:
    field: RecordOrderField = strawberry.field(default=RecordOrderField.COLLECTED_AT, description="By what.")
    direction: OrderDirection = which_way()


@strawberry.input(description="Compares a record's status.")
class RecordStatusFilter(EnumFilter[RecordStatus]):
    pass


@strawberry.input(description="Compares what was sampled.")
class MediumFilter(EnumFilter[Medium]):
    pass


@filters(RecordModel)
@strawberry.input(description="Which records. All that is given must hold.")
class RecordFilter:
    project_id: IdFilter | None = strawberry.field(default=None, description="By project.")
    device_id: IdFilter | None = strawberry.field(default=None, description="By device.")
    created_by_id: IdFilter | None = strawberry.field(default=None, description="By who entered them.")
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    site_code: TextFilter | None = strawberry.field(default=None, description="By the site's code.")
    site_name: TextFilter | None = strawberry.field(default=None, description="By the site's name.")
    latitude: NumberFilter | None = strawberry.field(
        default=None, description="By degrees north, WGS 84, as `latitude` shows them."
    )
    longitude: NumberFilter | None = strawberry.field(
        default=None, description="By degrees east, WGS 84, as `longitude` shows them."
    )
    collected_at: TimeFilter | None = strawberry.field(default=None, description="By when they were collected.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were made.")
    received_at: TimeFilter | None = strawberry.field(default=None, description="By when the server received them.")
    reviewed_at: TimeFilter | None = strawberry.field(
        default=None, description="By when they were approved or rejected."
    )
    status: RecordStatusFilter | None = strawberry.field(default=None, description="By status.")
    medium: MediumFilter | None = strawberry.field(default=None, description="By what was sampled.")
    activity_type: TextFilter | None = strawberry.field(default=None, description="By what they are, in WQX's words.")
    method: TextFilter | None = strawberry.field(default=None, description="By how they were collected.")
    collector: ExactTextFilter | None = strawberry.field(
        default=None,
        description="By who collected them, where you may read the name. Each search is in the audit trail.",
    )


_LINKS = {"id": "Record", "project_id": "Project", "device_id": "Device", "created_by_id": "User"}


async def list_records(
    info: strawberry.Info,
    filter: RecordFilter | None,
    order: Sequence[RecordOrder] | None,
    page: PageArguments,
    *,
    search: str | None = None,
    project_id: UUID | None = None,
) -> Any:
    """Return a page of records: of all projects that the viewer sees, or of one."""
    return await page_of(
        info,
        RecordModel,
        page,
        order=order_of(order, Order("collected_at")),
        conditions=[*await record_conditions(info, filter), *words_of(search)],
        parent=Parent("project_id", project_id) if project_id else None,
    )


async def record_conditions(
    info: strawberry.Info, filter: RecordFilter | None, *, argument: str = "filter"
) -> list[Criterion]:
    """Return the conditions that a filter of records asks for, if this viewer may ask by them.

    argument: the name under which the client gave the filter.
    """
    return await conditions_of(info, filter, RecordModel, links=_LINKS, argument=argument)
