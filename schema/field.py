"""How a field of the GraphQL schema is declared, and what guards it.

Each field says one thing about itself, and the start-up sweep refuses a field that says nothing:

- `column()`: it shows a column of its type's table. Guard, masking, opening and read log follow from that column.
- `link(to=…, by=…)`: it leads to one row; guarded by the column that names that row, and by that row's visibility.
- `rows(of=…)`: it leads to rows; guarded by their visibility.
- `derived(guard=…)`: anything else, with the permission that it takes, or None where seeing the object is enough.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, TypeVar

import strawberry
from strawberry.schema_directive import Location

from auth.permission import Permission
from models.base import WardModel
from models.inventory import Column
from models.order import Order

DECLARATION: Final = "fieldward"
"""The key of a field's declaration in its metadata."""


class Otherwise(Enum):
    """What who lacks the permission gets."""

    NULL_AND_ERROR = "NULL_AND_ERROR"
    PSEUDONYM = "PSEUDONYM"
    ROW_LEFT_OUT = "ROW_LEFT_OUT"


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="guard",
    description="What reading the field takes in the scope of its object, and what is answered otherwise.",
)
class Guard:
    """`@guard(permission: "record:read_confidential", otherwise: "NULL_AND_ERROR")` in the SDL."""

    permission: str
    otherwise: str


@dataclass(frozen=True, slots=True)
class ColumnField:
    """The field shows a column; `name` where it is not the field's own."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class LinkField:
    """The field leads to the row of `to` whose id the column `by` holds."""

    to: type[WardModel]
    by: str


@dataclass(frozen=True, slots=True)
class RowsField:
    """The field leads to visible rows of `of`. `needs` are columns of its own object that it reads.

    listed: how they are listed, where that is all there is to say.
    """

    of: type[WardModel]
    needs: tuple[str, ...] = ()
    listed: "Listed | None" = None


@dataclass(frozen=True, slots=True)
class Listed:
    """All rows that name the object in the column `by`, in this order: of tables of which each object has few."""

    by: str
    order: Order
    limit: int


@dataclass(frozen=True, slots=True)
class DerivedField:
    """The field is made of something else. `guard` None: seeing the object is enough."""

    guard: Permission | None
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RootField:
    """An entry to the graph. `public`: open to who is not signed in. `takes`: demanded in the organization."""

    public: bool = False
    takes: Permission | None = None


Declaration = ColumnField | LinkField | RowsField | DerivedField | RootField


@dataclass(frozen=True, slots=True)
class TypeDeclaration:
    """What a GraphQL type stands for: a table's rows, or with `model` None a mere structure around guarded things.

    is_past: its objects are rows as they were at a moment, which no statement reads from the table, and no id names.
    is_around_rows: it is for nothing but what it leads to.
    """

    model: type[WardModel] | None = None
    is_past: bool = False
    is_around_rows: bool = False
    connection_of: type[WardModel] | None = None


TYPES: Final[dict[str, TypeDeclaration]] = {}
"""Every declared type, by its GraphQL name. Filled while the schema's modules are imported, read-only after."""

T = TypeVar("T")


def column_shown(type_name: str, column: Column) -> Column:
    """Return a column as objects of the type show it. Of the past no pseudonym is known: nothing stands for a name."""
    is_past = TYPES.get(type_name, TypeDeclaration()).is_past
    return replace(column, masked_by=None) if is_past and column.masked_by is not None else column


def types_of_rows() -> dict[str, type[WardModel]]:
    """Return the type of each table's rows as they are, by its GraphQL name, with the table."""
    return {
        name: declared.model for name, declared in TYPES.items() if declared.model is not None and not declared.is_past
    }


def stands_for(model: type[WardModel], *, is_past: bool = False) -> Callable[[type[T]], type[T]]:
    """Declare that the type's objects are rows of the table; is_past: as they were at a moment."""

    def declare(cls: type[T]) -> type[T]:
        TYPES[cls.__name__] = TypeDeclaration(model, is_past)
        return cls

    return declare


def structure(cls: type[T]) -> type[T]:
    """Declare that the type holds nothing of its own: pages, payloads, errors."""
    TYPES[cls.__name__] = TypeDeclaration()
    return cls


def around_rows(cls: type[T]) -> type[T]:
    """Declare a structure that is for nothing but the rows that it leads to: it is shown to who reaches any of them."""
    TYPES[cls.__name__] = TypeDeclaration(is_around_rows=True)
    return cls


def column(description: str, *, name: str | None = None) -> Any:
    """Declare a field that shows a column."""
    return strawberry.field(description=description, metadata={DECLARATION: ColumnField(name)})


def link(description: str, *, to: type[WardModel], by: str) -> Any:
    """Declare a field that leads to one row."""
    return strawberry.field(description=description, metadata={DECLARATION: LinkField(to, by)})


def listed(description: str, *, of: type[WardModel], by: str, order: Order, limit: int) -> Any:
    """Declare a field that lists all rows that name its object in the column `by`, `limit` at the most."""
    metadata = {DECLARATION: RowsField(of, ("id",), Listed(by, order, limit))}
    return strawberry.field(description=description, metadata=metadata)


def resolved(description: str, declared: dict[str, Any]) -> Callable[[Callable[..., Any]], Any]:
    """Declare a field with a resolver of its own; `declared` comes from `rows`, `derived` or `root`."""
    return strawberry.field(description=description, metadata=declared)


def rows(of: type[WardModel], *, needs: tuple[str, ...] = ("id",)) -> dict[str, Any]:
    """Return the metadata of a field that leads to rows, for `resolved`."""
    return {DECLARATION: RowsField(of, needs)}


def derived(guard: Permission | None = None, *, needs: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the metadata of a field that is made of something else."""
    return {DECLARATION: DerivedField(guard, needs)}


def root(*, public: bool = False, takes: Permission | None = None) -> dict[str, Any]:
    """Return the metadata of an entry to the graph."""
    return {DECLARATION: RootField(public, takes)}
