"""The catalogue: which backups there are, as their directories say.

A backup is a directory that has its name; one that was not finished, or is being deleted, has another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.backup.line import Line, lines_of
from fieldward.backup.wal import Segment

ABOUT: Final = "backup.json"
UNFINISHED: Final = ".unfinished"
GOING: Final = ".going"


@dataclass(frozen=True, slots=True)
class Backup:
    """A base backup. What it is restored to lies at, or after, `finished_at`.

    first, last: the segments between which the WAL lies that it needs and holds itself. size: of its files, in bytes.
    census: what was counted when it began (`resolvers/row_census.py`), as JSON.
    """

    id: str
    line: Line
    started_at: datetime
    finished_at: datetime
    first: Segment
    last: Segment
    size: int
    postgres: str
    system_identifier: str
    census: Mapping[str, Any]

    @property
    def directory(self) -> Path:
        """Where it lies."""
        return self.line.base / self.id

    @property
    def files(self) -> Path:
        """Where PostgreSQL's files of it lie."""
        return self.directory / "data"

    def to_json(self) -> bytes:
        """Return what its directory says of it."""
        told = {
            **{name: value for name, value in asdict(self).items() if name not in {"line", "first", "last"}},
            "first": self.first.name,
            "last": self.last.name,
            "segment_bytes": self.first.bytes,
        }
        return orjson.dumps(told, option=orjson.OPT_INDENT_2)


def backups_in(directory: Path) -> list[Backup]:
    """Return all whole backups below a directory, the oldest first.

    Raises:
        BackupError: there is no such directory.
        DamagedBackupError: one does not say what it is.
    """
    return sorted(
        (one for line in lines_of(directory) for one in backups_of(line)), key=lambda one: (one.started_at, one.id)
    )


def backups_of(line: Line) -> list[Backup]:
    """Return the whole backups of a line, the oldest first.

    Raises:
        DamagedBackupError: one does not say what it is.
    """
    found = [one for one in line.base.iterdir() if is_whole(one)]
    return sorted((_read(line, one) for one in found), key=lambda one: (one.started_at, one.id))


def is_whole(directory: Path) -> bool:
    """Whether a directory is that of a whole backup."""
    return directory.is_dir() and not directory.name.startswith(".") and directory.suffix not in {UNFINISHED, GOING}


def backup_named(backups: Sequence[Backup], name: str | None) -> Backup:
    """Return one of the backups by its id; without one the newest.

    Raises:
        BackupError: there is none.
    """
    if not backups:
        raise BackupError("There is no backup yet.")
    if name is None:
        return backups[-1]
    for one in backups:
        if one.id == name:
            return one
    raise BackupError(f"There is no backup {name}.")


def _read(line: Line, directory: Path) -> Backup:
    about = directory / ABOUT
    try:
        said = orjson.loads(about.read_bytes())
        size = int(said["segment_bytes"])
        first, last = (Segment.named(said[name], size) for name in ("first", "last"))
        if first is None or last is None:
            raise ValueError("no segment")
        return Backup(
            id=directory.name,
            line=line,
            started_at=datetime.fromisoformat(said["started_at"]),
            finished_at=datetime.fromisoformat(said["finished_at"]),
            first=first,
            last=last,
            size=int(said["size"]),
            postgres=str(said["postgres"]),
            system_identifier=str(said["system_identifier"]),
            census=said["census"],
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DamagedBackupError(f"{about} does not say what backup this is.") from error
