"""Filters: typed operators on columns. A filter finds a row only where its column may be read.

A filter input's fields are named as the columns they touch; the sweep holds them to it. On an encrypted column there
is equality alone, where the column is declared to be searchable: it is compared by its blind index, and what was asked
for goes no further than here. Who so looks for a value is in the read log, whatever is found.
"""

from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, cast
from uuid import UUID

import strawberry
from graphql import GraphQLInputField
from strawberry.utils.str_converters import to_camel_case

from auth.permission import Permission
from models.base import WardModel
from models.inventory import Column, entity_of
from models.listing import Condition, Operator
from models.searching import indexes_of, load_index_key
from resolvers.checking import Path, require_text
from schema.context import RequestContext, context_of
from schema.node import parse_id

DEMANDED: Final = "fieldward-demanded"
"""The key, in a field's metadata, of the permission that filtering by it takes in the whole organization."""

FILTERS: dict[str, type[WardModel]] = {}
"""Every filter input, by its GraphQL name, with the table whose columns it names."""

_OPERATORS = {
    "eq": Operator.EQUALS,
    "in_": Operator.IN,
    "gte": Operator.AT_LEAST,
    "lt": Operator.LESS_THAN,
    "starts_with": Operator.STARTS_WITH,
}


@strawberry.input(description="Compares a text, letter by letter.")
class TextFilter:
    eq: str | None = strawberry.field(default=strawberry.UNSET, description="Equal; null asks for absence.")
    in_: list[str] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")
    starts_with: str | None = strawberry.field(default=strawberry.UNSET, description="Begins with this.")


@strawberry.input(description="Compares a text that is stored encrypted: for equality alone, whatever case and blanks.")
class ExactTextFilter:
    eq: str | None = strawberry.field(default=strawberry.UNSET, description="Equal; null asks for absence.")
    in_: list[str] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")


@strawberry.input(description="Compares a moment.")
class TimeFilter:
    gte: datetime | None = strawberry.field(default=strawberry.UNSET, description="At this moment or later.")
    lt: datetime | None = strawberry.field(default=strawberry.UNSET, description="Before this moment.")


@strawberry.input(description="Compares a number.")
class NumberFilter:
    gte: float | None = strawberry.field(default=strawberry.UNSET, description="This or more.")
    lt: float | None = strawberry.field(default=strawberry.UNSET, description="Less than this.")


@strawberry.input(description="Compares the id of another object.")
class IdFilter:
    eq: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="This one; null asks for absence."
    )
    in_: list[strawberry.ID] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")


@strawberry.input(description="Compares an id that is no object's, such as a request's.")
class UuidFilter:
    eq: UUID | None = strawberry.field(default=strawberry.UNSET, description="This one; null asks for absence.")
    in_: list[UUID] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")


def demanding(permission: Permission) -> dict[str, Any]:
    """Return the metadata of a filter's field that takes a permission in the whole organization besides its column's.

    What is shown from it; the list demands the permission itself.
    """
    return {DEMANDED: permission}


def demanded_of(field: GraphQLInputField) -> Permission | None:
    """Return the permission that the field takes in the whole organization, if it takes one."""
    definition: Any = field.extensions.get("strawberry-definition")
    demanded = definition.metadata.get(DEMANDED) if definition is not None else None
    return demanded if isinstance(demanded, Permission) else None


def filters(model: type[WardModel]) -> Any:
    """Declare that the input's fields are columns of the table."""

    def declare(cls: type[Any]) -> type[Any]:
        FILTERS[cls.__name__] = model
        return cls

    return declare


async def conditions_of(
    info: strawberry.Info,
    given: Any,
    model: type[WardModel],
    *,
    links: dict[str, str] | None = None,
    argument: str = "filter",
) -> list[Condition]:
    """Return the conditions that a filter input asks for. None asks for nothing.

    links: by column, the GraphQL type whose ids the column holds.
    argument: the name under which the client gave the input.

    Raises:
        InvalidInputError: an id is none, or an encrypted column is searched for what it could not hold.
        UnavailableError: an encrypted column is searched, its key is not in memory, and the keystore is away.
    """
    if given is None or given is strawberry.UNSET or not is_dataclass(given):
        return []
    entity, filter_type = entity_of(model), cast(Any, type(given))
    conditions = []
    for column_name, shown_name in _names_of(filter_type):
        operators = getattr(given, column_name)
        if operators is None or operators is strawberry.UNSET:
            continue
        column = entity.columns[column_name]
        for name, operator in _OPERATORS.items():
            value = getattr(operators, name, strawberry.UNSET)
            if value is strawberry.UNSET or (value is None and operator is not Operator.EQUALS):
                continue
            at: tuple[str, ...] = (argument, shown_name, name.rstrip("_"))
            if column.search is not None and value is not None:
                value = await _searched(context_of(info), column, value, at=at)
            elif links and column_name in links:
                value = _ids(value, links[column_name], at=at)
            conditions.append(Condition(column.name, operator, value))
    return conditions


@cache
def _names_of(filter_type: Any) -> tuple[tuple[str, str], ...]:
    """Return the names of a filter's fields: in the code, which are the columns', and in the API."""
    definition: Any = getattr(filter_type, "__strawberry_definition__")  # noqa: B009  (set by strawberry.input)
    return tuple((one.python_name, one.graphql_name or to_camel_case(one.python_name)) for one in definition.fields)


async def _searched(context: RequestContext, column: Column, value: Any, *, at: tuple[str, ...]) -> Any:
    """Return the blind index of the text that an encrypted column is searched for, or of each of them."""
    texts: list[str] = value if isinstance(value, list) else [value]
    for place, text in enumerate(texts):
        where: Path = (*at, place) if isinstance(value, list) else at
        require_text(text, at=where, longest=column.max_length or 0)
    viewer = context.viewer
    await load_index_key(viewer.organization_id)
    if column.guard in viewer.access.reach:
        # Who may read the column nowhere finds no row by it, and learns nothing.
        context.read_log.note_search(column)
    found = indexes_of(column, viewer.organization_id, texts)
    return found if isinstance(value, list) else found[0]


def _ids(value: Any, type_name: str, *, at: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [parse_id(one, type_name, at=at) for one in value]
    return None if value is None else parse_id(value, type_name, at=at)
