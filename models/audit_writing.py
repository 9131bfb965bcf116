"""How entries get into the audit trail: one statement, whoever writes and however many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import asyncpg

from auth.principal import SYSTEM_ID
from models.audit_entry import AuditEntry
from models.encryption.column import EncryptedField
from models.encryption.envelope import Cell, seal
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner, person_owner
from models.inventory import entity_of

# The database sets when, and in which transaction.
_STAMPED: Final = frozenset({"at", "transaction_id"})
_ENTITY: Final = entity_of(AuditEntry)
_COLUMNS: Final = tuple(column for column in _ENTITY.columns.values() if column.name not in _STAMPED)


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry as it is stored, not yet written."""

    values: Sequence[Any]


def seal_entry(values: Mapping[str, Any]) -> SealedEntry:
    """Return the entry with what is CONFIDENTIAL or PERSONAL of it sealed. What is not named is null.

    Raises:
        SealedError: the key of the organization, or of the person, is not in memory.
    """
    return SealedEntry([_stored(column.field, column.name, values) for column in _COLUMNS])


@cache
def entry_insertion(first: int = 1) -> str:
    """Return the SQL that inserts an entry, whose values are bound from the placeholder of that number on."""
    return (
        f'insert into "{_ENTITY.name}" ({", ".join(column.name for column in _COLUMNS)})'
        f" values ({', '.join(f'${place}' for place in range(first, first + len(_COLUMNS)))})"
    )


async def insert_entries(connection: asyncpg.Connection, entries: Iterable[SealedEntry]) -> None:
    """Write entries in a transaction, in one go."""
    await connection.executemany(entry_insertion(), [entry.values for entry in entries])


def _stored(field: Any, name: str, values: Mapping[str, Any]) -> Any:
    value = values.get(name)
    if value is None or not isinstance(field, EncryptedField):
        return value
    organization_id = values["organization_id"]
    person_id = values.get(field.owner_column) if field.owner_column else None
    owner = person_owner(person_id) if person_id is not None else organization_owner(organization_id)
    cell = Cell(organization_id or SYSTEM_ID, _ENTITY.name, name, values["id"])
    return seal(active_keyring().current(owner), cell, value, pad=field.pad)
