"""Which fields of an operation stand at a place: fragments opened, `@skip` and `@include` decided. For making plans."""

from collections.abc import Sequence
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    get_nullable_type,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from strawberry import Schema

from schema.field import TYPES
from schema.selection import NEEDS, is_read_at_once


class Collector:
    """Finds which fields of an operation stand at its places, as one choice leaves them."""

    def __init__(
        self,
        api: Schema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        values: VariableValues,
    ) -> None:
        self.api = api
        self._schema: GraphQLSchema = api._schema
        self._operation = operation
        self._fragments = fragments
        self._values = values

    def roots(self, root_type: GraphQLObjectType) -> GroupedFieldSet:
        """Return the operation's own fields."""
        return collect_fields(
            self._schema, self._fragments, self._values, root_type, self._operation, hide_suggestions=True
        ).grouped_field_set

    def is_read_at_once(self, field: GraphQLField, nodes: Sequence[FieldNode]) -> bool:
        """Return whether all that is selected under a field, which leads to rows, is read in one statement."""
        fragments = {name: one.definition for name, one in self._fragments.items()}
        needs, rows = self._schema.extensions[NEEDS], _rows_of(get_nullable_type(field.type))
        declared = TYPES.get(rows)
        # What is made of something else may be told by several, whatever is selected of it.
        return declared is not None and declared.model is not None and is_read_at_once(fragments, nodes, rows, needs)

    def below(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> GroupedFieldSet:
        """Return the fields of the objects that a field leads to."""
        return collect_subfields(
            self._schema,
            self._fragments,
            self._values,
            self._operation,
            object_type,
            details,
            hide_suggestions=True,
        ).grouped_field_set


def _rows_of(object_type: Any) -> str:
    """Return the type of the rows that a field of this type leads to: itself, or what its pages hold."""
    nodes = object_type.fields.get("nodes") if isinstance(object_type, GraphQLObjectType) else None
    return str(get_named_type(object_type if nodes is None else nodes.type).name)
