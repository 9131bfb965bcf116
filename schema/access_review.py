"""Access reviews: who had what when one was opened, and what was decided of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import strawberry

from auth.permission import Permission
from models.access_review import AccessDecision, ReviewedKind
from models.access_review import AccessReview as AccessReviewModel
from models.access_review import AccessReviewItem as AccessReviewItemModel
from models.condition import Condition, Operator
from models.inventory import entity_of
from models.listing import Listing, fetch_count
from models.membership import Membership
from models.order import Order
from models.project import Project as ProjectModel
from schema.connection import After, Before, Connection, First, Last, OrderDirection, PageArguments, Parent, page_of
from schema.context import RequestContext, context_of
from schema.field import column, derived, link, resolved, rows, stands_for, structure
from schema.filter import EnumFilter, IdFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.project import Project
    from schema.user import User

_TYPE_OF: Final = {
    ReviewedKind.MEMBERSHIP: "User",
    ReviewedKind.PROJECT_MEMBERSHIP: "ProjectMember",
    ReviewedKind.SERVICE_ACCOUNT: "ServiceAccount",
    ReviewedKind.DEVICE: "Device",
}
_OLDEST_FIRST: Final = Order("created_at")


@stands_for(AccessReviewItemModel)
@strawberry.type(description="One thing that somebody had when a review was opened, and what was decided of it.")
class AccessReviewItem(Node):
    kind: ReviewedKind | None = column("What kind of thing it is.")
    role: str | None = column("What it was, in a word: the role, the program's name, the device's model.")
    since: datetime | None = column("Since when they had it, as it was.")
    last_used_at: datetime | None = column("When they were last seen using it; null where that is not known.")
    decision: AccessDecision | None = column("Whether they keep it; null where that is not decided.")
    decided_at: datetime | None = column("When that was decided.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Whose it was; of a program, who made it.", to=Membership, by="membership_id"
    )
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project, of a role in one.", to=ProjectModel, by="project_id"
    )
    decided_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who decided.", to=Membership, by="decided_by_id"
    )
    created_at: datetime | None = column("When the review was opened.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)

    @resolved("The id of what they had.", derived(Permission.ACCESS_READ, needs=("kind", "subject")))
    def subject_id(src: strawberry.Parent[Any]) -> strawberry.ID | None:
        return strawberry.ID(f"{_TYPE_OF[ReviewedKind(src['kind'])]}:{src['subject']}")


@strawberry.input(description="Compares what was decided.")
class ReviewDecisionFilter(EnumFilter[AccessDecision]):
    pass


@strawberry.input(description="Compares the kind of what is reviewed.")
class ReviewedKindFilter(EnumFilter[ReviewedKind]):
    pass


@filters(AccessReviewItemModel)
@strawberry.input(description="Which things of a review. All that is given must hold.")
class AccessReviewItemFilter:
    decision: ReviewDecisionFilter | None = strawberry.field(default=None, description="By what was decided.")
    kind: ReviewedKindFilter | None = strawberry.field(default=None, description="By kind.")
    membership_id: IdFilter | None = strawberry.field(name="userId", default=None, description="By whose it was.")


@structure
@strawberry.type(description="How far a review has come.")
class AccessReviewProgress:
    total: int = strawberry.field(description="What there is to decide about.", metadata=derived())
    kept: int = strawberry.field(description="What is kept.", metadata=derived())
    removed: int = strawberry.field(description="What was taken away.", metadata=derived())
    undecided: int = strawberry.field(description="What is not decided.", metadata=derived())


@stands_for(AccessReviewModel)
@strawberry.type(description="A look at all that everybody has, and a decision about each thing.")
class AccessReview(Node):
    due_at: datetime | None = column("Until when all is to be decided.")
    opened_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who opened it; null for the quarter's own.", to=Membership, by="opened_by_id"
    )
    closed_at: datetime | None = column("When it was closed.")
    closed_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who closed it.", to=Membership, by="closed_by_id"
    )
    created_at: datetime | None = column("When it was opened.")
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)

    @resolved("What there is to decide about.", rows(AccessReviewItemModel))
    async def items(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        filter: AccessReviewItemFilter | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[AccessReviewItem]:
        return await _list_items(info, filter, PageArguments(first, after, last, before), src["id"])

    @resolved("How far it has come.", derived(Permission.ACCESS_READ, needs=("id",)))
    async def progress(src: strawberry.Parent[Any], info: strawberry.Info) -> AccessReviewProgress | None:
        context = context_of(info)

        async def load(reviews: list[UUID]) -> list[Any]:
            return await _progress(context, reviews)

        return await context.loader("access review progress", load).load(src["id"])


async def list_access_reviews(info: strawberry.Info, direction: OrderDirection, page: PageArguments) -> Any:
    """Return a page of the organization's access reviews, in the order in which they were opened."""
    order = Order("created_at", direction is OrderDirection.DESC)
    return await page_of(info, AccessReviewModel, page, order=order)


async def _list_items(
    info: strawberry.Info, filter: AccessReviewItemFilter | None, page: PageArguments, review_id: UUID
) -> Any:
    return await page_of(
        info,
        AccessReviewItemModel,
        page,
        order=_OLDEST_FIRST,
        conditions=await conditions_of(info, filter, AccessReviewItemModel, links={"membership_id": "User"}),
        parent=Parent("access_review_id", review_id),
    )


@dataclass(frozen=True, slots=True)
class _Progress:
    total: int
    kept: int
    removed: int

    @property
    def undecided(self) -> int:
        return self.total - self.kept - self.removed


async def _progress(context: RequestContext, reviews: Sequence[UUID]) -> list[Any]:
    """Return how far each of the reviews has come: three statements for all of them."""
    counted = []
    async with context.reader.use() as connection:
        for decision in (None, AccessDecision.KEEP, AccessDecision.REMOVE):
            listing = Listing(
                entity=entity_of(AccessReviewItemModel),
                columns=(),
                order=_OLDEST_FIRST,
                limit=0,
                conditions=[] if decision is None else [Condition("decision", Operator.EQUALS, decision)],
                parent_column="access_review_id",
                parents=reviews,
            )
            counted.append(await fetch_count(connection, context.viewer, listing))
    return [_Progress(*(one.get(review, 0) for one in counted)) for review in reviews]
