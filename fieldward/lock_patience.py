"""Migrations that wait for locks briefly, and let others go first.

A statement that wants a table for itself alone stands in the queue for its lock, and everybody who comes after it,
readers too, stands behind. So it waits for `FIELDWARD_MIGRATION_LOCK_TIMEOUT_S` and no longer; then the migration is
rolled back, others have their turn, and it is tried again. How long it may hold what it got is for its own text
(docs/operations.md, and the tests that hold each migration to it).
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
import structlog

from models.errors import UnavailableError

log = structlog.get_logger()

FIRST_WAIT_S: Final = 0.25
LONGEST_WAIT_S: Final = 15.0
"""Seconds between two attempts: each wait is twice as long as the one before, up to this."""
WAITED_TOO_LONG: Final = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
"""What a statement raises that did not get its lock."""


async def with_patience(
    attempt: Callable[[], Awaitable[None]],
    current: Callable[[], str],
    *,
    attempts: int,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Migrate, again and again where a lock is not to be had.

    attempt: applies what is not applied yet. current: the migration that it is at; each has so many attempts.

    Raises:
        UnavailableError: one was tried so often. It did not happen, and those before it did.
    """
    tried: dict[str, int] = {}
    while True:
        try:
            await attempt()
            return
        except WAITED_TOO_LONG as error:
            name = current()
            tried[name] = tried.get(name, 0) + 1
            if tried[name] >= attempts:
                raise UnavailableError(
                    f"The migration {name} did not get its locks in {attempts} attempts, and was not applied."
                    " Somebody holds a table for long: pg_stat_activity says who. Run it again."
                ) from error
            longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tried[name] - 1))
            wait_s = longest * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
            log.warning("migration_waits", migration=name, attempt=tried[name], wait_s=round(wait_s, 2))
            await sleep(wait_s)
