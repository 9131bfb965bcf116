"""Completes the contract's descriptions: what is the same wherever it stands is said here once."""

from collections.abc import Mapping
from typing import Final

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
)

from schema.enum_value import VALUES, permission_description

ARGUMENTS: Final[Mapping[str, str]] = {
    "id": "Its global id, such as `Record:…`, or the bare UUID.",
    "filter": "Which of them; all that is given must hold.",
    "orderBy": "By which keys they are ordered, one after the other. A single one may stand without brackets.",
    "direction": "Which way they are ordered.",
    "input": "What is asked for.",
    "at": "The moment.",
    "permission": "The permission.",
    "projectId": "In which project; null for the organization as a whole.",
}
"""What an argument is of which its field says nothing, by its name."""

TYPES: Final[Mapping[str, str]] = {
    "Mutation": "What changes something. Each is one transaction with an entry in the audit trail.",
    "UUID": "A UUID in its usual form (RFC 9562), such as a request's.",
}
"""What a type is that is declared elsewhere, by its name."""


def publish_descriptions(core: GraphQLSchema) -> None:
    """Write the descriptions that are missing into the schema, as far as they are known here."""
    for one in core.type_map.values():
        if one.name.startswith("__"):
            continue
        one.description = one.description or TYPES.get(one.name)
        if isinstance(one, GraphQLEnumType):
            _describe_values(one)
        elif isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
            for field in one.fields.values():
                _describe_arguments(field)


def _describe_values(one: GraphQLEnumType) -> None:
    for name, value in one.values.items():
        if value.description is None:
            known = permission_description(value.value) if one.name == "Permission" else None
            value.description = known or VALUES.get(one.name, {}).get(name)


def _describe_arguments(field: GraphQLField) -> None:
    for name, argument in field.args.items():
        if argument.description is None:
            argument.description = ARGUMENTS.get(name)
