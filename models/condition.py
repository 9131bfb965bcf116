"""What rows have to meet to be in a list: comparisons of columns, and what and, or and not make of them.

A comparison with a value that is not there does not hold; so `Not` of it does. Nothing is neither.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Operator(StrEnum):
    """How a column is compared. EQUALS with None asks for absence, TOUCHES for the entries that are about a row."""

    EQUALS = "="
    IN = "in"
    MORE_THAN = ">"
    AT_LEAST = ">="
    AT_MOST = "<="
    LESS_THAN = "<"
    STARTS_WITH = "^@"
    ENDS_WITH = "ends with"
    CONTAINS = "contains"
    TOUCHES = "&&"


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of one column.

    value: of an encrypted column, never its plain text: the blind index of a value (`models/searching.py: index_of`),
        or a list of them. Of TOUCHES, a `models/touching.py: Touched`.
    ignores_case: whether letters that differ by case alone are equal, of a text.
    """

    column: str
    operator: Operator
    value: Any
    ignores_case: bool = False


@dataclass(frozen=True, slots=True)
class Words:
    """A search in the columns whose words are found (`models/base.py: Ward`), by the language of web searches.

    text: as PostgreSQL's `websearch_to_tsquery` reads it: words, "phrases", or, -without.
    """

    text: str


@dataclass(frozen=True, slots=True)
class And:
    """All of these hold; of none, always."""

    parts: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of these holds at least; of none, never."""

    parts: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """This does not hold."""

    part: "Criterion"


Criterion = Condition | Words | And | Or | Not


def leaves_of(criteria: Iterable[Criterion]) -> Iterator[Condition | Words]:
    """Yield every comparison and search in the criteria, however deep it stands."""
    for one in criteria:
        if isinstance(one, And | Or):
            yield from leaves_of(one.parts)
        elif isinstance(one, Not):
            yield from leaves_of((one.part,))
        else:
            yield one
