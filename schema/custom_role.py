"""Roles of an organization's own."""

from datetime import datetime
from typing import Any

import strawberry

from auth.permission import Permission
from models.custom_role import CustomRole as CustomRoleModel
from models.custom_role import RoleLevel
from models.order import Order
from resolvers.standing import known_permissions
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, derived, resolved, stands_for
from schema.filter import EnumFilter, IdFilter, TextFilter, TimeFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import CustomRoleViewerCan, viewer_can


@stands_for(CustomRoleModel)
@strawberry.type(description="A role of the organization's own, beside the built-in ones.")
class CustomRole(Node):
    name: str | None = column("The role's name, one of its kind in the organization.")
    level: RoleLevel | None = column("Whether it is given in the organization or in projects.")
    description: str | None = column("What the role is for.")
    created_at: datetime | None = column("When it was defined.")
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: CustomRoleViewerCan = viewer_can(CustomRoleViewerCan, needs=("permissions",))

    @resolved("What whoever has the role may do.", derived(Permission.ROLE_READ, needs=("permissions",)))
    def permissions(src: strawberry.Parent[Any]) -> list[Permission] | None:
        return sorted(known_permissions(src["permissions"]))


@strawberry.input(description="Compares where a role of the organization's own is given.")
class RoleLevelFilter(EnumFilter[RoleLevel]):
    pass


@filters(CustomRoleModel)
@strawberry.input(description="Which roles of the organization's own. All that is given must hold.")
class CustomRoleFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    name: TextFilter | None = strawberry.field(default=None, description="By name.")
    level: RoleLevelFilter | None = strawberry.field(default=None, description="By where they are given.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were defined.")


async def list_roles(
    info: strawberry.Info, filter: CustomRoleFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's own roles, by name."""
    return await page_of(
        info,
        CustomRoleModel,
        page,
        order=Order("name", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, CustomRoleModel, links={"id": "CustomRole"}),
    )
