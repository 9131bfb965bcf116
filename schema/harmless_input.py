"""Which inputs a tool may remember the values of: what GraphiQL's history keeps.

Passwords, codes and tokens are none of them, nor is what goes into a column that is CONFIDENTIAL, PERSONAL or SECRET,
or searches one. An input that nothing is known of is none either: what the schema gets is left out until it says what
it is.
"""

from collections.abc import Iterator
from typing import Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from auth.classification import Classification
from models.inventory import Column, entity_of
from models.place import CELLS
from schema.filter import FILTERS
from schema.sweep import page_row
from schema.wiring import python_name
from schema.written import WRITTEN

_HARMLESS: Final = frozenset({Classification.PUBLIC, Classification.INTERNAL})
_TELLING_NOTHING: Final = frozenset({"Boolean", "Int", "ID", "UUID", "DateTime", "Date"})
"""Scalars that hold no secret where no column says so: texts may, and numbers with a fraction may be a place."""
_CURSORS: Final = frozenset({"after", "before"})
"""Arguments of pages, which hold nothing that anybody can read."""


def harmless_inputs(core: GraphQLSchema) -> list[str]:
    """Return the coordinates of the inputs whose values may be remembered, with all that is in them, in their order.

    They are written as the specification's schema coordinates are: `RecordFilter.siteCode`, `Query.records(first:)`.
    What is in an input that is not named is looked at field by field.
    """
    return sorted({*_arguments(core), *_fields(core)})


def _arguments(core: GraphQLSchema) -> Iterator[str]:
    for parent in core.type_map.values():
        if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) and not parent.name.startswith("__"):
            for name, field in parent.fields.items():
                answer = get_named_type(field.type)
                is_paged = isinstance(answer, GraphQLObjectType) and page_row(answer) is not None
                for argument_name, argument in field.args.items():
                    if (is_paged and argument_name in _CURSORS) or _tells_nothing(argument):
                        yield f"{parent.name}.{name}({argument_name}:)"


def _fields(core: GraphQLSchema) -> Iterator[str]:
    for parent in core.type_map.values():
        if isinstance(parent, GraphQLInputObjectType):
            for name, field in parent.fields.items():
                column = _column(parent, field)
                if _is_harmless(column) if column is not None else _tells_nothing(field):
                    yield f"{parent.name}.{name}"


def _column(parent: GraphQLInputObjectType, field: GraphQLInputField) -> Column | None:
    """Return the column that the input's field writes or searches; None where it is of none."""
    name = python_name(field)
    written = WRITTEN.get(parent.name)
    if written is not None and name in written.columns:
        return entity_of(written.model).columns.get(written.columns[name])
    model = FILTERS.get(parent.name)
    return entity_of(model).columns.get(name) if model is not None else None


def _is_harmless(column: Column) -> bool:
    # A place is given exactly, however coarse it is kept.
    return column.classification in _HARMLESS and column.name not in CELLS


def _tells_nothing(given: GraphQLArgument | GraphQLInputField) -> bool:
    named = get_named_type(given.type)
    return isinstance(named, GraphQLEnumType) or named.name in _TELLING_NOTHING
