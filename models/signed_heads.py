"""Which heads this machine has signed, kept in a file beside the databases, where no restore of theirs reaches it.

A head is written down, on the disk, before it is committed, so before anybody can see it; once it is committed, that is
noted too. So a head that is written down as settled was there, whatever the database says later. One that is not
settled was about to be there when the process, or the machine, died.
"""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.ledger.checkpoint import Head

_BUSY_S: Final = 10.0
"""Seconds that one process waits for another one that writes."""

_TABLE: Final = (
    "create table if not exists head (origin text primary key, size integer not null, root blob not null,"
    " earlier_size integer not null, earlier_root blob not null, is_settled integer not null) without rowid"
)
_NOTE: Final = (
    "insert into head values (?, ?, ?, ?, ?, 0) on conflict (origin) do update set size = excluded.size,"
    " root = excluded.root, earlier_size = excluded.earlier_size, earlier_root = excluded.earlier_root, is_settled = 0"
)


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The last head that was signed of a log, the one that it grew from, and whether it is known to be committed."""

    head: Head
    earlier: Head
    is_settled: bool


class SignedHeads:
    """The file. Each call opens it by itself, so that several processes and threads can; SQLite orders them.

    Raises `sqlite3.Error` or `OSError` where the file can't be read or written: then nothing is to be signed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self, origin: str) -> SignedHead | None:
        """Return the last head of a log."""
        with closing(self._opened()) as file:
            row = file.execute("select * from head where origin = ?", (origin,)).fetchone()
        if row is None:
            return None
        _, size, root, earlier_size, earlier_root, is_settled = row
        return SignedHead(Head(origin, size, root), Head(origin, earlier_size, earlier_root), bool(is_settled))

    def note(self, growths: Iterable[tuple[Head, Head]]) -> None:
        """Write down heads that are about to be committed, each after the one that it grows from; on the disk."""
        with closing(self._opened()) as file, file:
            file.executemany(_NOTE, [(head.origin, head.size, head.root, old.size, old.root) for old, head in growths])

    def settle(self, heads: Iterable[Head]) -> None:
        """Note that heads are committed. What the machine forgets of that when its power goes does no harm."""
        with closing(self._opened()) as file:
            file.execute("pragma synchronous = normal")
            with file:
                file.executemany(
                    "update head set is_settled = 1 where origin = ? and size = ? and root = ?",
                    [(one.origin, one.size, one.root) for one in heads],
                )

    def _opened(self) -> sqlite3.Connection:
        if not self._path.exists():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        file = sqlite3.connect(self._path, timeout=_BUSY_S)
        # Each commit is on the disk when it returns (`full`), by one write into the log that goes before the file.
        file.execute("pragma journal_mode = wal")
        file.execute("pragma synchronous = full")
        file.execute(_TABLE)
        return file
