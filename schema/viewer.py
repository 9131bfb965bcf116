"""Who is signed in, and what they may do."""

from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.permission import Permission
from auth.policy import permissions_in
from auth.role import OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, Scope, project_scope
from models.membership import Membership
from models.organization import Organization as OrganizationModel
from models.project import Project as ProjectModel
from schema.context import context_of
from schema.field import derived, resolved, structure
from schema.node import parse_id
from schema.organization import Organization
from schema.selection import load_selected
from schema.user import User

if TYPE_CHECKING:
    from schema.project import Project


@structure
@strawberry.type(description="A role of yours in a project.")
class ViewerProjectRole:
    role: ProjectRole = strawberry.field(description="Your role.", metadata=derived())

    @resolved("The project.", derived())
    async def project(
        src: strawberry.Parent[Any], info: strawberry.Info
    ) -> Annotated["Project", strawberry.lazy("schema.project")] | None:
        return await load_selected(info, ProjectModel, src.project_id)


class ViewerProjectRoleSource:
    """The value behind `ViewerProjectRole`."""

    def __init__(self, project_id: Any, role: ProjectRole) -> None:
        self.project_id = project_id
        self.role = role


@structure
@strawberry.type(description="You: who is signed in, where, and what you may do there.")
class Viewer:
    @resolved("You, as the organization knows you.", derived())
    async def user(info: strawberry.Info) -> User | None:
        return await load_selected(info, Membership, context_of(info).viewer.membership_id)

    @resolved("The organization that you are signed in to.", derived())
    async def organization(info: strawberry.Info) -> Organization | None:
        return await load_selected(info, OrganizationModel, context_of(info).viewer.organization_id)

    @resolved("Your role in the organization.", derived())
    def role(info: strawberry.Info) -> OrganizationRole:
        return context_of(info).viewer.role

    @resolved("Your roles in projects.", derived())
    def project_roles(info: strawberry.Info) -> list[ViewerProjectRole]:
        roles: Any = [
            ViewerProjectRoleSource(project_id, role)
            for project_id, role in sorted(context_of(info).viewer.project_roles.items())
        ]
        return roles

    @resolved("Whether you may do that in the organization or, if one is named, in the project.", derived())
    def can(info: strawberry.Info, permission: Permission, project_id: strawberry.ID | None = None) -> bool:
        scope: Scope = project_scope(parse_id(project_id, "Project", at=("projectId",))) if project_id else ORGANIZATION
        return context_of(info).allows(permission, scope)

    @resolved("All that you may do in the organization or, if one is named, in the project.", derived())
    def permissions(info: strawberry.Info, project_id: strawberry.ID | None = None) -> list[Permission]:
        scope: Scope = project_scope(parse_id(project_id, "Project", at=("projectId",))) if project_id else ORGANIZATION
        return sorted(permissions_in(context_of(info).viewer, scope))
