"""Who may be answered from a standby, and with what: nobody who did not ask for it.

A client says by a header how old the data may be that it is shown, in seconds. While there is a primary, who asks and
what they may is read there, and of a query the rest from a standby that has replayed all that was on the primary's disk
by then: it spares the primary, and shows nothing that was revoked before it was asked. Where no server takes writes,
nothing is revoked either, as far as this process can see; for as long as the client and the operator allow, all of a
query is read from a standby that is as far as the primary was when it was last seen. Nothing else is: what opens a
confidential value has to be noted, and can't be.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from models.cluster import Cluster, timeline_of
from models.errors import InvalidInputError, UnavailableError
from models.reading import OneStatement
from models.staleness import Stale, read_from_standby, reading, staleness
from models.transaction import Tenant

LONGEST_S: Final = 86_400
"""Seconds that a client may name."""
_POSITION: Final = """
    select pg_walfile_name(pg_current_wal_lsn()) as wal_file,
           (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::numeric as position
"""

_most: ContextVar[int | None] = ContextVar("most_stale", default=None)


class StaleReads:
    """What a process may answer from standbys.

    cluster: the servers of the database; None where there is one alone. longest_s: seconds after the primary was last
        seen for which anything is read without it.
    """

    def __init__(self, cluster: Cluster | None = None, *, longest_s: float = 0) -> None:
        self._cluster = cluster if cluster is not None and cluster.has_several else None
        self._longest_s = longest_s

    @property
    def is_read_only(self) -> bool:
        """Whether no server takes writes, and queries that may be stale are answered."""
        cluster = self._cluster
        return cluster is not None and cluster.is_lost and cluster.silent_for_s <= self._longest_s

    @contextmanager
    def allowing(self, said: str | None) -> Iterator[None]:
        """Answer a request in the block, by what its header says of how old the data may be.

        Raises:
            InvalidInputError: the header is no number of seconds.
        """
        most_s = _seconds(said)
        token = _most.set(most_s)
        try:
            with reading(self._without_primary(most_s)):
                yield
        finally:
            _most.reset(token)

    async def spare_primary(self) -> bool:
        """Have a query that may be stale read the rest of what it reads from a standby, if there is one.

        Returns whether it may be; the primary is read all the same where no standby is far enough.
        """
        if self._cluster is None or _most.get() is None or staleness() is not None or self._cluster.is_lost:
            return False
        try:
            async with OneStatement(Tenant()) as connection:
                row = await connection.fetchrow(_POSITION)
        except UnavailableError:
            return False
        assert row is not None
        read_from_standby(Stale(timeline_of(row["wal_file"]), int(row["position"]), or_primary=True))
        return True

    def age_s(self) -> int | None:
        """Return how many seconds old at the most it is what the request read from a standby; None where it did not."""
        stale = staleness()
        if self._cluster is None or stale is None or not stale.is_from_standby:
            return None
        return 0 if stale.or_primary else math.ceil(self._cluster.silent_for_s)

    def _without_primary(self, most_s: int | None) -> Stale | None:
        cluster = self._cluster
        if cluster is None or most_s is None or not self.is_read_only or cluster.silent_for_s > most_s:
            return None
        return Stale(cluster.timeline, cluster.position, or_primary=False)


def _seconds(said: str | None) -> int | None:
    if said is None:
        return None
    text = said.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or int(text) > LONGEST_S:
        raise InvalidInputError(f"Fieldward-Max-Staleness: expected seconds, a whole number up to {LONGEST_S}.")
    return int(text)
