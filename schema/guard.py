"""The wiring of guards: what stands between a row and each field that shows something of it.

Built once per field when the schema is made, from the declaration of the column; run for each value of an object that
is completed by itself. Rows that are completed together go through the same guards in `schema/completion_step.py`.
Nothing else reads a column of a row for an answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from auth.masking import pseudonym
from auth.permission import Permission
from models.encryption.keyring import UNWRAPPABLE, unknown_key
from models.errors import ErasedError, SealedError, TamperedError
from models.inventory import Column, Entity, entity_of
from models.row import Row, open_column
from models.visibility import scope_of
from schema.context import RequestContext, ResolveInfo
from schema.field import LinkField, RowsField
from schema.selection import selected_of

Resolve = Callable[..., Any]


def column_resolver(entity: Entity, column: Column) -> Resolve:
    """Return the function that answers a field with a column of its row, if the viewer may read it."""
    name, guard = column.name, column.guard
    if guard is None:

        def show(row: Row, _info: ResolveInfo) -> Any:
            return row[name]

        return show
    if column.is_sealed:
        return _sealed_resolver(entity, column, guard)

    def show_guarded(row: Row, info: ResolveInfo) -> Any:
        context: RequestContext = info.context
        scope = scope_of(entity, row, context.viewer)
        return row[name] if context.allows(guard, scope) else context.deny(info, guard, scope)

    return show_guarded


def link_resolver(entity: Entity, column: Column, link: LinkField, type_name: str) -> Resolve:
    """Return the function that follows a column, if the viewer may read it, to the row it names, if they see that."""
    show = column_resolver(entity, column)
    target = entity_of(link.to)

    def follow(row: Row, info: ResolveInfo) -> Awaitable[Row | None] | None:
        row_id = show(row, info)
        if row_id is None:
            return None
        context: RequestContext = info.context
        return context.load_row(target, selected_of(info, type_name), row_id)

    return follow


def rows_resolver(said: RowsField, type_name: str) -> Resolve:
    """Return the function that lists all rows that belong to a row."""

    async def rows(row: Row, info: ResolveInfo) -> Sequence[Row]:
        context: RequestContext = info.context
        selected = selected_of(info, type_name)
        return (await context.load_children(said, selected, info.field_nodes, [row["id"]])).get(row["id"], [])

    return rows


def guarded(entity: Entity, permission: Permission, resolve: Resolve) -> Resolve:
    """Return `resolve` behind the permission in the scope of the row."""

    def resolve_guarded(row: Row, info: ResolveInfo, **arguments: Any) -> Any:
        context: RequestContext = info.context
        scope = scope_of(entity, row, context.viewer)
        if context.allows(permission, scope):
            return resolve(row, info, **arguments)
        return context.deny(info, permission, scope)

    return resolve_guarded


def _sealed_resolver(entity: Entity, column: Column, guard: Permission) -> Resolve:
    mask = column.masked_by

    def show_sealed(row: Row, info: ResolveInfo) -> Any:
        context: RequestContext = info.context
        scope = scope_of(entity, row, context.viewer)
        if not context.allows(guard, scope):
            return pseudonym(row[mask]) if mask is not None else context.deny(info, guard, scope)
        return read_column(context, column, row)

    return show_sealed


def read_column(context: RequestContext, column: Column, row: Row) -> Any:
    """Open an encrypted column *after* its guard has said yes, and note that it was read.

    Answers the value, or an awaitable of it where the key has to be fetched first.
    """
    blob: bytes | None = row[column.name]
    return None if blob is None else read_value(context, column, row["id"], blob, lambda: open_column(column, row))


def read_value(context: RequestContext, column: Column, row_id: UUID, blob: bytes, opening: Callable[[], Any]) -> Any:
    """Open a stored value of an encrypted column, and note that it was read, or that it does not open in its place.

    Answers the value, or an awaitable of it where the key has to be fetched first. Where the key was destroyed, since
    its owner was erased, there is nothing.

    Raises:
        TamperedError: what is stored does not open there, or names a key that never was.
        WrappingKeyError: its key can't be unwrapped.
    """
    try:
        value = opening()
    except ErasedError:
        return None
    except SealedError:
        return _read_later(context, column, row_id, blob, opening)
    except TamperedError:
        context.read_log.note_broken(column, row_id)
        raise
    context.read_log.note(column, row_id)
    return value


async def _read_later(
    context: RequestContext, column: Column, row_id: UUID, blob: bytes, opening: Callable[[], Any]
) -> Any:
    try:
        await context.load_key(blob)
        value = opening()
    except ErasedError:
        return None
    except (SealedError, *UNWRAPPABLE) as error:
        context.read_log.note_broken(column, row_id)
        raise (unknown_key(blob) if isinstance(error, SealedError) else error) from error
    context.read_log.note(column, row_id)
    return value
