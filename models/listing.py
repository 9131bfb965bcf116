"""The one way to read rows: visible to a viewer, filtered, ordered, in keyset pages, of one parent or of many.

A listing is one SQL statement whatever its size. Under many parents it is still one: each parent's page is cut in a
LATERAL join, so that no parent's rows push out another's.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.principal import Viewer
from models.along import NOTHING_ALONG, Along, read_along
from models.condition import And, Condition, Criterion, Not, Operator, Or, Words, leaves_of
from models.inventory import Column, Entity
from models.order import Bound, Order, beyond, order_by
from models.row import Row, row_type
from models.statement import Statement
from models.touching import touching
from models.visibility import visible
from models.withholding import compared, selected, value_of

_PARTS_WORDS = "-_/.:"
"""What stands between words as a blank does."""
_EXACT = frozenset({Operator.EQUALS, Operator.IN})


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
    conditions: Sequence[Criterion] = ()
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


async def fetch_weights(
    connection: asyncpg.Connection, viewer: Viewer, listing: Listing
) -> list[tuple[UUID, int, int]]:
    """Return of each row, or of each parent that has some: its id, how many rows, and their bytes. One statement.

    Bytes are those of the sealed columns that are listed, which alone have no small bound, as they are stored. None of
    them is read: PostgreSQL knows how long a value is without it. Of parents all rows count, whatever `limit` says; an
    order is kept where there are none.
    """
    statement = Statement()
    where = [_where(statement, viewer, listing)]
    sealed = (name for name in listing.columns if listing.entity.columns[name].is_sealed)
    weight = " + ".join(["0", *(f'coalesce(octet_length(t."{name}"), 0)' for name in sealed)])
    table = f"{listing.entity.relation} t"
    if listing.parent_column is None:
        if listing.bound is not None:
            where.append(beyond(statement, listing.entity, listing.order, listing.bound, "t"))
        text = (
            f"select t.id, 1, {weight} from {table} where {' and '.join(where)}"
            f" {order_by(listing.entity, listing.order, 't')} limit {statement.argument(listing.limit)}"
        )
    else:
        parents = statement.argument(list(listing.parents))
        text = (
            f"select t.{listing.parent_column}, count(*), sum({weight})::bigint from {table}"
            f" where {' and '.join(where)} and t.{listing.parent_column} = any({parents}::uuid[]) group by 1"
        )
    return [(row[0], row[1], row[2]) for row in await connection.fetch(text, *statement.arguments)]


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
    if listing.bound is not None:
        where.append(beyond(statement, entity, order, listing.bound, "t", backwards=listing.backwards))
    named = (one.by for one in listing.along.named)
    columns = _columns(entity, (*listing.columns, *order.columns, *named))
    limit = statement.argument(listing.limit)
    ordered = order_by(entity, order, "t", backwards=listing.backwards)
    if listing.parent_column is None:
        text = f"select {columns} from {entity.relation} t where {' and '.join(where)} {ordered} limit {limit}"
    else:
        parents = statement.argument(list(listing.parents))
        where.append(f"t.{listing.parent_column} = p.parent")
        text = (
            f"select p.parent, r.* from unnest({parents}::uuid[]) as p(parent) cross join lateral ("
            f"select {columns} from {entity.relation} t where {' and '.join(where)} {ordered} limit {limit}) r"
        )
    if not listing.along:
        return text
    ordered = order_by(entity, order, "t", backwards=listing.backwards, as_selected=True)
    return f"{read_along(statement, viewer, text, listing.along)} {ordered}"


def matching(
    statement: Statement,
    viewer: Viewer,
    entity: Entity,
    conditions: Sequence[Criterion],
    *,
    touched: Iterable[str] = (),
    also: Iterable[Permission] = (),
    alias: str,
) -> str:
    """Return the SQL condition of the rows that the viewer sees, that meet the conditions, and of which they may read
    every column that is touched: by any comparison, wherever it stands, so that what does not hold tells nothing more.

    touched: the columns that the statement orders, groups or computes by, besides those of the conditions.
    also: permissions that are demanded besides theirs.

    Raises:
        LookupError: a column is unknown, encrypted, or not in the API; a condition is on an encrypted one that is not
            searchable, or is no equality with blind indexes; words are searched in a table that has none.
    """
    columns = [plain_column(entity, name) for name in touched]
    for leaf in leaves_of(conditions):
        columns += _searched_words(entity) if isinstance(leaf, Words) else [_compared_column(entity, leaf)]
    guards = {*also, *(column.guard for column in columns if column.guard is not None)}
    parts = [visible(statement, entity, viewer, alias=alias, also=guards)]
    parts += [_holds(statement, viewer, entity, one, alias) for one in conditions]
    return " and ".join(parts)


def searched_columns(entity: Entity, conditions: Iterable[Criterion]) -> list[Column]:
    """Return the encrypted columns of whose values something is known of a row that meets the conditions."""
    compared = (
        entity.columns[one.column]
        for one in leaves_of(conditions)
        if isinstance(one, Condition) and one.value is not None
    )
    return list(dict.fromkeys(column for column in compared if column.search is not None))


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


def _holds(statement: Statement, viewer: Viewer, entity: Entity, one: Criterion, alias: str) -> str:
    """Return a criterion in SQL. It may be null where it does not hold."""
    if isinstance(one, Not):
        # Of what is null, the opposite holds.
        return f"({_holds(statement, viewer, entity, one.part, alias)}) is not true"
    if isinstance(one, And | Or):
        word, of_none = (" and ", "true") if isinstance(one, And) else (" or ", "false")
        return f"({word.join(_holds(statement, viewer, entity, part, alias) for part in one.parts) or of_none})"
    if isinstance(one, Words):
        text = " || ' ' || ".join(f"coalesce({value_of(each, alias)}, '')" for each in _searched_words(entity))
        # PostgreSQL would take the parts of a code for a sign and a number, or for a host's name.
        parted = f"translate({text}, '{_PARTS_WORDS}', '{' ' * len(_PARTS_WORDS)}')"
        sought = re.sub(f"(?<=\\S)[{re.escape(_PARTS_WORDS)}]+(?=\\S)", " ", one.text)
        return f"to_tsvector('simple', {parted}) @@ websearch_to_tsquery('simple', {statement.argument(sought)})"
    return f"({_compares(statement, viewer, entity, one, alias)})"


def _compares(statement: Statement, viewer: Viewer, entity: Entity, one: Condition, alias: str) -> str:
    stored = _stored(entity, one.column)
    if one.operator is Operator.TOUCHES:
        return touching(statement, viewer, one.value, alias)
    if one.operator is Operator.EQUALS and one.value is None:
        return f"{value_of(stored, alias)} is null"
    column, end = compared(stored, alias)
    if one.operator is Operator.IN:
        given = statement.argument(list(one.value))
        if one.ignores_case:
            return f"lower({column}) = any(select lower(one) from unnest({given}::text[]) one){end}"
        return f"{column} = any({given}){end}"
    given = statement.argument(one.value)
    if one.ignores_case:
        column, given = f"lower({column})", f"lower({given}::text)"
    if one.operator is Operator.CONTAINS:
        return f"strpos({column}, {given}) > 0{end}"
    if one.operator is Operator.ENDS_WITH:
        return f"right({column}, length({given})) = {given}{end}"
    return f"{column} {one.operator} {given}{end}"


def _searched_words(entity: Entity) -> Sequence[Column]:
    """Return the columns whose words are searched. Raises `LookupError` where there are none."""
    if not entity.word_columns:
        raise LookupError(f"The table {entity.name} has no column whose words are searched.")
    return entity.word_columns


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
        touched=listing.order.columns,
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
