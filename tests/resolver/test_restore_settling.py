"""What ends in a database that came back, and what of it is taken away again by the note of what stood last."""

from dataclasses import replace

import pytest

from auth.password import NO_PASSWORD
from auth.principal import SYSTEM_ID
from fieldward.cli.environment import operator
from models.errors import InvalidInputError
from resolvers.restore_settling import settle_restored
from resolvers.way_in import WaysIn, ways_in
from tests.support.factor import done
from tests.support.keeping import keep_for
from tests.support.mutation import mutate
from tests.support.restored import REASON, noted_once_signed_in, settle, without
from tests.support.world import World

ME = "{ viewer { user { id } } }"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own: of organizations that other tests made, nothing is to be said."""
    return own_keystore


@pytest.fixture
async def noted(world: World) -> WaysIn:
    """What stands, once everybody who is asked for below has signed in."""
    return await noted_once_signed_in(world)


async def test_every_sign_in_ends_and_each_trail_says_why(world: World, noted: WaysIn) -> None:
    clients = [await world.client(key) for key in ("manager", "owner")]
    refresh_token = (await world.sign_in("manager")).data["signIn"]["refreshToken"]
    since = await world.now()

    settled = await settle(world, noted)

    assert settled.sessions >= 4
    assert settled.signing_keys >= 1
    assert not settled.closed
    assert not settled.other
    for client in clients:
        assert (await client.run(ME)).codes == ["UNAUTHENTICATED"]
    again = await mutate(world.anonymous, "refreshSession", {"refreshToken": refresh_token}, "accessToken")
    assert again.codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("manager")).data["signIn"]["accessToken"]
    entries = [one for one in await world.entries(since=since) if one["action"] == "database.restore"]
    organizations = {row["id"] for row in await world.sql("select id from organization")}
    assert {one["organization_id"] for one in entries} == {SYSTEM_ID, *organizations}
    assert {(one["kind"], one["outcome"]) for one in entries} == {("CHANGE", "DONE")}
    assert await settle(world, noted) == replace(settled, sessions=1, questions=0, signing_keys=1)


async def test_who_was_suspended_since_does_not_get_in(world: World, noted: WaysIn) -> None:
    manager = str(await world.member_id("manager"))
    others = [key for kinds in noted.standing.values() for key in kinds["members"] if key != manager]

    settled = await settle(world, without(noted, "members", but=others))

    assert settled.closed == {"members": 1}
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("owner")).data["signIn"]["accessToken"]


async def test_a_password_that_was_changed_since_does_not_work(world: World, noted: WaysIn) -> None:
    user_id = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    others = [
        key for kinds in noted.standing.values() for key in kinds["passwords"] if not key.startswith(str(user_id))
    ]

    settled = await settle(world, without(noted, "passwords", but=others))

    assert settled.closed == {"passwords": 1}
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    assert await world.value("select password_hash from user_account where id = $1", user_id) == NO_PASSWORD


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("tokens", "select count(*) from service_account_token where revoked_at is null"),
        ("programs", "select count(*) from service_account where revoked_at is null"),
        ("devices", "select count(*) from device where status = 'ACTIVE'"),
        ("invitations", "select count(*) from invitation where status = 'PENDING'"),
    ],
)
async def test_what_was_taken_away_since_is_taken_away_again(world: World, noted: WaysIn, kind: str, left: str) -> None:
    stood = sum(len(kinds[kind]) for kinds in noted.standing.values())

    settled = await settle(world, without(noted, kind))

    assert settled.closed.get(kind, 0) == stood
    assert await world.value(left) == 0


async def test_roles_that_are_other_are_told_and_left_as_they_are(world: World, noted: WaysIn) -> None:
    before = await world.sql("select id, role from membership order by id")

    settled = await settle(world, without(without(noted, "roles"), "project roles"))

    assert settled.other["roles"] == len(before)
    assert settled.other["project roles"] > 0
    assert not settled.closed
    assert await world.sql("select id, role from membership order by id") == before


async def test_rights_and_guards_that_are_other_are_told(world: World, noted: WaysIn) -> None:
    kinds = ("custom roles", "rights of programs", "guards of projects")
    for kind in kinds:
        settled = await settle(world, without(noted, kind))

        assert settled.other == {kind: sum(len(one[kind]) for one in noted.standing.values())}
        assert settled.other[kind] > 0
        assert not settled.closed


async def test_a_right_that_a_role_lost_since_is_told(world: World, noted: WaysIn) -> None:
    """What the database has is more than what stood last."""
    role = (await world.sql("select id, permissions from custom_role where cardinality(permissions) > 1 limit 1"))[0]
    await world.sql("alter table custom_role disable trigger change_update")
    await world.sql("update custom_role set permissions = permissions[2:] where id = $1", role["id"])
    narrowed = await ways_in(world.services.keystore)
    await world.sql("update custom_role set permissions = $2 where id = $1", role["id"], role["permissions"][::-1])
    await world.sql("alter table custom_role enable always trigger change_update")

    assert (await settle(world, narrowed)).other == {"custom roles": 1}
    # The order in which they are written is no other right.
    assert (await settle(world, noted)).other == {}


async def test_policies_are_as_strict_again_as_they_were_and_never_less(world: World, noted: WaysIn) -> None:
    organization_id = await world.organization_id("clearwater")
    standing = {**noted.standing[organization_id], "policies": ["demands_second_factor", "program_documents"]}
    stricter = replace(noted, standing={**noted.standing, organization_id: standing})
    asked = "select demands_second_factor, people_documents, program_documents from organization where id = $1"
    since = await world.now()

    settled = await settle(world, stricter)

    assert settled.closed == {"policies": 2}
    assert tuple((await world.sql(asked, organization_id))[0]) == (True, None, "TRUSTED_ONLY")
    assert await world.value(
        "select count(*) from change c join audit_entry e on e.organization_id = c.organization_id"
        " and e.id = c.entry_id where c.entity = 'organization' and e.action = 'database.restore' and e.at > $1",
        since,
    )
    assert not (await settle(world, noted)).closed
    assert tuple((await world.sql(asked, organization_id))[0]) == (True, None, "TRUSTED_ONLY")


@pytest.mark.parametrize("kind", ["DATA", "TRAIL"])
async def test_a_period_that_is_another_deletes_nothing_until_somebody_decides_anew(world: World, kind: str) -> None:
    table, named = ("data_retention", "periods") if kind == "DATA" else ("trail_retention", "periods of the trail")
    if kind == "DATA":
        await keep_for(world, "RECORD", 365)
    else:
        await done(await world.client("owner"), "setTrailRetention", {"kind": "READ", "days": 365, "reason": REASON})
    now = await ways_in(world.services.keystore)
    assert not (await settle(world, now)).closed
    assert await world.value(f"select days from {table}") == 365

    settled = await settle(world, without(now, named))

    assert settled.closed == {named: 1}
    assert await world.value(f"select count(*) from {table} where days is not null") == 0


async def test_a_note_that_says_nothing_of_a_kind_takes_nothing_of_it_away(world: World, noted: WaysIn) -> None:
    settled = await settle(world, replace(noted, standing={key: {} for key in noted.standing}))

    assert not settled.closed
    assert not settled.other


async def test_without_a_note_nothing_is_deleted_by_a_period(world: World) -> None:
    await keep_for(world, "RECORD", 365)

    settled = await settle(world, None)

    assert settled.closed == {"periods": 1}
    assert await world.value("select days from data_retention") is None


async def test_without_a_note_no_program_gets_in(world: World) -> None:
    settled = await settle(world, None)

    assert not settled.knows_ways_in
    assert await world.value("select count(*) from service_account_token where revoked_at is null") == 0


async def test_without_a_reason_nothing_ends(world: World, noted: WaysIn) -> None:
    manager = await world.client("manager")

    with pytest.raises(InvalidInputError):
        await settle_restored(world.services, operator(), noted, reason=" ")

    assert (await manager.run(ME)).data["viewer"]


async def test_the_note_is_of_ids_alone_and_comes_back_as_it_was(world: World, noted: WaysIn) -> None:
    content = noted.to_json()

    assert WaysIn.of_json(content) == noted
    for secret in (world.email("manager"), world.password("manager"), "argon2"):
        assert secret.encode() not in content
    for bad in (b"", b"{}", b'{"at": 1}', b"[]"):
        with pytest.raises(ValueError, match="no note"):
            WaysIn.of_json(bad)


async def test_a_database_that_knows_less_of_a_trail_was_set_back(noted: WaysIn) -> None:
    (organization_id, *_) = noted.sizes
    more = replace(noted, sizes={**noted.sizes, organization_id: noted.sizes[organization_id] + 1})

    assert more.is_set_back(noted)
    assert not noted.is_set_back(more)
    assert not noted.is_set_back(noted)
