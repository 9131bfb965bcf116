"""Light rows: what lists and lookups travel as.

A row is asyncpg's own record, made in C, with the table it came from. It holds only the columns that were asked for,
and encrypted columns as they are stored: reading one takes `open_column`, after the guard has said yes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

import asyncpg

from auth.principal import SYSTEM_ID
from models.encryption.codec import Codec, Text, read_back
from models.encryption.column import EncryptedField
from models.encryption.envelope import Opener, key_bytes_of
from models.encryption.keyring import active_keyring
from models.errors import ErasedError, SealedError, TamperedError
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


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a column's values: the value at each place, None where there is none or it could not be opened.

    sealed: the places of values whose data key is not in memory. broken: of those that do not open there, and why.
    """

    values: list[Any] = field(repr=False)
    sealed: list[int]
    broken: list[tuple[int, Exception]]


class ColumnOpener:
    """Opens the values of an encrypted column. To be used at once, and not kept."""

    __slots__ = ("_codec", "_keyring", "_name", "_openers", "_table", "_tenant")

    def __init__(self, column: Column, entity: Entity) -> None:
        placement = entity.placement
        self._tenant = placement.tenant_column if placement is not None else None
        self._table = column.entity
        self._name = column.name
        self._codec: type[Codec[Any]] = column.field.codec if isinstance(column.field, EncryptedField) else Text
        self._keyring = active_keyring()
        self._openers: dict[tuple[bytes, UUID], Opener] = {}

    def open(self, row: Row) -> Any:
        """Return the row's value; None where it holds none.

        Raises:
            ErasedError: its data key was destroyed.
            SealedError: its data key is not in memory; load it first.
            TamperedError: what is stored does not open there.
        """
        blob: bytes | None = row[self._name]
        if blob is None:
            return None
        return read_back(self._codec, self._text(blob, row))

    def text(self, row: Row) -> str | None:
        """Return the text that was sealed of the row's value. Raises as `open` does."""
        blob: bytes | None = row[self._name]
        return None if blob is None else self._text(blob, row)

    def open_all(self, column_of: Callable[[str], Sequence[Any]], places: Iterable[int]) -> Opened:
        """Open the values of many rows at these places. What is the same for neighbours is worked out once.

        column_of: returns the values of a column of the rows.
        """
        blobs: Sequence[bytes | None] = column_of(self._name)
        row_ids: Sequence[UUID] = column_of("id")
        tenants: Sequence[UUID] = column_of(self._tenant) if self._tenant else [SYSTEM_ID] * len(blobs)
        is_of_one = tenants.count(tenants[0]) == len(tenants) if tenants else True
        opened = Opened([None] * len(blobs), [], [])
        left = iter(places)
        place = next(left, None)
        while place is not None:
            at, blob = place, blobs[place]
            try:
                if blob is not None:
                    opener = self._opener(blob, tenants[at])
                    opened.values[at] = opener.open(blob, row_ids[at])
                    if is_of_one:
                        place = opener.open_alike(blob, blobs, row_ids, left, opened.values)
                        continue
            except ErasedError:
                pass
            except SealedError:
                opened.sealed.append(at)
            except Exception as error:
                opened.broken.append((at, error))
            place = next(left, None)
        if self._codec is not Text:
            self._read_back(opened)
        return opened

    def _text(self, blob: bytes, row: Row) -> str:
        return self._opener(blob, row[self._tenant] if self._tenant else SYSTEM_ID).open(blob, row["id"])

    def _read_back(self, opened: Opened) -> None:
        # No name is given to a text: a tool that reports errors would report it.
        for place in range(len(opened.values)):
            if opened.values[place] is not None:
                try:
                    opened.values[place] = read_back(self._codec, opened.values[place])
                except TamperedError as error:
                    opened.values[place] = None
                    opened.broken.append((place, error))

    def _opener(self, blob: bytes, organization_id: UUID) -> Opener:
        known = (key_bytes_of(blob), organization_id)
        opener = self._openers.get(known)
        if opener is None:
            key = self._keyring.key_of(blob)
            opener = self._openers[known] = Opener(key, organization_id, self._table, self._name)
        return opener


def open_column(column: Column, row: Row) -> Any:
    """Return one row's value of an encrypted column. Raises as `ColumnOpener.open` does."""
    return ColumnOpener(column, row.entity).open(row)
