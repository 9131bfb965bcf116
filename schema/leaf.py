"""Leaves: how the values of a column become those of the answer, where they do without being looked at one by one."""

from collections.abc import Callable
from typing import Any, Final

from graphql import GraphQLEnumType, GraphQLField, GraphQLScalarType, get_nullable_type

_AS_THEY_ARE: Final = frozenset({"String", "Int", "Float", "Boolean", "DateTime", "Date"})
"""Scalars whose stored values are written as they are: the writer of the answer knows moments and days."""

Values = list[Any]


def converter_of(field: GraphQLField) -> Callable[[Values], Values] | None:
    """Return what makes stored values into those of the answer; None for what is left to the ordinary way."""
    inner = get_nullable_type(field.type)
    if isinstance(inner, GraphQLScalarType):
        if inner.name in _AS_THEY_ARE:
            return unchanged
        return _texts if inner.name == "UUID" else None
    if isinstance(inner, GraphQLEnumType):
        names = {str(getattr(value.value, "value", value.value)): name for name, value in inner.values.items()}
        if all(stored == name for stored, name in names.items()):
            return unchanged
        return lambda values: [None if value is None else names[value] for value in values]
    return None


def unchanged(values: Values) -> Values:
    """Return the values as they are."""
    return values


def _texts(values: Values) -> Values:
    return [None if value is None else str(value) for value in values]
