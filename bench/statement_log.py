"""What reached PostgreSQL, read in its own log: nothing that Fieldward says of itself is believed.

A way is one message that PostgreSQL was sent and answered, in which several statements may stand. Most statements read
or write; the others are what it takes to do that: the beginning and the end of a transaction, and the tenant set in it.
What sets a connection to another tenant from then on is left out: whether it takes that depends on which is free. So is
what the watch over changes asks each second, whatever is requested (`fieldward/live_watch.py`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from fieldward.embedded_roles import SERVICE

_LOGGED: Final = re.compile(r"^\S+ \S+ \S+ \[\d+\] (?:db=\S* )?LOG:  (?:statement|execute [^:]*): (.*)$")
_FRAME: Final = re.compile(r"(?:begin|start|commit|rollback|end|savepoint|release|set|reset|discard)\b", re.IGNORECASE)
_SETTING: Final = re.compile(r"select\s+set_config\(", re.IGNORECASE)
_MOVE: Final = re.compile(r"select set_config\([^;]*, false\)$")
_WATCH: Final = re.compile(
    r"select (?:pg_snapshot_xmin\(s\)[^;]*\bsystem_identifier\b|fieldward_changed\()[^;]*$", re.IGNORECASE
)
_FROM: Final = re.compile(r"\bfrom\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statements:
    """Ways to PostgreSQL, and the statements among what went there that read or write."""

    ways: int
    statements: int


class StatementLog:
    """The log of a PostgreSQL, from where it was last read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    @classmethod
    async def of_service(cls, superuser: asyncpg.Connection) -> "StatementLog":
        """Have what the service sends logged, over each connection that it opens from now on, and return the log."""
        await superuser.execute(f"alter role {SERVICE} set log_statement = 'all'")
        return cls(Path(await superuser.fetchval("show data_directory")).parent / "postgresql.log")

    @staticmethod
    async def end(superuser: asyncpg.Connection) -> None:
        """Have it no longer logged."""
        await superuser.execute(f"alter role {SERVICE} reset log_statement")

    def read(self) -> list[str]:
        """Return what was sent since the last time: the text of each way."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read().decode(errors="replace")
            self._offset = file.tell()
        found: list[str] = []
        is_statement = False
        for line in text.splitlines():
            # The lines after a statement's first begin with a tab.
            if line.startswith("\t"):
                if is_statement:
                    found[-1] += f"\n{line[1:]}"
                continue
            logged = _LOGGED.match(line)
            is_statement = logged is not None
            if logged is not None:
                found.append(logged[1])
        return found


def counted(ways: Sequence[str]) -> Statements:
    """Return how many ways these are, and how many statements of them read or write."""
    ways = [way for way in ways if not _MOVE.match(way.strip()) and not _WATCH.match(way.strip())]
    return Statements(len(ways), sum(_reads_or_writes(one) for way in ways for one in way.split(";") if one.strip()))


def _reads_or_writes(statement: str) -> bool:
    text = statement.strip()
    if _SETTING.match(text):
        return _FROM.search(text) is not None
    return _FRAME.match(text) is None
