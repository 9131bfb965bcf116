"""The contract as the running server tells it to an owner, who is shown all of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    build_client_schema,
    get_introspection_query,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
)

from tests.support.served import Caller

VALUES: Final = frozenset(
    {
        *("Point", "InclusionProof", "AccessReviewProgress", "ImportProgress", "ImportRowPage", "ImportRow"),
        *("ImportTable", "ImportMappedColumn", "ImportMappedConstant", "ImportResultColumn"),
    }
)
"""Types that stand for values of a row, and not for another row: they are shown whole."""
GROWING: Final = {"InclusionProof": frozenset({"treeSize", "rootHash", "path", "checkpoint"})}
"""What of them is another each time it is asked for, since the tree has grown."""


@dataclass(frozen=True, eq=False)
class Contract:
    """A schema, and the questions that the sweep has about it."""

    schema: GraphQLSchema

    def type(self, name: str) -> GraphQLObjectType:
        """Return an object type."""
        found = self.schema.type_map[name]
        assert isinstance(found, GraphQLObjectType)
        return found

    @property
    def query(self) -> Mapping[str, GraphQLField]:
        """The entries to the graph."""
        assert self.schema.query_type is not None
        return dict(self.schema.query_type.fields)

    @property
    def mutation(self) -> Mapping[str, GraphQLField]:
        """The mutations."""
        assert self.schema.mutation_type is not None
        return dict(self.schema.mutation_type.fields)

    def object_types(self) -> Iterator[GraphQLObjectType]:
        """Yield the contract's own object types."""
        for one in self.schema.type_map.values():
            if isinstance(one, GraphQLObjectType) and not one.name.startswith("__"):
                yield one

    @cache  # noqa: B019  (one contract a caller, as long as the run)
    def leaves(self, type_name: str) -> list[str]:
        """Return the fields that show a value."""
        return [
            name
            for name, field in self.type(type_name).fields.items()
            if is_leaf_type(named := get_named_type(field.type)) or named.name in VALUES
        ]

    @cache  # noqa: B019
    def selected(self, type_name: str) -> list[str]:
        """Return the same fields as they are asked for."""
        fields = self.type(type_name).fields
        return [
            f"{name} {{ {' '.join(self._steady(named.name))} }}"
            if (named := get_named_type(fields[name].type)).name in VALUES
            else name
            for name in self.leaves(type_name)
        ]

    def _steady(self, type_name: str) -> list[str]:
        return [name for name in self.selected(type_name) if name.partition(" ")[0] not in GROWING.get(type_name, ())]

    @cache  # noqa: B019
    def branches(self, type_name: str) -> dict[str, GraphQLField]:
        """Return the fields that lead on."""
        fields = self.type(type_name).fields
        return {name: field for name, field in fields.items() if name not in self.leaves(type_name)}

    def lists(self) -> Iterator[tuple[str, str, GraphQLField]]:
        """Yield every list in pages: its parent type, its name, and the field."""
        for parent in self.object_types():
            for name, field in parent.fields.items():
                if is_connection(field):
                    yield parent.name, name, field


def introspect(caller: Caller) -> Contract:
    """Return what the server tells this caller of its schema."""
    reply = caller.run(get_introspection_query(descriptions=False))
    assert not reply.errors, reply.errors
    return Contract(build_client_schema(reply.data))


def is_connection(field: GraphQLField) -> bool:
    """Return whether the field is a list in pages."""
    return get_named_type(field.type).name.endswith("Connection")


def is_plain_list(field: GraphQLField) -> bool:
    """Return whether the field is a list without pages."""
    return "[" in str(field.type) and not is_leaf_type(get_named_type(field.type))


def row_type(field: GraphQLField) -> str:
    """Return the type of the rows that the field leads to."""
    named: Any = get_named_type(field.type)
    return str(get_named_type(named.fields["nodes"].type).name if is_connection(field) else named.name)


def filters_of(field: GraphQLField) -> dict[str, GraphQLInputObjectType]:
    """Return the arguments that narrow what the field leads to."""
    found: dict[str, GraphQLInputObjectType] = {}
    for name, argument in field.args.items():
        named = get_named_type(argument.type)
        if isinstance(named, GraphQLInputObjectType) and named.name.endswith("Filter"):
            found[name] = named
    return found


def enum_of(argument: GraphQLArgument | Any) -> list[str]:
    """Return the names that an argument takes."""
    named = get_named_type(argument.type)
    assert isinstance(named, GraphQLEnumType)
    return list(named.values)


def takes_arguments(field: GraphQLField) -> bool:
    """Return whether the field can't be asked for without an argument."""
    return any(is_required_argument(argument) for argument in field.args.values())


def is_list_of_leaves(field: GraphQLField) -> bool:
    """Return whether the field shows a list of values."""
    return "[" in str(field.type) and is_leaf_type(get_named_type(field.type)) and is_list_type(field.type)
