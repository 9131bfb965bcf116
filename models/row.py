"""Light rows: what lists and lookups travel as.

A row is asyncpg's own record, made in C, with the table it came from. It holds only the columns that were asked for,
and encrypted columns as they are stored: reading one takes `open_column`, after the guard has said yes.
"""

from functools import cache
from typing import ClassVar
from uuid import UUID

import asyncpg

from auth.principal import SYSTEM_ID
from models.encryption.column import open_light
from models.encryption.envelope import Cell
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


def cell_of(column: Column, row: Row) -> Cell:
    """Return where the row's value of an encrypted column lives."""
    placement = row.entity.placement
    tenant = placement.tenant_column if placement is not None else None
    organization_id: UUID = row[tenant] if tenant else SYSTEM_ID
    return Cell(organization_id=organization_id, table=column.entity, column=column.name, row_id=row["id"])


def open_column(column: Column, row: Row) -> str | None:
    """Return the plain text of the row's value of an encrypted column; None where it holds none.

    Raises:
        SealedError: its data key is not in memory; load it first.
        TamperedError: what is stored does not open there.
    """
    blob: bytes | None = row[column.name]
    return None if blob is None else open_light(blob, cell_of(column, row))
