"""The watch over a server's keys, on a real keystore: it hears at once, and misses nothing when it was cut off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fieldward import key_watch
from fieldward.embedded import EmbeddedPostgres
from fieldward.key_watch import watching_keys
from models.encryption.envelope import Cell, KeyOwner, OwnerKind, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.encryption.signing import SigningKeys
from models.errors import ErasedError, SealedError
from tests.support.world import World, connect

PATIENCE_S = 10.0


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own: keys are made in it that no other provider unwraps."""
    return own_keystore


@pytest.fixture
def owner() -> KeyOwner:
    """Somebody of whom the run's keystore does not know yet."""
    return KeyOwner(OwnerKind.PERSON, uuid4())


@pytest.fixture
async def keyring(
    world: World, postgres: EmbeddedPostgres, owner: KeyOwner, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Keyring]:
    """A server's keyring that is watched over, with the owner's key in memory."""
    monkeypatch.setattr(key_watch, "ROUND_S", 0.1)
    keyring = Keyring(KeyStore(), FileKeyProvider(bytes(range(32))), lifetime_s=60)

    async def connecting() -> asyncpg.Connection:
        reached: dict[str, Any] = {**world.keystore.dsn_parameters()}
        return await asyncpg.connect(**reached, server_settings={"application_name": "watch under test"})

    async with watching_keys(keyring, SigningKeys(keyring, KeyStore()), connecting):
        await keyring.load([owner])
        await _until(lambda: _is_listening(postgres))
        yield keyring
    assert keyring.held_ids() == []


async def test_a_destroyed_key_leaves_the_memory_of_another_process(keyring: Keyring, owner: KeyOwner) -> None:
    key_id = keyring.current(owner).id

    await KeyStore().destroy([key_id])

    await _until(lambda: _is(not keyring.has(key_id)))
    await keyring.load_ids([key_id])
    with pytest.raises(ErasedError):
        keyring.get(key_id)


@pytest.mark.parametrize("told", ["destroyed {}", "retired {}", "destroyed", "destroyed x", "", "erased {}"])
async def test_whatever_is_said_a_key_that_is_there_still_opens(
    keyring: Keyring, owner: KeyOwner, postgres: EmbeddedPostgres, told: str
) -> None:
    key_id = keyring.current(owner).id
    superuser = await connect(postgres.superuser("fieldward_keys"))
    await superuser.execute("select pg_notify('fieldward_keys', $1)", told.format(key_id))
    await superuser.execute("select pg_notify('fieldward_keys', $1)", f"retired {key_id}")
    await superuser.close()

    await asyncio.sleep(0.3)
    # Whoever reads asks the keystore, and is not told that it was erased.
    if not keyring.has(key_id):
        with pytest.raises(SealedError) as raised:
            keyring.get(key_id)
        assert raised.type is SealedError
    await keyring.load_ids([key_id])

    assert keyring.get(key_id).id == key_id


async def test_a_retired_key_makes_room_for_the_new_one(keyring: Keyring, owner: KeyOwner) -> None:
    old = keyring.current(owner).id

    await KeyStore().retire([old])
    await KeyStore().add([await keyring.new_key(owner)])

    async def has_another() -> bool:
        await keyring.load([owner])
        return keyring.current(owner).id != old

    await _until(has_another)
    assert keyring.has(old)


async def test_what_was_destroyed_while_nobody_listened_is_found(
    keyring: Keyring, owner: KeyOwner, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = keyring.current(owner).id
    heard: list[str] = []
    monkeypatch.setattr(key_watch, "_hear", lambda _, __, told: heard.append(told))

    superuser = await connect(postgres.superuser())
    await superuser.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'watch under test'"
    )
    await superuser.close()
    await KeyStore().destroy([key_id])

    await _until(lambda: _is(not keyring.has(key_id)))


async def test_seals_are_told_and_expired_keys_wiped_while_nobody_asks(keyring: Keyring, owner: KeyOwner) -> None:
    key = keyring.current(owner)
    seal(key, Cell(owner.id, "membership", "name", uuid4()), "Ana")

    async def is_counted() -> bool:
        (row,) = await KeyStore().by_ids([key.id])
        return row.seals == 1

    await _until(is_counted)


async def _is(holds: bool) -> bool:
    return holds


async def _is_listening(postgres: EmbeddedPostgres) -> bool:
    superuser = await connect(postgres.superuser())
    try:
        found: bool = await superuser.fetchval(
            "select exists (select from pg_stat_activity where application_name = 'watch under test')"
        )
        return found
    finally:
        await superuser.close()


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        is_so = await holds()
        while not is_so:
            await asyncio.sleep(0.05)
            is_so = await holds()
