"""How rows get into the tables: one composed statement for all rows of a table, with what is encrypted sealed.

A row is what was said of it, by column. A column that was not named has what its declaration gives: the default, or
null. Values are as the columns take them; whoever calls has made sure of that (`resolvers/checking.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.contrib.postgres.fields import ArrayField

from models.encryption.column import EncryptedField, seal_light
from models.inventory import Column, Entity
from models.row import Row, row_type

Values = Mapping[str, Any]

MOST_BOUND: Final = 32_767
"""Values that a statement of PostgreSQL's protocol takes."""


async def insert_rows(connection: BaseDBAsyncClient, entity: Entity, rows: Sequence[Values]) -> list[Row]:
    """Write the rows inside a transaction and return them as they are stored: one statement, as far as it holds them.

    Raises:
        SealedError: the key that a value is to be sealed under is not in memory.
        InvalidInputError: a value of an encrypted column is no text that fits it.
    """
    stored = _stored_by(entity)
    written: list[Row] = []
    for start in range(0, len(rows), most := MOST_BOUND // len(stored)):
        some = rows[start : start + most]
        arguments = [store(row) for row in some for store in stored]
        async with connection.acquire_connection() as raw:
            written += await raw.fetch(_text(entity, len(some)), *arguments, record_class=row_type(entity))
    return written


async def insert_many(connection: BaseDBAsyncClient, entity: Entity, rows: Sequence[Values]) -> None:
    """Write many rows inside a transaction, in one statement of one argument for each column, and return nothing.

    It is what a bulk load takes where row-level security rules COPY out: the statement is the same however many rows
    there are, so that it is parsed and planned once.

    Raises:
        SealedError, InvalidInputError: as `insert_rows`.
    """
    if not rows:
        return
    arguments = [_taken(column, rows) for column in entity.columns.values()]
    async with connection.acquire_connection() as raw:
        await raw.execute(_bulk_text(entity), *arguments)


def _taken(column: Column, rows: Sequence[Values]) -> list[Any] | None:
    """Return the rows' values of a column, as it is stored; None where no row has any.

    `unnest` fills up what is shorter with nulls. An array of nothing else would be looked at value by value.
    """
    name, field = column.name, column.field
    taken: list[Any]
    if isinstance(field, EncryptedField):
        taken = [seal_light(field, row) for row in rows]
    elif callable(field.default):
        taken = [row[name] if name in row else field.default() for row in rows]
    else:
        taken = [row.get(name, field.default) for row in rows]
    if isinstance(field, ArrayField):
        taken = [_array_text(one) for one in taken]
    return None if taken.count(None) == len(taken) else taken


@cache
def _bulk_text(entity: Entity) -> str:
    names = [f'"{name}"' for name in entity.columns]
    types = [_type_of(column) for column in entity.columns.values()]
    # An array of arrays would come apart into its innermost elements: those go as the text of each.
    bound = ", ".join(
        f"${place}::{'text' if array else one}[]"
        for place, (one, array) in enumerate(zip(types, _are_arrays(entity), strict=True), 1)
    )
    taken = ", ".join(
        f"{name}::{one}" if array else name for name, one, array in zip(names, types, _are_arrays(entity), strict=True)
    )
    return (
        f'insert into "{entity.name}" ({", ".join(names)}) select {taken} from unnest({bound}) as r({", ".join(names)})'
    )


@cache
def _are_arrays(entity: Entity) -> Sequence[bool]:
    return [isinstance(column.field, ArrayField) for column in entity.columns.values()]


def _type_of(column: Column) -> str:
    declared = str(column.field.get_for_dialect("postgres", "SQL_TYPE"))
    return "text" if declared.startswith("VARCHAR") else declared.lower()


def _array_text(values: Sequence[Any] | None) -> str | None:
    """Return PostgreSQL's text of an array of ids or words, which have nothing in them that would be quoted."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


@lru_cache(maxsize=256)
def _text(entity: Entity, count: int) -> str:
    width = len(entity.columns)
    tuples = (
        f"({', '.join(f'${place}' for place in range(1 + row * width, 1 + (row + 1) * width))})" for row in range(count)
    )
    names = ", ".join(f'"{name}"' for name in entity.columns)
    return f'insert into "{entity.name}" ({names}) values {", ".join(tuples)} returning *'


@cache
def _stored_by(entity: Entity) -> Sequence[Callable[[Values], Any]]:
    """Return the functions that take each column's value out of a row, as it is stored."""
    return [_store(column) for column in entity.columns.values()]


def _store(column: Column) -> Callable[[Values], Any]:
    name, field = column.name, column.field
    if isinstance(field, EncryptedField):
        return lambda row: seal_light(field, row)
    default = field.default
    if callable(default):
        return lambda row: row[name] if name in row else default()
    return lambda row: row.get(name, default)
