"""What is counted of backups: how old they are, and how archiving goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resolvers.backup_watch import BackupAges, archiver_state


@dataclass(frozen=True, slots=True)
class BackupFigures:
    """newest_age_s, oldest_age_s: of backups; None where they are another tool's, or there is none. Of the newest it is
    since archiving began, where there is none yet.

    archived_age_s: since the last segment was archived, which on an idle database may be long ago; None where none was.
    archive_failures: attempts to archive that came to nothing. is_archiving: whether PostgreSQL archives at all.
    """

    newest_age_s: float | None
    oldest_age_s: float | None
    is_archiving: bool
    is_archiving_failing: bool
    archive_failures: int
    waiting_segments: int
    archived_age_s: float | None


SAID: Final[Mapping[str, str]] = {
    "newest_age_s": "How old the newest backup is; where there is none yet, since when there should be.",
    "oldest_age_s": "How old the oldest backup is that is kept.",
    "is_archiving": "Whether PostgreSQL archives its WAL.",
    "is_archiving_failing": "Whether the last attempt to archive a segment came to nothing.",
    "archive_failures": "Attempts to archive that came to nothing, since PostgreSQL's counts began.",
    "waiting_segments": "Whole segments of WAL that are not archived yet.",
    "archived_age_s": "How long ago the last segment was archived.",
}
"""What each of the figures is."""


async def backup_figures(ages: BackupAges | None, *, now: datetime) -> BackupFigures:
    """Return what is counted now.

    Raises:
        UnavailableError: the database is away.
    """
    state = await archiver_state()

    def age_s(at: datetime | None) -> float | None:
        return None if at is None else (now - at).total_seconds()

    return BackupFigures(
        newest_age_s=age_s(ages.newest_at) if ages is not None else None,
        oldest_age_s=age_s(ages.oldest_at) if ages is not None else None,
        is_archiving=state.is_on,
        is_archiving_failing=state.is_failing,
        archive_failures=state.failures,
        waiting_segments=max(0, state.waiting),
        archived_age_s=age_s(state.archived_at),
    )
