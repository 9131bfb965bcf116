"""The one way to read rows: visible to a viewer, filtered, ordered, in keyset pages, of one parent or of many.

A listing is one SQL statement whatever its size. Under many parents it is still one: each parent's page is cut in a
LATERAL join, so that no parent's rows push out another's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.principal import Viewer
from models.inventory import Entity
from models.row import Row, row_type
from models.statement import Statement
from models.visibility import visible


class Operator(StrEnum):
    """How a column is compared. EQUALS with None asks for absence."""

    EQUALS = "="
    IN = "in"
    AT_LEAST = ">="
    LESS_THAN = "<"
    STARTS_WITH = "^@"


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter on one plain column."""

    column: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, which way. The id breaks ties, the same way. The column is never null."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """The place in the order after (or before) which a page begins: the order column's value, and the id."""

    value: Any
    row_id: UUID


@dataclass(frozen=True, slots=True)
class Listing:
    """What to read. `limit` rows per parent at the most; `backwards` reads towards the start from `bound`.

    parent_column and parents: read the rows of each parent; None reads the tenant's.
    """

    entity: Entity
    columns: Sequence[str]
    order: Order
    limit: int
    conditions: Sequence[Condition] = ()
    bound: Bound | None = None
    backwards: bool = False
    parent_column: str | None = None
    parents: Sequence[UUID] = ()


async def fetch_listing(connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> list[Row]:
    """Return the rows, each parent's in the direction of reading. One statement."""
    statement = Statement()
    text = _listing_text(statement, viewer, listing)
    return await connection.fetch(text, *statement.arguments, record_class=row_type(listing.entity))


async def fetch_count(connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> dict[UUID | None, int]:
    """Return how many rows each parent has in all for this viewer, regardless of the page; None is the tenant."""
    statement = Statement()
    where = _where(statement, viewer, listing)
    table = f'"{listing.entity.name}" t'
    if listing.parent_column is None:
        return {None: await connection.fetchval(f"select count(*) from {table} where {where}", *statement.arguments)}
    parents = statement.argument(list(listing.parents))
    counted = await connection.fetch(
        f"select t.{listing.parent_column} as parent, count(*) as total from {table}"
        f" where {where} and t.{listing.parent_column} = any({parents}::uuid[]) group by 1",
        *statement.arguments,
    )
    return {row["parent"]: row["total"] for row in counted}


async def fetch_by_id(
    connection: asyncpg.Connection,
    viewer: Viewer,
    entity: Entity,
    columns: Sequence[str],
    ids: Sequence[UUID],
) -> dict[UUID, Row]:
    """Return those of the rows that the viewer sees. One statement."""
    statement = Statement()
    where = visible(statement, entity, viewer, alias="t")
    rows = await connection.fetch(
        f'select {_columns(entity, columns)} from "{entity.name}" t'
        f" where {where} and t.id = any({statement.argument(list(ids))}::uuid[])",
        *statement.arguments,
        record_class=row_type(entity),
    )
    return {row["id"]: row for row in rows}


def _listing_text(statement: Statement, viewer: Viewer, listing: Listing) -> str:
    entity, order = listing.entity, listing.order
    where = [_where(statement, viewer, listing)]
    descending = order.descending != listing.backwards
    if listing.bound is not None:
        value, row_id = statement.argument(listing.bound.value), statement.argument(listing.bound.row_id)
        where.append(f"(t.{order.column}, t.id) {'<' if descending else '>'} ({value}, {row_id})")
    way = "desc" if descending else "asc"
    columns = _columns(entity, [*listing.columns, order.column])
    limit = statement.argument(listing.limit)
    if listing.parent_column is None:
        return (
            f'select {columns} from "{entity.name}" t where {" and ".join(where)}'
            f" order by t.{order.column} {way}, t.id {way} limit {limit}"
        )
    parents = statement.argument(list(listing.parents))
    where.append(f"t.{listing.parent_column} = p.parent")
    return (
        f"select p.parent, r.* from unnest({parents}::uuid[]) as p(parent) cross join lateral ("
        f'select {columns} from "{entity.name}" t where {" and ".join(where)}'
        f" order by t.{order.column} {way}, t.id {way} limit {limit}) r"
    )


def _where(statement: Statement, viewer: Viewer, listing: Listing) -> str:
    entity = listing.entity
    touched = [listing.order.column, *(condition.column for condition in listing.conditions)]
    guards = {guard for name in touched if (guard := _plain_guard(entity, name)) is not None}
    parts = [visible(statement, entity, viewer, alias="t", also=guards)]
    for condition in listing.conditions:
        column = f"t.{condition.column}"
        if condition.operator is Operator.IN:
            parts.append(f"{column} = any({statement.argument(list(condition.value))})")
        elif condition.operator is Operator.EQUALS and condition.value is None:
            parts.append(f"{column} is null")
        else:
            parts.append(f"{column} {condition.operator} {statement.argument(condition.value)}")
    return " and ".join(parts)


def _plain_guard(entity: Entity, name: str) -> Permission | None:
    column = entity.columns[name]
    if column.is_sealed or not column.is_in_api:
        raise LookupError(f"The column {entity.name}.{name} is neither filtered nor ordered by.")
    return column.guard


def _columns(entity: Entity, wanted: Sequence[str]) -> str:
    names = dict.fromkeys((*entity.scope_columns, *wanted))
    unknown = [name for name in names if name not in entity.columns]
    if unknown:
        raise LookupError(f"The table {entity.name} has no column {unknown[0]!r}.")
    return ", ".join(f't."{name}"' for name in names)
