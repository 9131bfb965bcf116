"""How much one operation may ask for: measured after fragments are expanded and variables are known, before it runs.

The estimate of rows multiplies page sizes down the graph, so that three nested pages of a thousand are refused for what
they are, a thousand million rows, and not for how they are written.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
)

from auth.errors import Code, FieldwardError
from schema.connection import DEFAULT_PAGE

DEEPEST: Final = 15
"""Levels of fields. The longest way through the graph that makes sense has nine."""
MOST_ALIASES: Final = 100
MOST_FIELDS: Final = 2000
"""Fields, with each fragment counted wherever it is spread."""
MOST_ROWS: Final = 100_000
"""Rows, by the sizes of the pages that are asked for."""
TYPICAL_LIST: Final = 20
"""Rows that a list without pages is reckoned at: a record has a handful of measurements, seldom hundreds."""
WORTH_OF_GROUPS: Final = 5_000
"""Rows that a list of groups is reckoned at, for the work and not for the answer: it may read every row there is."""
WORTH_OF_INVENTORY: Final = 2_000
"""Rows that the data inventory is reckoned at: it has a column of each table in it, and nothing that narrows it."""
WORTH_OF_PAST: Final = 2_000
"""Rows that a record of the past is reckoned at: every change of it and of its measurements is read."""
WORTH_OF_PROOF: Final = 20
"""Rows that a proof is reckoned at: the hashes in it, and those that they are made of, many of which others share."""
MOST_MUTATIONS: Final = 20
ALONE: Final = frozenset(
    {
        *("signIn", "completeSignIn", "signInWithPasskey", "reauthenticate", "refreshSession"),
        *("changePassword", "requestPasswordReset", "resetPassword"),
    }
)

SIZES: Final = frozenset({"first", "last"})
"""The arguments that say how many rows a page has."""

_LISTS: Final = frozenset({"measurements", "projectRoles", "changes", "evidence", "tokens", "trailRetention"})
_PAGES: Final = frozenset(
    {
        *("projects", "records", "devices", "users", "members", "auditEntries", "roles", "serviceAccounts"),
        *("history", "incidents", "sessions", "invitations", "accessReviews", "items", "exports"),
    }
)
_GROUPS: Final = frozenset({"recordGroups", "measurementGroups"})
_INVENTORY: Final = "dataInventory"
_PAST: Final = "recordAsOf"
_PROOFS: Final = frozenset({"proof", "consistencyProof"})


class TooComplexError(FieldwardError):
    """The operation asks for more than one operation may. Says what of, how much, and how much is allowed."""

    code = Code.TOO_COMPLEX


@dataclass(slots=True)
class _Measure:
    depth: int = 0
    fields: int = 0
    aliases: int = 0
    rows: int = 0


def require_affordable(
    document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> None:
    """Raise `TooComplexError` where the operation is too deep, too wide, or asks for too many rows."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    measure = _Measure()
    defaults = {
        one.variable.name.value: int(one.default_value.value)
        for one in operation.variable_definitions or ()
        if isinstance(one.default_value, IntValueNode)
    }
    _walk(operation.selection_set, fragments, {**defaults, **variables}, measure, depth=1, parents=1)
    if operation.operation is OperationType.MUTATION:
        _require_few_mutations(operation.selection_set, fragments)


def _walk(
    selection: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
    measure: _Measure,
    *,
    depth: int,
    parents: int,
) -> None:
    for node in selection.selections:
        if isinstance(node, FragmentSpreadNode):
            # Cycles were refused by validation; each step below is bounded by MOST_FIELDS.
            fragment = fragments.get(node.name.value)
            if fragment is not None:
                _count(measure, depth=depth, aliases=0)
                _walk(fragment.selection_set, fragments, variables, measure, depth=depth, parents=parents)
        elif isinstance(node, FieldNode):
            _count(measure, depth=depth, aliases=node.alias is not None)
            if node.selection_set is not None:
                rows = parents * _size(node, variables)
                if node.name.value == _PAST:
                    # What it reads is for itself alone: it answers one record.
                    measure.rows += parents * WORTH_OF_PAST
                elif rows > parents:
                    measure.rows += rows
                _require(measure.rows, MOST_ROWS, "rows")
                _walk(node.selection_set, fragments, variables, measure, depth=depth + 1, parents=rows)
        elif isinstance(node, InlineFragmentNode):
            _walk(node.selection_set, fragments, variables, measure, depth=depth, parents=parents)


def _count(measure: _Measure, *, depth: int, aliases: int) -> None:
    measure.fields += 1
    measure.aliases += aliases
    measure.depth = max(measure.depth, depth)
    _require(measure.fields, MOST_FIELDS, "fields")
    _require(measure.aliases, MOST_ALIASES, "aliases")
    _require(measure.depth, DEEPEST, "levels of fields")


def _size(node: FieldNode, variables: Mapping[str, Any]) -> int:
    """Return how many rows the field answers for each of its parents."""
    if node.name.value in _LISTS:
        return TYPICAL_LIST
    if node.name.value in _GROUPS:
        return WORTH_OF_GROUPS
    if node.name.value == _INVENTORY:
        return WORTH_OF_INVENTORY
    if node.name.value in _PROOFS:
        return WORTH_OF_PROOF
    if node.name.value not in _PAGES:
        return 1
    asked = [DEFAULT_PAGE]
    for argument in node.arguments or ():
        if argument.name.value in SIZES:
            value: Any = argument.value
            given = variables.get(value.name.value) if isinstance(value, VariableNode) else None
            if isinstance(value, IntValueNode):
                given = int(value.value)
            # An Int may be written 1000.0 in a variable (JSON has one kind of numbers).
            if isinstance(given, int | float):
                asked.append(int(given))
    # With a size named, the default counts no more; with two, the larger.
    return max(asked[1:], default=DEFAULT_PAGE)


def _require_few_mutations(selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
    """Each mutation is a transaction, and each sign-in costs an Argon2id: they come one at a time."""
    names = list(_root_fields(selection, fragments))
    _require(len(names), MOST_MUTATIONS, "mutations")
    if len(names) > 1 and ALONE.intersection(names):
        raise TooComplexError(f"{' and '.join(sorted(ALONE))} come alone in an operation.")


def _root_fields(selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[str]:
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, FragmentSpreadNode):
            if node.name.value in fragments:
                yield from _root_fields(fragments[node.name.value].selection_set, fragments)
        elif isinstance(node, InlineFragmentNode):
            yield from _root_fields(node.selection_set, fragments)


def _require(count: int, most: int, what: str) -> None:
    if count > most:
        raise TooComplexError(f"The operation asks for more than {most} {what}. Ask for less at once.")
