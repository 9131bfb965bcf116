"""What the keystore promises, on a PostgreSQL of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
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
from models.errors import UnavailableError

ACME = KeyOwner(OwnerKind.ORGANIZATION, UUID(int=1))
ANA = KeyOwner(OwnerKind.PERSON, UUID(int=2))
PROVIDER = FileKeyProvider(bytes(range(32)))
APPS: dict[str, dict[str, Any]] = {
    "keystore": {
        "models": ["models.encryption.keystore"],
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

    (gone,) = await KeyStore().destroy([ANA])

    (row,) = await KeyStore().by_ids([destroyed])
    assert gone.id == row.id == destroyed
    assert row.wrapped is None
    assert row.destroyed_at is not None
    assert await KeyStore().destroy([ANA]) == []
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


@pytest.mark.usefixtures("keystore")
async def test_the_organizations_are_those_that_have_keys_and_were_not_erased() -> None:
    store = KeyStore()
    acme, bolt = ACME, KeyOwner(OwnerKind.ORGANIZATION, UUID(int=7))
    await store.add([a_key(acme, 20), a_key(replace(acme, purpose=KeyPurpose.INDEX), 21), a_key(ANA, 22)])
    await store.add([a_key(bolt, 23)])
    await store.retire([UUID(int=20)])

    assert await store.organizations() == [acme.id, bolt.id]
    await store.destroy([acme])
    assert await store.organizations() == [bolt.id]
