"""Reading the contract's examples, as what they are examples of."""

from collections.abc import Iterator
from typing import Any

from graphql import (
    ConstValueNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    ListValueNode,
    ObjectValueNode,
    parse_const_value,
    print_ast,
)
from graphql.utilities.validate_input_value import validate_input_literal


def faults_of(example: str, type_: Any) -> list[str]:
    """Return what of an example is not as its type says. Of an object not all has to be told, and something must."""
    return list(_faults(parse_const_value(example), type_))


def _faults(value: ConstValueNode, type_: Any) -> Iterator[str]:
    if isinstance(type_, GraphQLNonNull):
        yield from _faults(value, type_.of_type)
    elif isinstance(type_, GraphQLList):
        if not isinstance(value, ListValueNode) or not value.values:
            yield f"{print_ast(value)} is no {type_}"
            return
        for one in value.values:
            yield from _faults(one, type_.of_type)
    elif isinstance(type_, GraphQLObjectType | GraphQLInterfaceType):
        if not isinstance(value, ObjectValueNode) or not value.fields:
            yield f"{print_ast(value)} is no {type_}"
            return
        for part in value.fields:
            field = type_.fields.get(part.name.value)
            if field is None:
                yield f"{type_} has no {part.name.value}"
            else:
                yield from _faults(part.value, field.type)
    else:
        errors: list[GraphQLError] = []
        validate_input_literal(value, type_, lambda error, _: errors.append(error), None, None)
        yield from (error.message for error in errors)
