"""The schedule that keeps keys: it replaces those that are too old, and seals anew what lies under them."""

from datetime import timedelta
from uuid import UUID

import pytest

from fieldward.background import Job
from fieldward.jobs import KEEP_KEYS, build_jobs
from fieldward.settings import Settings
from models.encryption.envelope import SEALS_BEFORE_ROTATION
from models.encryption.file_provider import FileKeyProvider
from models.encryption.owner import organization_owner
from tests.conftest import Template
from tests.support.world import World, connect


async def _under(world: World, key_id: UUID) -> int:
    found: int = await world.value(
        "select count(*) from record where substring(comment from 3 for 16) = $1", key_id.bytes
    )
    return found


def keep_keys(world: World, **settings: float) -> Job:
    """The job, with these settings."""
    return build_jobs(world.services, Settings(data_key_lifetime_s=1, **settings))[KEEP_KEYS]  # type: ignore[arg-type]


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys are replaced."""
    return own_keystore


@pytest.fixture
async def key_id(world: World) -> UUID:
    """The organization's current key of values, under which its comments lie."""
    owner = organization_owner(await world.organization_id("clearwater"))
    await world.services.keyring.load([owner])
    found = world.services.keyring.current(owner).id
    assert await _under(world, found) > 10
    return found


async def _change_keystore(template: Template, keystore: str, text: str, *arguments: object) -> None:
    superuser = await connect(template.postgres.superuser(keystore))
    await superuser.execute(text, *arguments)
    await superuser.close()


async def test_keys_that_are_due_are_replaced_and_what_they_sealed_is_sealed_anew(
    world: World, template: Template, own_keystore: str, key_id: UUID
) -> None:
    await keep_keys(world)()
    assert await _under(world, key_id) > 10

    await _change_keystore(
        template, own_keystore, "update wrapped_key set seals = $2 where id = $1", key_id, SEALS_BEFORE_ROTATION
    )
    job = keep_keys(world)
    while await job():
        pass

    assert await _under(world, key_id) == 0
    (row,) = await world.services.keystore.by_ids([key_id])
    assert row.retired_at is not None
    entries = await world.sql("select action, channel from audit_entry where action like 'key.%' order by at")
    assert {(one["action"], one["channel"]) for one in entries} == {("key.rotate", "JOB"), ("key.reseal", "JOB")}
    manager = await world.client("manager")
    shown = (await manager.run("{ records(first: 1000) { nodes { comment } } }")).data["records"]["nodes"]
    assert sum(one["comment"] is not None for one in shown) > 10


async def test_a_retired_key_is_emptied_once_no_server_can_have_it_in_memory(
    world: World, template: Template, own_keystore: str, key_id: UUID
) -> None:
    await _change_keystore(
        template,
        own_keystore,
        "update wrapped_key set created_at = now() - $2::interval where id = $1",
        key_id,
        timedelta(days=400),
    )
    job = keep_keys(world)
    while await job():
        pass
    assert key_id in {one.id for one in await world.services.keystore.left()}

    await _change_keystore(
        template,
        own_keystore,
        "update wrapped_key set retired_at = retired_at - interval '2 minutes' where id = $1",
        key_id,
    )
    while await job():
        pass

    assert key_id not in {one.id for one in await world.services.keystore.left()}


async def test_the_key_encryption_key_is_replaced_by_the_schedule_where_that_is_set(
    world: World, template: Template
) -> None:
    provider = world.services.keyring.provider
    assert isinstance(provider, FileKeyProvider)
    before = await provider.newest()

    await keep_keys(world)()
    assert await provider.newest() == before
    await keep_keys(world, key_encryption_key_max_age_days=300)()
    assert await provider.newest() == before
    await keep_keys(world, key_encryption_key_max_age_days=1e-9)()

    newest = await provider.newest()
    assert newest != before
    counts = await world.services.keystore.counts()
    assert {one.wrapping_key for one in counts if one.current + one.retired} == {newest}
