"""What the keystore promises, on a PostgreSQL of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from tortoise.connection import get_connection
from tortoise.context import TortoiseContext
from tortoise.migrations.autodetector import MigrationAutodetector
from tortoise.migrations.executor import MigrationExecutor

from fieldward.embedded import EmbeddedPostgres
from models.encryption.envelope import Cell, KeyOwner, KeyPurpose, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore, StoredKey
from models.encryption.provider import WrappingKeyError
from models.encryption.rotation import rewrap_keys
from models.errors import TamperedError, UnavailableError

ACME = KeyOwner(OwnerKind.ORGANIZATION, UUID(int=1))
ANA = KeyOwner(OwnerKind.PERSON, UUID(int=2))
PROVIDER = FileKeyProvider(bytes(range(32)))
APPS: dict[str, dict[str, Any]] = {
    "keystore": {
        "models": ["models.encryption.keystore", "models.encryption.destruction"],
        "migrations": "models.encryption.migrations",
        "default_connection": "keystore",
    }
}

_numbers = itertools.count(1)


@asynccontextmanager
async def reached(parameters: dict[str, Any]) -> AsyncIterator[TortoiseContext]:
    """Tortoise, with the keystore's connection made of asyncpg's arguments."""
    credentials = {**parameters, "minsize": 1, "maxsize": 4}
    async with TortoiseContext() as context:
        await context.init(
            config={
                "connections": {"keystore": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
                "apps": APPS,
                "use_tz": True,
            }
        )
        yield context


@pytest.fixture
async def keystore(postgres: EmbeddedPostgres) -> AsyncIterator[dict[str, Any]]:
    """An empty keystore, migrated and reached through Tortoise; yields asyncpg's arguments for it."""
    name = f"keystore_test_{next(_numbers)}"
    anywhere: dict[str, Any] = {**postgres.superuser().dsn_parameters()}
    superuser = await asyncpg.connect(**anywhere)
    await superuser.execute(f"create database {name}")
    parameters: dict[str, Any] = {**postgres.superuser(name).dsn_parameters()}
    async with reached(parameters):
        await MigrationExecutor(get_connection("keystore"), APPS).migrate()
        yield parameters
    await superuser.execute(f"drop database {name} with (force)")
    await superuser.close()


def a_key(owner: KeyOwner, key_id: int) -> StoredKey:
    """A stored key, of which nobody opens the secret."""
    return StoredKey(UUID(int=key_id), owner, "file", "1", b"wrapped")


def a_keyring() -> Keyring:
    """A keyring as each server process has one."""
    return Keyring(KeyStore(), PROVIDER, lifetime_s=60)


@pytest.mark.usefixtures("keystore")
async def test_keys_survive_the_process() -> None:
    first, second = a_keyring(), a_keyring()
    cell = Cell(ACME.id, "record", "comment", UUID(int=10))
    await first.load([ACME])
    blob = seal(first.current(ACME), cell, "Low flow")

    await second.load_ids([first.current(ACME).id])

    assert open_sealed(second.key_of(blob), cell, blob) == "Low flow"


@pytest.mark.usefixtures("keystore")
async def test_processes_that_make_an_owners_first_key_at_once_agree_on_one() -> None:
    owners = [ACME, ANA, *(KeyOwner(OwnerKind.PERSON, UUID(int=n)) for n in range(100, 130))]
    keyrings = [a_keyring() for _ in range(8)]
    orders = [owners if n % 2 else owners[::-1] for n in range(8)]

    await asyncio.gather(*(keyring.load(order) for keyring, order in zip(keyrings, orders, strict=True)))

    assert len(await KeyStore().current(owners)) == len(owners)
    for owner in owners:
        assert len({keyring.current(owner).id for keyring in keyrings}) == 1
        assert keyrings[0].current(owner).has_secret_of(keyrings[-1].current(owner))


@pytest.mark.usefixtures("keystore")
async def test_an_owner_has_one_current_key_however_it_is_added() -> None:
    first, second = (StoredKey(UUID(int=n), ACME, "file", "0123", b"wrapped") for n in (1, 2))
    store = KeyStore()

    assert [key.id for key in await store.add([first])] == [first.id]
    assert [key.id for key in await store.add([second])] == [first.id]


@pytest.mark.usefixtures("keystore")
async def test_a_retired_key_opens_and_no_longer_seals() -> None:
    before, after = a_keyring(), a_keyring()
    await before.load([ACME])
    old = before.current(ACME).id
    await KeyStore().retire([old])

    await after.load([ACME])
    await after.load_ids([old])

    assert after.has(old)
    assert after.current(ACME).id != old


@pytest.mark.usefixtures("keystore")
async def test_a_destroyed_key_is_gone_from_the_table_and_stays_known() -> None:
    keyring = a_keyring()
    await keyring.load([ACME, ANA])
    destroyed = keyring.current(ANA).id

    assert [key.id for key in await KeyStore().keys_of([ANA])] == [destroyed]
    (gone,) = await KeyStore().destroy([destroyed])

    (row,) = await KeyStore().by_ids([destroyed])
    assert gone == row.id == destroyed
    assert row.wrapped is None
    assert row.destroyed_at is not None
    assert await KeyStore().destroy([destroyed]) == []
    assert await KeyStore().keys_of([ANA]) == []
    assert [key.owner for key in await KeyStore().current([ACME, ANA])] == [ACME]


async def test_the_service_may_neither_delete_keys_nor_change_whose_they_are(keystore: dict[str, Any]) -> None:
    await a_keyring().load([ACME])
    connection = await asyncpg.connect(**keystore)
    await connection.execute("set role fieldward_service")

    await connection.execute("update wrapped_key set retired_at = now()")
    for text in (
        "delete from wrapped_key",
        "truncate wrapped_key",
        "update wrapped_key set owner_id = gen_random_uuid()",
        "update wrapped_key set id = gen_random_uuid()",
        "alter table wrapped_key add column extra text",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(text)
    await connection.close()


async def test_the_table_itself_keeps_to_one_current_key_and_to_erasing_what_is_destroyed(
    keystore: dict[str, Any],
) -> None:
    await a_keyring().load([ACME])
    connection = await asyncpg.connect(**keystore)

    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            "insert into wrapped_key"
            " (id, owner_kind, owner_id, purpose, provider, wrapping_key, wrapped, seals, created_at)"
            " select gen_random_uuid(), owner_kind, owner_id, purpose, provider, wrapping_key, wrapped, 0, now()"
            " from wrapped_key"
        )
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("update wrapped_key set destroyed_at = now()")
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("update wrapped_key set wrapped = null")
    await connection.close()


async def test_the_migrations_make_what_the_model_declares(keystore: dict[str, Any]) -> None:
    async with reached(keystore) as context:
        assert context.apps is not None
        assert await MigrationAutodetector(context.apps, APPS).changes() == []


async def test_a_keystore_that_is_away_is_unavailable(keystore: dict[str, Any]) -> None:
    async with reached({**keystore, "host": "/nowhere"}):
        with pytest.raises(UnavailableError):
            await a_keyring().load([ACME])


CLEO = KeyOwner(OwnerKind.SUBJECT, UUID(int=3), within=ACME.id)
ACME_INDEX = KeyOwner(OwnerKind.ORGANIZATION, ACME.id, KeyPurpose.INDEX)
OWNERS = {"organization": ACME, "index": ACME_INDEX, "person": ANA, "subject": CLEO}


async def _stored(keystore: dict[str, Any]) -> tuple[dict[str, UUID], asyncpg.Connection]:
    """Have every owner's key made, and return their ids and a connection past the service."""
    keyring = a_keyring()
    await keyring.load(list(OWNERS.values()))
    return {name: keyring.current(owner).id for name, owner in OWNERS.items()}, await asyncpg.connect(**keystore)


async def _require_useless(key_id: UUID, owner: KeyOwner, what: str) -> None:
    """Fail unless the key neither opens nor seals for a process that has not had it in memory before."""
    for_reading, for_writing = a_keyring(), a_keyring()
    with pytest.raises((TamperedError, WrappingKeyError)):
        await for_reading.load_ids([key_id])
    with pytest.raises((TamperedError, WrappingKeyError)):
        await for_writing.load([owner])
    assert not for_reading.has(key_id), what
    assert not for_writing.has_current(owner), what
    assert for_reading.held_ids() == for_writing.held_ids() == [], what


@pytest.mark.parametrize("name", ["organization", "subject"])
async def test_a_wrapped_key_of_which_any_byte_changed_opens_nothing(keystore: dict[str, Any], name: str) -> None:
    ids, connection = await _stored(keystore)
    wrapped: bytes = await connection.fetchval("select wrapped from wrapped_key where id = $1", ids[name])
    changed = [wrapped[:at] + bytes([wrapped[at] ^ 1 << at % 8]) + wrapped[at + 1 :] for at in range(len(wrapped))]
    changed += [wrapped[:left] for left in range(len(wrapped))]
    changed += [wrapped + b"\x00", wrapped + wrapped, bytes(len(wrapped))]

    for blob in changed:
        await connection.execute("update wrapped_key set wrapped = $2 where id = $1", ids[name], blob)
        await _require_useless(ids[name], OWNERS[name], blob.hex())

    await connection.execute("update wrapped_key set wrapped = $2 where id = $1", ids[name], wrapped)
    await a_keyring().load([OWNERS[name]])
    await connection.close()


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(OWNERS, 2)))
async def test_keys_that_changed_places_open_nothing(keystore: dict[str, Any], one: str, other: str) -> None:
    ids, connection = await _stored(keystore)
    await connection.execute(
        "update wrapped_key k set wrapped = o.wrapped from wrapped_key o"
        " where k.id = any($1) and o.id = any($1) and k.id <> o.id",
        [ids[one], ids[other]],
    )
    await connection.close()

    for name in (one, other):
        await _require_useless(ids[name], OWNERS[name], name)


@pytest.mark.parametrize(
    ("name", "column", "value", "now"),
    [
        ("person", "owner_kind", "'ORGANIZATION'", KeyOwner(OwnerKind.ORGANIZATION, ANA.id)),
        ("organization", "owner_kind", "'PERSON'", KeyOwner(OwnerKind.PERSON, ACME.id)),
        ("organization", "owner_kind", "'SYSTEM'", KeyOwner(OwnerKind.SYSTEM, ACME.id)),
        ("person", "owner_id", f"'{UUID(int=9)}'", KeyOwner(OwnerKind.PERSON, UUID(int=9))),
        ("subject", "owner_id", f"'{UUID(int=9)}'", KeyOwner(OwnerKind.SUBJECT, UUID(int=9), within=ACME.id)),
        ("organization", "purpose", "'ATTRIBUTION'", KeyOwner(OwnerKind.ORGANIZATION, ACME.id, KeyPurpose.ATTRIBUTION)),
        ("index", "purpose", "'ATTRIBUTION'", KeyOwner(OwnerKind.ORGANIZATION, ACME.id, KeyPurpose.ATTRIBUTION)),
        ("subject", "organization_id", f"'{UUID(int=9)}'", KeyOwner(OwnerKind.SUBJECT, CLEO.id, within=UUID(int=9))),
        ("subject", "organization_id", "null", KeyOwner(OwnerKind.SUBJECT, CLEO.id)),
        ("organization", "organization_id", f"'{ACME.id}'", KeyOwner(OwnerKind.ORGANIZATION, ACME.id, within=ACME.id)),
        ("person", "provider", "'vault'", ANA),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_key_that_was_given_to_another_opens_nothing(
    keystore: dict[str, Any], name: str, column: str, value: str, now: KeyOwner
) -> None:
    ids, connection = await _stored(keystore)
    await connection.execute(f"update wrapped_key set {column} = {value} where id = $1", ids[name])
    await connection.close()

    await _require_useless(ids[name], now, column)


@pytest.mark.parametrize(("column", "value"), [("owner_kind", "NOBODY"), ("purpose", "FUN")])
async def test_a_key_of_an_owner_or_purpose_that_there_is_not_is_tampered_with(
    keystore: dict[str, Any], column: str, value: str
) -> None:
    ids, connection = await _stored(keystore)
    await connection.execute(f"update wrapped_key set {column} = $2 where id = $1", ids["person"], value)
    await connection.close()

    with pytest.raises(TamperedError):
        await a_keyring().load_ids([ids["person"]])


async def test_a_key_under_another_id_opens_nothing(keystore: dict[str, Any]) -> None:
    ids, connection = await _stored(keystore)
    await connection.execute("update wrapped_key set id = $2 where id = $1", ids["person"], UUID(int=9))
    await connection.close()

    await _require_useless(UUID(int=9), ANA, "id")


async def test_a_key_of_another_keystore_opens_nothing(keystore: dict[str, Any]) -> None:
    ids, connection = await _stored(keystore)
    stranger = Keyring(KeyStore(), FileKeyProvider(bytes(32)), lifetime_s=60)
    theirs = (await stranger.new_key(ANA)).wrapped
    await connection.execute("update wrapped_key set wrapped = $2 where id = $1", ids["person"], theirs)
    await connection.close()

    await _require_useless(ids["person"], ANA, "wrapping key")


@pytest.mark.usefixtures("keystore")
async def test_the_organizations_are_those_that_ever_had_keys() -> None:
    store, keyring = KeyStore(), a_keyring()
    bolt = KeyOwner(OwnerKind.ORGANIZATION, UUID(int=7))
    await keyring.load([ACME, ACME_INDEX, ANA, bolt])
    await store.retire([keyring.current(ACME).id])

    assert await store.organizations() == [ACME.id, bolt.id]
    await store.destroy([key.id for key in await store.keys_of([ACME])])
    assert await store.organizations() == [ACME.id, bolt.id]


@pytest.mark.parametrize("wrapped", [b"", bytes(69)])
async def test_a_wrapped_key_that_does_not_open_keeps_no_other_from_being_wrapped_anew(
    keystore: dict[str, Any], tmp_path: Path, wrapped: bytes
) -> None:
    provider = FileKeyProvider.create(tmp_path / "key")
    keyring, store = Keyring(KeyStore(), provider, lifetime_s=60), KeyStore()
    await keyring.load([ACME])
    await keyring.load([ANA])
    broken, whole = keyring.current(ACME).id, keyring.current(ANA).id
    connection = await asyncpg.connect(**keystore)
    header = await connection.fetchval("select substring(wrapped from 1 for 9) from wrapped_key limit 1")
    await connection.execute(
        "update wrapped_key set wrapped = $2 where id = $1", broken, wrapped and header + wrapped[9:]
    )
    await connection.close()
    newest = await provider.rotate()

    with pytest.raises((TamperedError, WrappingKeyError)):
        await rewrap_keys(keyring, store)

    assert [row.wrapping_key == newest for row in await store.by_ids([whole])] == [True]
    assert (await keyring.rewrapped((await store.by_ids([whole]))[0])).wrapping_key == newest
