"""Loading a row in order to change it: visible to who changes it, and locked until the transaction ends."""

from typing import TypeVar
from uuid import UUID

from auth.errors import NotFoundError
from auth.permission import Permission
from auth.policy import require
from auth.scope import Scope
from models.base import TenantModel
from models.errors import ConflictError
from models.inventory import entity_of
from models.statement import Statement
from models.transaction import fetch
from models.visibility import scope_at, visible
from resolvers.change import Change

M = TypeVar("M", bound=TenantModel)
Path = tuple[str | int, ...]


async def lock_visible(change: Change, model: type[M], row_id: UUID, *, at: Path = ("input", "id")) -> M:
    """Return the row, locked, if the viewer sees it.

    Raises:
        NotFoundError: there is no such row, or none that this viewer sees; the two can't be told apart.
    """
    entity = entity_of(model)
    statement = Statement()
    where = visible(statement, entity, change.viewer, alias="t")
    found = await fetch(
        change.connection,
        f'select 1 from "{entity.name}" t where {where} and t.id = {statement.argument(row_id)} for update',
        *statement.arguments,
    )
    if not found:
        raise NotFoundError("There is nothing with this id.", field=at)
    return await model.get(id=row_id, organization_id=change.organization_id, using_db=change.connection)


def scope_of_model(change: Change, row: TenantModel) -> Scope:
    """Return the scope in which decisions about this row are made."""
    placement = entity_of(type(row)).placement
    if placement is None:
        raise LookupError(f"Rows of {type(row).__name__} lie in no scope.")
    return scope_at(
        placement,
        change.viewer,
        project_id=getattr(row, placement.project_column) if placement.project_column else None,
        own_id=getattr(row, placement.own_column) if placement.own_column else None,
    )


def require_on(change: Change, permission: Permission, row: TenantModel) -> None:
    """Raise `ForbiddenError` unless the viewer has the permission in the scope of the row."""
    require(change.viewer, permission, scope_of_model(change, row))


def require_version(actual: int, expected: int, *, at: Path = ("input", "expectedVersion")) -> None:
    """Raise `ConflictError` unless the row is still at the version that the caller saw."""
    if actual != expected:
        raise ConflictError(f"Somebody changed it meanwhile: it is at version {actual} now.", field=at)
