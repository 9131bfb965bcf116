"""The keys of access tokens, on a real keystore: who signs with which, when it is published, and until when."""

import asyncio
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from auth.action import Action
from auth.principal import SYSTEM_ID
from auth.token import SigningKey, public_jwk
from fieldward.cli.environment import operator
from fieldward.container import build_services
from fieldward.jobs import KEEP_KEYS, build_jobs
from fieldward.settings import Settings
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.encryption.signing import LEARN_EVERY_S, LOOK_EVERY_S, PUBLISHED_S, RETRY_S, VERIFIES_S, SigningKeys
from models.errors import UnavailableError
from resolvers.key_rotation import (
    reseal,
    revoke_signing_keys,
    rotate_data_keys,
    rotate_overdue_signing_key,
    rotate_signing_key,
)
from resolvers.key_verification import verify_values
from tests.conftest import Template
from tests.support.world import World, connect

DAY_S = 86_400.0


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class CountingStore(KeyStore):
    """The keystore, which counts how often somebody looks for the keys of signatures."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def signing(self) -> Any:
        self.looks += 1
        return await super().signing()


class Process:
    """What a server process has of its own: a keyring, and what it knows of signing keys."""

    def __init__(self, template: Template) -> None:
        self.clock = Clock()
        self.store = CountingStore()
        built = build_services(template.settings)
        self.keyring = Keyring(self.store, built.keyring.provider, lifetime_s=300, clock=self.clock)
        self.keys = SigningKeys(self.keyring, self.store, clock=self.clock)

    async def signer_id(self) -> str:
        """Which key signs now."""
        return (await self.keys.signer()).id

    async def published(self) -> list[str]:
        """What a stranger reads of the published keys."""
        found = jwt.PyJWKSet.from_dict({"keys": [public_jwk(key) for key in await self.keys.published()]})
        return [str(key.key_id) for key in found.keys]


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys are replaced."""
    return own_keystore


@pytest.fixture
def first(world: World, template: Template) -> Process:
    """A process over this test's keystore."""
    return Process(template)


@pytest.fixture
def second(world: World, template: Template) -> Process:
    """Another one."""
    return Process(template)


async def pass_time(template: Template, keystore: str, seconds: float, *processes: Process) -> None:
    """Let time pass: for the keystore, whose keys become older, and for the processes."""
    superuser = await connect(template.postgres.superuser(keystore))
    await superuser.execute(
        "update wrapped_key set created_at = created_at - $1::float8 * interval '1 s',"
        " retired_at = retired_at - $1::float8 * interval '1 s' where purpose = 'SIGNING'",
        seconds,
    )
    await superuser.close()
    for one in processes:
        one.clock.now_s += seconds


async def test_processes_that_start_at_once_sign_with_the_same_first_key(first: Process, second: Process) -> None:
    signers = await asyncio.gather(*(one.signer_id() for one in (first, second) for _ in range(5)))

    assert len(set(signers)) == 1
    assert await first.published() == await second.published() == [signers[0]]
    assert await second.keys.learn(signers[0])


async def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(
    world: World, template: Template, own_keystore: str, first: Process, second: Process
) -> None:
    old = await first.signer_id()
    await pass_time(template, own_keystore, DAY_S, first, second)

    assert await rotate_signing_key(first.keyring, first.store, operator()) == 1
    await first.keys.look()
    new, also = await first.published()
    assert also == old
    # The other process has not looked: it signs with what the first still verifies.
    assert await first.signer_id() == await second.signer_id() == old

    await pass_time(template, own_keystore, PUBLISHED_S + 1, first, second)
    assert await first.signer_id() == await second.signer_id() == new
    assert await second.published() == [new, old]

    # Until the last token of the old one has run out, without another look.
    await pass_time(template, own_keystore, VERIFIES_S - PUBLISHED_S - 30, first, second)
    assert set(first.keys.verifying) == {new, old}
    await pass_time(template, own_keystore, 30, first, second)
    assert set(first.keys.verifying) == {new}
    await first.keys.look()
    assert await first.published() == [new]


async def test_a_process_that_can_not_look_signs_no_longer_than_others_verify(
    first: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await first.signer_id()

    async def away(_: object) -> None:
        raise UnavailableError("The keystore does not answer.")

    monkeypatch.setattr(CountingStore, "signing", away)
    first.clock.now_s += PUBLISHED_S - 1
    await first.keys.keep()
    assert await first.signer_id() == known
    first.clock.now_s += 2
    with pytest.raises(UnavailableError):
        await first.keys.signer()
    # What was signed is verified all the same.
    assert set(first.keys.verifying) == {known}


async def test_keys_that_can_not_be_had_are_not_asked_for_by_every_request(
    first: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def away(*_: object) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError

    monkeypatch.setattr(type(first.keyring.provider), "unwrap", away)
    monkeypatch.setattr(type(first.keyring.provider), "wrap", away)
    for _ in range(20):
        with pytest.raises(UnavailableError):
            await first.keys.signer()
        with pytest.raises(UnavailableError):
            await first.keys.learn("a" * 43)
        with pytest.raises(UnavailableError):
            await first.keys.published()
    assert tries == 1

    monkeypatch.undo()
    first.clock.now_s += RETRY_S
    assert await first.published() == [await first.signer_id()]


async def test_a_flood_of_unknown_keys_is_one_look(first: Process) -> None:
    await first.signer_id()
    before = first.store.looks

    learned = await asyncio.gather(*(first.keys.learn(f"{n:043}") for n in range(200)))

    assert not any(learned)
    assert first.store.looks == before + 1
    first.clock.now_s += LEARN_EVERY_S
    assert not await first.keys.learn("a" * 43)
    assert first.store.looks == before + 2


async def test_a_key_that_another_process_made_is_learnt_once_a_token_names_it(
    template: Template, own_keystore: str, first: Process, second: Process
) -> None:
    await first.signer_id()
    await revoke_signing_keys(second.keyring, second.store, operator())
    new = await second.signer_id()

    assert new not in first.keys.verifying
    assert await first.keys.learn(new)
    assert set(first.keys.verifying) == {new}


async def test_a_revoked_key_verifies_nothing_once_it_was_heard_of(first: Process, second: Process) -> None:
    old = await first.signer_id()
    stored = [one.stored.id for one in await first.store.signing()]

    assert await revoke_signing_keys(second.keyring, second.store, operator()) == 1

    for key_id in stored:
        first.keyring.let_go(key_id)
        first.keys.hear(key_id)
    await first.keys.keep()
    assert old not in first.keys.verifying
    assert await first.signer_id() == await second.signer_id() != old


async def test_a_process_that_was_told_nothing_of_a_revoked_key_does_not_sign_with_it(
    first: Process, second: Process
) -> None:
    old = await first.signer_id()
    await revoke_signing_keys(second.keyring, second.store, operator())

    # Its key in memory is renewed before it ends, and is not there any more.
    first.clock.now_s += PUBLISHED_S - 1
    first.keyring.wipe()

    assert await first.signer_id() != old


async def test_looks_are_made_from_time_to_time_and_not_at_each_call(first: Process) -> None:
    await first.keys.look()
    before = first.store.looks

    for _ in range(10):
        await first.keys.keep()
    assert first.store.looks == before
    first.clock.now_s += LOOK_EVERY_S
    await first.keys.keep()
    assert first.store.looks == before + 1


async def test_who_is_killed_between_two_steps_of_a_rotation_leaves_a_key_that_signs(first: Process) -> None:
    old = await first.signer_id()
    await first.store.retire([one.stored.id for one in await first.store.signing()])

    await first.keys.look()

    new, also = await first.published()
    assert (new != old, also) == (True, old)
    assert await first.signer_id() == old


async def test_a_key_that_does_not_unwrap_is_not_published_and_is_named(
    world: World, template: Template, own_keystore: str, first: Process
) -> None:
    await first.signer_id()
    superuser = await connect(template.postgres.superuser(own_keystore))
    await superuser.execute("update wrapped_key set wrapped = set_byte(wrapped, 40, get_byte(wrapped, 40) # 1)"
                            " where purpose = 'SIGNING'")  # fmt: skip
    await superuser.close()
    (stored,) = [one.stored.id for one in await first.store.signing()]
    cold = Process(template)

    with pytest.raises(UnavailableError):
        await cold.keys.signer()
    assert await cold.keys.published() == []
    with cold.keyring.activate():
        broken = (await verify_values(cold.store)).broken
    assert [(one.table, one.column, one.row_id) for one in broken] == [("wrapped_key", "wrapped", stored)]

    assert await rotate_signing_key(cold.keyring, cold.store, operator()) == 1
    await cold.keys.look()
    assert await cold.published() == [await cold.signer_id()]


async def test_the_wrapped_key_of_something_else_signs_nothing(
    world: World, template: Template, own_keystore: str, first: Process
) -> None:
    await first.signer_id()
    superuser = await connect(template.postgres.superuser(own_keystore))
    await superuser.execute(
        "update wrapped_key set wrapped = (select v.wrapped from wrapped_key v where v.owner_kind = 'SYSTEM'"
        " and v.purpose = 'INDEX' and v.wrapped is not null limit 1) where purpose = 'SIGNING'"
    )
    await superuser.close()
    cold = Process(template)

    with pytest.raises(UnavailableError):
        await cold.keys.signer()


async def test_the_schedule_replaces_a_key_that_is_due_and_destroys_the_spent_one(
    world: World, template: Template, own_keystore: str, first: Process
) -> None:
    old = await first.signer_id()
    job = build_jobs(world.services, Settings(data_key_lifetime_s=1))[KEEP_KEYS]
    await job()
    assert await first.published() == [old]

    await pass_time(template, own_keystore, 91 * DAY_S, first)
    since = await world.now()
    await job()
    await first.keys.look()
    assert len(await first.published()) == 2
    await pass_time(template, own_keystore, VERIFIES_S + 1, first)
    await job()

    (left,) = await first.store.signing()
    assert left.retired_for_s is None
    counts = {(one.owner_kind, one.purpose): one for one in await first.store.counts()}
    assert (counts["SYSTEM", "SIGNING"].current, counts["SYSTEM", "SIGNING"].destroyed) == (1, 1)
    entries = [one for one in await world.entries(since=since) if one["action"] in {"key.rotate", "key.destroy"}]
    assert [(one["action"], one["outcome"], one["organization_id"]) for one in entries] == [
        (Action.KEY_ROTATE, "DONE", SYSTEM_ID),
        (Action.KEY_DESTROY, "DONE", SYSTEM_ID),
    ]
    assert len(entries[0]["entity_ids"]) == 1
    assert entries[0]["entity_ids"] == entries[1]["entity_ids"]


async def test_a_key_that_is_not_due_stays(template: Template, own_keystore: str, first: Process) -> None:
    known = await first.signer_id()
    await pass_time(template, own_keystore, 89 * DAY_S, first)

    assert await rotate_overdue_signing_key(first.keyring, first.store, operator(), oldest_days=90) == 0
    assert await first.signer_id() == known


async def test_a_rotation_of_data_keys_leaves_signing_keys_alone(first: Process) -> None:
    known = await first.signer_id()
    await rotate_signing_key(first.keyring, first.store, operator())
    with first.keyring.activate():
        await rotate_data_keys(first.keyring, first.store, operator())
        done = await reseal(first.store, operator(), lifetime_s=1)

    assert done.broken == []
    await first.keys.look()
    assert known in await first.published()
    assert len(await first.published()) == 2
    counts: Mapping[tuple[str, str], Any] = {(one.owner_kind, one.purpose): one for one in await first.store.counts()}
    assert (counts["SYSTEM", "SIGNING"].retired, counts["SYSTEM", "SIGNING"].left_over) == (1, 0)


async def test_what_signs_is_told_by_no_variable(first: Process) -> None:
    key = await first.keys.signer()

    assert isinstance(key, SigningKey)
    assert repr(key) == f"<SigningKey {key.id}>"
    assert not hasattr(key, "__dict__")
