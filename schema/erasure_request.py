"""Requests for erasure: who asked for what, and how far it is."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from models.erasure_request import ErasureKind, ErasureStatus
from models.erasure_request import ErasureRequest as ErasureRequestModel
from models.membership import Membership
from models.order import Order
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, link, stands_for
from schema.filter import EnumFilter, TimeFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.user import User


@stands_for(ErasureRequestModel)
@strawberry.type(
    description="That somebody, or something, is to be erased: asked for, confirmed, and carried out when it can't be"
    " taken back any more, within 30 days. What it says in words is forgotten with it."
)
class ErasureRequest(Node):
    kind: ErasureKind | None = column("What is to be erased.")
    status: ErasureStatus | None = column("How far it is.")
    names: str | None = column(
        "The spellings of a name that were told, as a list in JSON; null when it is over.", name="named"
    )
    records: float | None = column(
        "Of kind NAME: how many records named them as their collector when it was asked for."
    )
    reason: str | None = column("Why; null when it is over.")
    due_at: datetime | None = column("When it has to be done.")
    confirmed_at: datetime | None = column(
        "When it was confirmed; of one that is REQUESTED, before a restore of the database: it is to be confirmed anew."
    )
    execute_after: datetime | None = column("Until when it can be taken back, and from when on it is carried out.")
    held_at: datetime | None = column("Since when a legal hold keeps it from being carried out.")
    started_at: datetime | None = column("When it was begun. From then on there is no way back.")
    finished_at: datetime | None = column("When it was done.")
    certificate: str | None = column(
        "What was done, and what is left and why, signed (DSSE, JSON): without personal data."
    )
    created_at: datetime | None = column("When it was asked for.")
    version: int = column("Counts the changes; a mutation names the one that you saw.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who is to be erased, if that is a member whom you see.", to=Membership, by="membership_id"
    )
    requested_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who asked for it.", to=Membership, by="requested_by_id"
    )
    confirmed_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who confirmed it.", to=Membership, by="confirmed_by_id"
    )
    withdrawn_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who took it back.", to=Membership, by="withdrawn_by_id"
    )

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@strawberry.input(description="Compares what is to be erased.")
class ErasureKindFilter(EnumFilter[ErasureKind]):
    pass


@strawberry.input(description="Compares how far a request is.")
class ErasureStatusFilter(EnumFilter[ErasureStatus]):
    pass


@filters(ErasureRequestModel)
@strawberry.input(description="Which requests. All that is given must hold.")
class ErasureRequestFilter:
    status: ErasureStatusFilter | None = strawberry.field(default=None, description="By how far they are.")
    kind: ErasureKindFilter | None = strawberry.field(default=None, description="By what is to be erased.")
    due_at: TimeFilter | None = strawberry.field(default=None, description="By when they have to be done.")


async def list_erasure_requests(
    info: strawberry.Info, filter: ErasureRequestFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the requests that the viewer sees, in the order in which they were made."""
    return await page_of(
        info,
        ErasureRequestModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, ErasureRequestModel),
    )
