"""How many requests a process works on at a time. Whoever comes while that many are at work is told to come again.

What is told costs nearly nothing: it is said before anything of the request is read (`fieldward/web/protocol.py`), so
that a flood leaves the process to those who are in. A request counts from when all of it is there until it is answered:
who sends slowly takes no place.
"""

import random
import time
from types import TracebackType
from typing import Final

import orjson
import structlog

from auth.errors import Code
from schema.negotiation import JSON
from schema.transport import RefusedError

log = structlog.get_logger()

SAID: Final = "The service has too much to do. Try again in a moment."
LONGEST_WAIT_S: Final = 3
"""Seconds after which those who were sent away come again, at the latest: not all of them in the same moment."""
TOLD_EVERY_S: Final = 10.0
"""Seconds between two lines in the log about a flood."""

BODY: Final = orjson.dumps({"errors": [{"message": SAID, "extensions": {"code": Code.UNAVAILABLE}}]})
MEDIA_TYPE: Final = JSON


class Admission:
    """The places of a process: `with` it, a request has one.

    most: how many there are.
    in_progress: how many are taken. turned_away: how many were told to come again, ever.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.in_progress = 0
        self.turned_away = 0
        self._told_at = -TOLD_EVERY_S
        self._untold = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no place."""
        return self.in_progress >= self.most

    def __enter__(self) -> None:
        """Take a place. Raises `RefusedError` where there is none."""
        if self.in_progress >= self.most:
            wait_s = self.turn_away()
            raise RefusedError(503, SAID, Code.UNAVAILABLE, headers=((b"retry-after", b"%d" % wait_s),))
        self.in_progress += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.in_progress -= 1

    def turn_away(self) -> int:
        """Count somebody who is told to come again, and return after how many seconds."""
        self.turned_away += 1
        self._untold += 1
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            log.warning("requests_turned_away", count=self._untold, in_progress=self.in_progress)
            self._told_at, self._untold = now, 0
        return random.randint(1, LONGEST_WAIT_S)  # noqa: S311  (spreads those who come again; nothing is guarded)
