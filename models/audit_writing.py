"""How entries get into the audit trail: one statement, whoever writes and however many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from auth.principal import SYSTEM_ID
from models.audit_entry import AuditEntry
from models.encryption.column import EncryptedField
from models.encryption.envelope import Cell, seal
from models.encryption.keyring import active_keyring
from models.errors import ErasedError
from models.inventory import entity_of
from models.pool import Purpose
from models.reading import OneStatement
from models.transaction import Tenant

# The database sets when, and in which transaction.
_STAMPED: Final = frozenset({"at", "transaction_id"})
_ENTITY: Final = entity_of(AuditEntry)
_COLUMNS: Final = tuple(column for column in _ENTITY.columns.values() if column.name not in _STAMPED)
_NAMES: Final = tuple(column.name for column in _COLUMNS)
_SEALED: Final = tuple(
    (place, column.field) for place, column in enumerate(_COLUMNS) if isinstance(column.field, EncryptedField)
)


@cache
def entry_insertion(first: int = 1, **instead: str) -> str:
    """Return the SQL that inserts an entry, whose values are bound from the placeholder of that number on.

    instead: what to write of a column, with `{}` for its placeholder.
    """
    values = (instead.get(name, "{}").format(f"${place}") for place, name in enumerate(_NAMES, first))
    return f'insert into "{_ENTITY.name}" ({", ".join(_NAMES)}) values ({", ".join(values)})'


_APPEND: Final = entry_insertion(organization_id="set_config('fieldward.organization_id', {}::uuid::text, true)::uuid")
"""Inserts an entry without a transaction around it: it is one by itself, and the tenant of it is the entry's own."""


@dataclass(frozen=True, slots=True)
class SealedEntry:
    """An entry as it is stored, not yet written."""

    values: Sequence[Any]


def seal_entry(values: Mapping[str, Any]) -> SealedEntry:
    """Return the entry with what is CONFIDENTIAL or PERSONAL of it sealed. What is not named is null.

    Of a person who was erased it says nothing that would have to be erased again.

    Raises:
        SealedError: the key of the organization, or of the person, is not in memory.
    """
    stored: list[Any] = [values.get(name) for name in _NAMES]
    for place, field in _SEALED:
        if stored[place] is not None:
            try:
                stored[place] = _sealed(field, stored[place], values)
            except ErasedError:
                stored[place] = None
    return SealedEntry(stored)


async def append_entries(entries: Iterable[SealedEntry]) -> None:
    """Commit entries: all of them, or none.

    What is sent together is one transaction, so nothing begins it and nothing ends it. Row-level security looks at the
    tenant when a row is made, and making it has set the tenant: to that of the row, until the transaction ends.

    Raises:
        UnavailableError: the database went away. They may be there or not.
    """
    async with OneStatement(Tenant(), Purpose.APPENDING) as connection:
        await connection.executemany(_APPEND, [entry.values for entry in entries])


def _sealed(field: EncryptedField[Any], text: str, values: Mapping[str, Any]) -> bytes:
    organization_id = values["organization_id"]
    cell = Cell(organization_id or SYSTEM_ID, _ENTITY.name, field.model_field_name, values["id"])
    return seal(active_keyring().current(field.owner_in(values)), cell, text, pad=field.pad)
