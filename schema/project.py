"""Projects, with their records and members."""

from collections.abc import Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

import strawberry

from auth.permission import Permission
from models.membership import ProjectMembership
from models.order import Order
from models.project import Project as ProjectModel
from models.project import ProjectStatus
from models.record import Record as RecordModel
from models.record_field import RecordField
from models.site import Site as SiteModel
from schema.connection import (
    After,
    Before,
    Connection,
    First,
    Last,
    OrderDirection,
    PageArguments,
    page_of,
)
from schema.field import column, derived, resolved, rows, stands_for
from schema.filter import (
    DateFilter,
    EnumFilter,
    IdFilter,
    Search,
    TextFilter,
    TimeFilter,
    conditions_of,
    filters,
    words_of,
)
from schema.node import Node
from schema.order import order_of, which_way
from schema.record import Record, RecordFilter, RecordOrder, list_records
from schema.site import Site, SiteFilter, SiteOrder, list_sites
from schema.user import ProjectMember, ProjectMemberFilter, list_members
from schema.viewer_can import ProjectViewerCan, viewer_can


@stands_for(ProjectModel)
@strawberry.type(description="A monitoring programme or commission.")
class Project(Node):
    code: str | None = column("The project's code, one of its kind in the organization.")
    name: str | None = column("The project's name.")
    description: str | None = column("What the project is about.")
    status: ProjectStatus | None = column("Whether it takes records.")
    starts_on: date | None = column("Its first day.")
    ends_on: date | None = column("Its last day.")
    locations_are_sensitive: bool | None = column(
        "Whether records and sites show roughly where they are, and the exact place to those alone who read what is"
        " confidential of them."
    )
    locations_rewriting: bool | None = column(
        "Whether records and sites are still being rewritten since that changed. Those that still hold an exact place"
        " which is sensitive by now show none until then."
    )
    fields_emptying: bool | None = column(
        "Whether what was kept of fields that are switched off is still being emptied; null where it is not."
    )
    created_at: datetime | None = column("When it was made.")
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: ProjectViewerCan = viewer_can(ProjectViewerCan, needs=("status",))

    @resolved(
        "The fields of its records that it does without: they are neither asked nor kept.",
        derived(Permission.PROJECT_READ, needs=("fields_off",)),
    )
    def fields_off(src: strawberry.Parent[Any]) -> list[RecordField] | None:
        return [RecordField(one) for one in src["fields_off"] or ()]

    @resolved("The project's records.", rows(RecordModel))
    async def records(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        filter: RecordFilter | None = None,
        search: Search = None,
        order_by: list[RecordOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Record]:
        page = PageArguments(first, after, last, before)
        return await list_records(info, filter, order_by, page, search=search, project_id=src["id"])

    @resolved("The project's sites.", rows(SiteModel))
    async def sites(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        filter: SiteFilter | None = None,
        search: Search = None,
        order_by: list[SiteOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Site]:
        page = PageArguments(first, after, last, before)
        return await list_sites(info, filter, order_by, page, search=search, project_id=src["id"])

    @resolved("Who works on the project.", rows(ProjectMembership))
    async def members(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        filter: ProjectMemberFilter | None = None,
        direction: OrderDirection = OrderDirection.ASC,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[ProjectMember]:
        page = PageArguments(first, after, last, before)
        return await list_members(info, src["id"], filter, direction, page)


@strawberry.enum(description="What projects are ordered by.")
class ProjectOrderField(Enum):
    CODE = strawberry.enum_value("code", description="The code.")
    NAME = strawberry.enum_value("name", description="The name.")
    STATUS = strawberry.enum_value("status", description="The status, by its name.")
    STARTS_ON = strawberry.enum_value("starts_on", description="The first day.")
    ENDS_ON = strawberry.enum_value("ends_on", description="The last day.")
    CREATED_AT = strawberry.enum_value("created_at", description="When they were made.")


@strawberry.input(description="One key of the order of projects.")
class ProjectOrder:
    field: ProjectOrderField = strawberry.field(default=ProjectOrderField.CODE, description="By what.")
    direction: OrderDirection = which_way()


@strawberry.input(description="Compares a project's status.")
class ProjectStatusFilter(EnumFilter[ProjectStatus]):
    pass


@filters(ProjectModel)
@strawberry.input(description="Which projects. All that is given must hold.")
class ProjectFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    code: TextFilter | None = strawberry.field(default=None, description="By code.")
    name: TextFilter | None = strawberry.field(default=None, description="By name.")
    status: ProjectStatusFilter | None = strawberry.field(default=None, description="By status.")
    starts_on: DateFilter | None = strawberry.field(default=None, description="By their first day.")
    ends_on: DateFilter | None = strawberry.field(default=None, description="By their last day.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were made.")


async def list_projects(
    info: strawberry.Info,
    filter: ProjectFilter | None,
    order: Sequence[ProjectOrder] | None,
    page: PageArguments,
    *,
    search: str | None = None,
) -> Any:
    """Return a page of the projects that the viewer sees."""
    return await page_of(
        info,
        ProjectModel,
        page,
        order=order_of(order, Order("code")),
        conditions=[*await conditions_of(info, filter, ProjectModel, links={"id": "Project"}), *words_of(search)],
    )
