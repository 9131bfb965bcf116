"""The law of non-interference: what a viewer may not read changes nothing in what it is answered.

Two databases are equal but for what one viewer may not read (`tests/support/perturbation.py`). An operation is run on
both, and everything that the viewer can observe is compared: status, data with its order, errors with their messages
and paths, and how many statements it took. What is new with each request is taken out: request ids, and cursors, whose
nonce is random and whose place is compared by asking for the next page. Pseudonyms are compared by which are equal.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from auth.token import AccessClaims
from tests.support.operations import Operation, Values
from tests.support.perturbation import Touched
from tests.support.side import Side
from tests.support.world import Answer

_CURSORS: Final = frozenset({"cursor", "startCursor", "endCursor"})
_PSEUDONYM: Final = re.compile(r"person-[a-z2-7]{8}")


class InterferenceError(AssertionError):
    """Something that a viewer may not read shows in what it is answered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a viewer can observe of one request."""

    status: int
    body: str
    statements: int


@dataclass(slots=True)
class Pair:
    """Two worlds that are to look alike to one viewer, and a tally of what was run on them."""

    viewer: str
    still: Side
    changed: Side
    claims: AccessClaims | None
    touched: Sequence[Touched]
    values: Values
    tally: Counter[str] = field(default_factory=Counter)

    def require_alike(self, operation: Operation) -> None:
        """Run the operation on both worlds. Raises `InterferenceError` where the two can be told apart.

        An operation with cursors is run again with those that the first answer gave.
        """
        variables = [operation.variables, operation.variables]
        for again in (False, True):
            answers = [
                side.ask(self.claims, operation.text, given)
                for side, given in zip((self.still, self.changed), variables, strict=True)
            ]
            before, after = (
                Seen(answer.status, json.dumps(comparable(answer.body), indent=1), side.statements)
                for side, answer in zip((self.still, self.changed), answers, strict=True)
            )
            self._count(answers[0], again=again)
            if before != after:
                raise InterferenceError(self._told(operation, before, after, answers))
            variables = [
                {**operation.variables, **found}
                for found in (_cursors(operation, answer.body.get("data")) for answer in answers)
            ]
            if not operation.cursors or variables[0].keys() == operation.variables.keys():
                return

    def _count(self, answer: Answer, *, again: bool) -> None:
        self.tally["requests"] += 1
        self.tally["operations"] += not again
        self.tally["next pages"] += again
        self.tally["valid"] += not again and answer.body.get("data") is not None
        self.tally.update(f"code {code}" for code in set(answer.codes))
        if "INTERNAL" in answer.codes:
            raise AssertionError(f"The server broke: {answer.text}")

    def _told(self, operation: Operation, before: Seen, after: Seen, answers: Iterable[Answer]) -> str:
        """Say who saw what differ, and what had been changed: the rows that are named, or else all in short."""
        lines = difflib.unified_diff(
            before.body.splitlines(), after.body.splitlines(), "before the change", "after it", lineterm="", n=3
        )
        named = " ".join([repr(operation), *(answer.text for answer in answers)])
        rows = [str(one) for one in self.touched if str(one.row_id) in named][:20]
        kinds = Counter(f"{one.table} {one.how}: {', '.join(one.columns)}" for one in self.touched)
        return "\n".join(
            [
                f"Seen by {self.viewer}, who may read none of what was changed:",
                repr(operation),
                f"statuses {before.status} and {after.status}, statements {before.statements} and {after.statements}",
                *list(lines)[:60],
                "Changed in rows that are named here:",
                *(rows or ["none"]),
                "Changed in all:",
                *(f"{count} x {kind}" for kind, count in kinds.most_common(40)),
            ]
        )


def comparable(body: Any) -> Any:
    """Return an answer's body without what differs between two requests of one world."""
    names: dict[str, str] = {}

    def shown(key: str | None, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(name, one) for name, one in value.items()}
        if isinstance(value, list):
            return [shown(key, one) for one in value]
        if not isinstance(value, str):
            return value
        if key in _CURSORS:
            return f"<cursor of {len(value)} characters>"
        if key == "requestId":
            return "<request id>"
        return _PSEUDONYM.sub(lambda found: names.setdefault(found[0], f"person {len(names) + 1}"), value)

    return shown(None, body)


def _cursors(operation: Operation, data: Any) -> dict[str, str]:
    found = {name: _cursor(data, (*path, key)) for name, (path, key) in operation.cursors.items()}
    return {name: cursor for name, cursor in found.items() if cursor is not None}


def _cursor(data: Any, path: Sequence[str]) -> str | None:
    """Return the first cursor at the end of the path, whichever of a list's objects has one."""
    if isinstance(data, list):
        return next((found for one in data if (found := _cursor(one, path)) is not None), None)
    if not isinstance(data, dict):
        return None
    if not path:
        return next((one for one in data.values() if isinstance(one, str)), None)
    return _cursor(data.get(path[0]), path[1:])
