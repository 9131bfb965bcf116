"""A writer who goes on whatever happens: each operation has its key, and is sent again until it is answered."""

import threading
import time
from itertools import pairwise
from typing import Final
from uuid import UUID

from auth.errors import Code
from drills.caller import Caller
from drills.error import DrillError
from drills.journal import Act, Kept, Round, Told
from drills.writer import DOCUMENTS, Writer, told_of
from models.base import new_id

PAUSE_S: Final = 0.2
"""Seconds that they wait before they ask again for what was not answered well."""
RESOLVED_WITHIN_S: Final = 300
_IN_USE: Final = "IDEMPOTENCY_KEY_IN_USE"


class SteadfastWriter(Writer):
    """What they don't know the outcome of, they find out by its key. resolutions: how often they had to."""

    def __init__(self, place: int, caller: Caller, project_id: str, seed: int) -> None:
        super().__init__(place, caller, project_id, seed)
        self._answered_at: list[float] = []
        self.resolutions = 0

    def answered_since(self, moment: float) -> bool:
        """Return whether something that they changed was acknowledged after a moment of the monotonic clock."""
        return bool(self._answered_at) and self._answered_at[-1] > moment

    def longest_pause_s(self, since: float, until: float) -> float:
        """Return the longest time between two acknowledged changes of theirs, from one moment to another."""
        moments = [since, *(one for one in self._answered_at if since < one < until), until]
        return max(after - before for before, after in pairwise(moments))

    def work(self, journal: Round, stop: threading.Event) -> None:
        """Write until told to stop."""
        self._begin()
        self._answered_at.clear()
        try:
            while not stop.is_set():
                try:
                    self._caller.token()
                except DrillError:
                    # Nobody signs in while there is no primary.
                    time.sleep(PAUSE_S)
                    continue
                self._last_told = None
                self._act(journal)
                if self._unknown is not None:
                    self.settle(journal)
                if self._is_turned_away():
                    time.sleep(PAUSE_S)
        except Exception as error:
            journal.note_odd(f"a writer ended: {error!r}")

    def settle(self, journal: Round) -> None:
        """Send what nobody could say the outcome of again, under its key, until it is answered.

        Raises:
            DrillError: it is not, in time; or it is refused.
        """
        if self._unknown is None:
            return
        (act, after, given), key = self._unknown, self._unknown_key
        deadline = time.monotonic() + RESOLVED_WITHIN_S
        while True:
            answer = self._caller.ask(DOCUMENTS[act.action], {"input": given}, key=key)
            told = Told.UNKNOWN if answer is None else told_of(answer)
            if told is Told.DONE:
                break
            if told is Told.REFUSED and answer is not None and answer.detail != _IN_USE:
                if answer.code != Code.UNAUTHENTICATED:
                    raise DrillError(f"{act.action} of {act.record_id} is sent again and refused: {answer.code}")
                self._caller.forget()
            if time.monotonic() > deadline:
                raise DrillError(f"{act.action} of {act.record_id} is not answered in time: {answer and answer.code}")
            time.sleep(PAUSE_S)
        assert answer is not None
        self.resolutions += 1
        self._unknown = None
        journal.settle(act, done=answer.is_replayed)
        if not answer.is_replayed:
            journal.note(Act(act.action, act.record_id, act.version, Told.DONE, answer.request_id))
        self._keep(act.record_id, after, journal)

    def _is_turned_away(self) -> bool:
        return self._last_told is Told.AWAY

    def _new_key(self) -> str | None:
        return str(new_id())

    def _keep(self, record_id: UUID, kept: Kept | None, journal: Round) -> None:
        self._answered_at.append(time.monotonic())
        super()._keep(record_id, kept, journal)
