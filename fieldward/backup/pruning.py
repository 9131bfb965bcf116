"""Deleting backups, and the WAL that none of those that stay needs.

Every backup of the embedded database holds keys, so that it is kept for 30 days at the most: what was erased is then
gone from all of them. The newest is kept although it is too old, for there would be none; whoever prunes is told.
"""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fieldward.backup.catalogue import GOING, Backup, backups_in
from fieldward.backup.line import COMPRESSED, Line, lines_of, locked, noted_line, sync_directory
from fieldward.backup.making import clear_half_made
from fieldward.backup.wal import Segment, archived, path_of

_LEFT_BEHIND_S: Final = 3600.0
"""Seconds after which what an archiver began and did not finish was left behind."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted. segments: of archived WAL. too_old: the newest backup, where it is older than it may be."""

    backups: Sequence[str]
    segments: int
    too_old: str | None


def prune(backups: Path, *, data_directory: Path, now: datetime, keep: timedelta) -> Pruned:
    """Delete what began longer ago than `keep`, but for the newest backup, and the WAL before what stays.

    Raises:
        BackupError: there are no backups there, or others work on them.
        DamagedBackupError: a backup does not say how old it is.
    """
    with locked(backups):
        clear_half_made(backups)
        found = backups_in(backups)
        old = [one for one in found if one.started_at < now - keep]
        is_newest_old = bool(found) and len(old) == len(found)
        going = old[:-1] if is_newest_old else old
        for one in going:
            _delete(one)
        kept = [one for one in found if one not in going]
        current = noted_line(data_directory, backups)
        segments = sum(_prune_wal(line, kept, current, now - keep) for line in lines_of(backups))
    return Pruned([one.id for one in going], segments, old[-1].id if is_newest_old else None)


def _delete(one: Backup) -> None:
    # It has lost its name before its first file is gone: what is half there is not taken for whole.
    going = one.directory.with_name(f"{one.id}{GOING}")
    one.directory.rename(going)
    sync_directory(one.line.base)
    shutil.rmtree(going)


def _prune_wal(line: Line, kept: Sequence[Backup], current: Line | None, before: datetime) -> int:
    """Delete what no backup of the line needs; a line without any, unless it is the one that goes on."""
    needed = [one.first for one in kept if one.line == line]
    for left in line.wal.glob(".*"):
        if left.stat().st_mtime < time.time() - _LEFT_BEHIND_S:
            left.unlink(missing_ok=True)
    if needed:
        return _delete_segments(line, [one for one in archived(line, needed[0].bytes) if one < min(needed)])
    if line == current:
        # Of a database without a backup yet nothing can be restored; the next one begins later than all of this.
        return _delete_all(line, [one for one in line.wal.iterdir() if one.stat().st_mtime < before.timestamp()])
    deleted = _delete_all(line, list(line.wal.iterdir()))
    shutil.rmtree(line.directory)
    return deleted


def _delete_segments(line: Line, segments: Sequence[Segment]) -> int:
    return _delete_all(line, [path_of(line, one) for one in segments])


def _delete_all(line: Line, paths: Sequence[Path]) -> int:
    for path in paths:
        path.unlink(missing_ok=True)
    sync_directory(line.wal)
    return len([one for one in paths if one.name.endswith(COMPRESSED)])
