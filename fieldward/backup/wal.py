"""Archived WAL: which segments there are, which follow each other without a gap, and whether they are whole."""

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fieldward.backup.error import DamagedBackupError
from fieldward.backup.line import COMPRESSED, Line

_SEGMENT: Final = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A segment of WAL. number: how many came before it on any timeline. bytes: how large each of them is."""

    timeline: int
    number: int
    bytes: int

    @property
    def name(self) -> str:
        """What PostgreSQL calls it."""
        in_one = 2**32 // self.bytes
        return f"{self.timeline:08X}{self.number // in_one:08X}{self.number % in_one:08X}"

    @property
    def next(self) -> "Segment":
        """The one that follows."""
        return Segment(self.timeline, self.number + 1, self.bytes)

    @classmethod
    def named(cls, name: str, size: int) -> "Segment | None":
        """Return the segment of a name; None where it is none's."""
        found = _SEGMENT.fullmatch(name)
        if found is None:
            return None
        timeline, high, low = (int(part, 16) for part in found.groups())
        return cls(timeline, high * (2**32 // size) + low, size)

    @classmethod
    def holding(cls, timeline: int, lsn: str, size: int) -> "Segment":
        """Return the segment that holds the byte before a place in the WAL."""
        high, _, low = lsn.partition("/")
        return cls(timeline, max(0, (int(high, 16) << 32) + int(low, 16) - 1) // size, size)


@dataclass(frozen=True, slots=True)
class Run:
    """The segments of a timeline from one on that follow each other without a gap.

    missing: the first that is not there although a later one is; None where there is no gap.
    newest_at: when the last of the run was archived.
    """

    segments: Sequence[Segment]
    missing: Segment | None
    newest_at: datetime | None


def archived(line: Line, size: int) -> list[Segment]:
    """Return the segments that a line has, in their order."""
    names = (
        one.removesuffix(COMPRESSED) for one in (path.name for path in line.wal.iterdir()) if one.endswith(COMPRESSED)
    )
    return sorted(found for name in names if (found := Segment.named(name, size)) is not None)


def run_from(line: Line, first: Segment) -> Run:
    """Return what a line has from a segment on."""
    there = [one for one in archived(line, first.bytes) if one.timeline == first.timeline and one >= first]
    run: list[Segment] = []
    expected = first
    for one in there:
        if one != expected:
            return Run(run, expected, _archived_at(line, run))
        run.append(one)
        expected = one.next
    return Run(run, None, _archived_at(line, run))


def path_of(line: Line, segment: Segment) -> Path:
    """Return where a segment lies."""
    return line.wal / f"{segment.name}{COMPRESSED}"


def opened(line: Line, segment: Segment) -> Iterator[bytes]:
    """Yield a segment's content, piece by piece.

    Raises:
        DamagedBackupError: it is not what was archived, or not all of it.
    """
    path = path_of(line, segment)
    size = 0
    try:
        # It lies in a directory of PostgreSQL's user, who must not lead anybody elsewhere by a link.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as raw, gzip.open(raw) as file:
            while piece := file.read(_PIECE):
                size += len(piece)
                yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedBackupError(f"The archived segment {path} is damaged: {error}.") from error
    if size != segment.bytes:
        raise DamagedBackupError(f"The archived segment {path} has {size:,} bytes in place of {segment.bytes:,}.")


def _archived_at(line: Line, run: Sequence[Segment]) -> datetime | None:
    return datetime.fromtimestamp(path_of(line, run[-1]).stat().st_mtime, UTC) if run else None
