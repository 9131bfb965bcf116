"""The order of a list: by one column or several, and what comes after a row in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.inventory import Column, Entity
from models.statement import Statement
from models.withholding import value_of


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, which way, and how what is alike in it is ordered. The id breaks ties, the last way.

    Rows without a value come last, whichever way.
    """

    column: str
    descending: bool = False
    then: "Order | None" = None

    @property
    def keys(self) -> Sequence["Order"]:
        """The order, and each that follows."""
        return list(self._keys())

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is by."""
        return tuple(one.column for one in self._keys())

    def _keys(self) -> Iterator["Order"]:
        one: Order | None = self
        while one is not None:
            yield one
            one = one.then


@dataclass(frozen=True, slots=True)
class Bound:
    """The place in an order after (or before) which a page begins: the values of the order's columns, and the id."""

    values: tuple[Any, ...]
    row_id: UUID


def order_by(entity: Entity, order: Order, alias: str, *, backwards: bool = False, as_selected: bool = False) -> str:
    """Return the `order by` of a statement.

    backwards: from the end to the start.
    as_selected: the alias is of a selection that has the columns as they are shown, and not of the table.
    """
    parts = []
    for key in order.keys:
        column = entity.columns[key.column]
        shown = f'{alias}."{column.name}"' if as_selected else value_of(column, alias)
        nulls = f" nulls {'first' if backwards else 'last'}" if column.is_nullable else ""
        parts.append(f"{shown} {_way(key, backwards)}{nulls}")
    return f"order by {', '.join(parts)}, {alias}.id {_way(order.keys[-1], backwards)}"


def beyond(
    statement: Statement, entity: Entity, order: Order, bound: Bound, alias: str, *, backwards: bool = False
) -> str:
    """Return the SQL condition of the rows that come after a place in the order, in the direction of reading."""
    keys = [(key, entity.columns[key.column]) for key in order.keys]
    row_id = statement.argument(bound.row_id)
    last_way = _sign(order.keys[-1], backwards)
    if not any(column.is_nullable for _, column in keys) and len({key.descending for key, _ in keys}) == 1:
        # One comparison of rows, by which the database finds its place in an index.
        columns = ", ".join(value_of(column, alias) for _, column in keys)
        values = ", ".join(statement.argument(value) for value in bound.values)
        return f"({columns}, {alias}.id) {last_way} ({values}, {row_id})"
    after = f"{alias}.id {last_way} {row_id}"
    for (key, column), value in reversed(list(zip(keys, bound.values, strict=True))):
        after = _after(statement, key, column, value, alias, after, backwards=backwards)
    return after


def _after(
    statement: Statement, key: Order, column: Column, value: Any, alias: str, tied: str, *, backwards: bool
) -> str:
    """Return the condition of the rows that come after a value in a column, or are tied in it and come after by
    `tied`."""
    shown = value_of(column, alias)
    if value is None:
        # What has no value comes last, so backwards all that has one comes after it.
        is_tied = f"{shown} is null and {tied}"
        return f"({shown} is not null or ({is_tied}))" if backwards else f"({is_tied})"
    given = statement.argument(value)
    later = f"{shown} {_sign(key, backwards)} {given}"
    if column.is_nullable:
        if not backwards:
            later = f"({later} or {shown} is null)"
        return f"({later} or ({shown} = {given} and {tied}))"
    # Said once more as a bound, by which the database finds its place in an index.
    return f"({shown} {_sign(key, backwards)}= {given} and ({later} or {tied}))"


def _sign(key: Order, backwards: bool) -> str:
    return "<" if key.descending != backwards else ">"


def _way(key: Order, backwards: bool) -> str:
    return "desc" if key.descending != backwards else "asc"
