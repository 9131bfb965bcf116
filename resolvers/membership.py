"""Assigning and removing roles, in the organization and in its projects."""

from uuid import UUID

from auth.errors import NotFoundError
from auth.escalation import require_may_assign_in_organization, require_may_assign_in_project
from auth.permission import Permission
from auth.policy import require
from auth.role import OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, project_scope
from models.base import new_id
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.project import Project
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.locking import lock_visible


async def assign_organization_role(change: Change, *, membership_id: UUID, role: OrganizationRole) -> UUID:
    """Give a member another role in the organization and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; a role above one's own; one's own role.
        ConflictError: the last owner would be gone, or the member has the role already.
    """
    # Locked before the member is read, so that two demotions can't each count the other's owner.
    await _lock_organization(change)
    member = await lock_visible(change, Membership, membership_id, at=("input", "userId"))
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    require_may_assign_in_organization(
        change.viewer, own=member.id == change.viewer.membership_id, current=member.role, wanted=role
    )
    if member.role is role:
        raise ConflictError(f"The member has the role {role} already.", field=("input", "role"))
    if member.role is OrganizationRole.OWNER:
        await require_another_owner(change, member.id)
    member.role = role
    member.version += 1
    await member.save(using_db=change.connection, update_fields=["role", "version"])
    return member.id


async def assign_project_role(change: Change, *, membership_id: UUID, project_id: UUID, role: ProjectRole) -> UUID:
    """Give a member a role in a project, in the place of the one they had, and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `project_membership:assign` there; a role above one's own; one's own.
        ConflictError: the member has the role already.
    """
    member, grant = await _load_grant(change, membership_id, project_id)
    require_may_assign_in_project(
        change.viewer,
        project_scope(project_id),
        own=member.id == change.viewer.membership_id,
        current=grant.role if grant else None,
        wanted=role,
    )
    if grant is None:
        grant = ProjectMembership(
            id=new_id(),
            organization_id=change.organization_id,
            project_id=project_id,
            membership_id=member.id,
            role=role,
            created_at=change.at,
        )
        await grant.save(using_db=change.connection, force_create=True)
    elif grant.role is role:
        raise ConflictError(f"The member has the role {role} already.", field=("input", "role"))
    else:
        grant.role = role
        await grant.save(using_db=change.connection, update_fields=["role"])
    return member.id


async def remove_project_role(change: Change, *, membership_id: UUID, project_id: UUID) -> UUID:
    """Take a member's role in a project away and return the membership's id.

    Raises:
        NotFoundError, ForbiddenError: without `project_membership:assign` there; a role above one's own; one's own;
            there is no role to take away.
    """
    member, grant = await _load_grant(change, membership_id, project_id)
    if grant is None:
        raise NotFoundError("The member has no role in this project.", field=("input", "userId"))
    require_may_assign_in_project(
        change.viewer,
        project_scope(project_id),
        own=member.id == change.viewer.membership_id,
        current=grant.role,
        wanted=None,
    )
    await grant.delete(using_db=change.connection)
    return member.id


async def require_another_owner(change: Change, membership_id: UUID) -> None:
    """Raise `ConflictError` where this is the last owner that can get in. The organization is locked first."""
    await _lock_organization(change)
    statement = Statement()
    others = await fetch(
        change.connection,
        f'select 1 from "{entity_of(Membership).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and role = {statement.argument(OrganizationRole.OWNER)}"
        f" and status = {statement.argument(MembershipStatus.ACTIVE)}"
        f" and id <> {statement.argument(membership_id)} limit 1",
        *statement.arguments,
    )
    if not others:
        raise ConflictError("The last owner stays: make somebody else an owner first.", field=("input", "userId"))


async def _load_grant(
    change: Change, membership_id: UUID, project_id: UUID
) -> tuple[Membership, ProjectMembership | None]:
    project = await lock_visible(change, Project, project_id, at=("input", "projectId"))
    require(change.viewer, Permission.PROJECT_MEMBERSHIP_ASSIGN, project_scope(project.id))
    # A project's manager need not see the organization's members to name one: the id is enough.
    member = await Membership.get_or_none(
        id=membership_id,
        organization_id=change.organization_id,
        status=MembershipStatus.ACTIVE,
        using_db=change.connection,
    )
    if member is None:
        raise NotFoundError("There is nothing with this id.", field=("input", "userId"))
    grant = await ProjectMembership.get_or_none(
        organization_id=change.organization_id,
        project_id=project.id,
        membership_id=member.id,
        using_db=change.connection,
    )
    return member, grant


async def _lock_organization(change: Change) -> None:
    statement = Statement()
    await fetch(
        change.connection,
        f"select 1 from organization where id = {statement.argument(change.organization_id)} for update",
        *statement.arguments,
    )
