"""Keeps refused attempts from flooding the trail: the first of a kind are written one by one, the rest are counted.

Whoever can make the server refuse them, signed in or not, could otherwise fill the disk. What was counted is in the
next entry of its kind: `repeated` says how many came before it without an entry. Counts are in memory, and end with it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

WRITTEN_EACH: Final = 20
"""Attempts of one kind that are written in each window."""
WINDOW_S: Final = 60.0
MOST_KINDS: Final = 10_000
"""Kinds that are told apart; the one not seen for longest makes room, and counts no more."""


@dataclass(slots=True)
class _Kind:
    since: float
    written: int = 0
    counted: int = 0


class Floodgate:
    """Says of each attempt whether it is written. One per process; holds no data of anybody's but counts."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: OrderedDict[Hashable, _Kind] = OrderedDict()

    def admit(self, kind: Hashable) -> int | None:
        """Return how many attempts of this kind were only counted since its last entry; None: count this one too."""
        now = self._clock()
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(since=now)
            if len(self._kinds) > MOST_KINDS:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(kind)
        if now - found.since >= WINDOW_S:
            found.since, found.written = now, 0
        if found.written >= WRITTEN_EACH:
            found.counted += 1
            return None
        found.written += 1
        repeated, found.counted = found.counted, 0
        return repeated
