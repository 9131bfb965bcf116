"""Lists in pages: Relay connections over keyset cursors, guarded filters and orders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import strawberry
from graphql import get_named_type

from models.base import WardModel
from models.condition import Criterion
from models.encryption.owner import index_owner
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.listing import Listing, fetch_count, fetch_listing, searched_columns
from models.order import Bound, Order
from models.row import Row
from schema.context import RequestContext, ResolveInfo
from schema.cursor import open_cursor, seal_cursor
from schema.field import structure
from schema.selection import place_of, selected_of

LARGEST_PAGE = 1000
DEFAULT_PAGE = 50

First = Annotated[
    int | None,
    strawberry.argument(
        description=f"How many from the start; {DEFAULT_PAGE} if neither end is named, {LARGEST_PAGE} at most."
    ),
]
Last = Annotated[int | None, strawberry.argument(description=f"How many from the end, {LARGEST_PAGE} at most.")]
After = Annotated[str | None, strawberry.argument(description="The cursor after which the page begins.")]
Before = Annotated[str | None, strawberry.argument(description="The cursor before which the page ends.")]

T = TypeVar("T")


@strawberry.enum(description="Which way a list is ordered.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="From the least, the earliest, or A on.")
    DESC = strawberry.enum_value("DESC", description="From the greatest, the latest, or Z on.")


@structure
@strawberry.type(description="Where a page lies in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether there are more after this page.")
    has_previous_page: bool = strawberry.field(description="Whether there are more before this page.")
    start_cursor: str | None = strawberry.field(description="The cursor of the page's first row.")
    end_cursor: str | None = strawberry.field(description="The cursor of the page's last row.")


@strawberry.type(description="A row and its place in the list.")
class Edge(Generic[T]):
    node: T = strawberry.field(description="The row.")
    cursor: str = strawberry.field(description="The row's place in this list, in this order.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    nodes: list[T] = strawberry.field(description="The rows of the page.")
    edges: list[Edge[T]] = strawberry.field(description="The rows of the page with their cursors.")
    page_info: PageInfo = strawberry.field(description="Where the page lies in the list.")
    total_count: int | None = strawberry.field(
        description="How many rows the whole list has for you, all pages together. Costs a statement of its own."
    )


@dataclass(frozen=True, slots=True)
class PageArguments:
    """What a client asked for: `first` rows after a cursor, or `last` rows before one."""

    first: int | None
    after: str | None
    last: int | None
    before: str | None


@dataclass(frozen=True, slots=True)
class Parent:
    """The object whose rows are listed: the column of the rows that names it, and its id."""

    column: str
    row_id: UUID


class EdgeSource:
    """An edge before it is asked for its cursor, which costs a sealing."""

    def __init__(self, page: "Page", row: Row) -> None:
        self.node = row
        self._page = page

    @property
    def cursor(self) -> str:
        """The row's place in the list."""
        return self._page.cursor_of(self.node)


class Page:
    """The rows of one page. What the connection's fields show is made when they are asked for."""

    def __init__(self, context: RequestContext, listing: Listing, parent: UUID | None, rows: list[Row]) -> None:
        self._context = context
        self._listing = listing
        self._parent = parent
        cut = rows[: listing.limit - 1]
        self.has_more = len(rows) == listing.limit
        self.nodes: list[Row] = cut[::-1] if listing.backwards else cut
        for column in searched_columns(listing.entity, listing.conditions):
            # Being found tells what the value is.
            context.read_log.note_all(column, [row["id"] for row in cut])

    @cached_property
    def edges(self) -> list[EdgeSource]:
        """The rows with their cursors."""
        return [EdgeSource(self, row) for row in self.nodes]

    @property
    def page_info(self) -> "Page":
        """The page itself answers for `PageInfo`."""
        return self

    @property
    def has_next_page(self) -> bool:
        """Whether there are more after this page."""
        return self._listing.bound is not None if self._listing.backwards else self.has_more

    @property
    def has_previous_page(self) -> bool:
        """Whether there are more before this page."""
        return self.has_more if self._listing.backwards else self._listing.bound is not None

    @property
    def start_cursor(self) -> str | None:
        """The first row's cursor."""
        return self.cursor_of(self.nodes[0]) if self.nodes else None

    @property
    def end_cursor(self) -> str | None:
        """The last row's cursor."""
        return self.cursor_of(self.nodes[-1]) if self.nodes else None

    @property
    def total_count(self) -> Any:
        """How many rows the list has, counted together for all parents of the operation that ask."""
        listing = self._listing
        key = ("count", listing.entity.name, listing.parent_column, tuple(map(repr, listing.conditions)))
        return self._context.loader(key, self._count).load(self._parent)

    def cursor_of(self, row: Row) -> str:
        """Return the row's cursor."""
        order = self._listing.order
        return seal_cursor(
            self._context.services.keyring,
            self._context.viewer,
            self._listing.entity.name,
            order,
            Bound(tuple(row[column] for column in order.columns), row["id"]),
        )

    async def _count(self, parents: list[UUID | None]) -> list[int]:
        listing = _with_parents(self._listing, parents)
        async with self._context.reader.use() as connection:
            counted = await fetch_count(connection, self._context.viewer, listing)
        return [counted.get(parent, 0) for parent in parents]


async def page_of(
    info: strawberry.Info,
    model: type[WardModel],
    page: PageArguments,
    *,
    order: Order,
    conditions: Sequence[Criterion] = (),
    parent: Parent | None = None,
) -> Any:
    """Return the page that was asked for: one statement for all the parents of the operation that ask the same.

    Raises:
        InvalidInputError: the page is asked for in a way that makes none.
    """
    raw: ResolveInfo = info._raw_info
    context: RequestContext = raw.context
    entity = entity_of(model)
    type_name = _row_type(raw)
    viewer = context.viewer
    await context.services.keyring.load([index_owner(viewer.organization_id)])
    count, backwards, cursor = _direction(page)
    bound = (
        open_cursor(
            context.services.keyring,
            viewer,
            entity.name,
            order,
            cursor,
            at=("before" if backwards else "after",),
        )
        if cursor is not None
        else None
    )
    selected = selected_of(raw, type_name)
    listing = Listing(
        entity=entity,
        columns=selected.columns,
        along=selected.along,
        order=order,
        limit=count + 1,
        conditions=conditions,
        bound=bound,
        backwards=backwards,
        parent_column=parent.column if parent else None,
    )
    if parent is None:
        return Page(context, listing, None, await _rows(context, listing))
    row_id = parent.row_id
    key = ("page", place_of(raw.field_nodes), repr(conditions), repr(order), count, backwards, cursor)
    rows = await context.loader(key, lambda parents: _load(context, listing, parents)).load(row_id)
    return Page(context, listing, row_id, rows)


async def _rows(context: RequestContext, listing: Listing) -> list[Row]:
    async with context.reader.use() as connection:
        return await fetch_listing(connection, context.viewer, listing)


async def _load(context: RequestContext, listing: Listing, parents: Sequence[UUID]) -> list[list[Row]]:
    rows = await _rows(context, _with_parents(listing, parents))
    if len(parents) == 1:
        return [rows]
    by_parent: dict[UUID, list[Row]] = {parent: [] for parent in parents}
    for row in rows:
        by_parent[row["parent"]].append(row)
    return [by_parent[parent] for parent in parents]


def _with_parents(listing: Listing, parents: Sequence[UUID | None]) -> Listing:
    return replace(listing, parents=[parent for parent in parents if parent is not None])


def _direction(page: PageArguments) -> tuple[int, bool, str | None]:
    if page.first is not None and page.last is not None:
        raise InvalidInputError("Expected first or last, not both.", field=("last",))
    if page.last is not None:
        if page.after is not None:
            raise InvalidInputError("Expected before with last, not after.", field=("after",))
        return _size(page.last, "last"), True, page.before
    if page.before is not None:
        raise InvalidInputError("Expected last with before.", field=("before",))
    return _size(DEFAULT_PAGE if page.first is None else page.first, "first"), False, page.after


def _size(count: int, name: str) -> int:
    if not 0 <= count <= LARGEST_PAGE:
        raise InvalidInputError(f"Expected a number from 0 to {LARGEST_PAGE}.", field=(name,))
    return count


def _row_type(info: ResolveInfo) -> str:
    connection: Any = get_named_type(info.return_type)
    nodes: Any = get_named_type(connection.fields["nodes"].type)
    return str(nodes.name)
