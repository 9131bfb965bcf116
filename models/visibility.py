"""Which rows a viewer sees, and in which scope each lies: the only SQL that says so.

Every list and every lookup is composed with `visible`. A filter or an order on a column passes the guard of that
column as a further permission, so that a row is found by a column only where that column may be read.
"""

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from auth.permission import Permission
from auth.policy import has_everywhere, projects_with
from auth.principal import Viewer
from auth.scope import Scope
from models.base import Placement
from models.inventory import Entity
from models.row import Row
from models.statement import Statement


def visible(
    statement: Statement, entity: Entity, viewer: Viewer, *, alias: str, also: Collection[Permission] = ()
) -> str:
    """Return the SQL condition of the rows of `entity` that the viewer sees.

    also: permissions demanded in the row's scope besides `noun:read`.
    """
    placement = _placement(entity)
    wanted = {entity.read, *also}
    conditions = []
    if placement.tenant_column:
        conditions.append(f"{alias}.{placement.tenant_column} = {statement.argument(viewer.organization_id)}")
    if not has_everywhere(viewer, wanted):
        conditions.append(f"({' or '.join(_ways(statement, placement, viewer, wanted, alias)) or 'false'})")
    return " and ".join(conditions) or "true"


def scope_of(entity: Entity, row: Row, viewer: Viewer) -> Scope:
    """Return the scope in which decisions about this row are made."""
    placement = _placement(entity)
    return scope_at(
        placement,
        viewer,
        project_id=row[placement.project_column] if placement.project_column else None,
        own_id=row[placement.own_column] if placement.own_column else None,
    )


def scope_at(placement: Placement, viewer: Viewer, *, project_id: Any, own_id: Any) -> Scope:
    """Return the scope of a row of which only the project and the membership are known."""
    return Scope(
        project_id=project_id if placement.project_column else None,
        is_own=placement.own_column is not None and own_id is not None and own_id == _own_id(placement, viewer),
    )


def _ways(
    statement: Statement, placement: Placement, viewer: Viewer, wanted: set[Permission], alias: str
) -> Iterator[str]:
    """Yield the conditions under any of which the viewer has the permissions in the scope of the row.

    What is about the viewer adds to their roles; it does not take the place of any.
    """
    left = wanted - viewer.access.own
    column = f"{alias}.{placement.project_column}"
    if placement.project_column:
        yield f"{column} = any({statement.argument(projects_with(viewer, wanted))}::uuid[])"
    if placement.own_column and left < wanted and _own_id(placement, viewer) is not None:
        own = f"{alias}.{placement.own_column} = {statement.argument(_own_id(placement, viewer))}"
        if has_everywhere(viewer, left):
            yield own
        elif placement.project_column:
            yield f"({own} and {column} = any({statement.argument(projects_with(viewer, left))}::uuid[]))"


def _own_id(placement: Placement, viewer: Viewer) -> UUID | None:
    return viewer.user_id if placement.own_is_user else viewer.membership_id


def _placement(entity: Entity) -> Placement:
    if entity.placement is None:
        raise LookupError(f"The table {entity.name} is not listed.")
    return entity.placement
