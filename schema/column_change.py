"""What a change did to a row, column by column.

A value before or after it is guarded as the column it is of, in the scope of the row it is of, by today's policy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any
from uuid import UUID

import orjson
import strawberry

from auth.classification import Classification
from auth.principal import SYSTEM_ID
from auth.scope import ORGANIZATION, Scope
from models.along import Selected
from models.change import stored_bytes
from models.encryption.column import open_light
from models.encryption.envelope import Cell
from models.errors import TamperedError
from models.inventory import Column, Entity, InventoryError, entity_named, entity_of
from models.place import CELLS
from models.project import Project as ProjectModel
from models.visibility import scope_at
from schema.context import RequestContext, ResolveInfo
from schema.field import derived, resolved, structure
from schema.guard import read_value


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row that was changed, and where it lies: what the guards of its values ask about.

    is_sensitive: whether its project's locations are, today; None where that is still to be found out.
    """

    entity: str
    entity_id: UUID
    organization_id: UUID
    project_id: UUID | None
    membership_id: UUID | None = None
    is_sensitive: bool | None = None


@dataclass(frozen=True, slots=True)
class ChangedValue:
    """One column of a changed row. column: None where no table of today has it."""

    row: ChangedRow
    column: Column | None
    name: str
    stored: tuple[Any, Any]


@structure
@strawberry.type(description="What a change did to one column. Values are guarded as the column itself is.")
class ColumnChange:
    @resolved("The column's name.", derived())
    def column(src: strawberry.Parent[Any]) -> str:
        value: ChangedValue = src
        return value.name

    @resolved("The value before, as text; null if there was none.", derived())
    async def before(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        return await _shown(src, info, 0)

    @resolved("The value after, as text; null if there is none.", derived())
    async def after(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        return await _shown(src, info, 1)


def changed_values(row: ChangedRow, columns: Mapping[str, Sequence[Any]]) -> list[ChangedValue]:
    """Return what became of each column. columns: before and after, as `models/change.py` keeps them."""
    entity = _entity(row)
    known = entity.columns if entity is not None else {}
    return [ChangedValue(row, known.get(name), name, (pair[0], pair[1])) for name, pair in columns.items()]


def may_read(context: RequestContext, value: ChangedValue) -> bool:
    """Return whether the viewer is told what became of the column: not of one that they may not read, nor of one that
    names people, or their devices, whom they don't see.
    """
    column = value.column
    if column is None or column.classification is Classification.SECRET:
        return False
    scope = _scope(context, value.row)
    if scope is None or (column.guard is not None and not context.allows(column.guard, scope)):
        return False
    return column.names is None or context.allows(column.names, ORGANIZATION)


def may_know_the_place(context: RequestContext, scope: Scope, entity: Entity) -> bool:
    """Return whether the viewer may know where the records, or sites, of the scope are, were that sensitive."""
    exact = entity.columns["exact_location"]
    return exact.guard is None or context.allows(exact.guard, scope)


async def _may_tell_the_place(context: RequestContext, row: ChangedRow, scope: Scope) -> bool:
    """Return whether the viewer may know where a record or a site is, as it is decided today.

    The trail keeps what was written before that was sensitive. Where it is not known, and the project is not the
    viewer's to see, it is.
    """
    if may_know_the_place(context, scope, entity_named(row.entity)):
        return True
    if row.is_sensitive is not None or row.project_id is None:
        return row.is_sensitive is False
    sensitive = Selected(("locations_are_sensitive",))
    project = await context.load_row(entity_of(ProjectModel), sensitive, row.project_id)
    return project is not None and not project["locations_are_sensitive"]


async def _shown(value: ChangedValue, info: strawberry.Info, side: int) -> str | None:
    """Return the stored value as text, if the viewer may read that column in the scope of that row today."""
    raw: ResolveInfo = info._raw_info
    context: RequestContext = raw.context
    stored, column = value.stored[side], value.column
    if column is None or column.classification is Classification.SECRET:
        return None
    scope = _scope(context, value.row)
    if scope is None:
        return None
    if column.guard is not None and not context.allows(column.guard, scope):
        context.deny(raw, column.guard, scope)
        return None
    if column.names is not None and not context.allows(column.names, ORGANIZATION):
        context.deny(raw, column.names, ORGANIZATION)
        return None
    if stored is None:
        return None
    if column.is_sealed:
        opened = _opened(context, value.row, column, str(stored))
        return await opened if isawaitable(opened) else opened
    if column.name in CELLS and not await _may_tell_the_place(context, value.row, scope):
        stored = CELLS[column.name](stored)
    return stored if isinstance(stored, str) else orjson.dumps(stored).decode()


def _opened(context: RequestContext, row: ChangedRow, column: Column, stored: str) -> Any:
    try:
        blob = stored_bytes(stored)
    except TamperedError:
        context.read_log.note_broken(column, row.entity_id)
        raise
    placement = entity_named(column.entity).placement
    tenant = row.organization_id if placement and placement.tenant_column else SYSTEM_ID
    cell = Cell(organization_id=tenant, table=column.entity, column=column.name, row_id=row.entity_id)
    return read_value(context, column, row.entity_id, blob, lambda: open_light(blob, cell))


def _scope(context: RequestContext, row: ChangedRow) -> Scope | None:
    """Return the scope in which values of the row are guarded; None where the API never lists the table."""
    entity = _entity(row)
    if entity is None or entity.placement is None:
        return None
    return scope_at(entity.placement, context.viewer, project_id=row.project_id, own_id=row.membership_id)


def _entity(row: ChangedRow) -> Entity | None:
    try:
        return entity_named(row.entity)
    except InventoryError:
        return None
