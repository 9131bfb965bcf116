"""How long an operation may take in all: longer than one statement may, and not as long as many of them.

Whoever asks for little of much, or whose values take long to open, holds a connection as surely as a slow statement
does. What is being committed is never cut: it is known what became of it, or said that it is not.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final

from models.errors import UnavailableError

_ends_at: Final[ContextVar[float | None]] = ContextVar("ends_at", default=None)
"""When the operation of the running task is over at the latest, by the event loop's clock."""


class OverdueError(UnavailableError):
    """An operation took longer than it may. Nothing of the change that it was at was kept."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Have what the block starts by `within_deadline` end after so many seconds."""
    token = _ends_at.set(asyncio.get_running_loop().time() + seconds)
    try:
        yield
    finally:
        _ends_at.reset(token)


def has_deadline() -> bool:
    """Return whether the running task is at an operation whose time is bounded."""
    return _ends_at.get() is not None


@asynccontextmanager
async def within_deadline() -> AsyncIterator[None]:
    """Cancel the block where the operation's time is over; where it has none, let it take as long as it takes.

    Raises:
        OverdueError: it is over.
    """
    ends_at = _ends_at.get()
    if ends_at is None:
        yield
        return
    try:
        async with asyncio.timeout_at(ends_at) as timeout:
            yield
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise OverdueError("The operation took too long. Ask for less at once, or try again.") from error
