"""What a process counts of its requests: how many, how they ended, how long they took.

Counting is a look into a dictionary and an addition. What is counted by is from short lists of our own, never a name or
an id that a client gives, so that there are as many series after a year as after a day.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds up to which a duration falls into each bucket; above the last there is one more."""


class Ended(NamedTuple):
    """By what requests are counted.

    route: the address as it is declared, never as it was asked for. kind: query or mutation where an operation ran;
    none where none did. status: of HTTP, its first digit.
    """

    route: str
    kind: str
    status: int


class Durations:
    """How long requests took: how many fell into each bucket, and the sum in seconds."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    def add(self, others: "Durations") -> None:
        """Take in those that were counted by themselves."""
        self.buckets = [one + other for one, other in zip(self.buckets, others.buckets, strict=True)]
        self.total_s += others.total_s

    @property
    def cumulative(self) -> Sequence[tuple[float | None, int]]:
        """How many took as long as each bound, or less; None is no bound."""
        found, so_far = [], 0
        for bound, count in zip((*BOUNDS_S, None), self.buckets, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found


class Meter:
    """The counts of one process.

    in_progress: how many requests are being answered.
    """

    __slots__ = ("_ended", "_refusals", "in_progress")

    def __init__(self) -> None:
        self.in_progress = 0
        self._ended: dict[tuple[str, str, int], Durations] = {}
        self._refusals: Counter[str] = Counter()

    @property
    def ended(self) -> Mapping[Ended, Durations]:
        """The requests that have ended."""
        return {Ended(*key): durations for key, durations in self._ended.items()}

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often each code was answered."""
        return self._refusals

    def note(self, route: str, kind: str, status: int, took_s: float) -> None:
        """Count a request that has ended. status: of HTTP, all three digits."""
        key = (route, kind, status // 100)
        durations = self._ended.get(key)
        if durations is None:
            durations = self._ended[key] = Durations()
        durations.buckets[bisect_left(BOUNDS_S, took_s)] += 1
        durations.total_s += took_s

    def refuse(self, code: str) -> None:
        """Count an error that was answered, by its code (`auth/errors.py: Code`)."""
        self._refusals[code] += 1
