"""A journal that knows when: what must be there, and what must not, in a database as of one moment.

Each writer does one thing after the other. What was acknowledged before the moment must be there; what was begun after
it must not; and of what was under way at it, one thing of each writer, either may be.
"""

import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from drills.journal import Act, Kept, Round


@dataclass(frozen=True, slots=True)
class _Told:
    """What a writer was told, by its thread. record_id: None where no record came to be otherwise."""

    thread: int
    at: float
    record_id: UUID | None = None
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class AsOf:
    """What records must be at a moment.

    must: each that a writer touched before it, as it was acknowledged; None where it must be gone. may: what became of
    those that were under way, instead. acknowledged: how many changes were by then. after: how many were afterwards.
    """

    must: dict[UUID, Kept | None]
    may: dict[UUID, Kept | None]
    acknowledged: int
    after: int


@dataclass
class TimedRound(Round):
    """A round of which it is known when each thing was acknowledged, by the clock that the database has as well."""

    told: list[_Told] = field(default_factory=list)

    def note(self, act: Act) -> None:
        """Remember an operation, and when it was answered."""
        super().note(act)
        with self.lock:
            self.told.append(_Told(threading.get_ident(), time.time()))

    def note_now(self, record_id: UUID, kept: Kept | None) -> None:
        """Remember what a record must be now, and since when."""
        super().note_now(record_id, kept)
        with self.lock:
            self.told.append(_Told(threading.get_ident(), time.time(), record_id, kept))

    def as_of(self, moment: float) -> AsOf:
        """Return what must be, and may be, at a moment, in seconds since 1970."""
        must: dict[UUID, Kept | None] = {}
        may: dict[UUID, Kept | None] = {}
        acknowledged = after = 0
        before: dict[int, float] = {}
        for one in sorted(self.told, key=lambda told: told.at):
            began = before.get(one.thread, 0.0)
            before[one.thread] = one.at
            if one.record_id is None:
                continue
            if one.at <= moment:
                must[one.record_id] = one.kept
                acknowledged += 1
            else:
                after += 1
                if began <= moment:
                    may[one.record_id] = one.kept
                    must.setdefault(one.record_id, None)
        return AsOf(must, may, acknowledged, after)
