"""Operations as they were prepared: parsed, validated, and with all that is worked out about them, kept by their text.

A client sends the same few operations again and again. What is kept is of the text alone and never of who sent it.
Only small operations of signed-in viewers are kept, and only so many.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack

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
    VariablesInAllowedPositionRule,
    specified_rules,
    validate,
)
from graphql.execution.collect_fields import FragmentDetails
from graphql.execution.values import VariableValues
from graphql.language import DirectiveNode, Visitor
from graphql.validation.rules import overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError
from strawberry import Schema

from auth.errors import RateLimitedError
from models.along import Selected
from schema.completion import Completion
from schema.demanded import Demanded, VariablePositionRule
from schema.input_value import InputValueRule
from schema.introspection import asks_for_schema
from schema.limits import (
    MOST_TOKENS,
    SEARCH,
    SIZES,
    WORTH_OF_TOKEN,
    CircularFragmentError,
    Measure,
    TooComplexError,
    require_affordable,
    require_shape,
)
from schema.parsing import parsed, visit_and_let_go
from schema.plan import Plan, plan_of
from schema.text import extent_of
from schema.variable import Variables

MOST_KEPT: Final = 200
LARGEST_KEPT: Final = 8 * 1024
"""Characters of an operation that is kept. Larger ones are prepared each time: memory is bounded."""
MOST_TOKENS_OF_SMALL: Final = 400
"""Tokens of an operation that takes a few milliseconds to prepare. What clients send is smaller."""
SHORT: Final = 512
"""Characters of a text that is looked at in less time than it takes to have a thread do so."""
MOST_WAITING: Final = 16
"""Larger operations that wait to be prepared at a time."""
MOST_SMALL_WAITING: Final = 256
"""Small ones that do."""
MOST_ERRORS: Final = 20
"""Errors after which the rest of an operation is not looked at."""
MOST_PLANS: Final = 500
"""What is kept of one operation, by place and permissions; beyond that it is begun anew."""
MOST_CHOICES: Final = 8
"""Combinations of what `@skip` and `@include` are given that completions are kept of. A client chooses them, and each
costs as much memory as the operation is long."""
MOST_SIZES: Final = 16
"""Variables for the sizes of pages and for what is left out, up to which it is kept what an operation may ask for with
them."""

# What finding out takes whether fields of one name can be merged grows with the square of how often they are selected.
# Operations that make sense take some dozens of its steps; graphql-core's own bound is seconds of work, for anyone.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = 20_000

_SAID: Final = re.compile(
    r'#[^\n\r]*|"""(?:\\"""|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n\r])*"?|(?<!\w)-?[0-9]+(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)',
    re.DOTALL,
)
"""The comments, texts and broken numbers of an operation, as GraphQL writes them (October 2021, 2.1.4, 2.9.2, 2.9.4),
unfinished texts too.
"""
_RULES: Final = tuple(
    InputValueRule if rule is ValuesOfCorrectTypeRule else rule
    for rule in specified_rules
    if rule is not VariablesInAllowedPositionRule
)
"""Without the one that stands in `schema/demanded.py`."""


_Found = TypeVar("_Found")
_Given = TypeVarTuple("_Given")


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

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, digest: str, demanded: Demanded) -> None:
        self.document = document
        self.digest = digest
        self.asks_for_schema = asks_for_schema(document)
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.fragment_details = {name: FragmentDetails(one) for name, one in self.fragments.items()}
        used = _Used()
        visit_and_let_go(document, used)
        self.choosing: tuple[str, ...] = tuple(sorted(used.choosing))
        self.columns: dict[Any, Selected] = Kept()
        self._operations = {
            one.name.value if one.name else None: PreparedOperation(
                schema,
                self,
                one,
                tuple(sorted(used.sizing | used.choosing)),
                demanded.get(one.name.value if one.name else None, frozenset()),
            )
            for one in document.definitions
            if isinstance(one, OperationDefinitionNode)
        }

    def operation(self, name: str | None) -> "PreparedOperation":
        """Return the operation of that name, or the only one.

        Raises:
            UnknownOperationError: there is none, or more than one and no name. The transport refuses the request.
        """
        found = next(iter(self._operations.values()), None) if name is None else self._operations.get(name)
        if found is None or (name is None and len(self._operations) > 1):
            raise UnknownOperationError(name, len(self._operations))
        return found


class PreparedOperation:
    """One of a document's operations.

    definition: its node. variables: how they are read.
    choices: what is kept of it for each choice of what `@skip` and `@include` are given.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        prepared: Prepared,
        definition: OperationDefinitionNode,
        sizing: tuple[str, ...],
        demanded: frozenset[str],
    ) -> None:
        self.definition = definition
        self.variables = Variables(schema, definition, demanded)
        # Not the document itself: that has its operations, and neither would go by itself.
        self._document = prepared.document
        self._fragment_details = prepared.fragment_details
        self._choosing = prepared.choosing
        self._asks_for_schema = prepared.asks_for_schema
        # Of variables, only page sizes, lengths of lists, whether words are searched, and what is left out count: no
        # text, by now. What the operation does not declare was not looked at, and is not kept.
        self._sizing = tuple(name for name in sizing if name in self.variables.names)
        self._affordable: dict[Any, Measure] = Kept()
        self._choices: dict[Any, Choice] = Kept(MOST_CHOICES)

    def require_affordable(self, given: Mapping[str, Any], *, enforced: bool = True) -> Measure:
        """Return what the operation asks for with these variables.

        Raises:
            TooComplexError: it is too much (`schema/limits.py: require_affordable`).
        """
        sizes = tuple(_size(given.get(name, Undefined)) for name in self._sizing)
        found = self._affordable.get(sizes)
        if found is None:
            found = require_affordable(self._document, self.definition, given, enforced=enforced)
            if len(sizes) <= MOST_SIZES and not found.exceeded:
                self._affordable[sizes] = found
        return found

    def choice(self, api: Schema, values: VariableValues) -> "Choice":
        """Return what is kept for the fields that these variables leave."""
        coerced, choosing = values.coerced, self._choosing
        key = tuple(_size(coerced.get(name)) for name in choosing)
        found = self._choices.get(key)
        if found is None:
            found = self._choices[key] = Choice()
            if not self._asks_for_schema:
                # Of the variables, only those that make the choice are looked at, and kept.
                named = [name for name in choosing if name in coerced]
                chosen = VariableValues(
                    {name: values.sources[name] for name in named}, {name: coerced[name] for name in named}
                )
                found.plan = plan_of(api, self.definition, self._fragment_details, chosen)
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
        self._small = _Thread("operations", MOST_SMALL_WAITING)
        self._large = _Thread("large operations", MOST_WAITING)

    def kept(self, text: str) -> "Prepared | None":
        """Return the prepared document if it is kept."""
        found = self._kept.get(text)
        if found is not None:
            self._kept.move_to_end(text)
        return found

    async def prepare_aside(
        self, text: str, *, keep: bool, spend: Callable[[int], None], enforced: bool = True, most: int = MOST_TOKENS
    ) -> Prepared:
        """Return the prepared document as `prepare` does; what is not kept is looked at and prepared by a thread.

        So others are served meanwhile. Large ones wait for each other alone, however many come, and are paid for.

        spend: takes from what whoever asks may ask for in a while. most: the tokens that they may send.

        Raises:
            BusyError: too many wait already.
            OverspentError: not as much is left as a large one costs. It was not prepared.
        """
        found = self.kept(text)
        if found is not None:
            return found
        thread = self._large if len(text) > LARGEST_KEPT else self._small
        tokens = (await thread.run(extent_of, text, most)).tokens if len(text) > SHORT else extent_of(text, most).tokens
        if tokens > MOST_TOKENS_OF_SMALL:
            spend(tokens * WORTH_OF_TOKEN)
            thread = self._large
        prepared = await thread.run(self._prepare, text, enforced)
        return self._keep(text, prepared) if keep else prepared

    async def aside(self, work: Callable[[], _Found]) -> _Found:
        """Have the thread of what is large do some work, and return what it found. Others go on meanwhile.

        Raises:
            BusyError: too much waits for it already.
        """
        return await self._large.run(work)

    def prepare(self, text: str, *, keep: bool, enforced: bool = True) -> Prepared:
        """Return the prepared document.

        enforced: whether one that is too large is refused (`schema/limits.py: require_shape`).

        Raises:
            InvalidOperationError: it can't be parsed, or is not valid.
            TooComplexError: it is too large, or validating it takes too long.
        """
        found = self.kept(text)
        if found is not None:
            return found
        extent_of(text)
        prepared = self._prepare(text, enforced)
        return self._keep(text, prepared) if keep else prepared

    def _keep(self, text: str, prepared: Prepared) -> Prepared:
        if len(text) <= LARGEST_KEPT:
            self._kept[text] = prepared
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return prepared

    def digest(self, text: str) -> str:
        """Return the text's SHA-256, by `text_digest`."""
        found = self._kept.get(text)
        return text_digest(text) if found is None else found.digest

    def _prepare(self, text: str, enforced: bool) -> Prepared:
        try:
            document = parsed(text, MOST_TOKENS)
        except GraphQLError as error:
            raise InvalidOperationError([error]) from error
        try:
            require_shape(document, enforced=enforced)
        except CircularFragmentError as error:
            raise InvalidOperationError([GraphQLError(str(error), error.node)]) from error
        demanded: Demanded = {}
        rules: Any = (*_RULES, partial(VariablePositionRule, demanded))
        errors = validate(self._schema, document, rules, max_errors=MOST_ERRORS, hide_suggestions=True)
        if errors and isinstance(errors[0], ValidationAbortedError):
            raise TooComplexError("The operation takes too long to be looked at. Select each field once.")
        if errors:
            raise InvalidOperationError(errors)
        return Prepared(self._schema, document, self.digest(text), demanded)


class _Thread:
    """Looks at operations, one at a time. most: how many may wait."""

    def __init__(self, name: str, most: int) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0
        self._most = most

    async def run(self, work: Callable[[Unpack[_Given]], _Found], *given: *_Given) -> _Found:
        """Return what the work returns. Raises `BusyError` where too much waits."""
        if self._waiting >= self._most:
            raise BusyError("Too many operations at once. Try again in a moment.", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *given)
        finally:
            self._waiting -= 1


def text_digest(text: str) -> str:
    """Return the SHA-256 of an operation's text, with each text in it emptied, 0.0 in the place of each number that is
    not whole, and each comment left out.

    The trail keeps it for all who read the trail, and for whoever has the database. What was written into the text,
    instead of into a variable, may be guarded, as degrees are, and a digest of it would say whether a guess is right.
    Whole numbers stay: they are sizes of pages and versions, and degrees that say less than a coarse place.
    """
    return sha256(_SAID.sub(_emptied, text).encode(errors="replace")).hexdigest()


def _emptied(found: re.Match[str]) -> str:
    return {"#": "", '"': '""'}.get(found[0][0], "0.0")


class OperationKindError(Exception):
    """The operation is of a kind that is not run in this way, such as a mutation by GET."""


class UnknownOperationError(Exception):
    """The document has no such operation, or it is not said which of several is asked for."""

    def __init__(self, name: str | None, count: int) -> None:
        super().__init__(
            f'Unknown operation named "{name}".'
            if name is not None
            else f"Expected operationName: the text has {count} operations."
            if count
            else "The text has no operation."
        )


class BusyError(RateLimitedError):
    """More operations wait to be looked at than it makes sense to have wait."""


class InvalidOperationError(Exception):
    """The operation never runs. `errors` say why."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("The operation is not valid.")
        self.errors = errors


class _Used(Visitor):
    """Collects the variables that directives are given, and those that say what a page costs."""

    def __init__(self) -> None:
        super().__init__()
        self.choosing: set[str] = set()
        self.sizing: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        self.choosing.update(name for _, name in _given(node))

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        self.sizing.update(name for argument, name in _given(node) if argument in SIZES or argument == SEARCH)


def _size(given: Any) -> Any:
    # What is searched for is nobody's to keep. What is neither a size nor says what is left out may be anything: it may
    # be of another operation of the document, with a variable of that name.
    if isinstance(given, str):
        return "text"
    if isinstance(given, list):
        return ("values", len(given))
    is_told = given is None or given is Undefined or isinstance(given, bool | int | float)
    return given if is_told else "another"


def _given(node: DirectiveNode | FieldNode) -> Iterator[tuple[str, str]]:
    """Yield the name of each argument that is a variable, and the variable's."""
    for argument in node.arguments or ():
        if isinstance(argument.value, VariableNode):
            yield argument.name.value, argument.value.name.value
