"""The law of non-interference: what a viewer may not read changes nothing in what it is answered.

Two databases are equal but for what one viewer may not read (`tests/support/perturbation.py`). An operation is run on
both, and everything that the viewer can observe is compared: status, data with its order, errors with their messages
and paths, and how many statements it took. What is new with each request is taken out: request ids, and cursors, whose
nonce is random and whose place is compared by asking for the next page. Pseudonyms, and the ids of rows made meanwhile,
are compared by which are equal; the times of what happened meanwhile not at all.
"""

import difflib
import json
import re
from asyncio import CancelledError
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from auth.token import AccessClaims
from tests.support.arguments import Values
from tests.support.operations import Operation
from tests.support.perturbation import Touched
from tests.support.side import Side
from tests.support.sign_in_kept import Kept, put_back
from tests.support.world import Answer

_CURSORS: Final = frozenset({"cursor", "startCursor", "endCursor"})
_NEW: Final = re.compile(r"(?P<person>person-[a-z2-7]{8})|(?P<id>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00$")
REPEATS: Final = 6
"""How often an operation is run again before the worlds are said to differ."""


class InterferenceError(AssertionError):
    """Something that a viewer may not read shows in what it is answered."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a viewer can observe of one request."""

    answer: Answer
    body: str
    statements: int

    @property
    def observed(self) -> tuple[int, str, int]:
        """What is to be equal."""
        return self.answer.status, self.body, self.statements


@dataclass(slots=True)
class Pair:
    """Two worlds that are to look alike to one viewer, and a tally of what was run on them.

    known: the ids of the rows that there were at `since`. lasting: operations may change the worlds, so that what told
    them apart once need not do so when it is tried again. kept: by what the viewer is signed in, in each
    world; put back where an operation has ended it.
    """

    viewer: str
    still: Side
    changed: Side
    claims: AccessClaims | None
    touched: Sequence[Touched]
    values: Values
    known: Container[str]
    since: datetime
    lasting: bool = False
    kept: Sequence[Kept] = ()
    tally: Counter[str] = field(default_factory=Counter)
    found: InterferenceError | None = None

    @property
    def told(self) -> str:
        """What was run, in one line."""
        counted = ("operations", "valid", "next pages", "mutation done", "signed in again")
        return ", ".join(f"{self.tally[name]} {name}" for name in counted if self.tally[name])

    def require_alike(self, operation: Operation) -> None:
        """Run the operation on both worlds. Raises `InterferenceError` where the two can be told apart.

        An operation with cursors is run again with those that the first answer gave.
        """
        if self.lasting and self.found is not None:
            raise self.found
        try:
            self._require_alike(operation)
        except InterferenceError as error:
            self.found = error
            raise

    def _require_alike(self, operation: Operation) -> None:
        variables = [operation.variables, operation.variables]
        for again in (False, True):
            before, after = self._run(operation, variables)
            self._count(operation, before, again=again)
            if not self._alike(operation, variables, before, after):
                raise InterferenceError(self._told(operation, before, after))
            variables = [
                {**operation.variables, **_cursors(operation, seen.answer.body.get("data"))} for seen in (before, after)
            ]
            if not operation.cursors or variables[0].keys() == operation.variables.keys():
                return

    def _run(self, operation: Operation, variables: Sequence[dict[str, Any]]) -> list[Seen]:
        seen = []
        for side, given in zip((self.still, self.changed), variables, strict=True):
            try:
                answer = side.ask(self.claims, operation.text, given)
            except CancelledError as error:
                raise AssertionError("The server broke: it answered nothing.") from error
            body = json.dumps(comparable(answer.body, self.known, self.since), indent=1)
            seen.append(Seen(answer, body, side.statements))
        if self.kept and any("UNAUTHENTICATED" in one.answer.codes for one in seen):
            for side, kept in zip((self.still, self.changed), self.kept, strict=True):
                side.run(put_back(side.world, kept))
            self.tally["signed in again"] += 1
        return seen

    def _alike(self, operation: Operation, variables: Sequence[dict[str, Any]], before: Seen, after: Seen) -> bool:
        """Return whether the two worlds can't be told apart.

        Which look-ups of different branches go together, and which of two errors comes first, depends on when the
        database answers. So they are told apart by observations that never meet, however often the operation is run;
        but a change is made once, and what it answered that once must be equal.
        """
        if self.lasting and (before.answer.status, before.body) != (after.answer.status, after.body):
            return False
        worlds = {before.observed}, {after.observed}
        for _ in range(REPEATS):
            if worlds[0] & worlds[1]:
                return True
            for known, seen in zip(worlds, self._run(operation, variables), strict=True):
                known.add(seen.observed)
        return bool(worlds[0] & worlds[1])

    def _count(self, operation: Operation, seen: Seen, *, again: bool) -> None:
        answer = seen.answer
        self.tally["operations"] += not again
        self.tally["next pages"] += again
        self.tally["valid"] += not again and answer.body.get("data") is not None
        self.tally.update(f"code {code}" for code in set(answer.codes))
        for payload in (answer.body.get("data") or {}).values():
            if isinstance(payload, dict) and isinstance(payload.get("errors"), list):
                self.tally[f"mutation {[one['code'] for one in payload['errors']] or 'done'}"] += 1
        if "INTERNAL" in answer.codes:
            raise AssertionError(f"The server broke under\n{operation!r}\n{answer.text}")

    def _told(self, operation: Operation, before: Seen, after: Seen) -> str:
        """Say who saw what differ, and what had been changed: the rows that are named, or else all in short."""
        lines = difflib.unified_diff(
            before.body.splitlines(), after.body.splitlines(), "before the change", "after it", lineterm="", n=3
        )
        named = " ".join([repr(operation), before.answer.text, after.answer.text])
        rows = [str(one) for one in self.touched if isinstance(one.row_id, UUID) and str(one.row_id) in named][:20]
        kinds = Counter(f"{one.table} {one.how}: {', '.join(one.columns)}" for one in self.touched)
        return "\n".join(
            [
                f"Seen by {self.viewer}, who may read none of what was changed:",
                repr(operation),
                f"statuses {before.answer.status} and {after.answer.status}",
                f"statements {before.statements} and {after.statements}",
                *list(lines)[:60],
                "Changed in rows that are named here:",
                *(rows or ["none"]),
                "Changed in all:",
                *(f"{count} x {kind}" for kind, count in kinds.most_common(40)),
            ]
        )


def comparable(body: Any, known: Container[str], since: datetime) -> Any:
    """Return an answer's body without what differs between two requests of one world.

    known: the ids of the rows that there were at `since`.
    """
    names: dict[str, str] = {}

    def new(found: re.Match[str]) -> str:
        return found[0] if found[0] in known else names.setdefault(found[0], f"<{found.lastgroup} {len(names) + 1}>")

    def shown(key: str | None, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shown(name, one) for name, one in value.items()}
        if isinstance(value, list):
            return [shown(key, one) for one in value]
        if not isinstance(value, str):
            return value
        if key in _CURSORS:
            return f"<cursor of {len(value)} characters>"
        if _TIME.match(value) and datetime.fromisoformat(value) >= since:
            return "<time>"
        return _NEW.sub(new, value)

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
