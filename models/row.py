"""Light rows: what lists and lookups travel as.

A row is asyncpg's own record, made in C, with the table it came from. It holds only the columns that were asked for,
and encrypted columns as they are stored: reading one takes `open_column`, after the guard has said yes.
"""

from functools import cache
from typing import ClassVar
from uuid import UUID

import asyncpg

from auth.principal import SYSTEM_ID
from models.encryption.envelope import Opener, key_bytes_of
from models.encryption.keyring import active_keyring
from models.inventory import Column, Entity


class Row(asyncpg.Record):
    """A row of `entity`. Values are reached by column name: `row["site_code"]`."""

    entity: ClassVar[Entity]

    def __repr__(self) -> str:
        return f"<row of {self.entity.name} {self['id']}>"


@cache
def row_type(entity: Entity) -> type[Row]:
    """Return the class of the table's rows."""
    return type(f"{entity.model.__name__}Row", (Row,), {"entity": entity})


class ColumnOpener:
    """Opens the values of an encrypted column, row by row. To be used at once, and not kept."""

    __slots__ = ("_keyring", "_name", "_openers", "_table", "_tenant")

    def __init__(self, column: Column, entity: Entity) -> None:
        placement = entity.placement
        self._tenant = placement.tenant_column if placement is not None else None
        self._table = column.entity
        self._name = column.name
        self._keyring = active_keyring()
        self._openers: dict[tuple[bytes, UUID], Opener] = {}

    def open(self, row: Row) -> str | None:
        """Return the plain text of the row's value; None where it holds none.

        Raises:
            SealedError: its data key is not in memory; load it first.
            TamperedError: what is stored does not open there.
        """
        blob: bytes | None = row[self._name]
        if blob is None:
            return None
        organization_id: UUID = row[self._tenant] if self._tenant else SYSTEM_ID
        known = (key_bytes_of(blob), organization_id)
        opener = self._openers.get(known)
        if opener is None:
            key = self._keyring.key_of(blob)
            opener = self._openers[known] = Opener(key, organization_id, self._table, self._name)
        return opener.open(blob, row["id"])


def open_column(column: Column, row: Row) -> str | None:
    """Return the plain text of one row's value of an encrypted column. Raises as `ColumnOpener.open` does."""
    return ColumnOpener(column, row.entity).open(row)
