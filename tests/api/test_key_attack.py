"""Attacks on keys, erasures and rotations, each of which once worked or might have."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import pytest

from auth.errors import UnauthenticatedError
from auth.permission import Permission
from auth.principal import Channel, Origin
from auth.token import AccessClaims
from fieldward.cli.environment import operator
from fieldward.embedded import EmbeddedPostgres
from fieldward.jobs import build_jobs
from fieldward.settings import Settings
from models.base import new_id
from models.encryption.destruction import Destruction
from models.encryption.envelope import KeyOwner
from models.encryption.keyring import active_keyring
from models.encryption.keystore import KeyStore
from models.encryption.owner import index_owner, person_owner, subject_owner
from models.encryption.rotation import replace_keys
from models.inventory import entity_named
from models.resealing import NO_ROW
from models.searching import index_of
from resolvers.account import member_viewer
from resolvers.collector import COLLECTOR
from resolvers.erasure import apply_erasures, erase_name, erase_person
from resolvers.key_rotation import Rotation, _reseal_batch, reseal
from resolvers.location_rewrite import REWRITE_LOCATIONS
from resolvers.record_import import import_results
from resolvers.session import authenticate
from resolvers.trail import Actor
from tests.support.access import define_role, give_in_project
from tests.support.mutation import mutate
from tests.support.people import PASSWORD, a_person
from tests.support.tampering import store
from tests.support.world import SIGN_IN, Client, World, connect
from tests.support.wqx import a_file, a_row


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


async def signed_in(world: World, email: str) -> Client:
    """Return a client of a person's own."""
    answer = await world.anonymous.run(SIGN_IN, {"input": {"email": email, "password": PASSWORD}})
    return Client(world.http, answer.data["signIn"]["accessToken"])


async def test_no_key_is_made_for_who_was_erased(world: World) -> None:
    user_id, email = await a_person(world)
    client = await signed_in(world, email)
    assert (await client.run("{ viewer { role } }")).data["viewer"]
    await erase_person(world.services, operator(), email=email, reason="Asked for it")

    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    # As on a server that heard of it.
    organization_id = await world.organization_id("clearwater")
    origin = Origin(channel=Channel.API, request_id=new_id(), ip_address="192.0.2.7", user_agent="BosPhone/1")
    claims = AccessClaims(user_id=user_id, session_id=new_id(), organization_id=organization_id)
    since = await world.now()
    with pytest.raises(UnauthenticatedError):
        await authenticate(world.services, origin, claims=claims)

    # What they are refused is in the trail, without where they were.
    (entry,) = await world.entries(since=since)
    assert (entry["user_id"], entry["outcome"]) == (user_id, "DENIED")
    assert (entry["ip_address"], entry["user_agent"]) == (None, None)
    assert await world.services.keystore.keys_of([person_owner(user_id)]) == []


async def test_an_older_backup_does_not_let_in_who_was_erased(world: World) -> None:
    user_id, _ = await a_person(world)
    keys = await world.services.keystore.keys_of([person_owner(user_id)])
    # As the data are, where a backup is from before they joined the organization that comes last.
    within = (await world.organization_id("clearwater"), await world.organization_id("suncoast"))
    assert within[0] < within[1]
    one = Destruction(new_id(), await world.now(), user_id, None, within, tuple(key.id for key in keys))
    await world.services.destructions.add(one)

    await apply_erasures(world.services, operator())

    assert await world.value("select status from user_account where id = $1", user_id) == "ERASED"


async def a_record(world: World, collector: str, who: str = "collector", **more: Any) -> UUID:
    """Make a record of that collector and return its id."""
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "WELL-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "collector": collector,
        **more,
    }
    payload = (await mutate(await world.client(who), "createRecord", given, "record { id }")).data["createRecord"]
    assert payload["errors"] == [], payload
    return UUID(payload["record"]["id"].removeprefix("Record:"))


async def subject_of(world: World, name: str) -> KeyOwner:
    """Return the owner of the key of a collector's name."""
    organization_id = await world.organization_id("clearwater")
    await active_keyring().load([index_owner(organization_id)])
    return subject_owner(organization_id, index_of(COLLECTOR, organization_id, name))


async def rotate(world: World, *owners: KeyOwner) -> set[UUID]:
    """Replace the owners' keys, and nobody else's, and return the retired ones."""
    store = world.services.keystore
    keys = await store.current(owners)
    await replace_keys(world.services.keyring, store, keys)
    return {key.id for key in keys}


async def resealed(world: World) -> Rotation:
    """Seal anew whatever lies under retired keys."""
    return await reseal(world.services.keystore, operator(), lifetime_s=0)


@pytest.mark.parametrize("cut", [18, 34, 62])
async def test_a_row_that_holds_no_value_keeps_no_other_from_being_sealed_anew(world: World, cut: int) -> None:
    name = f"Bo {new_id()}"
    first, second = await a_record(world, name), await a_record(world, name)
    column = entity_named("record").columns["collector"]
    blob = await world.value("select collector from record where id = $1", first)
    await store(world, column, [first], [blob[:cut]])
    (old,) = await rotate(world, await subject_of(world, name))

    found = await resealed(world)

    assert ("record", "collector", first) in found.broken
    assert (await world.value("select collector from record where id = $1", second))[2:18] != old.bytes
    assert await world.value("select collector from record where id = $1", first) == blob[:cut]


async def test_a_key_that_does_not_unwrap_keeps_no_other_value_from_being_sealed_anew(
    world: World, postgres: EmbeddedPostgres
) -> None:
    names = [f"Bo {new_id()}", f"Cy {new_id()}"]
    first, second = [await a_record(world, name) for name in names]
    owners = [await subject_of(world, name) for name in names]
    old = await rotate(world, *owners)
    broken = UUID(bytes=(await world.value("select collector from record where id = $1", first))[2:18])
    world.services.keyring.wipe()
    keystore = await connect(postgres.superuser(world.keystore.database))
    try:
        wrapped = await keystore.fetchval("select wrapped from wrapped_key where id = $1", broken)
        await keystore.execute("update wrapped_key set wrapped = $2 where id = $1", broken, wrapped[:-1] + b"!")
        found = await resealed(world)
    finally:
        await keystore.execute("update wrapped_key set emptied_at = now() where id = $1", broken)
        await keystore.close()

    assert ("record", "collector", first) in found.broken
    assert (await world.value("select collector from record where id = $1", second))[2:18] not in {
        one.bytes for one in old
    }


async def test_a_row_that_names_another_owner_is_not_sealed_under_that_ones_key(world: World) -> None:
    name = f"Bo {new_id()}"
    record_id = await a_record(world, name)
    owner = await subject_of(world, name)
    # Under the organization's key the name would outlive its erasure.
    await store(world, entity_named("record").columns["collector_index"], [record_id], [None])  # type: ignore[list-item]
    before = await world.value("select collector from record where id = $1", record_id)
    await rotate(world, owner)

    found = await resealed(world)

    assert ("record", "collector", record_id) in found.broken
    assert await world.value("select collector from record where id = $1", record_id) == before


async def test_a_key_destroyed_while_values_are_sealed_anew_brings_nothing_back(world: World) -> None:
    name = f"Bo {new_id()}"
    record_id = await a_record(world, name)
    owner = await subject_of(world, name)
    (old,) = await rotate(world, owner)
    keyring, store_of_keys = world.services.keyring, world.services.keystore
    keyring.wipe()
    await keyring.load_ids([old])

    # As another process does it, of which this one has not heard.
    await store_of_keys.destroy([key.id for key in await store_of_keys.keys_of([owner])])
    before = await world.value("select collector from record where id = $1", record_id)
    organization_id = await world.organization_id("clearwater")
    await _reseal_batch(operator(), organization_id, entity_named("record"), [old], NO_ROW)

    assert await world.value("select collector from record where id = $1", record_id) == before


async def test_an_erased_name_is_not_found_out_by_creating_its_record_again(world: World) -> None:
    name, record_id = f"Bo {new_id()}", new_id()
    await a_record(world, name, id=f"Record:{record_id}")

    await erase_name(world.services, operator(), slug="clearwater", names=[name], reason="Asked for it")

    codes = {}
    for guess in (name, "Cy Cohen"):
        given = {
            "id": f"Record:{record_id}",
            "projectId": f"Project:{await world.project_id('CANAL')}",
            "siteCode": "WELL-1",
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
            "collector": guess,
        }
        payload = (await mutate(await world.client("collector"), "createRecord", given)).data["createRecord"]
        codes[guess] = [error["code"] for error in payload["errors"]]
    assert codes == {name: ["CONFLICT"], "Cy Cohen": ["CONFLICT"]}


async def test_nobody_tries_places_by_creating_somebody_elses_record_again(world: World) -> None:
    record_id = new_id()
    given = {
        "id": f"Record:{record_id}",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "WELL-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "latitude": 51.47873,
        "longitude": -0.29561,
    }
    assert (await mutate(await world.client("collector"), "createRecord", given)).data["createRecord"]["errors"] == []
    role = await define_role(
        await world.client("owner"), [Permission.PROJECT_READ, Permission.RECORD_READ, Permission.RECORD_CREATE]
    )
    await give_in_project(world, "member", customRoleId=role)

    tried = [
        (await mutate(await world.client("member"), "createRecord", {**given, "latitude": latitude})).data
        for latitude in (51.47873, 51.47874)
    ]

    assert [[error["code"] for error in one["createRecord"]["errors"]] for one in tried] == [["CONFLICT"]] * 2


async def test_a_record_that_an_import_made_meanwhile_loses_its_index_at_the_next_start(world: World) -> None:
    name = f"Bo {new_id()}"
    _, email = await a_person(world, name)
    record_id = await a_record(world, name)
    row = await world.sql("select collector_index from record where id = $1", record_id)
    await erase_person(world.services, operator(), email=email, reason="Asked for it")
    assert await world.value("select collector_index from record where id = $1", record_id) is None
    # As a process wrote it that had the key in memory, and had not heard.
    column = entity_named("record").columns["collector_index"]
    await store(world, column, [record_id], [row[0]["collector_index"]])

    await apply_erasures(world.services, operator())

    assert await world.value("select collector_index from record where id = $1", record_id) is None


async def test_a_key_that_is_made_while_somebody_is_erased_is_destroyed_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"Bo {new_id()}"
    record_id = await a_record(world, name)
    owner, keys = await subject_of(world, name), world.services.keystore
    destroy, before = KeyStore.destroy, await _destroyed(world)

    async def rotated_meanwhile(self: KeyStore, key_ids: Iterable[UUID]) -> list[UUID]:
        monkeypatch.setattr(KeyStore, "destroy", destroy)
        await rotate(world, owner)
        return await destroy(self, key_ids)

    monkeypatch.setattr(KeyStore, "destroy", rotated_meanwhile)
    await erase_name(world.services, operator(), slug="clearwater", names=[name], reason="Asked for it")

    assert await keys.keys_of([owner]) == []
    assert await world.value("select collector_index from record where id = $1", record_id) is None
    logged = {key_id for one in await world.services.destructions.all() for key_id in one.key_ids}
    assert await _destroyed(world) - before <= logged
    assert len(await _destroyed(world) - before) == 3


async def test_a_clock_that_is_ahead_empties_no_key_too_early(world: World) -> None:
    name = f"Bo {new_id()}"
    await a_record(world, name)
    (old,) = await rotate(world, await subject_of(world, name))

    await reseal(world.services.keystore, operator(), lifetime_s=3600)

    (key,) = await world.services.keystore.by_ids([old])
    assert key.emptied_at is None
    assert await world.services.keystore.note_emptied([old], retired_for_s=3600) == []
    assert await world.services.keystore.note_emptied([old], retired_for_s=0) == [old]


async def test_an_imported_row_does_not_tell_who_collected(world: World) -> None:
    name = f"Bo {new_id()}"
    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    rows = [
        a_row(ACTIVITY="WELL-9", CONDUCTING_ORGANIZATION=name),
        a_row(ACTIVITY="WELL-10", CONDUCTING_ORGANIZATION="", ORGANIZATION_NAME=name),
    ]
    await import_results(actor, viewer, a_file(*rows), project_id=await world.project_id("CANAL"))
    owner = await world.client("owner")
    query = "{ records(first: 1000) { nodes { collector measurements { sourceRow } } } }"
    assert (await owner.run(query)).text.count(name) == 2
    # Who reads what is confidential, and no names, is shown a pseudonym.
    role = await define_role(
        owner, [Permission.PROJECT_READ, Permission.RECORD_READ, Permission.RECORD_READ_CONFIDENTIAL]
    )
    await give_in_project(world, "member", customRoleId=role)
    shown = await (await world.client("member")).run(query)
    assert "WELL-9" in shown.text
    assert name not in shown.text
    # Nor is it there once the name is erased.
    assert name not in (await owner.run("{ records(first: 1000) { nodes { measurements { sourceRow } } } }")).text


async def test_a_place_that_does_not_open_holds_up_no_other_organization(world: World) -> None:
    admins = {"clearwater": ("owner", "CANAL"), "suncoast": ("other-owner", "LAKES")}
    job = build_jobs(world.services, Settings())[REWRITE_LOCATIONS]
    for is_sensitive in (True, False):
        for who, code in admins.values():
            row = (await world.sql("select id, version from project where code = $1", code))[0]
            given = {
                "id": f"Project:{row['id']}",
                "expectedVersion": row["version"],
                "sensitive": is_sensitive,
                "reason": "Wells.",
            }
            answer = await mutate(await world.client(who), "setLocationSensitivity", given)
            assert answer.data["setLocationSensitivity"]["errors"] == []
        if is_sensitive:
            while await job():
                pass
            record = await world.value(
                "select r.id from record r join project p on p.id = r.project_id"
                " where p.code = 'CANAL' and exact_location is not null limit 1"
            )
            await store(world, entity_named("record").columns["exact_location"], [record], [b"\x01" * 70])

    while await job():
        pass

    assert await world.value("select locations_rewriting from project where code = 'LAKES'") is False


async def _destroyed(world: World) -> set[UUID]:
    keystore = await connect(world.keystore)
    try:
        rows = await keystore.fetch("select id from wrapped_key where destroyed_at is not null")
        return {row["id"] for row in rows}
    finally:
        await keystore.close()
