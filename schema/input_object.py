"""An input as a mutation's resolver takes it: made from graphql-core's values by what was worked out once.

Strawberry looks up the types, names and defaults of an input's fields for each value of each request. They are always
the same: here they are looked up when the schema is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import cache
from typing import Any

from graphql import GraphQLSchema
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import StrawberryList, StrawberryObjectDefinition, StrawberryOptional, get_object_definition
from strawberry.types.lazy_type import LazyType

Make = Callable[[Any], Any]
"""From a value as graphql-core has coerced it to what a resolver takes."""


def maker_of(kind: Any, config: StrawberryConfig) -> Make:
    """Return what makes the values of a declared type: an input, a list of something, or a leaf, which stays as it is.

    Raises:
        TypeError: the input makes itself, in a way of its own.
    """
    if isinstance(kind, LazyType):
        return maker_of(kind.resolve_type(), config)
    if isinstance(kind, StrawberryOptional):
        return _or_null(maker_of(kind.of_type, config))
    if isinstance(kind, StrawberryList):
        make = maker_of(kind.of_type, config)
        return lambda values: [make(value) for value in values]
    definition = get_object_definition(kind)
    if definition is None:
        return _as_it_is
    if definition.from_input is not None:
        raise TypeError(f"The input {definition.name} is made in a way that is not known here.")
    return _object(definition, config)


def hide_values(core: GraphQLSchema) -> None:
    """Have no input, and nothing else that is declared in the schema, print what it holds: neither in a log nor where
    a tool that reports errors prints the variables of a function.
    """
    for kind in core.type_map.values():
        definition = kind.extensions.get("strawberry-definition")
        if isinstance(definition, StrawberryObjectDefinition):
            # What its fields are shared by, as well.
            for declared in definition.origin.__mro__[:-1]:
                declared.__repr__ = _named  # type: ignore[assignment]  # of the class, for all that it makes


def _named(self: object) -> str:
    return f"<{type(self).__name__}>"


def _object(definition: StrawberryObjectDefinition, config: StrawberryConfig) -> Make:
    made_of: Callable[..., Any] = definition.origin
    # What has no default and may be left out is null.
    absent = {
        field.python_name: None
        for field in definition.fields
        if field.default_value is MISSING and field.default_factory is MISSING
    }

    @cache
    def fields() -> list[tuple[str, str, Make]]:
        # When the first is made: an input may hold others of its own kind.
        return [
            (config.name_converter.from_field(field), field.python_name, _maker(definition, field, config))
            for field in definition.fields
        ]

    def make(values: Mapping[str, Any]) -> Any:
        given = dict(absent)
        for name, python_name, make_field in fields():
            if name in values:
                value = values[name]
                given[python_name] = value if make_field is _as_it_is else make_field(value)
        return made_of(**given)

    return make


def _maker(definition: StrawberryObjectDefinition, field: Any, config: StrawberryConfig) -> Make:
    return maker_of(field.resolve_type(type_definition=definition), config)


def _or_null(make: Make) -> Make:
    if make is _as_it_is:
        return make
    return lambda value: None if value is None else make(value)


def _as_it_is(value: Any) -> Any:
    return value
