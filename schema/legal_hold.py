"""Legal holds: what must not be deleted, by whose decision."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.permission import Permission
from models.legal_hold import HoldOn
from models.legal_hold import LegalHold as LegalHoldModel
from models.membership import Membership
from models.order import Order
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, derived, link, resolved, stands_for
from schema.filter import EnumFilter, TimeFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.user import User

TYPE_OF = {
    HoldOn.ORGANIZATION: "Organization",
    HoldOn.PROJECT: "Project",
    HoldOn.SITE: "Site",
    HoldOn.RECORD: "Record",
    HoldOn.PERSON: "User",
}
"""The type of the object that a hold is on."""


@stands_for(LegalHoldModel)
@strawberry.type(description="What must not be deleted until it is lifted: by no period, nobody and no erasure.")
class LegalHold(Node):
    on: HoldOn | None = column("What it is on.", name="subject_kind")

    @resolved("The id of that.", derived(Permission.HOLD_READ, needs=("subject_kind", "subject")))
    def subject_id(src: strawberry.Parent[Any]) -> strawberry.ID | None:
        return strawberry.ID(f"{TYPE_OF[HoldOn(src['subject_kind'])]}:{src['subject']}")

    site_code: str | None = column("At which site it lay when the hold was placed, of a site or a record.")
    reason: str | None = column("Why it was placed.")
    created_at: datetime | None = column("Since when it holds.")
    placed_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who placed it.", to=Membership, by="placed_by_id"
    )
    lifted_at: datetime | None = column("When it was lifted; null while it holds.")
    lifted_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who lifted it.", to=Membership, by="lifted_by_id"
    )
    lift_reason: str | None = column("Why it was lifted.")
    version: int = column("Counts the changes; lifting it names the one it saw.")
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@strawberry.input(description="Compares what a hold is on.")
class HoldOnFilter(EnumFilter[HoldOn]):
    pass


@filters(LegalHoldModel)
@strawberry.input(description="Which holds. All that is given must hold.")
class LegalHoldFilter:
    subject_kind: HoldOnFilter | None = strawberry.field(default=None, name="on", description="By what they are on.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were placed.")
    lifted_at: TimeFilter | None = strawberry.field(
        default=None, description="By when they were lifted; that it is null finds those that hold."
    )


async def list_holds(
    info: strawberry.Info, filter: LegalHoldFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's holds, in the order in which they were placed."""
    return await page_of(
        info,
        LegalHoldModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, LegalHoldModel),
    )
