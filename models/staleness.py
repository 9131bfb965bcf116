"""Reading from a standby: how far one must have come before it is read, and that nothing else is.

A standby shows what its primary committed, a moment later. Who reads there says from which position of the log on, and
waits until that is replayed: what was committed before it, and with it whatever was revoked before it, is seen.

A position alone does not say so. A server that was the primary, was cut off and stepped down follows nobody, and its
log may be longer than the new primary's, by what no other server ever had. So the log must be on the primary's timeline
besides. A server notes late that it has come to one; until it has, it is not read.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from models.cluster import NoStandbyError

LONGEST_REPLAY_S: Final = 0.25
"""Seconds that a standby is given to come as far as it must."""
_ROUND_S: Final = 0.01
_PROGRESS: Final = """
    select pg_is_in_recovery() as follows,
           pg_last_wal_replay_lsn() >= '0/0'::pg_lsn + $1::numeric
           and greatest(
               (select timeline_id from pg_control_checkpoint()),
               (select min_recovery_end_timeline from pg_control_recovery())
           ) >= $2 as is_there
"""


@dataclass(frozen=True, slots=True)
class Stale:
    """That what is read may be read from a standby which has replayed the log of `timeline` up to `position`.

    or_primary: whether the primary is read where no standby is that far; else nothing is read.
    """

    timeline: int
    position: int
    or_primary: bool
    _reads: list[None] = field(default_factory=list, compare=False, repr=False)

    @property
    def is_from_standby(self) -> bool:
        """Whether something was read from a standby."""
        return bool(self._reads)

    def note(self) -> None:
        """Remember that a standby is read."""
        self._reads.append(None)

    async def reach(self, connection: asyncpg.Connection) -> None:
        """Return as soon as the standby of a connection has come as far as it must.

        Raises:
            TimeoutError: it has not, in `LONGEST_REPLAY_S`.
            NoStandbyError: it follows no other server any more. The connection is ended.
        """
        async with asyncio.timeout(LONGEST_REPLAY_S):
            while True:
                row = await connection.fetchrow(_PROGRESS, self.position, self.timeline)
                if row is None or not row["follows"]:
                    connection.terminate()
                    raise NoStandbyError("The server is no standby any more.")
                if row["is_there"]:
                    return
                await asyncio.sleep(_ROUND_S)


_staleness: ContextVar[Stale | None] = ContextVar("staleness", default=None)


def staleness() -> Stale | None:
    """Return from which standbys the running request may read; None where it reads from the primary."""
    return _staleness.get()


@contextmanager
def reading(stale: Stale | None) -> Iterator[None]:
    """Have what is read within the block be read there."""
    token = _staleness.set(stale)
    try:
        yield
    finally:
        _staleness.reset(token)


def read_from_standby(stale: Stale) -> None:
    """Have what is read from here on be read from a standby, until the block of `reading` around it ends."""
    _staleness.set(stale)
