"""How much one caller may ask for in a while: a bucket of requests and one of what they cost, which fill steadily; and
how much of it at the same time.

Counted in memory, by each process for itself, and ended with it: a caller costs no statement. How guesses at passwords
and codes are slowed down is apart (`resolvers/throttle.py`), and counted in the database.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from auth.errors import RateLimitedError

WINDOW_S: Final = 60
"""Seconds in which a bucket that is empty is full again."""
MOST_CALLERS: Final = 50_000
"""Callers that are told apart; the one not seen for longest makes room, and begins anew."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller may ask for in `WINDOW_S`: requests, cost; at_once: how many operations are worked on at a time.
    None for any number.
    """

    requests: int | None
    cost: int | None
    at_once: int | None = None


class OverspentError(RateLimitedError):
    """A caller asked for more than their quota in a while."""

    noted = detail = "QUOTA_SPENT"


class TooManyAtOnceError(RateLimitedError):
    """A caller asks for more while as much of theirs is being worked on as may be."""

    noted = detail = "TOO_MANY_AT_ONCE"


class _Bucket:
    """So many units, of which some are left."""

    __slots__ = ("_at", "_left", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self._left = float(size)
        self._at = now

    def fill(self, now: float) -> float:
        """Return how much is left, with what came back since the last time."""
        self._left = min(self.size, self._left + (now - self._at) * self.size / WINDOW_S)
        self._at = now
        return self._left

    def take(self, amount: float) -> None:
        """Take away what is known to be there."""
        self._left -= amount

    def give(self, amount: float) -> None:
        """Add so much, up to the bucket's size."""
        self._left = min(self.size, self._left + amount)

    def wait_s(self, amount: float) -> int:
        """Return after how many seconds that much is there."""
        return max(1, math.ceil((amount - self._left) * WINDOW_S / self.size))


class Allowance:
    """One caller's. Whoever has it may ask, as long as there is something left."""

    __slots__ = ("_at_once", "_clock", "_cost", "_requests", "_running")

    def __init__(self, quota: Quota, clock: Callable[[], float]) -> None:
        now = clock()
        self._clock = clock
        self._requests = None if quota.requests is None else _Bucket(quota.requests, now)
        self._cost = None if quota.cost is None else _Bucket(quota.cost, now)
        self._at_once = quota.at_once
        self._running = 0

    @property
    def is_at_work(self) -> bool:
        """Whether something of theirs is being worked on."""
        return self._running > 0

    def __enter__(self) -> None:
        """Take a place for an operation, while the block lasts.

        Raises:
            TooManyAtOnceError: all are taken. Nothing is counted.
        """
        if self._at_once is not None and self._running >= self._at_once:
            raise TooManyAtOnceError(
                f"At most {self._at_once} operations of yours are worked on at a time. Wait for one of them to end.",
                retry_after_s=1,
            )
        self._running += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running -= 1

    def ask(self) -> None:
        """Count a request. Raises `OverspentError`, and counts nothing, where none is left."""
        _take(self._requests, 1, self._clock(), "requests")

    def spend(self, cost: int) -> None:
        """Count what an operation costs, before it runs. Raises `OverspentError` where so much is not left.

        What costs more than the whole quota takes all of it.
        """
        if self._cost is not None:
            _take(self._cost, min(cost, self._cost.size), self._clock(), "what operations cost")

    def give_back(self, cost: int) -> None:
        """Take back that something was spent: it was for nothing."""
        if self._cost is not None:
            self._cost.give(min(cost, self._cost.size))

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what an answer says of the quota and of what is left of it; nothing where there is none.

        Standard: draft-ietf-httpapi-ratelimit-headers-10. `t` is when all of it is there again.
        """
        now = self._clock()
        policies, states = [], []
        for name, unit, bucket in (("requests", "requests", self._requests), ("cost", "cost", self._cost)):
            if bucket is not None:
                left = bucket.fill(now)
                full_s = math.ceil((bucket.size - left) * WINDOW_S / bucket.size)
                policies.append(f'"{name}";q={bucket.size};qu="{unit}";w={WINDOW_S}')
                states.append(f'"{name}";r={math.floor(left)};t={full_s}')
        if not policies:
            return []
        return [
            (b"ratelimit-policy", ", ".join(policies).encode()),
            (b"ratelimit", ", ".join(states).encode()),
        ]


class Allowances:
    """The allowances of all callers of a process."""

    def __init__(self, quota: Quota, anonymous: Quota, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota = quota
        self._anonymous = anonymous
        self._clock = clock
        self._kept: OrderedDict[Hashable, Allowance] = OrderedDict()

    def of_principal(self, caller: Hashable) -> Allowance:
        """Return the allowance of somebody who is signed in, or of a program."""
        return self._of(("principal", caller), self._quota)

    def of_network(self, network: bytes) -> Allowance:
        """Return the allowance of all from a network who are not signed in (`resolvers/throttle.py: network_of`)."""
        return self._of(("network", network), self._anonymous)

    def _of(self, key: Hashable, quota: Quota) -> Allowance:
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = Allowance(quota, self._clock)
            if len(self._kept) > MOST_CALLERS:
                self._forget_one()
        self._kept.move_to_end(key)
        return found

    def _forget_one(self) -> None:
        """Forget the caller not seen for longest, and none who is at work: forgotten, they had all of it again."""
        key, oldest = self._kept.popitem(last=False)
        if oldest.is_at_work:
            self._kept[key] = oldest


def _take(bucket: _Bucket | None, amount: int, now: float, what: str) -> None:
    if bucket is None:
        return
    if bucket.fill(now) < amount:
        wait_s = bucket.wait_s(amount)
        raise OverspentError(f"Too much was asked for in a while: {what}. Try again later.", retry_after_s=wait_s)
    bucket.take(amount)
