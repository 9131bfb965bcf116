"""What ends in a database that came back, and what of it is taken away again by the note of what stood last."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from auth.password import NO_PASSWORD
from auth.principal import SYSTEM_ID
from fieldward.cli.environment import operator
from models.errors import InvalidInputError
from resolvers.restore_settling import Settled, settle_restored
from resolvers.row_census import Census, compare_census, take_census
from resolvers.way_in import WaysIn, ways_in
from tests.support.factor import add_totp, challenged
from tests.support.mutation import mutate
from tests.support.world import World, connect

REASON = "The disk failed"
ME = "{ viewer { user { id } } }"


async def _settle(world: World, noted: WaysIn | None) -> Settled:
    return await settle_restored(world.services, operator(), noted, reason=REASON)


def _without(noted: WaysIn, kind: str, *, but: Sequence[str] = ()) -> WaysIn:
    """Return the note as it would be had all of a kind been taken away, but for some."""
    standing: Mapping[UUID, Mapping[str, Sequence[str]]] = {
        organization_id: {**kinds, kind: [one for one in kinds.get(kind, ()) if one in but]}
        for organization_id, kinds in noted.standing.items()
    }
    return replace(noted, standing=standing)


@pytest.fixture
async def noted(world: World) -> WaysIn:
    """What stands, once everybody who is asked for below has signed in."""
    for key in ("manager", "owner", "admin"):
        await world.client(key)
    return await ways_in(world.services.keystore)


async def test_every_sign_in_ends_and_each_trail_says_why(world: World, noted: WaysIn) -> None:
    clients = [await world.client(key) for key in ("manager", "owner")]
    refresh_token = (await world.sign_in("manager")).data["signIn"]["refreshToken"]
    since = await world.now()

    settled = await _settle(world, noted)

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
    assert await _settle(world, noted) == replace(settled, sessions=1, questions=0, signing_keys=1)


async def test_a_sign_in_that_waits_for_a_second_factor_is_over(world: World) -> None:
    generator = await add_totp(world, "manager")
    half_done = await challenged(world, "manager")

    settled = await _settle(world, await ways_in(world.services.keystore))

    assert settled.questions >= 1
    given = {"challenge": half_done["token"], "totp": generator.code(world.services.clock())}
    assert (await mutate(world.anonymous, "completeSignIn", given)).codes == ["UNAUTHENTICATED"]


async def test_a_second_factor_that_was_removed_since_does_not_work(world: World) -> None:
    await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)

    settled = await _settle(world, _without(now, "factors"))

    assert settled.closed["factors"] == await _confirmed(now)
    assert await world.value("select count(*) from authenticator where confirmed_at is not null") == 0


async def _confirmed(now: WaysIn) -> int:
    return sum(len(kinds["factors"]) for kinds in now.standing.values())


async def test_what_is_newer_than_the_note_stays(world: World, noted: WaysIn) -> None:
    await add_totp(world, "manager")

    settled = await _settle(world, noted)

    assert not settled.closed
    assert await world.value("select count(*) from authenticator where confirmed_at is not null") > 0


async def test_who_was_suspended_since_does_not_get_in(world: World, noted: WaysIn) -> None:
    manager = str(await world.member_id("manager"))
    others = [key for kinds in noted.standing.values() for key in kinds["members"] if key != manager]

    settled = await _settle(world, _without(noted, "members", but=others))

    assert settled.closed == {"members": 1}
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    assert (await world.sign_in("owner")).data["signIn"]["accessToken"]


async def test_a_password_that_was_changed_since_does_not_work(world: World, noted: WaysIn) -> None:
    user_id = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    others = [
        key for kinds in noted.standing.values() for key in kinds["passwords"] if not key.startswith(str(user_id))
    ]

    settled = await _settle(world, _without(noted, "passwords", but=others))

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

    settled = await _settle(world, _without(noted, kind))

    assert settled.closed.get(kind, 0) == stood
    assert await world.value(left) == 0


async def test_roles_that_are_other_are_told_and_left_as_they_are(world: World, noted: WaysIn) -> None:
    before = await world.sql("select id, role from membership order by id")

    settled = await _settle(world, _without(_without(noted, "roles"), "project roles"))

    assert settled.other["roles"] == len(before)
    assert settled.other["project roles"] > 0
    assert not settled.closed
    assert await world.sql("select id, role from membership order by id") == before


async def test_without_a_note_no_program_gets_in(world: World) -> None:
    settled = await _settle(world, None)

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


async def test_a_census_says_how_many_rows_there_must_be_later(world: World) -> None:
    store = world.services.keystore
    census = Census.of_json((await take_census(store)).to_json())
    manager = await world.client("manager")
    project_id = await world.project_id("CANAL")
    given = {
        "projectId": f"Project:{project_id}",
        "siteCode": "W-1",
        "collectedAt": "2026-01-05T10:00:00Z",
        "medium": "WATER",
    }
    made = await mutate(manager, "createRecord", given, "record { id version }")
    record = made.data["createRecord"]["record"]
    await mutate(manager, "createRecord", given, "record { id version }")
    await mutate(
        manager, "deleteRecord", {"id": record["id"], "expectedVersion": record["version"], "reason": "A slip."}
    )

    rows, wrong = await compare_census(store, census)

    assert wrong == []
    assert rows > census.total


async def test_rows_that_went_without_a_word_are_missed(world: World) -> None:
    census = await take_census(world.services.keystore)
    await world.sql("alter table measurement disable trigger user")
    await world.sql("delete from measurement where id in (select id from measurement limit 3)")
    await world.sql("alter table measurement enable always trigger refuse")

    _, wrong = await compare_census(world.services.keystore, census)

    assert {one.table for one in wrong} == {"measurement"}
    assert sum(one.expected - one.got for one in wrong) == 3


async def test_a_transaction_that_was_not_over_at_the_census_is_counted(world: World) -> None:
    """Its number is lower than those of others that are in the census."""
    connection: asyncpg.Connection = await connect(world.superuser)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.fetchval("select pg_current_xact_id()")
        census = await take_census(world.services.keystore)
        await transaction.rollback()
    finally:
        await connection.close()

    assert census.at <= await world.now() + timedelta(seconds=1)
    assert (await compare_census(world.services.keystore, census))[1] == []


@pytest.mark.parametrize("said", [{}, {"at": "x"}, {"at": "2026-01-01", "snapshot": "1:2:", "rows": []}])
def test_what_is_no_census_is_told(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"census|isoformat"):
        Census.of_json(said)
