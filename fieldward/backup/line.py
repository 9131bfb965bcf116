"""Lines: where the base backups and the WAL of one unbroken history of a database lie.

Below the directory of backups each line has a directory of its own: `base/` with base backups, `wal/` with the segments
that PostgreSQL archived, compressed. A database that was restored begins another line, so that two histories never
write over each other; and so does one that ran for a while without archiving. Within a line no segment is missing by
rights.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fieldward.backup.error import BackupError

NOTE: Final = "backup-line"
"""The file of a data directory that names its line."""
COMPRESSED: Final = ".gz"
LOCK: Final = "lock"
_NAMED: Final = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Archiving:
    """Where the database is to be archived. timeout_s: how old a change is at the most before it is archived."""

    backups: Path
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line, by its directory."""

    directory: Path

    @property
    def name(self) -> str:
        """What it is called."""
        return self.directory.name

    @property
    def begun_at(self) -> datetime:
        """When it was begun, as its name says."""
        return datetime.strptime(self.name.split("-")[1], _NAMED).replace(tzinfo=UTC)

    @property
    def base(self) -> Path:
        """Where its base backups lie."""
        return self.directory / "base"

    @property
    def wal(self) -> Path:
        """Where its archived WAL lies."""
        return self.directory / "wal"


def lines_of(backups: Path) -> list[Line]:
    """Return the lines below a directory of backups, those that were begun first in front."""
    if not backups.is_dir():
        raise BackupError(f"{backups} is no directory: FIELDWARD_BACKUP_DIRECTORY says where backups lie.")
    return [Line(one.parent) for one in sorted(backups.glob("line-*/base"))]


def noted_line(data_directory: Path, backups: Path) -> Line | None:
    """Return the line that a data directory is archived to; None where it is not, or that line is not there."""
    try:
        name = (data_directory / NOTE).read_text().strip()
    except FileNotFoundError:
        return None
    line = Line(backups / name)
    return line if name and Path(name).name == name and line.wal.is_dir() else None


def settled_line(data_directory: Path, backups: Path) -> Line:
    """Return the line that a data directory is archived to; begin one where there is none.

    Raises:
        BackupError: there is no directory of backups. It is not made: what is to be mounted there may be away.
    """
    if not backups.is_dir():
        raise BackupError(f"{backups}, where backups are to lie, is not there. Make it, or mount it.")
    found = noted_line(data_directory, backups)
    if found is not None:
        return found
    line = Line(backups / f"line-{datetime.now(UTC):{_NAMED}}-{secrets.token_hex(4)}")
    for directory in (line.directory, line.base, line.wal):
        directory.mkdir(mode=0o700)
    _write_note(data_directory, line.name)
    return line


def end_line(data_directory: Path) -> None:
    """Have the next start with archiving begin another line: what is written from now on is in no archive."""
    (data_directory / NOTE).unlink(missing_ok=True)


def waiting_settings(data_directory: Path) -> Mapping[str, str]:
    """Return the settings by which what there is to archive waits for the next start, where there is a line.

    Without archiving, PostgreSQL would let go of what was not archived yet.
    """
    return {"archive_mode": "on", "archive_command": ""} if (data_directory / NOTE).exists() else {}


def archive_settings(line: Line, timeout_s: int) -> Mapping[str, str]:
    """Return the settings by which PostgreSQL archives to a line.

    A segment is there under its name only when all of it is on the disk. One that is there already is never written
    over: the same is taken for archived, and another is an error until somebody has looked.
    """
    to = str(line.wal).replace("%", "%%")
    there = f'"{to}/%f{COMPRESSED}"'
    return {
        "archive_mode": "on",
        "archive_timeout": f"{timeout_s}s",
        "archive_command": (
            f'if test -e {there}; then gzip -dc {there} | cmp -s - "%p";'
            # What a full disk has room for is no segment, and would only fill it.
            f' else made="{to}/.%f.$$"; {{ gzip -1nc "%p" > "$made" && sync "$made" && mv "$made" {there}; }}'
            ' || { rm -f "$made"; false; }; fi'
            f' && sync {there} "{to}"'
        ),
    }


def clear_unfinished(line: Line) -> None:
    """Remove what killed archivers left. Nothing is archived meanwhile."""
    for left in line.wal.glob(".*"):
        left.unlink(missing_ok=True)


@contextmanager
def locked(backups: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on a directory of backups.

    shared: with others who only read. Without a lock where the directory can't be written.

    Raises:
        BackupError: somebody makes or deletes backups there, or restores one.
    """
    try:
        descriptor = os.open(backups / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if shared:
            yield
            return
        raise BackupError(f"{backups} can't be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError(f"Somebody else makes, deletes or restores backups in {backups} now.") from error
        yield
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of its owner's alone, under its name only when all of it is on the disk."""
    made = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    made.rename(path)
    sync_directory(path.parent)


def _write_note(data_directory: Path, name: str) -> None:
    write_whole(data_directory / NOTE, name.encode() + b"\n")
