"""Restoring a backup of the embedded database into a directory of its own, to a moment or to the newest WAL there is.

The directory is marked as unfinished from its first file on. No server takes it until everything in it that must not
work again has ended (`resolvers/restore_settling.py`) and, where it is checked, that came out right. PostgreSQL replays
the WAL; what is given to it is the archive without a gap from the backup on. Who restores needs what no backup has: the
key-encryption key and the key that signs the trail.
"""

import asyncio
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldward.backup.catalogue import Backup
from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.backup.line import sync_directory, write_whole
from fieldward.backup.manifest import read_manifest, verify_files, verify_wal
from fieldward.backup.wal import Run, opened, run_from
from fieldward.container import DESTRUCTIONS
from fieldward.embedded import UNCHECKED, UNFINISHED_RESTORE, EmbeddedPostgres, EmbeddedPostgresError
from fieldward.embedded_roles import load_passwords
from fieldward.os_access import DatabaseUser, database_user
from resolvers.key_rotation import Progress

LONGEST_RECOVERY_S: Final = 7 * 24 * 3600
"""Seconds that PostgreSQL may take to replay the WAL: as long as it goes on, it is not hurried."""
WRAPPING_KEY: Final = "key-encryption-key"
SIGNING_KEY: Final = "audit-signing-key.pem"
SIGNED_HEADS: Final = "signed-heads.sqlite"
WAYS_IN: Final = "ways-in.json"

_HBA: Final = "restoring-hba.conf"
_PIECE: Final = 8 * 1024 * 1024
_STOPPED: Final = re.compile(r"last completed transaction was at log time (.+)")
_NOT_REACHED: Final = "recovery ended before configured recovery target was reached"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What PostgreSQL came to. last_transaction_at: when the last transaction that is there was committed; None where
    there was none after the backup. segments: of the archive that it was given."""

    last_transaction_at: datetime | None
    segments: int


def require_empty(into: Path) -> None:
    """Raise `BackupError` if there is anything in the directory that is to be restored into."""
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise BackupError(f"{into} is not empty. Restore into another directory, and look at it before you go over.")


def choose_run(backup: Backup, to: datetime | None) -> Run:
    """Return the WAL that takes a backup to a moment, or to the end.

    Raises:
        BackupError: the moment lies before the backup's end.
        DamagedBackupError: a segment is missing, and the newest state is asked for.
    """
    if to is not None and to < backup.finished_at:
        raise BackupError(f"{backup.id} ends at {backup.finished_at.isoformat()}: it can't be restored to before that.")
    run = run_from(backup.line, backup.last)
    if to is None and run.missing is not None:
        raise DamagedBackupError(
            f"The archive has no segment {run.missing.name}, and some that are newer. What came before it can be"
            f" restored, by --to-time, up to about {run.newest_at or backup.finished_at}."
        )
    return run


def mark_unfinished(into: Path) -> None:
    """Make the directory that is restored into, and say of it that it is not to be served yet.

    Raises:
        OSError: it can't be made.
    """
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    (into / UNFINISHED_RESTORE).touch(mode=0o600)
    sync_directory(into)


async def copy_backup(
    backup: Backup, run: Run, into: Path, *, bin_directory: Path, progress: Progress = lambda *_: None
) -> None:
    """Copy a backup and its WAL into a directory, and verify what was copied.

    Raises:
        DamagedBackupError: a file, or a segment, is damaged.
        BackupError, OSError: it can't be copied.
    """
    user = database_user()
    data = into / "postgres"
    await asyncio.to_thread(_copy_tree, backup.files, data, user, progress)
    manifest = read_manifest(data)
    await asyncio.to_thread(verify_files, data, manifest, progress=progress)
    await verify_wal(bin_directory, data, manifest)
    await asyncio.to_thread(_copy_wal, backup, run, data / "pg_wal", user, progress)


def copy_keys(keys: Path, into: Path, *, backups: Path, needs_wrapping_key: bool, is_signed_anew: bool) -> None:
    """Copy what no backup has out of a data directory, or a copy of it: keys, signed heads, the newest log of erasures.

    is_signed_anew: the key that signed the trail is lost, and a new one may be made.

    Raises:
        BackupError: a key is not there.
    """
    needed = [WRAPPING_KEY] * needs_wrapping_key + [SIGNING_KEY] * (not is_signed_anew)
    for name in needed:
        if not (keys / name).is_file():
            raise BackupError(
                f"{keys / name} is not there. No backup has it: --keys says where the keys lie"
                + (", and --new-signing-key does without." if name == SIGNING_KEY else ".")
            )
    for name in (WRAPPING_KEY, SIGNING_KEY, DESTRUCTIONS):
        if (keys / name).is_file():
            _copy_private(keys / name, into / name)
    if not (into / DESTRUCTIONS).exists() and (backups / DESTRUCTIONS).is_file():
        _copy_private(backups / DESTRUCTIONS, into / DESTRUCTIONS)
    if (keys / SIGNED_HEADS).is_file():
        # Its owner may be at work on it.
        with closing(sqlite3.connect(f"file:{keys / SIGNED_HEADS}?mode=ro", uri=True)) as old:
            (into / SIGNED_HEADS).touch(mode=0o600)
            with closing(sqlite3.connect(into / SIGNED_HEADS)) as new:
                old.backup(new)


async def recover(into: Path, run: Run, to: datetime | None) -> Recovered:
    """Have PostgreSQL replay the WAL up to and with the last transaction before a moment, or all of it.

    Raises:
        BackupError: the moment lies after all that the archive knows, or PostgreSQL does not get there.
    """
    data = into / "postgres"
    user = database_user()
    signal = data / "recovery.signal"
    signal.touch(mode=0o600)
    # Until it is served, nobody reaches it but by its socket, whose directory is closed to others; what its superuser's
    # password was when the backup was made, nobody need know.
    hba = into / _HBA
    hba.write_text("local all all trust\n")
    for one in (signal, hba):
        _give(one, user)
    load_passwords(into / "database.json", is_first_start=True)
    settings = {
        "restore_command": "false",
        "recovery_target_timeline": "current",
        "recovery_target_action": "promote",
        "hot_standby": "off",
        "archive_mode": "off",
        "hba_file": str(hba),
        "checkpoint_timeout": "30min",
        "max_wal_size": "8GB",
        **({} if to is None else {"recovery_target_time": to.isoformat()}),
    }
    postgres = EmbeddedPostgres(into, settings=settings, start_timeout_s=LONGEST_RECOVERY_S, is_restoring=True)
    try:
        await asyncio.to_thread(postgres.start)
        await asyncio.to_thread(postgres.stop)
    except EmbeddedPostgresError as error:
        if _NOT_REACHED in _log_of(into):
            after = (
                "" if run.missing is None else f" The segment {run.missing.name} is missing, and some after it are not."
            )
            raise BackupError(
                f"The archive ends before {to}: nothing was committed after that, or it was not archived yet. --latest"
                f" restores all that there is.{after}"
            ) from error
        raise BackupError(str(error)) from error
    finally:
        hba.unlink(missing_ok=True)
    stopped = _STOPPED.findall(_log_of(into))
    return Recovered(
        # Its log is in UTC, and says so by its name.
        datetime.fromisoformat(stopped[-1].strip().replace(" UTC", "+00:00")) if stopped else None,
        len(run.segments),
    )


def _log_of(into: Path) -> str:
    """Return what PostgreSQL said; it has said nothing else in this directory."""
    log = into / "postgresql.log"
    return log.read_text(errors="replace") if log.exists() else ""


def mark_unchecked(into: Path) -> None:
    """Say that what was restored lets nobody in who should not, and that only its check is to come out right."""
    write_whole(into / UNFINISHED_RESTORE, UNCHECKED.encode())


def finish(into: Path) -> None:
    """Say that what was restored may be served."""
    (into / UNFINISHED_RESTORE).unlink()
    sync_directory(into)


def _copy_tree(source: Path, target: Path, user: DatabaseUser | None, progress: Progress) -> None:
    done, total = 0, sum(Path(parent, name).lstat().st_size for parent, _, files in os.walk(source) for name in files)
    target.mkdir(mode=0o700)
    _give(target, user)
    for parent, directories, files in os.walk(source):
        there = target / Path(parent).relative_to(source)
        for name in directories:
            if Path(parent, name).is_symlink():
                raise BackupError(f"{Path(parent, name)} is a link, and no part of a backup.")
            (there / name).mkdir(mode=0o700)
            _give(there / name, user)
        for name in files:
            done += _copy_file(Path(parent, name), there / name)
            _give(there / name, user)
            progress("Copying, kB", done // 1024, total // 1024)


def _copy_file(source: Path, target: Path) -> int:
    """Copy a file, without a byte of it being written where the file system can share them; return its size."""
    with (
        os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as read,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as write,
    ):
        copied = 0
        try:
            while piece := os.copy_file_range(read.fileno(), write.fileno(), 1 << 30):
                copied += piece
        except OSError:
            read.seek(copied)
            write.seek(copied)
            shutil.copyfileobj(read, write, _PIECE)
        return os.fstat(write.fileno()).st_size


def _copy_wal(backup: Backup, run: Run, target: Path, user: DatabaseUser | None, progress: Progress) -> None:
    for number, segment in enumerate(run.segments, 1):
        path = target / segment.name
        made = path.with_name(f"{segment.name}.new")
        with open(made, "wb", opener=_private) as file:
            file.writelines(opened(backup.line, segment))
        made.replace(path)
        _give(path, user)
        progress("Copying WAL", number, len(run.segments))


def _copy_private(source: Path, target: Path) -> None:
    with open(target, "wb", opener=_private) as file:
        file.write(source.read_bytes())
        file.flush()
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _give(path: Path, user: DatabaseUser | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)
