"""What the writers of a drill were told: of each operation whether it was acknowledged, refused, or nobody can say."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from auth.action import Action


class Told(StrEnum):
    """What became of an operation.

    DONE: acknowledged. REPEATED: acknowledged as done before. REFUSED: answered with why not. AWAY: answered that the
    database does not answer and nothing was changed. UNKNOWN: no answer, or that nobody knows; settled afterwards.
    """

    DONE = "DONE"
    REPEATED = "REPEATED"
    REFUSED = "REFUSED"
    AWAY = "AWAY"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Act:
    """One operation on one record.

    version: of the record once it is done; of what is deleted, the last. request_id: as it was answered with; None
    where there was no answer. settled: it was unknown, and then found to be done.
    """

    action: Action
    record_id: UUID
    version: int
    told: Told
    request_id: UUID | None = None
    code: str | None = None
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as its only writer knows it to be. results: how many measurements it has."""

    record_id: UUID
    version: int
    status: str
    site_code: str
    comment: str
    collector: str
    results: int

    @property
    def shown(self) -> Mapping[str, Any]:
        """What whoever may read it is answered of version, comment and collector."""
        return {"version": self.version, "comment": self.comment, "collector": self.collector}


@dataclass
class Round:
    """What happened since the round before was checked.

    touched: each record that was changed, or tried to be, as it must be now; None where it must be gone. odd: answers
    that nobody should have got.
    """

    acts: list[Act] = field(default_factory=list)
    touched: dict[UUID, Kept | None] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, act: Act) -> None:
        """Remember an operation."""
        with self.lock:
            self.acts.append(act)

    def note_odd(self, what: str) -> None:
        """Remember an answer that should not be."""
        with self.lock:
            self.odd.append(what)

    def note_now(self, record_id: UUID, kept: Kept | None) -> None:
        """Remember what a record must be now."""
        with self.lock:
            self.touched[record_id] = kept

    def settle(self, act: Act, *, done: bool) -> None:
        """Say of an unknown operation what became of it."""
        with self.lock:
            place = self.acts.index(act)
            if done:
                self.acts[place] = replace(act, told=Told.DONE, settled=True)
            else:
                del self.acts[place]

    def of(self, *told: Told) -> Sequence[Act]:
        """Return the operations that were answered so."""
        return [one for one in self.acts if one.told in told]
