"""The jobs around backups: noting what lets somebody in, outside of the database, and watching how old backups are."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from fieldward.background import Job
from fieldward.backup.barman import CENSUSES
from fieldward.backup.catalogue import backups_of
from fieldward.backup.error import BackupError
from fieldward.backup.line import noted_line, write_whole
from fieldward.backup.restoring import WAYS_IN
from fieldward.settings import Settings
from models.encryption.keystore import KeyStore
from resolvers.backup_watch import WATCH_BACKUPS, ArchivingWatch, BackupAges, archiver_state, note_backups
from resolvers.incident_judging import Judge
from resolvers.way_in import NOTE_WAYS_IN, WaysIn, ways_in

log = structlog.get_logger()


def backup_jobs(
    store: KeyStore,
    settings: Settings,
    judging: Judge,
    *,
    leads: Callable[[], Awaitable[bool]],
    alarm: Callable[[], None],
) -> Mapping[str, Job]:
    """Return the jobs, by their names.

    leads: says whether this process does what only one of several need do. alarm: has alarms sent at once.
    """
    watch = ArchivingWatch()
    note = WaysInNote(settings.data_directory, settings.backup_directory if settings.is_embedded else None)

    async def watch_backups() -> bool:
        if await leads():
            lag_s = watch.lag_s(await archiver_state())
            ages = await asyncio.to_thread(ages_of, settings)
            if opened := await note_backups(judging, ages, lag_s, now=datetime.now(UTC)):
                log.warning("incidents_opened", count=opened)
                alarm()
        return False

    async def note_ways_in() -> bool:
        await note.write(store)
        return False

    return {WATCH_BACKUPS: watch_backups, NOTE_WAYS_IN: note_ways_in}


class WaysInNote:
    """The note of what lets somebody in: in the data directory, and among the backups where there are any."""

    def __init__(self, data_directory: Path, backups: Path | None) -> None:
        self._path = data_directory / WAYS_IN
        self._copy = None if backups is None else backups / WAYS_IN

    async def write(self, store: KeyStore) -> None:
        """Write down what stands now, unless the database was set back since the last time: then the note knows what
        the database has forgotten, and it stays until somebody has settled that.

        Raises:
            UnavailableError: a database is away.
        """
        now = await ways_in(store)
        before = newest_note([self._path])
        if before is not None and before.is_set_back(now):
            log.error("ways_in_not_noted")
            return
        content = now.to_json()
        await asyncio.to_thread(write_whole, self._path, content)
        if self._copy is not None:
            try:
                await asyncio.to_thread(write_whole, self._copy, content)
            except OSError as error:
                log.error("ways_in_not_copied", failure=type(error).__name__)

    async def begin_anew(self, store: KeyStore) -> None:
        """Write down what stands now, whatever stood before: it was settled."""
        await asyncio.to_thread(write_whole, self._path, (await ways_in(store)).to_json())


def newest_note(paths: list[Path]) -> WaysIn | None:
    """Return the newest of the notes that there are; None where there is none, or none that can be read and believed.

    One is believed that nobody could have written but us, root, or who owns the directory that it lies in, and could
    put another in its place.
    """
    found = []
    for path in paths:
        try:
            found.append(WaysIn.of_json(_read_own(path)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            log.error("ways_in_not_read", failure=type(error).__name__)
    return max(found, key=lambda one: one.at, default=None)


def _read_own(path: Path) -> bytes:
    """Return what a file holds. Raises `ValueError` if somebody else can write it, `OSError` if it can't be read."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid(), path.parent.stat().st_uid):
            raise ValueError(f"The note {path} can be written by others than its owner, or is another's.")
        return file.read()


def ages_of(settings: Settings) -> BackupAges | None:
    """Return how old the backups are; None where there are to be none that we know of.

    Of Barman's it is known when the newest was begun, by the census that its hook keeps, and of no older one.
    """
    if settings.backup_directory is None:
        return None
    if not settings.is_embedded:
        return _barman_ages(settings.backup_directory) if settings.barman_names else None
    try:
        line = noted_line(settings.data_directory, settings.backup_directory)
        if line is None:
            raise BackupError("What the database is archived to is not there, as where a disk is not mounted.")
        made = [one.started_at for one in backups_of(line)]
        return BackupAges(max(made, default=line.begun_at), min(made, default=None))
    except (BackupError, OSError) as error:
        # What can't be read is no backup: as old as can be.
        log.error("backups_not_read", failure=type(error).__name__)
        return BackupAges(datetime.fromtimestamp(0, UTC), None)


def _barman_ages(kept: Path) -> BackupAges:
    try:
        censuses = [one.stat().st_mtime for one in kept.glob(CENSUSES)]
    except OSError as error:
        log.error("backups_not_read", failure=type(error).__name__)
        censuses = []
    return BackupAges(datetime.fromtimestamp(max(censuses, default=0), UTC), None)
