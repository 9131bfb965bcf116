"""People, as an organization knows them: through their membership."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from strawberry.utils.await_maybe import await_maybe

from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.along import Selected
from models.custom_role import CustomRole as CustomRoleModel
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.order import Order
from models.project import Project as ProjectModel
from models.session import Session as SessionModel
from models.user import User as UserModel
from schema.connection import After, Before, Connection, First, Last, OrderDirection, PageArguments, Parent, page_of
from schema.context import RequestContext, ResolveInfo
from schema.custom_role import CustomRole
from schema.field import column, derived, link, listed, resolved, rows, stands_for
from schema.filter import EnumFilter, IdFilter, TimeFilter, conditions_of, demanding, filters
from schema.guard import read_column
from schema.node import Node
from schema.order import order_of, which_way
from schema.session import Session, list_sessions
from schema.viewer_can import UserViewerCan, ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.project import Project

MOST_ROLES = 1000


@stands_for(ProjectMembership)
@strawberry.type(description="A person's role in one project.")
class ProjectMember(Node):
    role: ProjectRole | None = column("The built-in role; null where it is one of the organization's own.")
    custom_role: CustomRole | None = link(
        "The role of the organization's own; null where it is a built-in one.", to=CustomRoleModel, by="custom_role_id"
    )
    expires_at: datetime | None = column("From when the role gives nothing any more; null for good.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "The person, if you see the organization's people.", to=Membership, by="membership_id"
    )
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project.", to=ProjectModel, by="project_id"
    )
    created_at: datetime | None = column("Since when.")
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@stands_for(Membership)
@strawberry.type(description="A person, as this organization knows them.")
class User(Node):
    name: str | None = column("The person's name as it is shown in this organization.")
    role: OrganizationRole | None = column(
        "The person's built-in role in the whole organization; MEMBER beside one of the organization's own."
    )
    custom_role: CustomRole | None = link(
        "The role of the organization's own, if the person has one.", to=CustomRoleModel, by="custom_role_id"
    )
    role_expires_at: datetime | None = column("From when the person is a MEMBER and nothing else; null for good.")
    status: MembershipStatus | None = column("Whether the person can get in.")
    created_at: datetime | None = column("Since when the person belongs to the organization.")
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: UserViewerCan = viewer_can(UserViewerCan, needs=("role", "custom_role_id", "role_expires_at"))

    @resolved(
        "The address that the person signs in with.", derived(Permission.MEMBERSHIP_READ_PERSONAL, needs=("user_id",))
    )
    async def email(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        raw: ResolveInfo = info._raw_info
        context: RequestContext = raw.context
        account = await context.load_row(entity_of(UserModel), Selected(("email",)), src["user_id"])
        if account is None:
            return None
        text: str | None = await await_maybe(read_column(context, entity_of(UserModel).columns["email"], account))
        return text

    project_roles: list[ProjectMember] = listed(
        "The person's roles in projects, as far as you see them.",
        of=ProjectMembership,
        by="membership_id",
        order=Order("created_at"),
        limit=MOST_ROLES,
    )

    @resolved("The person's sign-ins that stand, the newest first, as far as you see them.", rows(SessionModel))
    async def sessions(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Session]:
        return await list_sessions(info, src["id"], PageArguments(first, after, last, before))


@strawberry.enum(description="What people are ordered by.")
class UserOrderField(Enum):
    CREATED_AT = strawberry.enum_value("created_at", description="Since when they belong to the organization.")
    ROLE = strawberry.enum_value("role", description="The built-in role, by its name.")
    STATUS = strawberry.enum_value("status", description="The status, by its name.")


@strawberry.input(description="One key of the order of people.")
class UserOrder:
    field: UserOrderField = strawberry.field(default=UserOrderField.CREATED_AT, description="By what.")
    direction: OrderDirection = which_way()


@strawberry.input(description="Compares a role in the organization.")
class OrganizationRoleFilter(EnumFilter[OrganizationRole]):
    pass


@strawberry.input(description="Compares whether a person can get in.")
class UserStatusFilter(EnumFilter[MembershipStatus]):
    pass


@filters(Membership)
@strawberry.input(description="Which people.")
class UserFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    role: OrganizationRoleFilter | None = strawberry.field(default=None, description="By role.")
    status: UserStatusFilter | None = strawberry.field(default=None, description="By whether they can get in.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By since when they belong here.")


async def list_users(
    info: strawberry.Info, filter: UserFilter | None, order: Sequence[UserOrder] | None, page: PageArguments
) -> Any:
    """Return a page of the organization's people."""
    return await page_of(
        info,
        Membership,
        page,
        order=order_of(order, Order("created_at")),
        conditions=await conditions_of(info, filter, Membership, links={"id": "User"}),
    )


@strawberry.input(description="Compares a role in a project.")
class ProjectRoleFilter(EnumFilter[ProjectRole]):
    pass


@filters(ProjectMembership)
@strawberry.input(description="Which members of a project. All that is given must hold.")
class ProjectMemberFilter:
    membership_id: IdFilter | None = strawberry.field(
        default=None,
        name="userId",
        description="By the person.",
        metadata=demanding(Permission.MEMBERSHIP_READ),
    )
    role: ProjectRoleFilter | None = strawberry.field(default=None, description="By built-in role.")
    custom_role_id: IdFilter | None = strawberry.field(
        default=None,
        description="By the role of the organization's own; that it is null finds built-in ones.",
        metadata=demanding(Permission.ROLE_READ),
    )
    expires_at: TimeFilter | None = strawberry.field(
        default=None, description="By from when the role gives nothing any more; null for good."
    )
    created_at: TimeFilter | None = strawberry.field(default=None, description="By since when.")


async def list_members(
    info: strawberry.Info,
    project_id: Any,
    filter: ProjectMemberFilter | None,
    direction: OrderDirection,
    page: PageArguments,
) -> Any:
    """Return a page of a project's members, in the order in which they came."""
    return await page_of(
        info,
        ProjectMembership,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        parent=Parent("project_id", project_id),
        conditions=await conditions_of(
            info, filter, ProjectMembership, links={"membership_id": "User", "custom_role_id": "CustomRole"}
        ),
    )
