"""Deciding what somebody keeps. What they do not keep is taken away in the same change, by the use cases that do it
otherwise, and so under the same rules: nobody takes away what can do more than they can, and the last owner stays.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final
from uuid import UUID

from auth.errors import FieldwardError, ForbiddenError
from auth.permission import Permission
from auth.policy import require
from auth.role import OrganizationRole
from auth.scope import ORGANIZATION
from models.access_review import AccessDecision, AccessReview, AccessReviewItem, ReviewedKind
from models.device import Device, DeviceStatus
from models.errors import ConflictError
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.service_account import ServiceAccount
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.device import block_device
from resolvers.leaving import remove_member
from resolvers.locking import lock_visible
from resolvers.membership import Assignment, assign_organization_role, lock_standing, remove_project_role
from resolvers.service_account import revoke_service_account

AT_ID: Final = ("input", "id")


async def decide_access_review_item(change: Change, *, item_id: UUID, decision: AccessDecision) -> UUID:
    """Decide about one thing of an open review, and return the item's id. What is not kept is taken away at once.

    A role in the organization that is taken away leaves a MEMBER; of a MEMBER, the membership ends. What somebody has
    not any more, or what is somebody else's by now, is left as it is, and the decision is noted.

    Raises:
        NotFoundError, ForbiddenError: without `access:review`; about what is one's own; what is to be taken away can
            do more than the viewer, or they may not take it away.
        InvalidInputError: something is to be taken away without a reason.
        ConflictError: the review is closed, this was decided already, or the last owner would be gone. KEEP can be
            changed into REMOVE.
    """
    change = await lock_standing(change)
    item = await lock_visible(change, AccessReviewItem, item_id)
    viewer = require(change.viewer, Permission.ACCESS_REVIEW, ORGANIZATION)
    if item.membership_id == viewer.membership_id:
        raise ForbiddenError("Nobody decides about what is theirs. Ask somebody else who may.", field=AT_ID)
    review = await lock_visible(change, AccessReview, item.access_review_id)
    if review.closed_at is not None:
        raise ConflictError("The review is closed.", field=AT_ID)
    if item.decision in (AccessDecision.REMOVE, decision):
        raise ConflictError("This is decided already.", field=AT_ID)
    if decision is AccessDecision.REMOVE:
        require_reason(change.intent.reason)
        try:
            await _TAKE_AWAY[item.kind](change, item)
        except FieldwardError as error:
            # The use case names an input of its own.
            error.field = AT_ID
            raise
    item.decision = decision
    item.decided_by_id = viewer.membership_id
    item.decided_at = change.at
    await item.save(using_db=change.connection, update_fields=["decision", "decided_by_id", "decided_at"])
    return item.id


async def _take_membership(change: Change, item: AccessReviewItem) -> None:
    member = await Membership.get(id=item.subject, organization_id=change.organization_id, using_db=change.connection)
    if member.status in (MembershipStatus.REMOVED, MembershipStatus.ERASED):
        return
    expired = member.role_expires_at is not None and member.role_expires_at <= change.at
    if expired or (member.role is OrganizationRole.MEMBER and member.custom_role_id is None):
        await remove_member(change, membership_id=member.id, hand_over_to=None)
    else:
        await assign_organization_role(change, membership_id=member.id, given=Assignment(role=OrganizationRole.MEMBER))


async def _take_project_membership(change: Change, item: AccessReviewItem) -> None:
    grant = await ProjectMembership.get_or_none(
        id=item.subject, organization_id=change.organization_id, using_db=change.connection
    )
    if grant is not None:
        await remove_project_role(change, membership_id=grant.membership_id, project_id=grant.project_id)


async def _take_service_account(change: Change, item: AccessReviewItem) -> None:
    account = await ServiceAccount.get(
        id=item.subject, organization_id=change.organization_id, using_db=change.connection
    )
    if account.revoked_at is None and account.created_by_id == item.membership_id:
        await revoke_service_account(change, service_account_id=account.id, expected_version=account.version)


async def _take_device(change: Change, item: AccessReviewItem) -> None:
    device = await Device.get(id=item.subject, organization_id=change.organization_id, using_db=change.connection)
    if device.status is not DeviceStatus.BLOCKED and device.membership_id == item.membership_id:
        await block_device(change, device_id=device.id, expected_version=device.version)


_TAKE_AWAY: Final[Mapping[ReviewedKind, Callable[[Change, AccessReviewItem], Awaitable[None]]]] = MappingProxyType(
    {
        ReviewedKind.MEMBERSHIP: _take_membership,
        ReviewedKind.PROJECT_MEMBERSHIP: _take_project_membership,
        ReviewedKind.SERVICE_ACCOUNT: _take_service_account,
        ReviewedKind.DEVICE: _take_device,
    }
)
