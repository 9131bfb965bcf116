"""How fast a long work goes on beside requests, and how far it is."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

Progress = Callable[[str, int, int | None], object]
"""Told a step, how much of it is done, and of how much, where that is known."""

SLOWEST_PER_S: Final = 100
"""Slower, a transaction would idle between two pages of it until the database ends it."""


class Pace:
    """Counts what is done, says so, and rests where it went faster than it may.

    most_per_s: rows of any kind in a second, at least `SLOWEST_PER_S`; None: as fast as it goes.
    """

    def __init__(self, most_per_s: float | None = None, *, progress: Progress = lambda *_: None) -> None:
        self._most_per_s = most_per_s
        self._progress = progress
        self._started = time.monotonic()
        self._all = 0
        self.done: dict[str, int] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._started

    async def note(self, step: str, count: int, total: int | None = None) -> None:
        """Note that so many more rows of a step are done."""
        self._all += count
        self.done[step] = self.done.get(step, 0) + count
        self._progress(step, self.done[step], total)
        if self._most_per_s is not None:
            await asyncio.sleep(max(0.0, self._all / self._most_per_s - self.elapsed_s))
