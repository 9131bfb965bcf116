"""Stored values, changed in every way that somebody could who writes to the database and has no key."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from models.base import new_id
from models.encryption.column import EncryptedField, reseal
from models.encryption.envelope import Algorithm, Cell, KeyPurpose, seal
from models.encryption.keyring import active_keyring
from models.encryption.owner import organization_owner, person_owner
from models.inventory import Column, entity_named
from tests.support.world import World, connect

HEADER = 46

Tampering = Callable[[bytes], bytes]
"""From a value as it was stored to what was put in its place."""


@dataclass(frozen=True, slots=True)
class Strangers:
    """Values that are good where they belong, and belong elsewhere: by what is different there."""

    values: dict[str, bytes]


def flips(length: int) -> Iterator[tuple[str, Tampering]]:
    """Yield what flips one bit, for each byte of a value of that length: another bit from byte to byte."""
    for position in range(length):
        yield f"flip {position}", _flip(position, 1 << position % 8)


def cuts(length: int) -> Iterator[tuple[str, Tampering]]:
    """Yield what cuts the value off, at each length, from none."""
    for left in range(length):
        yield f"cut to {left}", _cut(left)


def others(strangers: Strangers) -> Iterator[tuple[str, Tampering]]:
    """Yield what puts another value, or the head of another, into the place."""
    yield "longer", lambda blob: blob + b"\x00"
    yield "twice", lambda blob: blob + blob
    yield "the header alone", lambda blob: blob[:HEADER]
    yield "zeros", lambda blob: bytes(len(blob))
    yield "the other algorithm", lambda blob: blob[:1] + bytes([Algorithm.AES_256_GCM]) + blob[2:]
    for name, stranger in strangers.values.items():
        yield name, _instead(stranger)
        yield f"the nonce of {name}", _spliced(stranger, 34, HEADER)
        yield f"the head of {name}", _spliced(stranger, 0, HEADER)
        yield f"the tail of {name}", _tail(stranger)
    for name in ("another organization's", "another person's", "another purpose's"):
        yield f"the key id of {name}", _spliced(strangers.values[name], 2, 18)
        yield f"the key id and commitment of {name}", _spliced(strangers.values[name], 2, 34)


def every(length: int, strangers: Strangers) -> dict[str, Tampering]:
    """Return all of them, by name."""
    return dict([*flips(length), *cuts(length), *others(strangers)])


async def strangers_to(world: World, column: Column, text: str) -> Strangers:
    """Return values of that text which are sealed as the service seals them, for other places than any row has."""
    mine, foreign = [await world.organization_id(slug) for slug in ("clearwater", "suncoast")]
    person = await world.value(
        "select user_id from membership where id <> $1 and organization_id = $2 limit 1",
        await world.member_id("owner"),
        mine,
    )
    field = column.field
    assert isinstance(field, EncryptedField)
    other = KeyPurpose.ATTRIBUTION if field.purpose is KeyPurpose.VALUES else KeyPurpose.VALUES
    owners = [
        organization_owner(mine, field.purpose),
        organization_owner(foreign),
        person_owner(person),
        organization_owner(mine, other),
    ]
    keyring = active_keyring()
    await keyring.load(owners)
    own, foreigns, persons, purposes = map(keyring.current, owners)
    table, name = column.entity, column.name
    row, elsewhere = new_id(), new_id()
    return Strangers(
        {
            "another row's": seal(own, Cell(mine, table, name, elsewhere), text, pad=True),
            "another column's": seal(own, Cell(mine, table, f"{name}s", row), text),
            "another table's": seal(own, Cell(mine, "project", name, row), text),
            "another organization's": seal(foreigns, Cell(foreign, table, name, row), text),
            "another person's": seal(persons, Cell(mine, table, name, elsewhere), text, pad=True),
            "another purpose's": seal(purposes, Cell(mine, table, name, elsewhere), text, pad=True),
        }
    )


async def clone_rows(world: World, column: Column, row_id: UUID, count: int, instead: str) -> list[UUID]:
    """Put copies of a row into its table, past all triggers and keys, and return their ids in their order.

    instead: SQL of a JSON object of what they have instead of the row's own.
    """
    ids = sorted(new_id() for _ in range(count))
    table = entity_named(column.entity).name
    async with _without_triggers(world, table) as connection:
        await connection.execute(
            f"insert into {table} select made.* from {table} r, unnest($2::uuid[]) n(id),"
            f" lateral jsonb_populate_record(r, jsonb_build_object('id', n.id) || {instead}) made where r.id = $1",
            row_id,
            ids,
        )
    return ids


async def seal_rows(world: World, column: Column, ids: Sequence[UUID], texts: Sequence[str]) -> list[bytes]:
    """Seal a text for each row, as the service does, store it, and return what is stored."""
    field = column.field
    assert isinstance(field, EncryptedField)
    named = "" if field.owner_column is None else f", {field.owner_column}"
    rows = await world.sql(
        f"select id, organization_id{named} from {column.entity} where id = any($1) order by id", list(ids)
    )
    told = [dict(row) for row in rows]
    await active_keyring().load({field.owner_in(row) for row in told})
    blobs = [reseal(field, row, text) for row, text in zip(told, texts, strict=True)]
    await store(world, column, ids, blobs)
    return blobs


async def store(world: World, column: Column, ids: Sequence[UUID], blobs: Sequence[bytes]) -> None:
    """Put bytes into the rows' column, as the superuser, past the triggers."""
    async with _without_triggers(world, column.entity) as connection:
        await connection.execute(
            f"update {column.entity} r set {column.name} = n.value from unnest($1::uuid[], $2::bytea[]) n(id, value)"
            " where r.id = n.id",
            list(ids),
            list(blobs),
        )


@asynccontextmanager
async def _without_triggers(world: World, table: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(world.superuser)
    try:
        await connection.execute(f"alter table {table} disable trigger all")
        yield connection
        await connection.execute(f"alter table {table} enable trigger all")
    finally:
        await connection.close()


def _flip(position: int, bits: int) -> Tampering:
    return lambda blob: blob[:position] + bytes([blob[position] ^ bits]) + blob[position + 1 :]


def _cut(left: int) -> Tampering:
    return lambda blob: blob[:left]


def _instead(stranger: bytes) -> Tampering:
    return lambda _: stranger


def _spliced(stranger: bytes, start: int, end: int) -> Tampering:
    return lambda blob: blob[:start] + stranger[start:end] + blob[end:]


def _tail(stranger: bytes) -> Tampering:
    return lambda blob: blob[:HEADER] + stranger[HEADER:]
