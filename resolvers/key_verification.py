"""Whether everything that is stored still opens: every value of every row, and of the trail."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from auth.classification import Classification
from auth.principal import SYSTEM_ID
from models.change import Change, stored_bytes
from models.encryption.column import open_light
from models.encryption.envelope import Cell, key_bytes_of
from models.encryption.keyring import active_keyring, load_each
from models.encryption.keystore import KeyStore, WrappedKey
from models.errors import ErasedError, SealedError, TamperedError
from models.inventory import Column, Entity, InventoryError, entities, entity_named, entity_of
from models.reading import OneStatement
from models.retracing import UNTOLD
from models.statement import Statement
from models.transaction import Tenant
from resolvers.key_rotation import Progress

PAGE: Final = 500
"""Rows that are looked at together."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that does not open in its place. `table` is where it lies, `change` for one in the trail."""

    table: str
    column: str
    row_id: UUID | int


@dataclass(slots=True)
class Verification:
    """How many values open, how many can't any more since their key was destroyed, and which do not although they
    should."""

    opened: int = 0
    erased: int = 0
    broken: list[Broken] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Value:
    blob: bytes
    cell: Cell
    at: Broken


async def verify_values(store: KeyStore, *, progress: Progress = lambda *_: None) -> Verification:
    """Open every encrypted value of every tenant, and of its trail, and say which do not open. Of the keys of access
    tokens it is said which do not unwrap.

    Raises:
        UnavailableError: a database or the key provider is away.
    """
    found = Verification()
    looked = 0
    signing = [one.stored.id for one in await store.signing()]
    for key_id in await load_each(active_keyring().load_ids, signing):
        found.broken.append(Broken(WrappedKey._meta.db_table, "wrapped", key_id))
    for tenant_id in (SYSTEM_ID, *await store.organizations()):
        for entity in entities():
            after: Any = None
            while True:
                rows = await _page(tenant_id, entity, after)
                if not rows:
                    break
                after = rows[-1]["id"]
                looked += len(rows)
                await _verify(found, list(_values(found, tenant_id, entity, rows)))
                progress("Opening values", looked, None)
                if len(rows) < PAGE:
                    break
    return found


async def _page(tenant_id: UUID, entity: Entity, after: Any) -> Sequence[asyncpg.Record]:
    columns = _columns(entity)
    if not columns:
        return []
    statement = Statement()
    where = []
    if "organization_id" in entity.columns:
        where.append(f"organization_id = {statement.argument(tenant_id)}")
    if after is not None:
        where.append(f"id > {statement.argument(after)}")
    names = ", ".join(f'"{name}"' for name in columns)
    condition = f" where {' and '.join(where)}" if where else ""
    async with OneStatement(Tenant(organization_id=tenant_id)) as connection:
        rows: Sequence[asyncpg.Record] = await connection.fetch(
            f'select {names} from "{entity.name}"{condition} order by id limit {PAGE}', *statement.arguments
        )
    return rows


@cache
def _columns(entity: Entity) -> tuple[str, ...]:
    if entity.model is Change:
        return ("id", "entity", "entity_id", "columns")
    sealed = [column.name for column in entity.columns.values() if column.is_sealed]
    return ("id", *sealed) if sealed else ()


def _values(found: Verification, tenant_id: UUID, entity: Entity, rows: Iterable[asyncpg.Record]) -> Iterable[_Value]:
    for row in rows:
        if entity.model is Change:
            yield from _changed(found, tenant_id, row)
            continue
        for name in _columns(entity)[1:]:
            if row[name] is not None:
                cell = Cell(_tenant_in(entity, tenant_id), entity.name, name, row["id"])
                yield _Value(row[name], cell, Broken(entity.name, name, row["id"]))


def _changed(found: Verification, tenant_id: UUID, row: asyncpg.Record) -> Iterable[_Value]:
    try:
        entity = entity_named(row["entity"])
    except InventoryError:
        return
    for name, pair in orjson.loads(row["columns"]).items():
        column: Column | None = entity.columns.get(name)
        if column is None or not column.is_sealed:
            continue
        for stored in filter(None, pair):
            if column.classification is Classification.SECRET and stored == UNTOLD:
                continue
            cell = Cell(_tenant_in(entity, tenant_id), entity.name, name, row["entity_id"])
            at = Broken(entity_of(Change).name, f"{entity.name}.{name}", row["id"])
            try:
                yield _Value(stored_bytes(str(stored)), cell, at)
            except TamperedError:
                found.broken.append(at)


def _tenant_in(entity: Entity, tenant_id: UUID) -> UUID:
    """Return the tenant that values of the table are bound to."""
    return tenant_id if "organization_id" in entity.columns else SYSTEM_ID


async def _verify(found: Verification, values: Sequence[_Value]) -> None:
    ids = set()
    for value in values:
        try:
            ids.add(UUID(bytes=key_bytes_of(value.blob)))
        except TamperedError:
            # Said below, where it does not open.
            continue
    # What lies under a key that does not unwrap does not open, which is said below.
    await load_each(active_keyring().load_ids, ids)
    for value in values:
        try:
            open_light(value.blob, value.cell)
        except ErasedError:
            found.erased += 1
        except (SealedError, TamperedError):
            found.broken.append(value.at)
        else:
            found.opened += 1
