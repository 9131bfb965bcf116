"""Variables that may be left out, and may not be null: of a type that can be null, where a value that can't is taken.

By the specification such an operation is valid where the variable or the place has a default (October 2021, 5.8.5): the
default is there for who gives nothing. Who gives null gives nothing that could be used, and is told so before anything
is run.
"""

from typing import Any

from graphql import GraphQLNonNull, OperationDefinitionNode, VariablesInAllowedPositionRule
from graphql.language import NonNullTypeNode
from graphql.validation import ValidationContext

Demanded = dict[str | None, frozenset[str]]
"""By the operation's name, the names of its variables that may not be null though their types say they may."""


class VariablePositionRule(VariablesInAllowedPositionRule):
    """The specification's rule on where variables stand, which notes those variables as well."""

    def __init__(self, found: Demanded, context: ValidationContext) -> None:
        super().__init__(context)
        self._found = found

    def leave_operation_definition(self, operation: OperationDefinitionNode, *arguments: Any) -> None:
        """Look at all variables of an operation, wherever they stand."""
        super().leave_operation_definition(operation, *arguments)
        nullable = {name for name, one in self.var_def_map.items() if not isinstance(one.type, NonNullTypeNode)}
        if nullable:
            self._found[operation.name.value if operation.name else None] = frozenset(
                usage.node.name.value
                for usage in self.context.get_recursive_variable_usages(operation)
                if usage.node.name.value in nullable and isinstance(usage.type, GraphQLNonNull)
            )
