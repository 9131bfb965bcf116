"""Mutations of access reviews."""

from datetime import datetime

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.access_review import AccessDecision
from models.access_review import AccessReview as AccessReviewModel
from models.access_review import AccessReviewItem as AccessReviewItemModel
from resolvers.access_review import close_access_review, open_access_review
from resolvers.access_review_decision import AT_ID, decide_access_review_item
from schema.access_review import AccessReview, AccessReviewItem
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes


@writes(AccessReviewModel)
@strawberry.input(description="A new review of all that everybody has.")
class OpenAccessReviewInput:
    due_at: datetime | None = strawberry.field(
        default=None, description="Until when all is to be decided: within a year; null for 30 days."
    )
    reason: str | None = strawberry.field(default=None, description="Why.")


@writes(AccessReviewItemModel)
@strawberry.input(description="What is decided about one thing that somebody has.")
class DecideAccessReviewItemInput:
    id: strawberry.ID = strawberry.field(description="About what.")
    decision: AccessDecision = strawberry.field(
        description="KEEP, or REMOVE: it is taken away at once, and that can't be changed."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded for what is taken away.")


@strawberry.input(description="Which review is done.")
class CloseAccessReviewInput:
    id: strawberry.ID = strawberry.field(description="Which review.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(
        default=None, description="Why something is left undecided. Demanded where something is."
    )


@structure
@strawberry.type(description="A review after a mutation, or why nothing was done.")
class AccessReviewPayload:
    access_review: AccessReview | None = shows(AccessReviewModel, "The review as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="What was decided about, or why nothing was done.")
class AccessReviewItemPayload:
    access_review_item: AccessReviewItem | None = shows(
        AccessReviewItemModel, "What was decided about, as you may read it now."
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class AccessReviewMutation:
    @mutation(
        "Open a review: all that everybody has is written down, to be decided about.",
        Action.ACCESS_REVIEW_OPEN,
        takes=(P.ACCESS_REVIEW,),
        entity=AccessReviewModel,
    )
    async def open_access_review(info: strawberry.Info, input: OpenAccessReviewInput) -> AccessReviewPayload | None:
        return done(await open_access_review(current_change(info), due_at=input.due_at))

    @mutation(
        "Decide whether somebody keeps what they have. What they don't is taken away at once: a role, the membership of"
        " a MEMBER, a service account, a device.",
        Action.ACCESS_REVIEW_DECIDE,
        takes=(P.ACCESS_REVIEW,),
        entity=AccessReviewItemModel,
        subject="AccessReviewItem",
    )
    async def decide_access_review_item(
        info: strawberry.Info, input: DecideAccessReviewItemInput
    ) -> AccessReviewItemPayload | None:
        return done(
            await decide_access_review_item(
                current_change(info),
                item_id=parse_id(input.id, "AccessReviewItem", at=AT_ID),
                decision=input.decision,
            )
        )

    @mutation(
        "Close a review. What is not decided stays as it is, and listed as that; it takes a reason.",
        Action.ACCESS_REVIEW_CLOSE,
        takes=(P.ACCESS_REVIEW,),
        entity=AccessReviewModel,
        subject="AccessReview",
    )
    async def close_access_review(info: strawberry.Info, input: CloseAccessReviewInput) -> AccessReviewPayload | None:
        return done(
            await close_access_review(
                current_change(info),
                review_id=parse_id(input.id, "AccessReview", at=AT_ID),
                expected_version=input.expected_version,
            )
        )
