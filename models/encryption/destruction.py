"""The log of destroyed keys, from which an erasure is done again wherever older data come back.

A backup from before an erasure brings back what was erased, and one of the keystore even the keys. So each destruction
is written down before it happens, in two places that no backup of the data has: the keystore, and a file beside the
databases. Both hold ids alone. What only one of them knows, the other learns at the next look. So do copies of the file
that lie elsewhere: where the disk with the file is lost together with the databases, they know of it all the same.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog
from tortoise import fields
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model

from models.encryption.keystore import KEYSTORE
from models.transaction import database_failures

log = structlog.get_logger()

_INSERT = """
    insert into destruction (id, at, person_id, organization_id, within_ids, key_ids)
    values ($1, $2, $3, $4, $5, $6) on conflict do nothing
"""
_ALL = "select id, at, person_id, organization_id, within_ids, key_ids from destruction order by at, id"


class DestructionRow(Model):
    """A destruction as the keystore remembers it."""

    id = fields.UUIDField(primary_key=True)
    at = fields.DatetimeField()
    person_id = fields.UUIDField(null=True)
    organization_id = fields.UUIDField(null=True)
    within_ids: fields.Field[list[UUID]] = ArrayField("uuid")
    key_ids: fields.Field[list[UUID]] = ArrayField("uuid")

    class Meta:
        app = KEYSTORE
        table = "destruction"
        table_description = "Keys that were destroyed, and for whose erasure."


@dataclass(frozen=True, slots=True)
class Destruction:
    """The keys that were destroyed in one erasure.

    person_id: whom it erased; organization_id: which organization; neither, where it was somebody whom data name.
    within_ids: the organizations whose data named them.
    """

    id: UUID
    at: datetime
    person_id: UUID | None
    organization_id: UUID | None
    within_ids: tuple[UUID, ...]
    key_ids: tuple[UUID, ...]


class DestructionLog:
    """Keeps destructions in the keystore and in a file, one JSON object a line.

    copies: of the file, elsewhere. One that can't be read or written is logged, and holds up nothing.
    """

    def __init__(self, path: Path, copies: Sequence[Path] = ()) -> None:
        self._path = path
        self._copies = tuple(copies)

    async def add(self, destruction: Destruction) -> None:
        """Write down what is about to be destroyed: it is in the file, on the disk, before it is in the keystore.

        Raises:
            UnavailableError: the keystore is away.
            OSError: the file can't be written.
        """
        _append(self._path, [destruction])
        for copy in self._copies:
            with _holding_up_nothing():
                _append(copy, [destruction])
        await self._insert(destruction)

    async def all(self) -> list[Destruction]:
        """Return every destruction that either place knows, the oldest first; afterwards both know it.

        Raises:
            UnavailableError: the keystore is away.
            OSError, ValueError: the file can't be read or written, or is no such log.
        """
        in_copies = [(copy, self._read_copy(copy)) for copy in self._copies]
        in_file = {one.id: one for one in _read(self._path)}
        elsewhere = {key: one for _, known in in_copies for key, one in (known or {}).items()}
        _append(self._path, [one for key, one in elsewhere.items() if key not in in_file])
        in_file = {**elsewhere, **in_file}
        with database_failures():
            rows = await self._connection.execute_query_dict(_ALL)
        in_keystore = {row["id"]: _of_row(row) for row in rows}
        _append(self._path, [one for key, one in in_keystore.items() if key not in in_file])
        for key, one in in_file.items():
            if key not in in_keystore:
                await self._insert(one)
        found = {**in_file, **in_keystore}
        for copy, known in in_copies:
            if known is not None:
                with _holding_up_nothing():
                    _append(copy, [one for key, one in found.items() if key not in known])
        return sorted(found.values(), key=lambda one: (one.at, one.id))

    def _read_copy(self, copy: Path) -> dict[UUID, Destruction] | None:
        try:
            return {one.id: one for one in _read(copy)}
        except (OSError, ValueError) as error:
            log.error("destructions_not_copied", failure=type(error).__name__)
            return None

    @property
    def _connection(self) -> BaseDBAsyncClient:
        return get_connection(KEYSTORE)

    async def _insert(self, one: Destruction) -> None:
        with database_failures():
            await self._connection.execute_query(
                _INSERT,
                [one.id, one.at, one.person_id, one.organization_id, list(one.within_ids), list(one.key_ids)],
            )


def _read(path: Path) -> list[Destruction]:
    if not path.exists():
        return []
    if path.stat().st_mode & 0o022:
        raise ValueError(f"The log of destroyed keys {path} can be written by others than its owner.")
    lines = path.read_bytes().split(b"\n")
    # A last line without its end was cut short by a crash: its keys were not destroyed yet.
    return [_of_json(line) for line in lines[:-1]]


def _append(path: Path, destructions: Sequence[Destruction]) -> None:
    if not destructions:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as file:
        # Until it is closed: what another process is about to write must not look cut short.
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            # Cut off what a crash left of a line.
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(b"".join(_to_json(one) + b"\n" for one in destructions))
        file.flush()
        os.fsync(file.fileno())
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _holding_up_nothing() -> Iterator[None]:
    """Log what goes wrong with a copy."""
    try:
        yield
    except (OSError, ValueError) as error:
        log.error("destructions_not_copied", failure=type(error).__name__)


def _to_json(one: Destruction) -> bytes:
    # The driver has a UUID of its own.
    return orjson.dumps(one, default=str)


def _of_json(line: bytes) -> Destruction:
    try:
        said: dict[str, Any] = orjson.loads(line)
        return Destruction(
            id=UUID(said["id"]),
            at=datetime.fromisoformat(said["at"]),
            person_id=UUID(said["person_id"]) if said["person_id"] else None,
            organization_id=UUID(said["organization_id"]) if said["organization_id"] else None,
            within_ids=tuple(map(UUID, said["within_ids"])),
            key_ids=tuple(map(UUID, said["key_ids"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("The log of destroyed keys has a line that is none.") from error


def _of_row(row: dict[str, Any]) -> Destruction:
    return Destruction(
        id=row["id"],
        at=row["at"],
        person_id=row["person_id"],
        organization_id=row["organization_id"],
        within_ids=tuple(row["within_ids"]),
        key_ids=tuple(row["key_ids"]),
    )
