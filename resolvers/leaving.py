"""Suspending, reinstating and removing members. What a removal ends, it ends at once, in one change.

What somebody made stays, with their name: records, decisions, the trail. What acts in their name does not: sessions,
roles, invitations that they sent, and the programs and devices that are theirs, which end or go over to somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from auth.access import Access, Permissions
from auth.escalation import require_may_assign, require_no_more
from auth.permission import Permission
from auth.policy import require
from auth.principal import SYSTEM_ID, Viewer
from auth.role import OrganizationRole
from auth.scope import ORGANIZATION, project_scope
from models.device import Device, DeviceStatus
from models.errors import ConflictError
from models.invitation import Invitation, InvitationStatus
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.searching import load_index_key
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from models.session import Session
from resolvers.change import Change
from resolvers.device import block, pass_on
from resolvers.invitation import end_invitations
from resolvers.locking import lock_visible
from resolvers.membership import (
    AT_USER,
    lock_assignable,
    lock_standing,
    permissions_of_grant,
    require_another_owner,
)
from resolvers.standing import known_permissions, member_state, viewer_of

AT_HEIR = ("input", "handOverTo")


@dataclass(frozen=True, slots=True)
class _Scope:
    """What a service account can do, and in which projects; None for all that its maker sees."""

    permissions: list[str]
    project_ids: list[UUID] | None


@dataclass(frozen=True, slots=True)
class Removal:
    """Who was removed, and what became of what was theirs: the rows that went over to somebody, and those that ended.

    `service_accounts` and `devices` hold the ids of either; `handed_over` says which went over.
    """

    membership_id: UUID
    service_accounts: Sequence[UUID]
    devices: Sequence[UUID]
    handed_over: frozenset[UUID]


async def set_standing(change: Change, *, membership_id: UUID, status: MembershipStatus) -> UUID:
    """Suspend or reinstate a member, and return the membership's id. Their sessions count from the next request on.

    Raises:
        NotFoundError: there is no such member.
        ForbiddenError: the viewer lacks `membership:assign`; it is themselves, or somebody who can do more.
        ConflictError: they have this standing already; they left, or were erased; it is the last owner that can get in.
    """
    # Locked before the member is read: somebody may be making an owner of them.
    change = await lock_standing(change)
    member = await _member(change, membership_id)
    if member.status is status:
        raise ConflictError(f"The member is {status.lower()} already.", field=AT_USER)
    if member.role is OrganizationRole.OWNER and status is MembershipStatus.SUSPENDED:
        await require_another_owner(change, member.id)
    member.status = status
    member.version += 1
    await member.save(using_db=change.connection, update_fields=["status", "version"])
    return member.id


async def remove_member(change: Change, *, membership_id: UUID, hand_over_to: UUID | None) -> Removal:
    """End a membership, and all that acts in its name.

    Roles, sessions and invitations that they sent are over. Service accounts and devices go over to `hand_over_to`, or
    are revoked and blocked. A service account that goes over can do from then on what it could for who leaves, as far
    as its new owner can do it too; the tokens of it that who leaves had been shown are over either way, and so are the
    keys of devices. The change's reason says why.

    Raises:
        NotFoundError: there is no such member, or none to hand over to.
        ForbiddenError: the viewer lacks `membership:assign`; it is themselves, or somebody who can do more in the
            organization or in a project; to hand over, without `service_account:create` or `device:register`, or where
            a service account can do more than the viewer.
        ConflictError: they left already, or were erased; it is the last owner that can get in; who is to have what was
            theirs can't get in.
    """
    await load_index_key(SYSTEM_ID)
    change = await lock_standing(change)
    member = await _member(change, membership_id)
    for grant in await _grants(change, member):
        require_may_assign(
            change.viewer,
            project_scope(grant.project_id),
            own=False,
            current=await permissions_of_grant(change, grant),
            wanted=frozenset(),
            field=AT_USER,
        )
    if member.role is OrganizationRole.OWNER:
        await require_another_owner(change, member.id)
    heir = await _heir(change, member, hand_over_to) if hand_over_to is not None else None
    gone, went = await _pass_on_service_accounts(change, member, heir)
    blocked, moved = await _pass_on_devices(change, member, heir)
    await _end_access(change, member)
    return Removal(
        member.id,
        service_accounts=(*went, *gone),
        devices=(*moved, *blocked),
        handed_over=frozenset((*went, *moved)),
    )


async def _member(change: Change, membership_id: UUID) -> Membership:
    """Return the member, locked, whose standing the viewer may change."""
    member = await lock_assignable(change, membership_id)
    if member.status in (MembershipStatus.REMOVED, MembershipStatus.ERASED):
        raise ConflictError(f"The member was {member.status.lower()}. Who comes back is invited.", field=AT_USER)
    return member


async def _heir(change: Change, member: Membership, hand_over_to: UUID) -> Viewer:
    heir = await lock_visible(change, Membership, hand_over_to, at=AT_HEIR)
    if heir.id == member.id or heir.status is not MembershipStatus.ACTIVE:
        raise ConflictError("Expected somebody else, who can get in.", field=AT_HEIR)
    return await _viewer_of(change, heir.id)


async def _viewer_of(change: Change, membership_id: UUID) -> Viewer:
    async with change.connection.acquire_connection() as connection:
        state = await member_state(connection, change.organization_id, membership_id)
    if state is None:
        raise LookupError("Expected a member that is locked to be there.")
    return viewer_of(state)


async def _grants(change: Change, member: Membership) -> list[ProjectMembership]:
    return (
        await ProjectMembership.filter(organization_id=change.organization_id, membership_id=member.id)
        .using_db(change.connection)
        .select_for_update()
    )


async def _pass_on_service_accounts(
    change: Change, member: Membership, heir: Viewer | None
) -> tuple[list[UUID], list[UUID]]:
    """Revoke the member's service accounts, or hand them over. Returns the ids of the ones and of the others."""
    accounts = (
        await ServiceAccount.filter(
            organization_id=change.organization_id,
            created_by_id=member.id,
            revoked_at=None,
            expires_at__gt=change.at,
        )
        .using_db(change.connection)
        .select_for_update()
        .order_by("id")
    )
    gone, went = [], []
    if heir is not None and accounts:
        require(change.viewer, Permission.SERVICE_ACCOUNT_CREATE, ORGANIZATION, field=AT_HEIR)
    leaver = await _viewer_of(change, member.id)
    for account in accounts:
        account.version += 1
        cut = _cut(account, leaver.access, heir.access) if heir is not None else None
        if heir is None or cut is None:
            account.revoked_at = change.at
            account.revoked_by_id = change.viewer.membership_id
            gone.append(account.id)
        else:
            account.created_by_id = heir.principal_id
            account.permissions = cut.permissions
            # The field's type says nothing of its being null.
            account.project_ids = cast(Any, cut.project_ids)
            _require_no_more_than_viewer(change, account)
            went.append(account.id)
        await account.save(
            using_db=change.connection,
            update_fields=["created_by_id", "permissions", "project_ids", "revoked_at", "revoked_by_id", "version"],
        )
    await (
        ServiceAccountToken.filter(
            organization_id=change.organization_id, created_by_id=member.id, revoked_at=None, expires_at__gt=change.at
        )
        .using_db(change.connection)
        .update(revoked_at=change.at, revoked_by_id=change.viewer.membership_id)
    )
    return gone, went


def _cut(account: ServiceAccount, leaver: Access, heir: Access) -> _Scope | None:
    """Return what a service account is to be able to do, and in which projects; None where nothing is left.

    Handing it over gives nothing: what its maker could not do any more comes to life by no other maker.
    """
    stored = known_permissions(account.permissions)
    projects: list[UUID] | None = account.project_ids
    held = leaver.everywhere & stored
    if projects is None and held != _somewhere(leaver, None) & stored:
        # It reached some projects through roles in those; its new owner may see more of them.
        projects = sorted(project for project, there in leaver.projects.items() if there & stored)
    kept = stored & _somewhere(leaver, projects) & _somewhere(heir, projects)
    return _Scope(sorted(map(str, kept)), projects) if kept else None


def _somewhere(access: Access, projects: Sequence[UUID] | None) -> Permissions:
    """Return what is held in any of the projects, or anywhere at all, of what is not one's own alone."""
    if projects is None:
        return access.everywhere.union(*access.projects.values())
    return frozenset().union(*(access.projects.get(project, access.everywhere) for project in projects))


def _require_no_more_than_viewer(change: Change, account: ServiceAccount) -> None:
    given = known_permissions(account.permissions)
    projects: list[UUID] | None = account.project_ids
    scopes = [ORGANIZATION] if projects is None else [project_scope(one) for one in projects]
    for scope in scopes:
        require_no_more(change.viewer, scope, given, field=AT_HEIR)


async def _pass_on_devices(change: Change, member: Membership, heir: Viewer | None) -> tuple[list[UUID], list[UUID]]:
    """Block the member's devices, or hand them over. Returns the ids of the ones and of the others."""
    devices = (
        await Device.filter(organization_id=change.organization_id, membership_id=member.id, status=DeviceStatus.ACTIVE)
        .using_db(change.connection)
        .select_for_update()
        .order_by("id")
    )
    if heir is not None and devices:
        require(change.viewer, Permission.DEVICE_REGISTER, ORGANIZATION, field=AT_HEIR)
    for device in devices:
        await (block(change, device) if heir is None else pass_on(change, device, heir.principal_id))
    ids = [device.id for device in devices]
    return ([], ids) if heir is not None else (ids, [])


async def _end_access(change: Change, member: Membership) -> None:
    organization_id, connection = change.organization_id, change.connection
    for grant in await _grants(change, member):
        await grant.delete(using_db=connection)
    await (
        Session.filter(organization_id=organization_id, membership_id=member.id, revoked_at=None)
        .using_db(connection)
        .update(revoked_at=change.at)
    )
    sent = (
        await Invitation.filter(
            organization_id=organization_id, invited_by_id=member.id, status=InvitationStatus.PENDING
        )
        .using_db(connection)
        .select_for_update()
    )
    await end_invitations(change, sent)
    member.status = MembershipStatus.REMOVED
    member.role = OrganizationRole.MEMBER
    member.custom_role_id = None
    member.role_expires_at = None
    member.version += 1
    await member.save(
        using_db=connection, update_fields=["status", "role", "custom_role_id", "role_expires_at", "version"]
    )
