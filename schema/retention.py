"""How long what is kept, what would be deleted now, and what runs deleted."""

from datetime import datetime
from typing import Annotated, Any, TypeAlias

import strawberry

from auth.permission import Permission
from auth.policy import can
from auth.scope import ORGANIZATION
from models.audit_entry import EntryKind
from models.data_kind import DataKind
from models.order import Order
from models.retention import DataRetention as DataRetentionModel
from models.retention import RetentionRun as RetentionRunModel
from models.retention import RunStatus
from resolvers.retention import HowLong, how_long, preview
from schema.connection import OrderDirection, PageArguments, page_of
from schema.context import context_of
from schema.field import column, derived, resolved, stands_for, structure
from schema.node import Node, parse_id
from schema.viewer_can import ViewerCanRead, viewer_can

TYPE_OF = {
    DataKind.RECORD: "Record",
    DataKind.SITE: "Site",
    DataKind.SESSION: "Session",
    DataKind.DEVICE: "Device",
    DataKind.MEMBERSHIP: "User",
    DataKind.INVITATION: "Invitation",
    DataKind.DATA_IMPORT: "DataImport",
    DataKind.EXPORT: "Export",
}
"""The type of the objects that a type of data is of."""

PREVIEW_DAYS: TypeAlias = Annotated[
    int | None,
    strawberry.argument(
        description="By this period, instead of the one that was decided. The week in which a decision does not count"
        " yet is not waited for."
    ),
]
PREVIEW_FIRST: TypeAlias = Annotated[int, strawberry.argument(description="How many ids, 1000 at the most.")]
PREVIEW_AFTER: TypeAlias = Annotated[
    strawberry.ID | None, strawberry.argument(description="The last id of the page before.")
]


def _fact(description: str) -> Any:
    return strawberry.field(description=description, metadata=derived())


@structure
@strawberry.type(description="How long something is kept: data of a type, or entries of a kind of the audit trail.")
class RetentionPeriod:
    data: DataKind | None = _fact("The type of data; null where it is about the audit trail. `setRetention` sets it.")
    trail: EntryKind | None = _fact(
        "The kind of entries of the audit trail; null where it is about data. `setTrailRetention` sets it."
    )
    days: int | None = _fact("After how many days it is deleted; null for never.")
    least_days: int = _fact("The shortest period that can be set.")
    most_days: int = _fact("The longest period that can be set.")
    counts_from: str = _fact("From when the period counts.")
    decided_at: datetime | None = _fact("When it was decided last; null where nobody did: then it is kept for good.")
    counts_since: datetime | None = _fact(
        "From when on something is deleted by it: a week after it was decided. Null where nothing is."
    )


@structure
@strawberry.type(description="How many rows would be deleted in a project.")
class RetentionProject:
    @resolved("The project's id; null for what lies in none.", derived())
    def project_id(src: strawberry.Parent[Any]) -> strawberry.ID | None:
        return strawberry.ID(f"Project:{src.project_id}") if src.project_id is not None else None

    rows: int = _fact("How many.")


@structure
@strawberry.type(description="What a run would do now.")
class RetentionPreview:
    kind: DataKind = _fact("The type of data.")
    days: int | None = _fact("By which period; null where none is set: then nothing is deleted.")
    due: int = _fact("How many rows are over.")
    deleted: int = _fact("How many of them would be deleted.")
    parts: int = _fact("How many measurements would go with them.")
    held: int = _fact("How many are kept by a legal hold.")
    named: int = _fact("How many are kept since something that is kept names them.")
    by_project: list[RetentionProject] = _fact("How many would be deleted, by project.")
    has_more: bool = _fact("Whether there are more ids after these.")

    @resolved("The ids of those that would be deleted: a page of them.", derived())
    def ids(src: strawberry.Parent[Any]) -> list[strawberry.ID]:
        return [strawberry.ID(f"{TYPE_OF[src.kind]}:{one}") for one in src.ids]


@stands_for(DataRetentionModel)
@strawberry.type(description="After how long data of a type are deleted.")
class DataRetention(Node):
    kind: DataKind | None = column("Which data.")
    days: int | None = column("After how many days they are deleted; null for never.")
    created_at: datetime | None = column("When it was first decided.")
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@stands_for(RetentionRunModel)
@strawberry.type(description="A run that deleted what was over of one type, and what it came to.")
class RetentionRun(Node):
    kind: DataKind | None = column("Of which type.")
    days: int | None = column("By which period.")
    status: RunStatus | None = column("Whether it is through.")
    is_asked: bool | None = column("Whether somebody asked for it, beside the daily ones.")
    created_at: datetime | None = column("When it began.")
    moved_at: datetime | None = column("When it last did something.")
    ended_at: datetime | None = column("When it ended.")
    deleted: int | None = column("How many rows it deleted.")
    parts: int | None = column("How many measurements went with them.")
    held: int | None = column("How many rows were over at its end and kept by a legal hold.")
    named: int | None = column("How many rows were over at its end and kept since something names them.")
    error_code: str | None = column("Why it failed.")
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


async def list_periods(info: strawberry.Info) -> Any:
    """Return how long what is kept; of the audit trail to those alone who read it."""
    viewer = context_of(info).viewer
    reads_trail = can(viewer, Permission.AUDIT_READ, ORGANIZATION)
    found: list[HowLong] = [one for one in await how_long(viewer.organization_id) if one.trail is None or reads_trail]
    return found


async def look_ahead(
    info: strawberry.Info, kind: DataKind, days: int | None, first: int, after: strawberry.ID | None
) -> Any:
    """Return what a run would delete now."""
    at = parse_id(after, TYPE_OF[kind], at=("after",)) if after is not None else None
    return await preview(context_of(info).viewer, kind=kind, days=days, first=first, after=at)


async def list_runs(info: strawberry.Info, direction: OrderDirection, page: PageArguments) -> Any:
    """Return a page of the runs, in the order in which they began."""
    return await page_of(
        info, RetentionRunModel, page, order=Order("created_at", direction is OrderDirection.DESC), conditions=[]
    )
