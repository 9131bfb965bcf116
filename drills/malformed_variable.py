"""The same operation with what it gives taken out of its text: as variables, which are read in another way."""

from collections.abc import Sequence
from typing import Any

from graphql import (
    ArgumentNode,
    GraphQLError,
    GraphQLNonNull,
    GraphQLSchema,
    NameNode,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    parse_type,
    print_ast,
    value_from_ast_untyped,
    visit,
)


def with_variables(contract: GraphQLSchema, text: str, *, nulls: bool = False) -> tuple[str, dict[str, Any]]:
    """Return the text with a variable for each argument of its root fields, and what each is given.

    Each is declared as the argument is. What can't be parsed, or gives nothing there, stays as it is.

    nulls: those that can't be null are declared as if they could, with what they would be given as their default, and
        are given null. Such an operation is valid, and yet nothing can be done with what it gives.
    """
    try:
        document = parse(text, no_location=True)
    except GraphQLError:
        return text, {}
    info = TypeInfo(contract)
    hoisting = _Hoisting(contract, info, nulls)
    made = visit(document, TypeInfoVisitor(info, hoisting))
    return (print_ast(made), hoisting.given) if hoisting.given else (text, {})


class _Hoisting(Visitor):
    def __init__(self, contract: GraphQLSchema, info: TypeInfo, nulls: bool) -> None:
        super().__init__()
        self._nulls = nulls
        self._roots = (contract.query_type, contract.mutation_type, contract.subscription_type)
        self._info = info
        self._declared: list[VariableDefinitionNode] = []
        self.given: dict[str, Any] = {}

    def enter_argument(self, node: ArgumentNode, *_: Any) -> ArgumentNode | None:
        argument = self._info.get_argument()
        if argument is None or self._info.get_directive() or self._info.get_parent_type() not in self._roots:
            return None
        name = f"given{len(self.given)}"
        variable = VariableNode(name=NameNode(value=name))
        if self._nulls and isinstance(argument.type, GraphQLNonNull):
            self.given[name] = None
            declared = parse_type(str(argument.type.of_type))
            default: Any = node.value  # Nothing that is drawn has variables in it.
            definition = VariableDefinitionNode(variable=variable, type=declared, default_value=default)
        else:
            self.given[name] = value_from_ast_untyped(node.value)
            definition = VariableDefinitionNode(variable=variable, type=parse_type(str(argument.type)))
        self._declared.append(definition)
        return ArgumentNode(name=node.name, value=variable)

    def leave_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> OperationDefinitionNode:
        before: Sequence[VariableDefinitionNode] = node.variable_definitions or ()
        return OperationDefinitionNode(
            **{key: getattr(node, key) for key in node.keys if key not in {"loc", "variable_definitions"}},
            variable_definitions=(*before, *self._declared),
        )
