"""Sites: the places that records are made at."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from models.condition import Condition, Operator
from models.inventory import entity_of
from models.listing import Listing, fetch_listing
from models.order import Order
from models.project import Project as ProjectModel
from models.row import Row
from models.site import Site as SiteModel
from schema.connection import OrderDirection, PageArguments, Parent, page_of
from schema.context import ResolveInfo
from schema.field import column, link, stands_for
from schema.filter import IdFilter, NumberFilter, TextFilter, conditions_of, filters, words_of
from schema.node import Node
from schema.order import order_of, which_way
from schema.place import Point
from schema.selection import place_of, selected_of
from schema.viewer_can import SiteViewerCan, viewer_can

if TYPE_CHECKING:
    from schema.project import Project


@stands_for(SiteModel)
@strawberry.type(description="A place of a project that is visited again and again; records name it by its code.")
class Site(Node):
    code: str | None = column("The site's code, one of its kind in the project, such as `WELL-7`.")
    name: str | None = column("The site's name, such as `Weir at the old mill`.")
    kind: str | None = column(
        "What it is, in WQX's words for the types of monitoring locations, such as `River/Stream`, `Lake` or `Well`."
    )
    latitude: float | None = column("Degrees north, WGS 84; of the centre of its cell where `locationIsCoarse`.")
    longitude: float | None = column("Degrees east, WGS 84; of the centre of its cell where `locationIsCoarse`.")
    location_is_coarse: bool | None = column(
        "Whether `latitude` and `longitude` are the centre of a cell of 0.1 by 0.1 degrees in which the place lies, as"
        " in projects whose locations are sensitive."
    )
    exact_location: Point | None = column("Where it is, in projects whose locations are sensitive; in others null.")
    description: str | None = column("What there is to know about it: how to get there, where to sample.")
    created_at: datetime | None = column("When it was made.")
    version: int = column("Counts the changes; an update names the one it saw.")
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project it belongs to.", to=ProjectModel, by="project_id"
    )

    viewer_can: SiteViewerCan = viewer_can(SiteViewerCan)


@strawberry.enum(description="What sites are ordered by.")
class SiteOrderField(Enum):
    CODE = strawberry.enum_value("code", description="By code.")
    NAME = strawberry.enum_value("name", description="By name.")
    CREATED_AT = strawberry.enum_value("created_at", description="By when they were made.")


@strawberry.input(description="One key of the order of sites: `{field: NAME, direction: DESC}`.")
class SiteOrder:
    field: SiteOrderField = strawberry.field(default=SiteOrderField.CODE, description="By what.")
    direction: OrderDirection = which_way()


@filters(SiteModel)
@strawberry.input(description='Which sites. All that is given must hold: `{code: {startsWith: "WELL-"}}`.')
class SiteFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    project_id: IdFilter | None = strawberry.field(default=None, description="By project.")
    code: TextFilter | None = strawberry.field(default=None, description="By code.")
    name: TextFilter | None = strawberry.field(default=None, description="By name.")
    kind: TextFilter | None = strawberry.field(default=None, description="By what they are.")
    latitude: NumberFilter | None = strawberry.field(
        default=None, description="By degrees north, WGS 84, as `latitude` shows them."
    )
    longitude: NumberFilter | None = strawberry.field(
        default=None, description="By degrees east, WGS 84, as `longitude` shows them."
    )


_LINKS = {"id": "Site", "project_id": "Project"}


async def list_sites(
    info: strawberry.Info,
    filter: SiteFilter | None,
    order: Sequence[SiteOrder] | None,
    page: PageArguments,
    *,
    search: str | None = None,
    project_id: UUID | None = None,
) -> Any:
    """Return a page of sites: of all projects that the viewer sees, or of one."""
    return await page_of(
        info,
        SiteModel,
        page,
        order=order_of(order, Order("code")),
        conditions=[*await conditions_of(info, filter, SiteModel, links=_LINKS), *words_of(search)],
        parent=Parent("project_id", project_id) if project_id else None,
    )


async def load_site(info: strawberry.Info, project_id: UUID, code: str) -> Row | None:
    """Return the site of a project by its code, if the viewer sees it: one statement for all that are asked for."""
    raw: ResolveInfo = info._raw_info
    context, selected = raw.context, selected_of(raw, "Site")

    async def load(wanted: list[tuple[UUID, str]]) -> list[Row | None]:
        # Pairs of both lists that were not asked for are read with them, and go no further.
        listing = Listing(
            entity=entity_of(SiteModel),
            columns=(*selected.columns, "project_id", "code"),
            along=selected.along,
            order=Order("code"),
            limit=len({project for project, _ in wanted}) * len({code for _, code in wanted}),
            conditions=[
                Condition("project_id", Operator.IN, list({project for project, _ in wanted})),
                Condition("code", Operator.IN, list({code for _, code in wanted})),
            ],
        )
        async with context.reader.use() as connection:
            rows = await fetch_listing(connection, context.viewer, listing)
        found = {(row["project_id"], row["code"]): row for row in rows}
        return [found.get(one) for one in wanted]

    site: Row | None = await context.loader(("site", place_of(raw.field_nodes), selected), load).load(
        (project_id, code)
    )
    return site
