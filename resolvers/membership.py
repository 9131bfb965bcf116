"""Assigning and removing roles, in the organization and in its projects."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from auth.access import Permissions
from auth.errors import NotFoundError
from auth.escalation import AT_ROLE, Field, require_may_assign, require_owner
from auth.permission import Permission
from auth.policy import require
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, project_scope
from models.base import new_id
from models.custom_role import CustomRole, RoleLevel
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.project import Project
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.locking import lock_visible
from resolvers.standing import known_permissions, standing_viewer

AT_USER: Field = ("input", "userId")
AT_CUSTOM_ROLE: Field = ("input", "customRoleId")
AT_EXPIRY: Field = ("input", "expiresAt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A role that is to be given: a built-in one or one of the organization's own, for good or until a moment."""

    role: OrganizationRole | ProjectRole | None = None
    custom_role_id: UUID | None = None
    expires_at: datetime | None = None


async def assign_organization_role(change: Change, *, membership_id: UUID, given: Assignment) -> UUID:
    """Give a member another role in the organization and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; a role above one's own, or for longer; one's
            own role.
        InvalidInputError: not exactly one role; one for projects; an expiry that is over.
        ConflictError: the last owner would be gone, the member has the role already, or is gone.
    """
    # Locked before the member is read, so that two demotions can't each count the other's owner.
    change = await lock_standing(change)
    member = await lock_visible(change, Membership, membership_id, at=("input", "userId"))
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    wanted = await wanted_permissions(change, given, RoleLevel.ORGANIZATION)
    role = OrganizationRole(given.role) if given.role is not None else OrganizationRole.MEMBER
    current = standing_role(change, member)
    require_owner(change.viewer, current, role)
    require_may_assign(
        change.viewer,
        ORGANIZATION,
        own=member.id == change.viewer.membership_id,
        current=await permissions_of_member(change, member),
        wanted=wanted,
        until=given.expires_at,
        ends_at=member.role_expires_at,
        field=AT_ROLE if given.custom_role_id is None else AT_CUSTOM_ROLE,
    )
    if member.status in (MembershipStatus.REMOVED, MembershipStatus.ERASED):
        raise ConflictError("The member is gone. Who comes back is invited.", field=("input", "userId"))
    if (member.role, member.custom_role_id, member.role_expires_at) == (role, given.custom_role_id, given.expires_at):
        raise ConflictError("The member has this role already.", field=AT_ROLE)
    if member.role is OrganizationRole.OWNER and (role is not OrganizationRole.OWNER or given.expires_at is not None):
        await require_another_owner(change, member.id)
    member.role = role
    member.custom_role_id = given.custom_role_id
    member.role_expires_at = given.expires_at
    member.version += 1
    await member.save(
        using_db=change.connection, update_fields=["role", "custom_role_id", "role_expires_at", "version"]
    )
    return member.id


async def assign_project_role(change: Change, *, membership_id: UUID, project_id: UUID, given: Assignment) -> UUID:
    """Give a member a role in a project, in the place of the one they had, and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `project_membership:assign` there; a role above one's own, or
            for longer; one's own.
        InvalidInputError: not exactly one role; one for the organization; an expiry that is over.
        ConflictError: the member has the role already.
    """
    change = await lock_standing(change)
    member, grant = await _load_grant(change, membership_id, project_id)
    wanted = await wanted_permissions(change, given, RoleLevel.PROJECT)
    require_may_assign(
        change.viewer,
        project_scope(project_id),
        own=member.id == change.viewer.membership_id,
        current=await permissions_of_grant(change, grant),
        wanted=wanted,
        until=given.expires_at,
        ends_at=grant.expires_at if grant is not None else None,
        field=AT_ROLE if given.custom_role_id is None else AT_CUSTOM_ROLE,
    )
    role = ProjectRole(given.role) if given.role is not None else None
    if grant is None:
        grant = ProjectMembership(
            id=new_id(),
            organization_id=change.organization_id,
            project_id=project_id,
            membership_id=member.id,
            role=role,
            custom_role_id=given.custom_role_id,
            expires_at=given.expires_at,
            created_at=change.at,
        )
        await grant.save(using_db=change.connection, force_create=True)
    elif (grant.role, grant.custom_role_id, grant.expires_at) == (role, given.custom_role_id, given.expires_at):
        raise ConflictError("The member has this role already.", field=AT_ROLE)
    else:
        grant.role, grant.custom_role_id, grant.expires_at = role, given.custom_role_id, given.expires_at
        await grant.save(using_db=change.connection, update_fields=["role", "custom_role_id", "expires_at"])
    return member.id


async def remove_project_role(change: Change, *, membership_id: UUID, project_id: UUID) -> UUID:
    """Take a member's role in a project away and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `project_membership:assign` there; a role above one's own; one's own;
            there is no role to take away.
    """
    change = await lock_standing(change)
    member, grant = await _load_grant(change, membership_id, project_id)
    if grant is None:
        raise NotFoundError("The member has no role in this project.", field=("input", "userId"))
    require_may_assign(
        change.viewer,
        project_scope(project_id),
        own=member.id == change.viewer.membership_id,
        current=await permissions_of_grant(change, grant),
        wanted=frozenset(),
    )
    await grant.delete(using_db=change.connection)
    return member.id


async def require_another_owner(change: Change, membership_id: UUID) -> None:
    """Raise `ConflictError` where this is the last owner that can get in for good. The organization is locked first."""
    await lock_organization(change)
    statement = Statement()
    others = await fetch(
        change.connection,
        f'select 1 from "{entity_of(Membership).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and role = {statement.argument(OrganizationRole.OWNER)}"
        f" and status = {statement.argument(MembershipStatus.ACTIVE)} and role_expires_at is null"
        f" and id <> {statement.argument(membership_id)} limit 1",
        *statement.arguments,
    )
    if not others:
        raise ConflictError("The last owner stays: make somebody else an owner first.", field=("input", "userId"))


async def lock_standing(change: Change) -> Change:
    """Lock the organization's standing, and return the change with what its viewer may do from then on.

    Who waited for the lock may have waited for the one who took their own role away.

    Raises:
        UnauthenticatedError: nobody is signed in, or not any more.
    """
    await lock_organization(change)
    viewer = await standing_viewer(change.connection, change.viewer, change.at)
    return replace(change, intent=replace(change.intent, actor=replace(change.intent.actor, viewer=viewer)))


async def lock_assignable(change: Change, membership_id: UUID, *, at: Field = AT_USER) -> Membership:
    """Return a member, locked, whose role the viewer may take away: so they can do no more than the viewer.

    change: that `lock_standing` returned.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; somebody who can do more; oneself.
    """
    member = await lock_visible(change, Membership, membership_id, at=at)
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    require_owner(change.viewer, member.role)
    require_may_assign(
        change.viewer,
        ORGANIZATION,
        own=member.id == change.viewer.membership_id,
        current=await permissions_of_member(change, member),
        wanted=frozenset(),
        field=at,
    )
    return member


async def lock_organization(change: Change) -> None:
    """Let one change of the organization's standing at a time read who is what, and change it."""
    # Not the key: what is inserted meanwhile refers to it, and waits for no role.
    statement = Statement()
    await fetch(
        change.connection,
        f"select 1 from organization where id = {statement.argument(change.organization_id)} for no key update",
        *statement.arguments,
    )


async def permissions_of_member(change: Change, member: Membership) -> Permissions:
    """Return what the member's role in the organization gives at this moment."""
    if member.role_expires_at is not None and member.role_expires_at <= change.at:
        return frozenset()
    if member.custom_role_id is not None:
        return await permissions_of_role(change, member.custom_role_id)
    return ORGANIZATION_ROLES[member.role]


def standing_role(change: Change, member: Membership) -> OrganizationRole:
    """Return the member's built-in role in the organization at this moment."""
    expired = member.role_expires_at is not None and member.role_expires_at <= change.at
    return OrganizationRole.MEMBER if expired else member.role


async def permissions_of_grant(change: Change, grant: ProjectMembership | None) -> Permissions:
    """Return what a role in a project gives at this moment. No role gives nothing."""
    if grant is None or (grant.expires_at is not None and grant.expires_at <= change.at):
        return frozenset()
    if grant.role is not None:
        return PROJECT_ROLES[grant.role]
    return await permissions_of_role(change, grant.custom_role_id)


async def permissions_of_role(change: Change, role_id: UUID | None) -> Permissions:
    """Return what a role of the organization's own gives."""
    role = await CustomRole.get(id=role_id, organization_id=change.organization_id, using_db=change.connection)
    return known_permissions(role.permissions)


async def wanted_permissions(change: Change, given: Assignment, level: RoleLevel) -> Permissions:
    """Return what the role to be given can do, once it is one role, of this level, and not over before it begins.

    Raises:
        InvalidInputError: it is not that.
        NotFoundError: the viewer sees no such role of the organization's own.
    """
    role_id = given.custom_role_id
    if (given.role is None) == (role_id is None):
        raise InvalidInputError("Expected either role or customRoleId.", field=AT_ROLE)
    if given.expires_at is not None and given.expires_at <= change.at:
        raise InvalidInputError("Expected a moment in the future.", field=AT_EXPIRY)
    if role_id is None:
        return permissions_of_built_in(given.role)
    # Locked, so that it is not changed or deleted between the decision and the commit.
    role = await lock_visible(change, CustomRole, role_id, at=AT_CUSTOM_ROLE)
    if role.level is not level:
        raise InvalidInputError(f"Expected a role of the level {level}, got one of {role.level}.", field=AT_CUSTOM_ROLE)
    return known_permissions(role.permissions)


def permissions_of_built_in(role: OrganizationRole | ProjectRole | None) -> Permissions:
    """Return what a built-in role gives. No role gives nothing."""
    if role is None:
        return frozenset()
    return ORGANIZATION_ROLES[role] if isinstance(role, OrganizationRole) else PROJECT_ROLES[role]


async def _load_grant(
    change: Change, membership_id: UUID, project_id: UUID
) -> tuple[Membership, ProjectMembership | None]:
    project = await lock_visible(change, Project, project_id, at=("input", "projectId"))
    require(change.viewer, Permission.PROJECT_MEMBERSHIP_ASSIGN, project_scope(project.id))
    # A project's manager need not see the organization's members to name one: the id is enough. Whether the member
    # is suspended is not theirs to know, so it makes no difference.
    member = await Membership.get_or_none(
        id=membership_id, organization_id=change.organization_id, using_db=change.connection
    )
    # Who is gone is no member: what they were given now would be theirs when they come back.
    if member is None or member.status in (MembershipStatus.REMOVED, MembershipStatus.ERASED):
        raise NotFoundError("There is nothing with this id.", field=("input", "userId"))
    grant = await ProjectMembership.get_or_none(
        organization_id=change.organization_id,
        project_id=project.id,
        membership_id=member.id,
        using_db=change.connection,
    )
    return member, grant
