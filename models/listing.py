"""The one way to read rows: visible to a viewer, filtered, ordered, in keyset pages, of one parent or of many.

A listing is one SQL statement whatever its size. Under many parents it is still one: each parent's page is cut in a
LATERAL join, so that no parent's rows push out another's.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.principal import Viewer
from models.along import NOTHING_ALONG, Along, read_along
from models.inventory import Column, Entity
from models.order import Order
from models.row import Row, row_type
from models.statement import Statement
from models.touching import touching
from models.visibility import visible
from models.withholding import compared, selected, value_of


class Operator(StrEnum):
    """How a column is compared. EQUALS with None asks for absence, TOUCHES for the entries that are about a row."""

    EQUALS = "="
    IN = "in"
    AT_LEAST = ">="
    AT_MOST = "<="
    LESS_THAN = "<"
    STARTS_WITH = "^@"
    TOUCHES = "&&"


_EXACT = frozenset({Operator.EQUALS, Operator.IN})


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter on one column.

    value: of an encrypted column, never its plain text: the blind index of a value (`models/searching.py: index_of`),
        or a list of them. Of TOUCHES, a `models/touching.py: Touched`.
    """

    column: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Bound:
    """The place in the order after (or before) which a page begins: the order column's value, and the id."""

    value: Any
    row_id: UUID


@dataclass(frozen=True, slots=True)
class Listing:
    """What to read. `limit` rows per parent at the most; `backwards` reads towards the start from `bound`.

    along: what is read along with each row.
    also: permissions that are demanded in each row's scope, besides those of what is touched.
    parent_column and parents: read the rows of each parent; None reads the tenant's.
    """

    entity: Entity
    columns: Sequence[str]
    order: Order
    limit: int
    along: Along = NOTHING_ALONG
    conditions: Sequence[Condition] = ()
    bound: Bound | None = None
    backwards: bool = False
    parent_column: str | None = None
    parents: Sequence[UUID] = ()
    also: Collection[Permission] = ()


async def fetch_listing(connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> list[Row]:
    """Return the rows, each parent's in the direction of reading. One statement."""
    statement = Statement()
    text = _listing_text(statement, viewer, listing)
    return await connection.fetch(text, *statement.arguments, record_class=row_type(listing.entity))


async def fetch_count(connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> dict[UUID | None, int]:
    """Return how many rows each parent has in all for this viewer, regardless of the page; None is the tenant."""
    statement = Statement()
    where = _where(statement, viewer, listing)
    table = f"{listing.entity.relation} t"
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
    *,
    along: Along = NOTHING_ALONG,
) -> dict[UUID, Row]:
    """Return those of the rows that the viewer sees. One statement."""
    statement = Statement()
    where = visible(statement, entity, viewer, alias="t")
    named = [one.by for one in along.named]
    text = (
        f"select {_columns(entity, (*columns, *named))} from {entity.relation} t"
        f" where {where} and t.id = any({statement.argument(list(ids))}::uuid[])"
    )
    if along:
        text = read_along(statement, viewer, text, along)
    rows = await connection.fetch(text, *statement.arguments, record_class=row_type(entity))
    return {row["id"]: row for row in rows}


def _listing_text(statement: Statement, viewer: Viewer, listing: Listing) -> str:
    entity, order = listing.entity, listing.order
    where = [_where(statement, viewer, listing)]
    descending = order.descending != listing.backwards
    if listing.bound is not None:
        value, row_id = statement.argument(listing.bound.value), statement.argument(listing.bound.row_id)
        where.append(f"(t.{order.column}, t.id) {'<' if descending else '>'} ({value}, {row_id})")
    way = "desc" if descending else "asc"
    named = (one.by for one in listing.along.named)
    columns = _columns(entity, (*listing.columns, order.column, *named))
    limit = statement.argument(listing.limit)
    ordered = f"order by t.{order.column} {way}, t.id {way}"
    if listing.parent_column is None:
        text = f"select {columns} from {entity.relation} t where {' and '.join(where)} {ordered} limit {limit}"
    else:
        parents = statement.argument(list(listing.parents))
        where.append(f"t.{listing.parent_column} = p.parent")
        text = (
            f"select p.parent, r.* from unnest({parents}::uuid[]) as p(parent) cross join lateral ("
            f"select {columns} from {entity.relation} t where {' and '.join(where)} {ordered} limit {limit}) r"
        )
    return f"{read_along(statement, viewer, text, listing.along)} {ordered}" if listing.along else text


def matching(
    statement: Statement,
    viewer: Viewer,
    entity: Entity,
    conditions: Sequence[Condition],
    *,
    touched: Iterable[str] = (),
    also: Iterable[Permission] = (),
    alias: str,
) -> str:
    """Return the SQL condition of the rows that the viewer sees, that meet the conditions, and of which they may read
    every column that is touched.

    touched: the columns that the statement orders, groups or computes by, besides those of the conditions.
    also: permissions that are demanded besides theirs.

    Raises:
        LookupError: a column is unknown, encrypted, or not in the API; a condition is on an encrypted one that is not
            searchable, or is no equality with blind indexes.
    """
    columns = [plain_column(entity, name) for name in touched]
    columns += [_compared_column(entity, condition) for condition in conditions]
    guards = {*also, *(column.guard for column in columns if column.guard is not None)}
    parts = [visible(statement, entity, viewer, alias=alias, also=guards)]
    for condition in conditions:
        column, end = compared(_stored(entity, condition.column), alias)
        if condition.operator is Operator.TOUCHES:
            parts.append(touching(statement, viewer, condition.value, alias))
        elif condition.operator is Operator.IN:
            parts.append(f"{column} = any({statement.argument(list(condition.value))}){end}")
        elif condition.operator is Operator.EQUALS and condition.value is None:
            parts.append(f"{value_of(_stored(entity, condition.column), alias)} is null")
        else:
            parts.append(f"{column} {condition.operator} {statement.argument(condition.value)}{end}")
    return " and ".join(parts)


def searched_columns(entity: Entity, conditions: Iterable[Condition]) -> list[Column]:
    """Return the encrypted columns whose values a row that meets the conditions is known to have."""
    compared = (entity.columns[one.column] for one in conditions if one.value is not None)
    return [column for column in compared if column.search is not None]


@lru_cache(maxsize=1024)
def plain_column(entity: Entity, name: str) -> Column:
    """Return a column that may be filtered, ordered, grouped or computed by.

    Raises:
        LookupError: there is none of that name, or it is encrypted, or not in the API.
    """
    column = entity.columns.get(name)
    if column is None or column.is_sealed or not column.is_in_api:
        raise LookupError(f"By {entity.name}.{name} nothing is filtered, ordered, grouped or computed.")
    return column


def _compared_column(entity: Entity, condition: Condition) -> Column:
    """Return the column of a condition, whose guard is demanded. Raises `LookupError` as `matching` does."""
    column = entity.columns.get(condition.column)
    if column is None or column.search is None:
        return plain_column(entity, condition.column)
    is_list, value = condition.operator is Operator.IN, condition.value
    indexes = value if is_list else [] if value is None else [value]
    if condition.operator not in _EXACT or not all(isinstance(one, bytes) for one in indexes):
        raise LookupError(f"{entity.name}.{column.name} is found by the blind index of a value, and by nothing else.")
    return column


def _stored(entity: Entity, name: str) -> Column:
    """Return what is compared in the database: of an encrypted column its blind index."""
    column = entity.columns[name]
    return column if column.search is None else entity.columns[column.search.index_column]


def _where(statement: Statement, viewer: Viewer, listing: Listing) -> str:
    return matching(
        statement,
        viewer,
        listing.entity,
        listing.conditions,
        touched=(listing.order.column,),
        also=listing.also,
        alias="t",
    )


@lru_cache(maxsize=1024)
def _columns(entity: Entity, wanted: tuple[str, ...]) -> str:
    names = dict.fromkeys((*entity.scope_columns, *wanted))
    unknown = [name for name in names if name not in entity.columns]
    if unknown:
        raise LookupError(f"The table {entity.name} has no column {unknown[0]!r}.")
    return ", ".join(selected(entity, "t", name) for name in names)
