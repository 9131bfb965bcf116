"""Operations as they were prepared: parsed, validated, and with all that is worked out about them, kept by their text.

A client sends the same few operations again and again. What is kept is of the text alone and never of who sent it.
Only small operations of signed-in viewers are kept, and only so many.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    ValuesOfCorrectTypeRule,
    VariableNode,
    parse,
    specified_rules,
    validate,
    visit,
)
from graphql.language import DirectiveNode, Visitor
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry.schema.exceptions import CannotGetOperationTypeError

from schema.input_value import InputValueRule
from schema.limits import SIZES, require_affordable

MOST_TOKENS: Final = 4000
MOST_KEPT: Final = 200
LARGEST_KEPT: Final = 8 * 1024
"""Characters of an operation that is kept. Larger ones are prepared each time: memory is bounded."""
MOST_PLANS: Final = 500
"""What is kept of one operation, by place and permissions; beyond that it is begun anew."""
MOST_CHOICES: Final = 8
"""Combinations of what `@skip` and `@include` are given that completions are kept of. A client chooses them, and each
costs as much memory as the operation is long."""
MOST_SIZES: Final = 8
"""Variables for the sizes of pages, up to which it is kept what an operation may ask for with them."""

# What finding out takes whether fields of one name can be merged grows with the square of how often they are selected.
# Operations that make sense take some dozens of its steps; graphql-core's own bound is seconds of work, for anyone.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000

_RULES: Final = tuple(InputValueRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules)


class Kept(dict[Any, Any]):
    """A dictionary that begins anew when it is full: what is in it can always be worked out again."""

    def __init__(self, most: int = MOST_PLANS) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= self._most:
            self.clear()
        super().__setitem__(key, value)


@dataclass(slots=True)
class Prepared:
    """A document that is valid.

    choosing: the variables that `@skip` and `@include` are given: what else is worked out depends on them.
    sizing: the variables that pages take their sizes from.
    columns, completions: see `schema/selection.py` and `schema/execution.py`.
    """

    document: DocumentNode
    operations: Mapping[str | None, OperationDefinitionNode]
    choosing: tuple[str, ...]
    sizing: tuple[str, ...]
    columns: dict[Any, tuple[str, ...]] = field(default_factory=Kept)
    completions: dict[Any, dict[Any, Any]] = field(default_factory=lambda: Kept(MOST_CHOICES))
    _affordable: dict[Any, bool] = field(default_factory=Kept)

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation of that name, or the only one.

        Raises:
            CannotGetOperationTypeError: there is none, or more than one and no name. The transport refuses the request.
        """
        found = next(iter(self.operations.values()), None) if name is None else self.operations.get(name)
        if found is None or (name is None and len(self.operations) > 1):
            raise CannotGetOperationTypeError(name)
        return found

    def require_affordable(self, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> None:
        """Raise `TooComplexError` where the operation asks for too much with these variables."""
        # Of variables, only page sizes count: numbers, by now. What the operation does not declare was not looked at,
        # and is not kept.
        declared = {one.variable.name.value for one in operation.variable_definitions or ()}
        sizes = tuple(variables.get(name, Undefined) for name in self.sizing if name in declared)
        if len(sizes) > MOST_SIZES:
            require_affordable(self.document, operation, variables)
            return
        key = (id(operation), sizes)
        if key not in self._affordable:
            require_affordable(self.document, operation, variables)
            self._affordable[key] = True


class Operations:
    """The operations that are kept, the one that was not asked for the longest dropped first."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def prepare(self, text: str, *, keep: bool) -> Prepared:
        """Return the prepared document.

        Raises:
            InvalidOperationError: it can't be parsed, or is not valid.
        """
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
            return found
        prepared = self._prepare(text)
        if keep and len(text) <= LARGEST_KEPT:
            self._kept[text] = prepared
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return prepared

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(text, max_tokens=MOST_TOKENS)
        except GraphQLError as error:
            raise InvalidOperationError([error]) from error
        errors = validate(self._schema, document, _RULES, hide_suggestions=True)
        if errors:
            raise InvalidOperationError(errors)
        operations = {
            one.name.value if one.name else None: one
            for one in document.definitions
            if isinstance(one, OperationDefinitionNode)
        }
        used = _Used()
        visit(document, used)
        return Prepared(document, operations, tuple(sorted(used.choosing)), tuple(sorted(used.sizing)))


class InvalidOperationError(Exception):
    """The operation never runs. `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("The operation is not valid.")
        self.errors = errors


class _Used(Visitor):
    """Collects the variables that directives are given, and those that pages take their sizes from."""

    def __init__(self) -> None:
        super().__init__()
        self.choosing: set[str] = set()
        self.sizing: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.choosing.update(name for _, name in _given(node))

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.sizing.update(name for argument, name in _given(node) if argument in SIZES)


def _given(node: DirectiveNode | FieldNode) -> Iterator[tuple[str, str]]:
    """Yield the name of each argument that is a variable, and the variable's."""
    for argument in node.arguments or ():
        if isinstance(argument.value, VariableNode):
            yield argument.name.value, argument.value.name.value
