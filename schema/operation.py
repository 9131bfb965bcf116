"""Operations as they were prepared: parsed, validated, and with all that is worked out about them, kept by their text.

A client sends the same few operations again and again. What is kept is of the text alone and never of who sent it.
Only small operations of signed-in viewers are kept, and only so many.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
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
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.language import DirectiveNode, Visitor
from graphql.validation.rules import overlapping_fields_can_be_merged
from strawberry import Schema
from strawberry.schema.exceptions import CannotGetOperationTypeError

from models.along import Selected
from schema.completion import Completion
from schema.input_value import InputValueRule
from schema.introspection import asks_for_schema
from schema.limits import SIZES, require_affordable
from schema.plan import Plan, plan_of
from schema.variable import Variables

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

_SAID: Final = re.compile(r'#[^\n\r]*|"""(?:\\"""|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n\r])*"?', re.DOTALL)
"""The comments and texts of an operation, as GraphQL writes them (October 2021, 2.1.4, 2.9.4), unfinished ones too."""
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


class Prepared:
    """A document that is valid.

    digest: the text's SHA-256 (`text_digest`), by which the trail names it.
    fragments, fragment_details: by name, as they are written, and as graphql-core takes them.
    choosing: the variables that `@skip` and `@include` are given: what else is worked out depends on them.
    columns: which columns a place needs, by permissions (`schema/selection.py`).
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, digest: str) -> None:
        self.document = document
        self.digest = digest
        self.asks_for_schema = asks_for_schema(document)
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.fragment_details = {name: FragmentDetails(one) for name, one in self.fragments.items()}
        used = _Used()
        visit(document, used)
        self.choosing: tuple[str, ...] = tuple(sorted(used.choosing))
        self.columns: dict[Any, Selected] = Kept()
        self._operations = {
            one.name.value if one.name else None: PreparedOperation(schema, self, one, tuple(sorted(used.sizing)))
            for one in document.definitions
            if isinstance(one, OperationDefinitionNode)
        }

    def operation(self, name: str | None) -> "PreparedOperation":
        """Return the operation of that name, or the only one.

        Raises:
            CannotGetOperationTypeError: there is none, or more than one and no name. The transport refuses the request.
        """
        found = next(iter(self._operations.values()), None) if name is None else self._operations.get(name)
        if found is None or (name is None and len(self._operations) > 1):
            raise CannotGetOperationTypeError(name)
        return found


class PreparedOperation:
    """One of a document's operations.

    definition: its node. variables: how they are read.
    choices: what is kept of it for each choice of what `@skip` and `@include` are given.
    """

    def __init__(
        self, schema: GraphQLSchema, prepared: Prepared, definition: OperationDefinitionNode, sizing: tuple[str, ...]
    ) -> None:
        self.definition = definition
        self.variables = Variables(schema, definition)
        self._prepared = prepared
        # Of variables, only page sizes count: numbers, by now. What the operation does not declare was not looked at,
        # and is not kept.
        self._sizing = tuple(name for name in sizing if name in self.variables.names)
        self._affordable: dict[Any, int] = Kept()
        self._choices: dict[Any, Choice] = Kept(MOST_CHOICES)

    def require_affordable(self, given: Mapping[str, Any]) -> int:
        """Return what the operation costs with these variables. Raises `TooComplexError` where it asks for too much."""
        sizes = tuple(given.get(name, Undefined) for name in self._sizing)
        cost = self._affordable.get(sizes)
        if cost is None:
            cost = require_affordable(self._prepared.document, self.definition, given)
            if len(sizes) <= MOST_SIZES:
                self._affordable[sizes] = cost
        return cost

    def choice(self, api: Schema, values: VariableValues) -> "Choice":
        """Return what is kept for the fields that these variables leave."""
        coerced, choosing = values.coerced, self._prepared.choosing
        key = tuple(coerced.get(name) for name in choosing)
        found = self._choices.get(key)
        if found is None:
            found = self._choices[key] = Choice()
            if not self._prepared.asks_for_schema:
                # Of the variables, only those that make the choice are looked at, and kept.
                named = [name for name in choosing if name in coerced]
                chosen = VariableValues(
                    {name: values.sources[name] for name in named}, {name: coerced[name] for name in named}
                )
                found.plan = plan_of(api, self.definition, self._prepared.fragment_details, chosen)
        return found


@dataclass(slots=True)
class Choice:
    """What is kept of an operation with certain of its fields.

    completions: by place, what completes its rows (`schema/completion.py`).
    plan: how all of it is run (`schema/plan.py`); None where that is the ordinary way.
    """

    completions: dict[Any, Completion] = field(default_factory=dict)
    plan: Plan | None = None


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

    def digest(self, text: str) -> str:
        """Return the text's SHA-256, by `text_digest`."""
        found = self._kept.get(text)
        return text_digest(text) if found is None else found.digest

    def _prepare(self, text: str) -> Prepared:
        try:
            document = parse(text, max_tokens=MOST_TOKENS)
        except GraphQLError as error:
            raise InvalidOperationError([error]) from error
        errors = validate(self._schema, document, _RULES, hide_suggestions=True)
        if errors:
            raise InvalidOperationError(errors)
        return Prepared(self._schema, document, self.digest(text))


def text_digest(text: str) -> str:
    """Return the SHA-256 of an operation's text, with each text in it emptied and each comment left out.

    The trail keeps it for all who read the trail, and for whoever has the database. What was written into the text,
    instead of into a variable, may be guarded, and a digest of it would say whether a guess is right.
    """
    if '"' in text or "#" in text:
        text = _SAID.sub(lambda found: "" if found[0].startswith("#") else '""', text)
    return sha256(text.encode(errors="replace")).hexdigest()


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
