"""What the keyring promises. The real keystore is in `tests/model/test_keystore.py`."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from models.encryption.envelope import MOST_SEALS, Cell, DataKey, KeyOwner, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import COUNTED_EVERY, Keyring, active_keyring
from models.encryption.keystore import KeyStore, StoredKey
from models.encryption.provider import WrappingKeyError
from models.errors import ErasedError, SealedError, TamperedError, UnavailableError

ACME = KeyOwner(OwnerKind.ORGANIZATION, UUID(int=1))
ANA = KeyOwner(OwnerKind.PERSON, UUID(int=2))
LIFETIME_S = 100.0


class MemoryStore(KeyStore):
    """A keystore without a database, which can be away and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[UUID, StoredKey] = {}
        self.is_away = False
        self.calls = 0

    async def current(self, owners: Collection[KeyOwner]) -> list[StoredKey]:
        await self._answer()
        return [
            row
            for row in self.rows.values()
            if row.owner in owners and row.retired_at is None and row.destroyed_at is None
        ]

    async def by_ids(self, key_ids: Iterable[UUID]) -> list[StoredKey]:
        await self._answer()
        return [self.rows[key_id] for key_id in key_ids if key_id in self.rows]

    async def add(self, keys: Collection[StoredKey]) -> list[StoredKey]:
        await self._answer()
        taken = {row.owner for row in self.rows.values() if row.retired_at is None}
        taken |= {row.owner for row in self.rows.values() if row.destroyed_at and row.owner.kind is OwnerKind.PERSON}
        self.rows |= {key.id: key for key in keys if key.owner not in taken}
        return await self.current([key.owner for key in keys])

    async def count(self, seals: Mapping[UUID, int]) -> dict[UUID, int]:
        await self._answer()
        for key_id, more in seals.items():
            self.rows[key_id] = replace(self.rows[key_id], seals=self.rows[key_id].seals + more)
        return {key_id: self.rows[key_id].seals for key_id in seals}

    async def _answer(self) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise UnavailableError("The keystore does not answer.")


class Provider(FileKeyProvider):
    """A provider that can be away."""

    __slots__ = ("is_away",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self.is_away = False

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError
        return await super().unwrap(wrapped, context)


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def provider() -> Provider:
    return Provider(bytes(range(32)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyring(store: MemoryStore, provider: Provider, clock: Clock) -> Keyring:
    return Keyring(store, provider, lifetime_s=LIFETIME_S, clock=clock)


async def test_a_key_that_was_not_loaded_is_not_there(keyring: Keyring) -> None:
    assert not keyring.has_current(ACME)
    assert not keyring.has(UUID(int=9))
    with pytest.raises(SealedError):
        keyring.current(ACME)
    with pytest.raises(SealedError):
        keyring.get(UUID(int=9))


async def test_loading_makes_an_owners_first_key_and_keeps_it(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])

    assert keyring.current(ACME) is keyring.get(keyring.current(ACME).id)
    assert keyring.current(ACME).owner == ACME
    assert keyring.current(ANA).id != keyring.current(ACME).id
    assert set(store.rows) == {keyring.current(ACME).id, keyring.current(ANA).id}


async def test_the_store_holds_no_secret(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])

    (row,) = store.rows.values()
    assert row.wrapped is not None
    assert bytes(keyring.current(ACME)._secret) not in row.wrapped


async def test_another_process_gets_the_same_key(keyring: Keyring, store: MemoryStore, provider: Provider) -> None:
    other = Keyring(store, provider, lifetime_s=LIFETIME_S)
    await keyring.load([ACME])
    await other.load([ACME])

    assert other.current(ACME).has_secret_of(keyring.current(ACME))


async def test_what_is_loaded_is_not_asked_for_again(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    calls = store.calls
    await keyring.load([ACME])
    await keyring.load_ids([keyring.current(ACME).id])

    assert store.calls == calls


async def test_many_loads_at_once_make_one_key(keyring: Keyring, store: MemoryStore) -> None:
    await asyncio.gather(*(keyring.load([ACME]) for _ in range(50)))

    assert len(store.rows) == 1
    assert store.calls == 3  # current; add, which asks for current again


async def test_two_keyrings_that_race_agree(keyring: Keyring, store: MemoryStore, provider: Provider) -> None:
    other = Keyring(store, provider, lifetime_s=LIFETIME_S)
    await asyncio.gather(keyring.load([ACME]), other.load([ACME]))

    assert len(store.rows) == 1
    assert other.current(ACME).id == keyring.current(ACME).id


async def test_unknown_and_destroyed_keys_stay_away_without_an_error(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    key_id = keyring.current(ACME).id
    store.rows[key_id] = replace(store.rows[key_id], wrapped=None, destroyed_at=datetime.now(UTC))
    keyring.forget([ACME])

    await keyring.load_ids([key_id, UUID(int=9)])

    assert not keyring.has(key_id)
    assert not keyring.has(UUID(int=9))


async def test_missing_keys_are_loaded_in_one_statement(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])
    keyring.forget([ACME, ANA])
    calls = store.calls
    await keyring.load_ids(store.rows)

    assert store.calls == calls + 1
    assert all(map(keyring.has, store.rows))


async def test_a_key_is_wiped_when_its_lifetime_ends(keyring: Keyring, clock: Clock) -> None:
    await keyring.load([ACME])
    key = keyring.current(ACME)
    secret = key._secret
    clock.now_s += LIFETIME_S

    assert not keyring.has(key.id)
    with pytest.raises(SealedError):
        keyring.get(key.id)
    with pytest.raises(SealedError):
        keyring.current(ACME)
    keyring.wipe_expired()
    assert not any(secret)
    with pytest.raises(SealedError):
        key.derive(b"anything")


async def test_a_key_loaded_late_in_its_life_lasts_for_the_request(keyring: Keyring, clock: Clock) -> None:
    await keyring.load([ACME])
    clock.now_s += LIFETIME_S * 0.9
    await keyring.load([ACME])
    clock.now_s += LIFETIME_S * 0.9

    assert keyring.has_current(ACME)
    assert keyring.has(keyring.current(ACME).id)


async def test_a_key_renewed_by_its_id_outlives_what_was_known_of_its_owner(keyring: Keyring, clock: Clock) -> None:
    await keyring.load([ACME])
    key = keyring.current(ACME)
    clock.now_s += LIFETIME_S * 0.9
    keyring.add(key)
    clock.now_s += LIFETIME_S * 0.2
    keyring.wipe_expired()

    assert keyring.get(key.id) is key
    assert key.derive(b"anything")
    assert not keyring.has_current(ACME)


async def test_a_key_destroyed_meanwhile_leaves_the_memory_at_renewal(
    keyring: Keyring, store: MemoryStore, clock: Clock
) -> None:
    await keyring.load([ANA])
    key = keyring.current(ANA)
    store.rows[key.id] = replace(store.rows[key.id], wrapped=None, destroyed_at=datetime.now(UTC))
    clock.now_s += LIFETIME_S * 0.9
    await keyring.load_ids([key.id])

    assert not keyring.has(key.id)
    assert not keyring.has_current(ANA)


async def test_forgetting_an_owner_wipes_all_its_keys_and_no_others(keyring: Keyring) -> None:
    await keyring.load([ACME, ANA])
    secret = keyring.current(ANA)._secret
    keyring.forget([ANA])

    assert not any(secret)
    assert not keyring.has_current(ANA)
    assert keyring.has_current(ACME)


@pytest.mark.parametrize("away", ["store", "provider"])
async def test_warm_keys_serve_on_while_something_is_away(
    away: str,
    keyring: Keyring,
    store: MemoryStore,
    provider: Provider,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await keyring.load([ACME])
    key_id = keyring.current(ACME).id
    await Keyring(store, provider, lifetime_s=1).load([ANA])
    (store if away == "store" else provider).is_away = True
    clock.now_s += LIFETIME_S * 0.9

    await keyring.load([ACME])
    await keyring.load_ids([key_id])
    assert keyring.has_current(ACME)
    assert "serve on" in caplog.text
    with pytest.raises(UnavailableError):
        await keyring.load([ACME, ANA])

    clock.now_s += LIFETIME_S * 0.1
    with pytest.raises(UnavailableError):
        await keyring.load([ACME])
    with pytest.raises(UnavailableError):
        await keyring.load_ids([key_id])


async def test_adding_a_key_twice_is_harmless_and_another_under_its_id_is_refused(keyring: Keyring) -> None:
    key = DataKey(UUID(int=5), ACME, bytes(32))
    keyring.add(key)
    keyring.add(key)
    keyring.add(DataKey(UUID(int=5), ACME, bytes(32)))

    assert keyring.get(UUID(int=5)) is key
    for other in (DataKey(UUID(int=5), ACME, bytes(range(32))), DataKey(UUID(int=5), ANA, bytes(32))):
        with pytest.raises(ValueError, match="Another data key"):
            keyring.add(other)
    assert keyring.get(UUID(int=5)) is key


async def test_a_wrapped_key_moved_to_another_owner_does_not_open(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    (row,) = store.rows.values()
    store.rows[row.id] = replace(row, owner=ANA)
    keyring.forget([ACME])

    with pytest.raises(TamperedError):
        await keyring.load([ANA])


async def test_a_key_of_another_provider_is_named(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    (row,) = store.rows.values()
    store.rows[row.id] = replace(row, provider="vault")
    keyring.forget([ACME])

    with pytest.raises(WrappingKeyError, match="vault"):
        await keyring.load([ACME])


async def test_the_active_keyring_is_that_of_the_block_and_its_tasks(keyring: Keyring) -> None:
    async def seen() -> Keyring:
        return active_keyring()

    with pytest.raises(SealedError):
        active_keyring()
    with keyring.activate():
        assert await asyncio.create_task(seen()) is keyring
    with pytest.raises(SealedError):
        active_keyring()


def _seal(keyring: Keyring, owner: KeyOwner, times: int) -> None:
    for _ in range(times):
        seal(keyring.current(owner), Cell(owner.id, "record", "comment", UUID(int=5)), "Low flow")


async def test_the_keystore_is_told_how_often_keys_have_sealed(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])
    key_id = keyring.current(ACME).id
    _seal(keyring, ACME, 3)

    await keyring.tell_seals()
    await keyring.tell_seals()
    assert store.rows[key_id].seals == 3
    assert store.rows[keyring.current(ANA).id].seals == 0

    # Another process has sealed meanwhile: both are counted, here too.
    store.rows[key_id] = replace(store.rows[key_id], seals=10)
    _seal(keyring, ACME, 2)
    await keyring.tell_seals()
    assert store.rows[key_id].seals == 12
    assert keyring.current(ACME).seals == 12


async def test_what_a_key_has_sealed_is_told_although_it_has_left_the_memory(
    keyring: Keyring, store: MemoryStore, clock: Clock
) -> None:
    await keyring.load([ACME])
    key_id = keyring.current(ACME).id
    _seal(keyring, ACME, 4)
    clock.now_s += LIFETIME_S
    keyring.wipe_expired()
    store.is_away = True
    with pytest.raises(UnavailableError):
        await keyring.tell_seals()
    store.is_away = False

    await keyring.tell_seals()

    assert store.rows[key_id].seals == 4
    await keyring.load([ACME])
    assert keyring.current(ACME).seals == 4


async def test_many_seals_are_told_with_the_next_load(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    _seal(keyring, ACME, COUNTED_EVERY)

    await keyring.load([ACME])

    assert store.rows[keyring.current(ACME).id].seals == COUNTED_EVERY


async def test_a_key_that_is_used_up_seals_nothing_and_opens(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME])
    cell = Cell(ACME.id, "record", "comment", UUID(int=5))
    blob = seal(keyring.current(ACME), cell, "Low flow")
    key_id = keyring.current(ACME).id
    keyring.wipe()
    store.rows[key_id] = replace(store.rows[key_id], seals=MOST_SEALS)

    await keyring.load([ACME])

    with pytest.raises(SealedError, match="used up"):
        seal(keyring.current(ACME), cell, "Low flow")
    assert open_sealed(keyring.current(ACME), cell, blob) == "Low flow"


async def test_who_hears_of_a_retired_key_meets_the_new_one_with_the_next_load(
    keyring: Keyring, store: MemoryStore
) -> None:
    await keyring.load([ACME, ANA])
    old = keyring.current(ACME)
    store.rows[old.id] = replace(store.rows[old.id], retired_at=datetime.now(UTC))
    await store.add([await keyring.new_key(ACME)])

    keyring.hear_retired(old.id)

    # What is under way goes on with the old one.
    assert keyring.current(ACME) is old
    await keyring.load([ACME])
    assert keyring.current(ACME).id != old.id
    assert keyring.get(old.id) is old


async def test_who_hears_of_a_destroyed_key_has_it_no_more(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])
    gone = keyring.current(ANA)

    keyring.hear_destroyed(gone.id)

    assert bytes(gone._secret) == b""
    with pytest.raises(ErasedError):
        keyring.get(gone.id)
    assert keyring.has_current(ACME)


async def test_a_look_at_the_keystore_finds_what_was_not_heard_of(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])
    retired, destroyed = keyring.current(ACME).id, keyring.current(ANA).id
    now = datetime.now(UTC)
    store.rows[retired] = replace(store.rows[retired], retired_at=now)
    store.rows[destroyed] = replace(store.rows[destroyed], wrapped=None, destroyed_at=now)

    await keyring.look_again()
    await keyring.load([ACME])

    assert keyring.current(ACME).id != retired
    with pytest.raises(ErasedError):
        keyring.get(destroyed)


async def test_another_provider_unwraps_what_was_its_own(store: MemoryStore, tmp_path: Path) -> None:
    class Elsewhere(FileKeyProvider):
        name = "elsewhere"

    before = Keyring(store, old := FileKeyProvider(bytes(32)), lifetime_s=LIFETIME_S)
    await before.load([ACME])
    (row,) = store.rows.values()
    after = Keyring(store, Elsewhere(bytes(range(32))), others=[old], lifetime_s=LIFETIME_S)

    moved = await after.rewrapped(row)
    store.rows[row.id] = moved

    assert (moved.provider, moved.id) == ("elsewhere", row.id)
    assert moved.wrapping_key != row.wrapping_key
    alone = Keyring(store, Elsewhere(bytes(range(32))), lifetime_s=LIFETIME_S)
    await alone.load([ACME])
    assert alone.current(ACME).has_secret_of(before.current(ACME))


async def test_a_person_who_was_erased_gets_no_key_again(keyring: Keyring, store: MemoryStore) -> None:
    await keyring.load([ACME, ANA])
    gone = keyring.current(ANA)
    store.rows[gone.id] = replace(store.rows[gone.id], wrapped=None, destroyed_at=datetime.now(UTC))
    keyring.hear_destroyed(gone.id)

    await keyring.load([ACME, ANA])
    calls = store.calls
    await keyring.load([ACME, ANA])

    assert store.calls == calls
    assert len(store.rows) == 2
    with pytest.raises(ErasedError):
        keyring.current(ANA)
    assert keyring.has_current(ACME)
