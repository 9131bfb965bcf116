"""Plain columns behind a stronger guard than seeing the row takes, and who may read them in one project of two.

No plain column has such a guard today. What filters, orders, groups or computes demands it all the same.
"""

from dataclasses import replace
from types import MappingProxyType

from auth.access import Grant, access_of
from auth.permission import Permission
from auth.principal import Viewer
from auth.role import PROJECT_ROLES, ProjectRole
from models.inventory import Entity
from resolvers.account import member_viewer
from tests.support.world import World


def with_guarded(entity: Entity, column: str) -> Entity:
    """Return the table with one plain column behind a stronger guard, which not everyone has who sees the row."""
    stronger = replace(entity.columns[column], guard=Permission.RECORD_READ_CONFIDENTIAL)
    return replace(entity, columns=MappingProxyType({**entity.columns, column: stronger}))


async def viewer_of_halves(world: World) -> Viewer:
    """Return who may read everything of a record in CANAL, and in PARKS what is not confidential."""
    member = await member_viewer("clearwater", email="member@clearwater.example")
    roles = {
        await world.project_id("CANAL"): ProjectRole.REVIEWER,
        await world.project_id("PARKS"): ProjectRole.VIEWER,
    }
    grants = tuple(Grant(role, PROJECT_ROLES[role], project) for project, role in roles.items())
    return replace(member, grants=grants, access=access_of(grants))
