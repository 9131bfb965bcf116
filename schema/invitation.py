"""Invitations: who was asked in, by whom, as what, and what came of it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.role import OrganizationRole, ProjectRole
from models.custom_role import CustomRole as CustomRoleModel
from models.invitation import Invitation as InvitationModel
from models.invitation import InvitationStatus
from models.membership import Membership
from models.order import Order
from models.project import Project as ProjectModel
from schema.connection import OrderDirection, PageArguments, page_of
from schema.custom_role import CustomRole
from schema.field import column, link, stands_for
from schema.filter import EnumFilter, ExactTextFilter, IdFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.project import Project
    from schema.user import User


@stands_for(InvitationModel)
@strawberry.type(description="Somebody who was asked to join, by mail.")
class Invitation(Node):
    email: str | None = column("The address that the link goes to.")
    name: str | None = column("How they will be called.")
    role: OrganizationRole | None = column(
        "The built-in role that they will have; MEMBER beside one of the organization's own."
    )
    custom_role: CustomRole | None = link(
        "The role of the organization's own that they will have.", to=CustomRoleModel, by="custom_role_id"
    )
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project in which they will have a role.", to=ProjectModel, by="project_id"
    )
    project_role: ProjectRole | None = column("The role that they will have there.")
    status: InvitationStatus | None = column("Whether it was answered, or taken back.")
    expires_at: datetime | None = column("From when its link is refused.")
    invited_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who invites: they may do so when it is accepted, too.", to=Membership, by="invited_by_id"
    )
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who came of it.", to=Membership, by="membership_id"
    )
    created_at: datetime | None = column("When it was made.")
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@strawberry.input(description="Compares what came of an invitation.")
class InvitationStatusFilter(EnumFilter[InvitationStatus]):
    pass


@filters(InvitationModel)
@strawberry.input(description="Which invitations. All that is given must hold.")
class InvitationFilter:
    status: InvitationStatusFilter | None = strawberry.field(default=None, description="By what came of it.")
    email: ExactTextFilter | None = strawberry.field(
        default=None, description="By address, where you may read it. Each search is in the audit trail."
    )
    invited_by_id: IdFilter | None = strawberry.field(name="invitedById", default=None, description="By who invites.")


async def list_invitations(
    info: strawberry.Info, filter: InvitationFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's invitations, in the order in which they were made."""
    return await page_of(
        info,
        InvitationModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, InvitationModel, links={"invited_by_id": "User"}),
    )
