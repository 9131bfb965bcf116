"""Access reviews: who has what, since when, last used when, and whether they keep it."""

from enum import StrEnum
from typing import Any, cast

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, TenantModel, ward

_FOR_GOOD = Kept("For good: a review is closed, not deleted.")


class AccessDecision(StrEnum):
    """What was decided of something that somebody has."""

    KEEP = "KEEP"
    REMOVE = "REMOVE"


class ReviewedKind(StrEnum):
    """What somebody has: a role in the organization, a role in a project, a service account, a device."""

    MEMBERSHIP = "MEMBERSHIP"
    PROJECT_MEMBERSHIP = "PROJECT_MEMBERSHIP"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"
    DEVICE = "DEVICE"


class AccessReview(TenantModel):
    """One look at all that everybody has, to be done by `due_at`. `opened_by_id` None: by the schedule."""

    noun = "access"
    kept = _FOR_GOOD
    placement = Placement()

    opened_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    due_at = ward(C.INTERNAL, fields.DatetimeField())
    closed_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    closed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "access_review"


class AccessReviewItem(TenantModel):
    """One thing that somebody had when the review was opened. `subject` is the id of its row, of the kind's table.

    `membership_id` is whose it is, of a service account who made it. `role` says what it is in a word; `since` from
    when they have it, `last_used_at` when they were last seen using it, as far as that is known.
    """

    noun = "access"
    kept = _FOR_GOOD
    placement = Placement()

    access_review_id = ward(C.INTERNAL, fields.UUIDField())
    kind = ward(C.INTERNAL, fields.CharEnumField(ReviewedKind, max_length=24))
    subject = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField())
    project_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    role = ward(C.INTERNAL, fields.CharField(max_length=100))
    since = ward(C.INTERNAL, fields.DatetimeField())
    last_used_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    # The field's type says nothing of its being null.
    decision: AccessDecision | None = cast(
        Any, ward(C.INTERNAL, fields.CharEnumField(AccessDecision, max_length=16, null=True))
    )
    decided_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    decided_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "access_review_item"
