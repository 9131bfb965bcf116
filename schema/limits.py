"""How much one operation may ask for: measured after fragments are expanded and variables are known, before it runs.
What `@skip` and `@include` leave out by then counts for nothing, but for what is read with its rows all the same.

An operation's cost is one number: the rows that it is reckoned to read, each multiplied by what it weighs. The estimate
multiplies page sizes down the graph, so that three nested pages of a thousand are refused for what they are, a thousand
million rows, and not for how they are written. The other limits bound what no row is read for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    Node,
    NullValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    value_from_ast_untyped,
)

from auth.errors import Code, FieldwardError
from schema.connection import DEFAULT_PAGE

MOST_TOKENS: Final = 4000
"""Tokens of a text, comments aside."""
MOST_TOKENS_OF_ANYONE: Final = 1000
"""The same for who is not signed in: they sign in, or look at how."""
MOST_DEFINITIONS: Final = 200
"""Operations and fragments of a document: validating takes each fragment once for each operation."""
DEEPEST: Final = 15
"""Levels of fields. The longest way through the graph that makes sense has nine."""
MOST_ALIASES: Final = 100
MOST_FIELDS: Final = 2000
"""Fields, with each fragment counted wherever it is spread."""
MOST_DIRECTIVES: Final = 200
MOST_ROOTS: Final = 100
"""Fields of the operation's own."""
MOST_IN_LIST: Final = 1000
"""Values of any one list that is written into the text."""
MOST_ROWS: Final = 100_000
"""Rows, by the sizes of the pages that are asked for and by their weight: what an operation may cost."""
MOST_VALUES: Final = 2_000_000
"""Values that are answered, by those rows and the fields that are asked of each."""
MOST_DIGITS: Final = 10
"""Digits of the size of a page."""
MOST_STEPS: Final = 10 * MOST_FIELDS
"""Fields that are looked at, at all: what would have more is refused even where limits are measured alone."""
WORTH_OF_MUTATION: Final = 100
"""Rows that a mutation is reckoned at: a transaction, its entry, and what triggers write."""
WORTH_OF_HASHING: Final = 5_000
"""Rows that a mutation of `ALONE` is reckoned at: a password is hashed."""
TYPICAL_LIST: Final = 20
"""Rows that a list without pages is reckoned at: a record has a handful of measurements, seldom hundreds."""
WORTH_OF_GROUPS: Final = 5_000
"""Rows that a list of groups is reckoned at, for the work and not for the answer: it may read every row there is."""
WORTH_OF_SEARCH: Final = 5_000
"""Rows that a search for words is reckoned at, beside those it finds: it takes the words out of every row there is."""
WORTH_OF_COUNT: Final = 500
"""Rows that a number of all rows is reckoned at. It reads every row, but of each no more than that it is there; and who
shows a page with its number for every request of their quota is still within that of costs."""
WORTH_OF_FEED: Final = 500
"""Rows that a look at what changed is reckoned at, beside its page: it may read ten thousand changes and find none to
tell. Who pulls by each request of their quota is still within that of costs."""
WORTH_OF_PREVIEW: Final = 5_000
"""Rows that a look ahead at what retention deletes is reckoned at: it may read every row of a type."""
WORTH_OF_INVENTORY: Final = 2_000
"""Rows that the data inventory is reckoned at: it has a column of each table in it, and nothing that narrows it."""
WORTH_OF_PAST: Final = 2_000
"""Rows that a record of the past is reckoned at: every change of it and of its measurements is read."""
WORTH_OF_PROOF: Final = 20
"""Rows that a proof is reckoned at: the hashes in it, and those that they are made of, many of which others share."""
WORTH_OF_TOKEN: Final = 10
"""Rows that each token of a large text is reckoned at that is not in memory: it is parsed and validated."""
WORTH_OF_SHOWN: Final = 1
"""Rows that each field of the schema is reckoned at that an answer shows: it takes as long as a row of a page does."""
SHOWN_FOR_COUNTED: Final = 8
"""So many fields of the schema are counted, and refused, for the cost of one that is shown."""
MOST_MUTATIONS: Final = 20
ALONE: Final = frozenset(
    {
        *("signIn", "completeSignIn", "signInWithPasskey", "reauthenticate", "refreshSession"),
        *("changePassword", "requestPasswordReset", "resetPassword"),
    }
)

SIZES: Final = frozenset({"first", "last", "ids"})
"""The arguments that say how many rows there are: by a number, or by as many ids."""
SEARCH: Final = "search"
"""The argument that searches for words."""

_LISTS: Final = frozenset({"measurements", "projectRoles", "changes", "evidence", "tokens", "trailRetention"})
_PAGES: Final = frozenset(
    {
        *("projects", "records", "devices", "users", "members", "auditEntries", "roles", "serviceAccounts"),
        *("sites", "history", "incidents", "sessions", "invitations", "accessReviews", "items", "trustedDocuments"),
        *("imports", "importMappings", "exports", "erasureRequests", "legalHolds", "retentionRuns"),
    }
)
_CHANGES: Final = "changes"
"""A page of the feed, and what is in it: in an entry of the trail, a list."""
_GROUPS: Final = frozenset({"recordGroups", "measurementGroups", "measurementSeries"})
_FATES: Final = "rows"
"""What became of the rows of an import: paged, and no rows of a table."""
_INVENTORY: Final = "dataInventory"
_COUNT: Final = "totalCount"
_ALONE_READ: Final = {"recordAsOf": WORTH_OF_PAST, "retentionPreview": WORTH_OF_PREVIEW}
"""What reads much to answer one object."""
_NODES: Final = "nodes"
"""The entry that takes ids; a page's rows have the same name, and no arguments."""
_PROOFS: Final = frozenset({"proof", "consistencyProof"})
_LEAVING: Final = {"skip": True, "include": False}
"""Given which value a directive leaves out what it stands at."""


class TooComplexError(FieldwardError):
    """The operation asks for more than one operation may. Says what of, and how much is allowed.

    limit, most: which of the limits, and how much it allows; None where it is none that counts.
    """

    code = Code.TOO_COMPLEX

    def __init__(self, message: str, *, limit: str | None = None, most: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.most = most


class CircularFragmentError(Exception):
    """A fragment leads to itself. Validation would find that, too, and take long for it where the way is long."""

    def __init__(self, name: str, node: FragmentSpreadNode) -> None:
        super().__init__(f"Cannot spread fragment '{name}' within itself.")
        self.node = node


@dataclass(slots=True)
class Measure:
    """What one operation asks for, with the variables that it was given.

    cost: rows by weight. depth: levels of fields. values: leaves of the answer. exceeded: the limits that it is beyond,
        with how much they allow, in the order in which that was found; where limits are enforced, it never ran.
    """

    cost: int = 0
    values: int = 0
    depth: int = 0
    fields: int = 0
    aliases: int = 0
    directives: int = 0
    roots: int = 0
    exceeded: dict[str, int] = field(default_factory=dict)

    @property
    def requested(self) -> int:
        """What it counts as."""
        return max(1, self.cost)

    def with_schema(self, fields: int, *, enforced: bool) -> "Measure":
        """Return this with so many fields of the schema that are shown besides (`schema/introspection.py`).

        Raises:
            TooComplexError: together it is too much, and limits are enforced.
        """
        cost = self.cost + fields * WORTH_OF_SHOWN
        if cost <= MOST_ROWS:
            return replace(self, cost=cost) if fields else self
        if enforced:
            raise _too_much(MOST_ROWS, "rows")
        return replace(self, cost=cost, exceeded={"rows": MOST_ROWS, **self.exceeded})

    def shown(self) -> dict[str, Any]:
        """Return what a client is told of it."""
        return {
            "requested": self.requested,
            "allowed": MOST_ROWS,
            "values": self.values,
            "depth": self.depth,
            "fields": self.fields,
            "aliases": self.aliases,
        }


def require_shape(document: DocumentNode, *, enforced: bool = True) -> None:
    """Raise `TooComplexError` where an operation of the document is too large, whatever its variables will be.

    Asked before the document is validated, which takes longer the larger it is.

    Raises:
        CircularFragmentError: a fragment that an operation uses leads to itself.
    """
    if len(document.definitions) > MOST_DEFINITIONS:
        raise _too_much(MOST_DEFINITIONS, "operations and fragments")
    for one in document.definitions:
        if isinstance(one, OperationDefinitionNode):
            _Walk(document, None, enforced=enforced).measure(one)


def require_affordable(
    document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any], *, enforced: bool = True
) -> Measure:
    """Return what the operation asks for.

    enforced: whether what is beyond a limit is refused, or only noted in the measure.

    Raises:
        TooComplexError: it is too deep, too wide, or asks for too many rows; or, whether limits are enforced or not,
            has so many fields that they are not even counted, or mutations that do not go together.
    """
    defaults = {
        one.variable.name.value: value_from_ast_untyped(one.default_value)
        for one in operation.variable_definitions or ()
        if one.default_value is not None
    }
    walk = _Walk(document, {**defaults, **variables}, enforced=enforced)
    measure = walk.measure(operation)
    if operation.operation is OperationType.MUTATION:
        names = _require_few_mutations(operation.selection_set, walk.fragments)
        worth = sum(WORTH_OF_HASHING if name in ALONE else WORTH_OF_MUTATION for name in names)
        measure.cost += worth
    return measure


@dataclass(frozen=True, slots=True)
class _Place:
    """Where fields stand.

    depth: how deep. parents: how many rows each of them is answered for. lists: how many pages those rows are of.
    within: the field that they stand in, if any.
    """

    depth: int
    parents: int
    lists: int
    within: str | None


class _Walk:
    """One look over an operation, as it is with its fragments in their places.

    variables: None where they are not known: then all that they might leave is looked at, and no rows are counted.
    """

    def __init__(self, document: DocumentNode, variables: Mapping[str, Any] | None, *, enforced: bool) -> None:
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._variables = variables or {}
        self._enforced = enforced
        self._counts_rows = variables is not None
        self._measure = Measure()
        self._inside: set[str] = set()

    def measure(self, operation: OperationDefinitionNode) -> Measure:
        """Return what the operation asks for. Raises `TooComplexError`."""
        self._directives(operation)
        for one in operation.variable_definitions or ():
            self._directives(one)
            if one.default_value is not None:
                self._literal(one.default_value)
        self._selection(operation.selection_set, _Place(depth=1, parents=1, lists=1, within=None))
        return self._measure

    def _selection(self, selection: SelectionSetNode, place: "_Place") -> None:
        for node in selection.selections:
            self._directives(node)
            if self._counts_rows and is_left_out(node, self._variables):
                self._left_out(node, place)
                continue
            if isinstance(node, FieldNode):
                self._field(node, place)
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                fragment = self.fragments.get(name)
                if name in self._inside:
                    raise CircularFragmentError(name, node)
                if fragment is None:
                    continue
                self._count(place)
                self._inside.add(name)
                self._selection(fragment.selection_set, place)
                self._inside.discard(name)
            elif isinstance(node, InlineFragmentNode):
                self._count(place)
                self._selection(node.selection_set, place)

    def _field(self, node: FieldNode, place: "_Place") -> None:
        measure, parents = self._measure, place.parents
        self._count(place)
        if node.alias is not None:
            measure.aliases += 1
            self._require(measure.aliases, MOST_ALIASES, "aliases")
        if place.depth == 1:
            measure.roots += 1
            self._require(measure.roots, MOST_ROOTS, "fields of its own")
        for argument in node.arguments or ():
            self._literal(argument.value)
        if node.selection_set is None:
            measure.values += parents
            if node.name.value == _COUNT:
                measure.cost += _together(WORTH_OF_COUNT, place.lists)
            if self._counts_rows:
                self._require(measure.values, MOST_VALUES, "values")
                self._require(measure.cost, MOST_ROWS, "rows")
            return
        size = _size(node, self._variables, within=place.within)
        rows = parents if size is None else parents * size
        if node.name.value == _CHANGES and place.within is None:
            measure.cost += WORTH_OF_FEED
        # What it reads is for itself alone where it answers one object.
        measure.cost += parents * _ALONE_READ.get(node.name.value, 0)
        if size is not None:
            # A page reads something, however small it is.
            measure.cost += max(rows, parents)
            if _searches(node, self._variables):
                measure.cost += _together(WORTH_OF_SEARCH, parents)
        if self._counts_rows:
            self._require(measure.cost, MOST_ROWS, "rows")
        self._selection(
            node.selection_set, _Place(place.depth + 1, parents=rows, lists=parents, within=node.name.value)
        )

    def _left_out(self, node: SelectionNode, place: "_Place") -> None:
        """Count the lists that are read with the rows that they are of, shown or not (`schema/selection.py`)."""
        within = place.within
        if isinstance(node, FieldNode):
            if node.selection_set is None:
                return
            size = _size(node, self._variables, within=within)
            if size is not None:
                if node.name.value in _LISTS and within is not None:
                    self._measure.cost += place.parents * size
                    self._require(self._measure.cost, MOST_ROWS, "rows")
                # A page of its own is read by nobody.
                return
            selected, within = node.selection_set, node.name.value
        elif isinstance(node, FragmentSpreadNode):
            # That none leads to itself, and how often they are spread, was looked at before (`require_shape`).
            selected = self.fragments[node.name.value].selection_set
        else:
            selected = cast(InlineFragmentNode, node).selection_set
        for one in selected.selections:
            self._left_out(one, replace(place, within=within))

    def _count(self, place: "_Place") -> None:
        measure = self._measure
        measure.fields += 1
        measure.depth = max(measure.depth, place.depth)
        if measure.fields > MOST_STEPS:
            raise _too_much(MOST_STEPS, "fields")
        self._require(measure.fields, MOST_FIELDS, "fields")
        self._require(measure.depth, DEEPEST, "levels of fields")

    def _directives(self, node: Node) -> None:
        found = getattr(node, "directives", None)
        if found:
            self._measure.directives += len(found)
            self._require(self._measure.directives, MOST_DIRECTIVES, "directives")

    def _literal(self, value: Node) -> None:
        if isinstance(value, ListValueNode):
            self._require(len(value.values), MOST_IN_LIST, "values in one list")
            for one in value.values:
                self._literal(one)
        elif isinstance(value, ObjectValueNode):
            for entry in value.fields:
                self._literal(entry.value)

    def _require(self, count: int, most: int, what: str) -> None:
        if count > most:
            if self._enforced:
                raise _too_much(most, what)
            self._measure.exceeded.setdefault(what, most)


def is_left_out(node: SelectionNode, variables: Mapping[str, Any]) -> bool:
    """Return whether `@skip` or `@include` leaves the selection out; given neither yes nor no, they do not."""
    for directive in node.directives or ():
        leaving = _LEAVING.get(directive.name.value)
        for argument in directive.arguments or ():
            value: Any = argument.value
            is_variable = isinstance(value, VariableNode)
            given = variables.get(value.name.value) if is_variable else getattr(value, "value", None)
            if leaving is not None and argument.name.value == "if" and given is leaving:
                return True
    return False


def _together(worth: int, lists: int) -> int:
    """Return what looking at every row is reckoned at, for so many lists: one statement does it for them all."""
    return worth + TYPICAL_LIST * (lists - 1) if lists else 0


def _searches(node: FieldNode, variables: Mapping[str, Any]) -> bool:
    """Return whether the field's list is searched for words."""
    for argument in node.arguments or ():
        if argument.name.value == SEARCH:
            value = argument.value
            given = variables.get(value.name.value) if isinstance(value, VariableNode) else value
            return given is not None and not isinstance(given, NullValueNode)
    return False


def _size(node: FieldNode, variables: Mapping[str, Any], *, within: str | None) -> int | None:
    """Return how many rows the field answers for each of its parents; None where it is no list, or stands in its page.

    within: the field that it stands in, if any.
    """
    if node.name.value == _CHANGES and within == _CHANGES:
        return None
    if node.name.value in _LISTS and within is not None:
        return TYPICAL_LIST
    if node.name.value in _GROUPS:
        return WORTH_OF_GROUPS
    if node.name.value == _INVENTORY:
        return WORTH_OF_INVENTORY
    if node.name.value in _PROOFS:
        return WORTH_OF_PROOF
    if node.name.value == _NODES and within is None:
        return _length(node, variables)
    if node.name.value not in _PAGES and node.name.value not in {_CHANGES, _FATES}:
        return None
    asked = [DEFAULT_PAGE]
    for argument in node.arguments or ():
        if argument.name.value in SIZES:
            value: Any = argument.value
            given = variables.get(value.name.value) if isinstance(value, VariableNode) else None
            if isinstance(value, IntValueNode):
                # More digits than any size has are no number to make of a text before it is looked at.
                given = int(value.value) if len(value.value) <= MOST_DIGITS else MOST_ROWS + 1
            # An Int may be written 1000.0 in a variable (JSON has one kind of numbers).
            if isinstance(given, int | float):
                asked.append(int(given))
    # With a size named, the default counts no more; with two, the larger. Less than none is refused where it is run.
    return max(0, max(asked[1:], default=DEFAULT_PAGE))


def _length(node: FieldNode, variables: Mapping[str, Any]) -> int:
    """Return how many values the lists have that a field is given, and 1 where it is given none."""
    counts = [1]
    for argument in node.arguments or ():
        value: Any = argument.value
        given = variables.get(value.name.value) if isinstance(value, VariableNode) else getattr(value, "values", None)
        if isinstance(given, list | tuple):
            counts.append(len(given))
    return max(counts)


def _require_few_mutations(selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> list[str]:
    """Each mutation is a transaction, and each sign-in costs an Argon2id: they come one at a time."""
    names = list(_root_fields(selection, fragments))
    if len(names) > MOST_MUTATIONS:
        raise _too_much(MOST_MUTATIONS, "mutations")
    if len(names) > 1 and ALONE.intersection(names):
        raise TooComplexError(f"{' and '.join(sorted(ALONE))} come alone in an operation.")
    return names


def asks_alone(document: DocumentNode, operation: OperationDefinitionNode) -> bool:
    """Return whether an operation has one of the mutations that come alone, which sign in or change how one does."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    return not ALONE.isdisjoint(_root_fields(operation.selection_set, fragments))


def _root_fields(selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[str]:
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, FragmentSpreadNode):
            if node.name.value in fragments:
                yield from _root_fields(fragments[node.name.value].selection_set, fragments)
        elif isinstance(node, InlineFragmentNode):
            yield from _root_fields(node.selection_set, fragments)


def _too_much(most: int, what: str) -> TooComplexError:
    return TooComplexError(
        f"The operation asks for more than {most} {what}. Ask for less at once.", limit=what, most=most
    )
