"""What an export is made of: something that is read batch by batch, as its requester may read it.

Each batch is read in a snapshot of its own, or in one of a moment that all of them share.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.principal import Viewer
from resolvers.read_log import ReadLog

AT_ONCE: Final = 2
"""Exports that a process makes at the same time, in turns: a short one does not wait for the end of a long one."""


class ExportSource(Protocol):
    """Makes the bytes of an export's file. `begin` comes once, then `next` until it answers None, then `end` once; and
    `close`, wherever it ended.

    is_of_one_moment: whether all batches are read as of the moment of the first; it is for who reads them to see to.
    media_type, ending: of the file. rows_total: how many rows there are, as far as that is known. rows_done: how many
    are made. used: the permissions by which values got into the file, each with the project that it was used in.
    places: what it takes to read the exact places that are in it, once they are sensitive.
    """

    is_of_one_moment: bool
    media_type: str
    ending: str
    rows_total: int | None
    rows_done: int
    used: set[tuple[UUID | None, Permission]]
    places: set[tuple[UUID | None, Permission]]

    async def begin(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes:
        """Return what comes before the first row."""

    async def next(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes | None:
        """Return the bytes of the next batch, which may be empty; None where there is none left."""

    def end(self) -> bytes:
        """Return what comes after the last row."""

    def close(self) -> None:
        """Let go of what is held, also of a file that comes to nothing."""

    def counts(self) -> Mapping[str, int]:
        """Return how many rows of each table are in it."""

    def contents(self) -> Mapping[str, Any]:
        """Return what the manifest says of what is in it."""
