"""Watching over backups: an incident where the newest is too old, one is kept too long, or WAL is not archived.

None of these comes from the trail. What of the backups is known is handed in; archiving is asked of the database, of
whichever there is.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.incident_judging import Judge, note_of_installation
from resolvers.incident_rule import ARCHIVING_BEHIND, BACKUP_BEHIND, BACKUP_KEPT_TOO_LONG

WATCH_BACKUPS: Final = "watch_backups"
"""The background job's name."""
EVERY_S: Final = 60.0
"""Seconds between two looks."""
MOST_WAITING: Final = 3
"""Segments of WAL that wait while an archiver is at work, without that being a sign of anything."""

_ARCHIVER: Final = r"""
    select current_setting('archive_mode') <> 'off' and not pg_is_in_recovery() as is_on,
           a.last_archived_time as archived_at, a.failed_count as failures,
           coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) as is_failing,
           case when pg_is_in_recovery() or coalesce(a.last_archived_wal !~ '^[0-9A-F]{24}$', true) then 0 else
             div(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'), s.size)
             - (('x' || substr(a.last_archived_wal, 9, 8))::bit(32)::bigint * div(4294967296, s.size)
                + ('x' || substr(a.last_archived_wal, 17, 8))::bit(32)::bigint) - 1
           end::bigint as waiting
      from pg_stat_archiver a, (select pg_size_bytes(current_setting('wal_segment_size'))::numeric as size) s
"""


@dataclass(frozen=True, slots=True)
class BackupAges:
    """When the newest backup was made, or archiving began where there is none yet; and the oldest, if there is one."""

    newest_at: datetime
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class ArchiverState:
    """What PostgreSQL says of its archiving. waiting: whole segments that are not archived yet."""

    is_on: bool
    archived_at: datetime | None
    failures: int
    is_failing: bool
    waiting: int


async def archiver_state() -> ArchiverState:
    """Return what PostgreSQL says of its archiving now. Raises `UnavailableError`."""
    async with OneStatement(Tenant()) as connection:
        [row] = await connection.fetch(_ARCHIVER)
    return ArchiverState(**row)


class ArchivingWatch:
    """Knows for how long WAL has waited without any being archived, as long as it is asked. One for a process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting_since: float | None = None
        self._archived_at: datetime | None = None

    def lag_s(self, state: ArchiverState) -> float:
        """Return for how many seconds it has, as of this look; 0 where nothing waits."""
        is_stuck = state.is_on and (state.is_failing or state.waiting > MOST_WAITING)
        if not is_stuck or self._archived_at != state.archived_at:
            self._archived_at, self._waiting_since = state.archived_at, None
        if is_stuck and self._waiting_since is None:
            self._waiting_since = self._clock()
        return 0.0 if self._waiting_since is None else self._clock() - self._waiting_since


async def note_backups(judging: Judge, ages: BackupAges | None, archiving_lag_s: float, *, now: datetime) -> int:
    """Open an incident for each thing that is behind, unless there is one that is not closed; return how many.

    ages: None where the backups are another tool's.

    Raises:
        UnavailableError: the database is away.
    """
    limits = judging.thresholds
    behind = [ARCHIVING_BEHIND] if archiving_lag_s >= limits.archiving_lag_s else []
    if ages is not None:
        if (now - ages.newest_at).total_seconds() >= limits.backup_age_h * 3600:
            behind.append(BACKUP_BEHIND)
        if ages.oldest_at is not None and (now - ages.oldest_at).total_seconds() >= limits.backup_kept_days * 86_400:
            behind.append(BACKUP_KEPT_TOO_LONG)
    return sum([len((await note_of_installation(judging, rule)).opened) for rule in behind])
