"""Loading rows in order to change them, or to rely on them: visible to who asks, and as they are until the end.

What is changed is locked for this transaction alone. What is only relied on, such as the project that a record goes
into, is locked so that nobody changes it before the transaction ends; others may rely on it at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
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
Fields = Mapping[str, Any]
"""A row's columns by name, as they are stored."""


async def lock_visible(change: Change, model: type[M], row_id: UUID, *, at: Path = ("input", "id")) -> M:
    """Return the row, locked, if the viewer sees it.

    Raises:
        NotFoundError: there is no such row, or none that this viewer sees; the two can't be told apart.
    """
    statement = Statement()
    # Whoever waited for the lock gets the row as it is after that: this is READ COMMITTED.
    found = await fetch(
        change.connection,
        _selected(statement, change, model, tuple(entity_of(model).columns), row_id) + " for update",
        *statement.arguments,
    )
    if not found:
        raise _not_found(at)
    return model._init_from_db(**found[0])


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that is relied on, and the columns of it that are needed. `at` is the path of the input that names it."""

    model: type[TenantModel]
    row_id: UUID
    columns: tuple[str, ...]
    at: Path


class Held:
    """What there is of the rows that were wanted."""

    def __init__(self, rows: Mapping[Wanted, Fields]) -> None:
        self._rows = rows

    def found(self, wanted: Wanted) -> Fields:
        """Return the columns of a row. Raises `NotFoundError` where there is none, as `lock_visible` does."""
        row = self._rows.get(wanted)
        if row is None:
            raise _not_found(wanted.at)
        return row


async def hold_visible(change: Change, *wanted: Wanted) -> Held:
    """Return those of the rows that the viewer sees, locked so that they stay as they are: one statement for all.

    Rows that are not there, or that this viewer does not see, are missing from it, without an error yet.
    """
    statement = Statement()
    places = [f"r{number}" for number in range(len(wanted))]
    lookups = [
        f" left join lateral ({_selected(statement, change, one.model, ('id', *one.columns), one.row_id)} for share)"
        f" {place} on true"
        for place, one in zip(places, wanted, strict=True)
    ]
    selected = ", ".join(f"{place}.*" for place in places)
    async with change.connection.acquire_connection() as raw:
        values = await raw.fetchrow(f"select {selected} from (select) one{''.join(lookups)}", *statement.arguments)
    rows: dict[Wanted, Fields] = {}
    start = 0
    for one in wanted:
        found_id, *columns = values[start : (start := start + 1 + len(one.columns))]
        if found_id is not None:
            rows[one] = dict(zip(one.columns, columns, strict=True))
    return Held(rows)


def _selected(
    statement: Statement, change: Change, model: type[TenantModel], columns: Sequence[str], row_id: UUID
) -> str:
    entity = entity_of(model)
    where = visible(statement, entity, change.viewer, alias="t")
    names = ", ".join(f't."{name}"' for name in columns)
    return f'select {names} from "{entity.name}" t where {where} and t.id = {statement.argument(row_id)}'


def _not_found(at: Path) -> NotFoundError:
    return NotFoundError("There is nothing with this id.", field=at)


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
