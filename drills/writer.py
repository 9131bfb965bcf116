"""Somebody who writes for as long as a drill lasts: makes, changes, submits and deletes records, reads them, and is
refused now and then. Nobody else changes their records, so they know what each must be.
"""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from auth.action import Action
from auth.errors import Code
from drills.caller import Answer, Caller
from drills.error import DrillError, require
from drills.journal import Act, Kept, Round, Told
from models.base import new_id

LATEST: Final = 40
"""Of so many of their newest records they change one at a time."""
COLLECTORS: Final = 30
"""Names that a writer's records are collected by, each with a key of its own."""
RESULTS: Final = 3
"""Measurements of a record that has some."""
MOST_REFUSED: Final = 4
"""Times in a round that a writer is refused the same: few enough for each to have an entry (`resolvers/flood.py`)."""


def _mutation(field: str, given: str, shown: str = "record { id version }") -> str:
    return (
        f"mutation($input: {given}!) {{ done: {field}(input: $input) {{ {shown} errors {{ code message detail }} }} }}"
    )


DOCUMENTS: Final = {
    Action.RECORD_CREATE: _mutation("createRecord", "CreateRecordInput"),
    Action.RECORD_UPDATE: _mutation("updateRecord", "UpdateRecordInput"),
    Action.RECORD_SUBMIT: _mutation("submitRecord", "RecordVersionInput"),
    Action.RECORD_APPROVE: _mutation("approveRecord", "ApproveRecordInput"),
    Action.RECORD_DELETE: _mutation("deleteRecord", "RecordReasonInput", "deletedId"),
    Action.FIELD_READ: "query($id: ID!) { record(id: $id) { version comment collector } }",
}
LOOK: Final = "query($id: ID!) { record(id: $id) { version } }"


class Writer:
    """One of them. `work` for a round, then `settle` once the service is back.

    attempted: how many operations they were about to ask, noted before each. told: how many of them were answered what
    at first, whatever was found out later; None where no answer came, and nobody has to know what became of it.
    """

    def __init__(self, place: int, caller: Caller, project_id: str, seed: int) -> None:
        self.attempted = 0
        self.told: Counter[Told | None] = Counter()
        self._place = place
        self._caller = caller
        self._project_id = project_id
        self._chance = random.Random(f"{seed}-{place}")
        self._records: dict[UUID, Kept] = {}
        self._unknown: tuple[Act, Kept | None, dict[str, Any]] | None = None
        self._unknown_key: str | None = None
        self._last_told: Told | None = None
        self._number = 0
        self._refused: Counter[Action] = Counter()

    @property
    def records(self) -> Mapping[UUID, Kept]:
        """Their records, as they must be."""
        return self._records

    def require_accounted(self) -> None:
        """Hold what they were told against what they attempted.

        Raises:
            DrillError: of an operation there is no word, or more than one.
        """
        told = self.told.total()
        require(
            told == self.attempted,
            f"writer {self._place} attempted {self.attempted} operations, and was told of {told}",
        )

    def work(self, journal: Round, stop: threading.Event) -> None:
        """Write until told to stop, or until nobody can say what became of something."""
        self._begin()
        try:
            while not stop.is_set() and self._unknown is None:
                self._act(journal)
        except Exception as error:
            journal.note_odd(f"a writer ended: {error!r}")

    def _begin(self) -> None:
        self._refused.clear()

    def _act(self, journal: Round) -> None:
        """Do something, most often what changes a record."""
        acts = [self._create, self._update, self._submit, self._delete, self._read, self._be_refused]
        (act,) = self._chance.choices(acts, weights=(30, 30, 10, 6, 12, 12))
        act(journal)

    def settle(self, journal: Round) -> None:
        """Find out what became of what nobody could say, by the record's id, and go on from there.

        A record that was to be made is asked for again, under its id: made once, whatever became of it.
        """
        self._caller.freshen()
        if self._unknown is None:
            return
        (act, after, given), self._unknown = self._unknown, None
        answer = self._caller.ask(LOOK, {"id": f"Record:{act.record_id}"})
        if answer is None or answer.code is not None:
            raise DrillError(f"a record can't be looked at: {answer and answer.code}")
        found = answer.data["record"]
        if act.action is Action.RECORD_DELETE:
            is_done = found is None
        else:
            is_done = found is not None and found["version"] == act.version
        journal.settle(act, done=is_done)
        if is_done:
            self._keep(act.record_id, after, journal)
        if act.action is Action.RECORD_CREATE:
            assert after is not None
            self._do(journal, Action.RECORD_CREATE, after.record_id, 1, after, given, was_done=is_done)

    def _new_key(self) -> str | None:
        """Return under which Idempotency-Key the next operation is sent: under none."""
        return None

    def _create(self, journal: Round) -> None:
        record_id, comment, site_code, collector = new_id(), *self._words()
        results = self._chance.choice((0, RESULTS))
        given = {
            "id": f"Record:{record_id}",
            "projectId": self._project_id,
            "siteCode": site_code,
            "collectedAt": "2026-01-05T10:00:00Z",
            "medium": "WATER",
            "comment": comment,
            "collector": collector,
            "measurements": _results(results),
        }
        after = Kept(record_id, 1, "DRAFT", site_code, comment, collector, results)
        self._do(journal, Action.RECORD_CREATE, record_id, 1, after, given)

    def _update(self, journal: Round) -> None:
        if (kept := self._one()) is None:
            return
        comment, site_code, collector = self._words()
        given = {**self._named(kept), "siteCode": site_code, "comment": comment, "collector": collector}
        results = kept.results
        if self._chance.random() < 0.3:
            results = RESULTS
            given["measurements"] = _results(results)
        after = Kept(kept.record_id, kept.version + 1, "DRAFT", site_code, comment, collector, results)
        self._do(journal, Action.RECORD_UPDATE, kept.record_id, after.version, after, given)

    def _submit(self, journal: Round) -> None:
        if (kept := self._one("DRAFT")) is None:
            return
        after = replace(kept, version=kept.version + 1, status="SUBMITTED")
        self._do(journal, Action.RECORD_SUBMIT, kept.record_id, after.version, after, self._named(kept))

    def _delete(self, journal: Round) -> None:
        if (kept := self._one()) is not None:
            self._do(journal, Action.RECORD_DELETE, kept.record_id, kept.version, None, self._named(kept))

    def _read(self, journal: Round) -> None:
        if (kept := self._one()) is None:
            return
        answer = self._attempt(Action.FIELD_READ, {"id": f"Record:{kept.record_id}"})
        # Of a read nobody has to know what became of it.
        if answer is None:
            self.told[None] += 1
            return
        told = told_of(answer)
        if told is Told.DONE and answer.data["record"] != kept.shown:
            journal.note_odd(f"the record {kept.record_id} is read as something else than was acknowledged")
        self._note_answer(journal, Act(Action.FIELD_READ, kept.record_id, kept.version, told), answer)

    def _be_refused(self, journal: Round) -> None:
        """Ask for what can't be: an older version, without a reason, the review of one's own, and of nobody's."""
        if (kept := self._one()) is None:
            return
        signed = {"meaning": "APPROVAL", "password": self._caller.password}
        action, given = self._chance.choice(
            [
                (Action.RECORD_UPDATE, {**self._named(kept), "expectedVersion": kept.version + 7, "comment": "Late."}),
                (Action.RECORD_DELETE, {**self._named(kept), "reason": None}),
                (Action.RECORD_APPROVE, {**self._named(kept), **signed}),
                (Action.RECORD_SUBMIT, {**self._named(kept), "id": f"Record:{new_id()}"}),
            ]
        )
        if self._refused[action] == MOST_REFUSED:
            return
        self._refused[action] += 1
        answer = self._attempt(action, {"input": given})
        if answer is None:
            self.told[None] += 1
            return
        told = told_of(answer)
        if told is Told.DONE:
            journal.note_odd(f"{action} was done, and must be refused")
        self._note_answer(journal, Act(action, kept.record_id, kept.version, told), answer)

    def _do(
        self,
        journal: Round,
        action: Action,
        record_id: UUID,
        version: int,
        after: Kept | None,
        given: dict[str, Any],
        *,
        was_done: bool = False,
    ) -> None:
        """Have something done. after: the record once it is. was_done: it must be answered as done before."""
        key = self._new_key()
        answer = self._attempt(action, {"input": given}, key)
        told = Told.UNKNOWN if answer is None else told_of(answer)
        if told is Told.DONE and was_done:
            told = Told.REPEATED
        act = Act(action, record_id, version, told)
        if told in {Told.DONE, Told.REPEATED}:
            assert answer is not None
            shown = answer.data["done"].get("record")
            if shown is not None and shown["version"] != version:
                journal.note_odd(f"{action} answers version {shown['version']} in place of {version}")
            self._keep(record_id, after, journal)
        elif told is Told.UNKNOWN:
            self._unknown, self._unknown_key = (act, after, given), key
            self._note(journal, act)
            return
        elif told is Told.REFUSED:
            journal.note_odd(f"{action} was refused, and must be done: {answer and answer.code}")
        assert answer is not None
        self._note_answer(journal, act, answer)

    def _attempt(self, action: Action, variables: dict[str, Any], key: str | None = None) -> Answer | None:
        """Note that something is attempted, and then ask for it."""
        self.attempted += 1
        return self._caller.ask(DOCUMENTS[action], variables, key=key)

    def _note(self, journal: Round, act: Act) -> None:
        """Note what they were told of what they attempted."""
        self.told[act.told] += 1
        journal.note(act)

    def _note_answer(self, journal: Round, act: Act, answer: Answer) -> None:
        self._last_told = act.told
        self._note(journal, replace(act, request_id=answer.request_id, code=answer.code))
        if answer.code in {Code.INTERNAL, Code.UNAUTHENTICATED}:
            journal.note_odd(f"{act.action} was answered {answer.code}, request {answer.request_id}")

    def _keep(self, record_id: UUID, kept: Kept | None, journal: Round) -> None:
        if kept is None:
            self._records.pop(record_id, None)
        else:
            self._records[record_id] = kept
        journal.note_now(record_id, kept)

    def _one(self, status: str | None = None) -> Kept | None:
        latest = [one for one in list(self._records.values())[-LATEST:] if status is None or one.status == status]
        return self._chance.choice(latest) if latest else None

    def _named(self, kept: Kept) -> dict[str, Any]:
        return {"id": f"Record:{kept.record_id}", "expectedVersion": kept.version, "reason": "The drill."}

    def _words(self) -> tuple[str, str, str]:
        """Return a comment, a site's code and a collector's name: of no record before."""
        self._number += 1
        collector = f"Collector {self._place}-{self._chance.randrange(COLLECTORS)}"
        return f"Writer {self._place}, word {self._number}", f"W{self._place}-{self._number}", collector


def told_of(answer: Answer) -> Told:
    """Return what an answer says of what became of an operation."""
    if answer.code is None or answer.is_done:
        return Told.DONE
    if answer.code == Code.UNAVAILABLE:
        return Told.AWAY
    # What was not meant for clients says nothing of what became of it.
    if answer.code in {Code.UNKNOWN_OUTCOME, Code.INTERNAL}:
        return Told.UNKNOWN
    return Told.REFUSED


def _results(count: int) -> list[dict[str, Any]]:
    return [{"characteristic": f"Nitrate {number}", "value": number + 0.5, "unit": "mg/l"} for number in range(count)]
