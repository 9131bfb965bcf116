"""Who is signed in, and what they may do."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry

from auth.permission import Permission
from auth.policy import permissions_in
from auth.role import OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, Scope, project_scope
from models.base import WardModel
from models.custom_role import CustomRole as CustomRoleModel
from models.membership import Membership
from models.organization import Organization as OrganizationModel
from models.project import Project as ProjectModel
from models.service_account import ServiceAccount as ServiceAccountModel
from models.session import Session as SessionModel
from schema.authenticator import Authenticator, load_own
from schema.connection import After, Before, Connection, First, Last, PageArguments
from schema.context import context_of
from schema.custom_role import CustomRole
from schema.field import derived, resolved, structure
from schema.node import parse_id
from schema.organization import Organization
from schema.selection import load_selected
from schema.service_account import ServiceAccount
from schema.session import Session, list_sessions
from schema.user import User

if TYPE_CHECKING:
    from schema.project import Project


@structure
@strawberry.type(description="A role of yours in a project.")
class ViewerProjectRole:
    role: ProjectRole | None = strawberry.field(
        description="The built-in role; null where it is one of the organization's own.", metadata=derived()
    )
    expires_at: datetime | None = strawberry.field(
        description="From when it gives nothing any more; null for good.", metadata=derived()
    )

    @resolved("The role of the organization's own; null where it is a built-in one.", derived())
    async def custom_role(src: strawberry.Parent[Any], info: strawberry.Info) -> CustomRole | None:
        return await _custom_role(info, src.custom_role_id)

    @resolved("The project.", derived())
    async def project(
        src: strawberry.Parent[Any], info: strawberry.Info
    ) -> Annotated["Project", strawberry.lazy("schema.project")] | None:
        return await load_selected(info, ProjectModel, src.project_id)


@dataclass(frozen=True, slots=True)
class ViewerProjectRoleSource:
    """The value behind `ViewerProjectRole`."""

    project_id: UUID
    role: ProjectRole | None
    custom_role_id: UUID | None
    expires_at: datetime | None


@structure
@strawberry.type(description="You: who is signed in, where, and what you may do there.")
class Viewer:
    @resolved("You, as the organization knows you; null for a program.", derived())
    async def user(info: strawberry.Info) -> User | None:
        return await _loaded(info, Membership, context_of(info).viewer.membership_id)

    @resolved("The program that asks, if it may see service accounts; null for a person.", derived())
    async def service_account(info: strawberry.Info) -> ServiceAccount | None:
        return await _loaded(info, ServiceAccountModel, context_of(info).viewer.service_account_id)

    @resolved("The sign-in that asks; null for a program.", derived())
    async def session(info: strawberry.Info) -> Session | None:
        return await _loaded(info, SessionModel, context_of(info).viewer.session_id)

    @resolved("Your sign-ins in this organization that stand, the newest first; null for a program.", derived())
    async def sessions(
        info: strawberry.Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[Session] | None:
        membership_id = context_of(info).viewer.membership_id
        if membership_id is None:
            return None
        return await list_sessions(info, membership_id, PageArguments(first, after, last, before))

    @resolved("The organization that you are signed in to.", derived())
    async def organization(info: strawberry.Info) -> Organization | None:
        return await load_selected(info, OrganizationModel, context_of(info).viewer.organization_id)

    @resolved("Your built-in role in the organization; null for a program.", derived())
    def role(info: strawberry.Info) -> OrganizationRole | None:
        return context_of(info).viewer.role

    @resolved("The role of the organization's own that you have in the organization.", derived())
    async def custom_role(info: strawberry.Info) -> CustomRole | None:
        viewer = context_of(info).viewer
        found = [grant.custom_role_id for grant in viewer.grants if grant.project_id is None]
        return await _custom_role(info, found[0] if found and viewer.role is not None else None)

    @resolved("Your roles in projects, those that have expired among them.", derived())
    def project_roles(info: strawberry.Info) -> list[ViewerProjectRole]:
        context = context_of(info)
        viewer = context.viewer
        roles: Any = [
            ViewerProjectRoleSource(
                grant.project_id,
                ProjectRole(grant.role) if grant.custom_role_id is None else None,
                grant.custom_role_id,
                grant.expires_at,
            )
            for grant in viewer.grants
            if grant.project_id is not None
            and viewer.role is not None
            # Everyone sees their own; who looks as another sees of those what they see otherwise.
            and context.allows(Permission.PROJECT_MEMBERSHIP_READ, Scope(grant.project_id, is_own=True))
        ]
        return sorted(roles, key=lambda one: one.project_id)

    @resolved("Whether you have to add a second factor before anything else.", derived())
    def must_add_second_factor(info: strawberry.Info) -> bool:
        return context_of(info).viewer.is_enrolling

    @resolved("Your apps that show codes, and your passkeys. Nobody else is shown them.", derived())
    async def authenticators(info: strawberry.Info) -> list[Authenticator]:
        own: Any = (await load_own(context_of(info))).authenticators
        return own

    @resolved("How many of your recovery codes are left.", derived())
    async def recovery_codes_left(info: strawberry.Info) -> int:
        return (await load_own(context_of(info))).recovery_codes_left

    @resolved("Whether you may do that in the organization or, if one is named, in the project.", derived())
    def can(info: strawberry.Info, permission: Permission, project_id: strawberry.ID | None = None) -> bool:
        scope: Scope = project_scope(parse_id(project_id, "Project", at=("projectId",))) if project_id else ORGANIZATION
        return context_of(info).allows(permission, scope)

    @resolved("All that you may do in the organization or, if one is named, in the project.", derived())
    def permissions(info: strawberry.Info, project_id: strawberry.ID | None = None) -> list[Permission]:
        scope: Scope = project_scope(parse_id(project_id, "Project", at=("projectId",))) if project_id else ORGANIZATION
        return sorted(permissions_in(context_of(info).viewer, scope))


async def _loaded(info: strawberry.Info, model: type[WardModel], row_id: UUID | None) -> Any:
    return None if row_id is None else await load_selected(info, model, row_id)


async def _custom_role(info: strawberry.Info, role_id: UUID | None) -> Any:
    return await _loaded(info, CustomRoleModel, role_id)
