"""Sealing rows' values anew: those that lie under keys which were retired.

What is sealed under a retired key is found by the key's id, which each value begins with. The tables of the audit trail
are not among these: nothing in them is ever rewritten, and their values open with the keys that sealed them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from models.encryption.column import TENANT, EncryptedField, reseal
from models.encryption.envelope import KeyOwner, key_id_of
from models.encryption.keyring import active_keyring, load_each
from models.errors import ErasedError, SealedError, TamperedError
from models.inventory import Column, Entity, entities
from models.row import ColumnOpener, Row, row_type
from models.statement import Statement

NO_ROW: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Stale:
    """Rows of a table with values under retired keys, locked, in the order of their ids."""

    entity: Entity
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Resealed:
    """What became of stale rows: how many values were sealed anew, and which do not open in their place."""

    values: int
    broken: Sequence[tuple[Column, UUID]]


@cache
def resealable() -> tuple[Entity, ...]:
    """Return the tables with encrypted columns whose rows may be changed."""
    return tuple(one for one in entities() if one.model.is_audited and sealed_columns(one))


@cache
def sealed_columns(entity: Entity) -> tuple[Column, ...]:
    """Return the encrypted columns of a table."""
    return tuple(column for column in entity.columns.values() if column.is_sealed)


async def count_stale(
    connection: asyncpg.Connection, entity: Entity, organization_id: UUID, keys: Collection[UUID]
) -> int:
    """Return how many rows of the tenant have a value under one of the keys."""
    statement = Statement()
    where = _where(statement, entity, organization_id, keys)
    found: int = await connection.fetchval(f'select count(*) from "{entity.name}" where {where}', *statement.arguments)
    return found


async def is_stale(
    connection: asyncpg.Connection, entity: Entity, organization_id: UUID, keys: Collection[UUID]
) -> bool:
    """Return whether any row of the tenant has a value under one of the keys."""
    statement = Statement()
    where = _where(statement, entity, organization_id, keys)
    found: bool = await connection.fetchval(
        f'select exists (select from "{entity.name}" where {where})', *statement.arguments
    )
    return found


async def keys_left(
    connection: asyncpg.Connection, entity: Entity, organization_id: UUID, keys: Collection[UUID]
) -> set[UUID]:
    """Return those of the keys under which a row of the tenant has a value."""
    statement = Statement()
    where = _where(statement, entity, organization_id, keys)
    each = " union ".join(
        f'select substring("{column.name}" from 3 for 16) as id from "{entity.name}" where {where}'
        for column in sealed_columns(entity)
    )
    rows = await connection.fetch(each, *statement.arguments)
    return {UUID(bytes=row["id"]) for row in rows if row["id"] is not None} & set(keys)


async def lock_stale(
    connection: BaseDBAsyncClient,
    entity: Entity,
    organization_id: UUID,
    keys: Collection[UUID],
    *,
    after: UUID,
    most: int,
) -> Stale:
    """Return rows with values under the keys, locked until the transaction ends. What another has locked is left out.

    after: the id beyond which they lie.
    """
    statement = Statement()
    where = _where(statement, entity, organization_id, keys)
    names = ", ".join(f'"{name}"' for name in _read_columns(entity))
    async with connection.acquire_connection() as raw:
        rows = await raw.fetch(
            f'select {names} from "{entity.name}" where {where} and id > {statement.argument(after)}'
            f" order by id limit {int(most)} for update skip locked",
            *statement.arguments,
            record_class=row_type(entity),
        )
    return Stale(entity, rows)


async def load_keys(stale: Stale) -> None:
    """Bring into memory what the rows' values open with, and what they are to be sealed with, as far as it can be had.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    columns = sealed_columns(stale.entity)
    keyring = active_keyring()
    await load_each(keyring.load, {owner for row in stale.rows for owner in _owners(columns, row)})
    await load_each(keyring.load_ids, {key_id for row in stale.rows for key_id in _key_ids(columns, row)})
    # After the owners' keys are there: of who was erased meanwhile nothing is sealed under a key that came later.
    await keyring.look_again()


async def reseal_rows(connection: BaseDBAsyncClient, stale: Stale, keys: Collection[UUID]) -> Resealed:
    """Seal what lies under the keys anew, under its owners' current ones: one statement for each column.

    What was erased meanwhile stays as it is, and so does what does not open, or lies under the key of somebody else
    than its row says.
    """
    old = {key_id.bytes for key_id in keys}
    values, broken = 0, []
    for column in sealed_columns(stale.entity):
        opener = ColumnOpener(column, stale.entity)
        new: dict[UUID, bytes] = {}
        for row in stale.rows:
            blob: bytes | None = row[column.name]
            if blob is None or blob[2:18] not in old:
                continue
            try:
                text = opener.text(row) or ""
                if active_keyring().key_of(blob).owner != _field(column).owner_in(row):
                    raise TamperedError(f"A value of {column.entity}.{column.name} is of somebody else than its row.")
                new[row["id"]] = reseal(_field(column), row, text)
            except ErasedError:
                continue
            except (TamperedError, SealedError, ValueError):
                broken.append((column, row["id"]))
        if new:
            values += len(new)
            await _write(connection, stale, column, new)
    return Resealed(values, broken)


async def _write(connection: BaseDBAsyncClient, stale: Stale, column: Column, new: Mapping[UUID, bytes]) -> None:
    statement = Statement()
    entity = stale.entity
    pairs = f"unnest({statement.argument(list(new))}::uuid[], {statement.argument(list(new.values()))}::bytea[])"
    where = "r.id = n.id"
    if TENANT in entity.columns:
        where += f" and r.organization_id = {statement.argument(stale.rows[0][TENANT])}"
    await connection.execute_query(
        f'update "{entity.name}" r set "{column.name}" = n.value from {pairs} as n(id, value) where {where}',
        list(statement.arguments),
    )


def _where(statement: Statement, entity: Entity, organization_id: UUID, keys: Collection[UUID]) -> str:
    ids = statement.argument([key_id.bytes for key_id in keys])
    # A value begins with its format and algorithm, a byte each, and the id of its key.
    under = " or ".join(
        f'substring("{column.name}" from 3 for 16) = any({ids}::bytea[])' for column in sealed_columns(entity)
    )
    tenant = f"organization_id = {statement.argument(organization_id)} and " if TENANT in entity.columns else ""
    return f"{tenant}({under})"


@cache
def _read_columns(entity: Entity) -> tuple[str, ...]:
    sealed = sealed_columns(entity)
    owners = (column.owner_column for column in sealed if column.owner_column is not None)
    return tuple(dict.fromkeys((*entity.scope_columns, *owners, *(column.name for column in sealed))))


def _key_ids(columns: Iterable[Column], row: Row) -> Iterable[UUID]:
    for column in columns:
        if row[column.name] is not None:
            # What is no value is told where it does not open.
            with suppress(TamperedError):
                yield key_id_of(row[column.name])


def _owners(columns: Iterable[Column], row: Row) -> Iterable[KeyOwner]:
    for column in columns:
        if row[column.name] is not None:
            # Nor is what names no owner.
            with suppress(ValueError):
                yield _field(column).owner_in(row)


def _field(column: Column) -> EncryptedField[Any]:
    if not isinstance(column.field, EncryptedField):
        raise SealedError(f"{column.entity}.{column.name} is not encrypted.")
    return column.field
