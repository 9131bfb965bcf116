"""What ends in a database that came back, and what of it is taken away again by the note of what stood last."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from auth.password import NO_PASSWORD
from auth.principal import SYSTEM_ID
from fieldward.cli.environment import operator
from models.base import new_id
from models.encryption.destruction import Destruction
from models.errors import InvalidInputError
from resolvers.restore_settling import Settled, settle_restored
from resolvers.row_census import Census, compare_census, take_census
from resolvers.way_in import WaysIn, ways_in
from tests.support.erasure import ask_for_name, later, look, of, run_erasures, uuid_of
from tests.support.erasure import done as done_with_erasure
from tests.support.factor import TOKENS, add_passkey, add_totp, challenged, done
from tests.support.keeping import hold, keep_for, lift
from tests.support.mutation import mutate
from tests.support.world import World, connect

REASON = "The disk failed"
ME = "{ viewer { user { id } } }"


async def _settle(world: World, noted: WaysIn | None) -> Settled:
    settled = await settle_restored(world.services, operator(), noted, reason=REASON)
    # Whoever is needed after this signs in anew.
    world._clients.clear()
    return settled


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


async def test_rights_and_guards_that_are_other_are_told(world: World, noted: WaysIn) -> None:
    kinds = ("custom roles", "rights of programs", "guards of projects")
    for kind in kinds:
        settled = await _settle(world, _without(noted, kind))

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

    assert (await _settle(world, narrowed)).other == {"custom roles": 1}
    # The order in which they are written is no other right.
    assert (await _settle(world, noted)).other == {}


async def test_policies_are_as_strict_again_as_they_were_and_never_less(world: World, noted: WaysIn) -> None:
    organization_id = await world.organization_id("clearwater")
    standing = {**noted.standing[organization_id], "policies": ["demands_second_factor", "program_documents"]}
    stricter = replace(noted, standing={**noted.standing, organization_id: standing})
    asked = "select demands_second_factor, people_documents, program_documents from organization where id = $1"
    since = await world.now()

    settled = await _settle(world, stricter)

    assert settled.closed == {"policies": 2}
    assert tuple((await world.sql(asked, organization_id))[0]) == (True, None, "TRUSTED_ONLY")
    assert await world.value(
        "select count(*) from change c join audit_entry e on e.organization_id = c.organization_id"
        " and e.id = c.entry_id where c.entity = 'organization' and e.action = 'database.restore' and e.at > $1",
        since,
    )
    assert not (await _settle(world, noted)).closed
    assert tuple((await world.sql(asked, organization_id))[0]) == (True, None, "TRUSTED_ONLY")


@pytest.mark.parametrize("kind", ["DATA", "TRAIL"])
async def test_a_period_that_is_another_deletes_nothing_until_somebody_decides_anew(world: World, kind: str) -> None:
    table, named = ("data_retention", "periods") if kind == "DATA" else ("trail_retention", "periods of the trail")
    if kind == "DATA":
        await keep_for(world, "RECORD", 365)
    else:
        await done(await world.client("owner"), "setTrailRetention", {"kind": "READ", "days": 365, "reason": REASON})
    now = await ways_in(world.services.keystore)
    assert not (await _settle(world, now)).closed
    assert await world.value(f"select days from {table}") == 365

    settled = await _settle(world, _without(now, named))

    assert settled.closed == {named: 1}
    assert await world.value(f"select count(*) from {table} where days is not null") == 0


async def test_who_had_another_second_factor_since_does_not_get_in_by_the_password_alone(world: World) -> None:
    """The database has an app, and the note a passkey that took its place."""
    await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)
    manager = await world.member_id("manager")
    asked = "select id::text from authenticator where membership_id = $1"
    gone = {row["id"] for row in await world.sql(asked, manager)}
    others = [one for kinds in now.standing.values() for one in kinds["factors"] if one not in gone]

    settled = await _settle(world, _without(now, "factors", but=others))

    assert settled.without_factor == 1
    await _require_shut(world, manager)


async def _require_shut(world: World, manager: UUID) -> None:
    """Require that the manager's password opens nothing, and that no recovery code of theirs is left."""
    assert (await world.sign_in("manager")).codes == ["UNAUTHENTICATED"]
    asked = "select password_hash from user_account u join membership m on m.user_id = u.id where m.id = $1"
    assert await world.value(asked, manager) == NO_PASSWORD
    assert await world.value("select count(*) from authenticator where membership_id = $1", manager) == 0
    assert (await world.sign_in("owner")).data["signIn"]["accessToken"]


async def test_who_added_their_first_second_factor_since_does_not_get_in_by_the_password_alone(world: World) -> None:
    """The database knows of no factor at all."""
    generator = await add_totp(world, "manager")
    now = await ways_in(world.services.keystore)
    manager = await world.member_id("manager")
    await world.sql("alter table authenticator disable trigger change_delete")
    await world.sql("delete from authenticator where membership_id = $1", manager)
    await world.sql("alter table authenticator enable always trigger change_delete")
    assert generator.recovery_codes
    assert (await world.sign_in("manager")).data["signIn"]["accessToken"]

    settled = await _settle(world, now)

    assert settled.without_factor == 1
    assert not settled.closed
    await _require_shut(world, manager)


async def test_who_kept_a_second_factor_keeps_the_password(world: World) -> None:
    await add_totp(world, "manager")
    passkey = await add_passkey(world, "manager")
    assert passkey
    now = await ways_in(world.services.keystore)
    asked = "select id from authenticator where kind = 'PASSKEY' and membership_id = $1"
    gone = str(await world.value(asked, await world.member_id("manager")))
    others = [one for kinds in now.standing.values() for one in kinds["factors"] if one != gone]

    settled = await _settle(world, _without(now, "factors", but=others))

    assert settled.closed == {"factors": 1}
    assert settled.without_factor == 0
    assert await challenged(world, "manager")


async def test_a_recovery_code_that_was_used_since_does_not_work_again(world: World) -> None:
    generator = await add_totp(world, "manager")
    assert generator.recovery_codes
    code = generator.recovery_codes[0]
    before = await ways_in(world.services.keystore)
    given = {"challenge": (await challenged(world, "manager"))["token"], "recoveryCode": code}
    assert (await mutate(world.anonymous, "completeSignIn", given, TOKENS)).data["completeSignIn"]["accessToken"]
    used = await ways_in(world.services.keystore)
    assert await _confirmed(used) == await _confirmed(before) - 1
    # As it was before it was used.
    await world.sql(
        "delete from authenticator_use where id in (select id from authenticator where kind = 'RECOVERY_CODE')"
    )

    settled = await _settle(world, used)

    assert settled.closed == {"factors": 1}
    for answer, is_good in ((code, False), (generator.recovery_codes[1], True)):
        given = {"challenge": (await challenged(world, "manager"))["token"], "recoveryCode": answer}
        done_with = await mutate(world.anonymous, "completeSignIn", given, TOKENS)
        assert (done_with.codes == []) is is_good


async def test_what_was_confirmed_to_be_erased_is_confirmed_anew(world: World, noted: WaysIn) -> None:
    """It may have been taken back after the moment."""
    request = await _confirmed_request(world)
    await later(world, request, days=9)
    since = await world.now()

    settled = await _settle(world, noted)
    await run_erasures(world)

    assert settled.erasures_to_confirm == 1
    assert await _settle(world, noted) == replace(
        settled, sessions=0, questions=0, signing_keys=1, erasures_to_confirm=0
    )
    seen = await look(await world.client("admin"), request)
    assert (seen["status"], seen["version"]) == ("REQUESTED", request["version"] + 1)
    assert seen["confirmedAt"] is seen["executeAfter"] is seen["confirmedBy"] is None
    assert seen["names"] == '["Noor Haddad"]'
    assert await world.services.destructions.all() == []
    told = await world.sql(
        "select e.action, c.columns from change c join audit_entry e"
        " on e.organization_id = c.organization_id and e.id = c.entry_id"
        " where c.entity = 'erasure_request' and e.at > $1",
        since,
    )
    assert [one["action"] for one in told] == ["database.restore"]
    # And it can be: whoever confirmed it before confirms it now.
    again = await done_with_erasure(await world.client("owner"), "confirmErasure", of(seen))
    assert again["status"] == "CONFIRMED"


async def _confirmed_request(world: World) -> Any:
    asked = await ask_for_name(world, "Noor Haddad")
    return await done_with_erasure(await world.client("owner"), "confirmErasure", of(asked))


async def test_what_was_begun_to_be_erased_is_finished(world: World, noted: WaysIn) -> None:
    """The log of destroyed keys says so, whatever the database does not know."""
    request = await _confirmed_request(world)
    await later(world, request, days=29)
    await world.services.destructions.add(
        Destruction(uuid_of(request), await world.now(), None, None, (await world.organization_id("clearwater"),), ())
    )

    settled = await _settle(world, noted)
    await run_erasures(world)

    assert settled.erasures_to_confirm == 0
    assert (await look(await world.client("admin"), request))["status"] == "DONE"


async def test_a_link_that_would_confirm_an_erasure_is_over(world: World, noted: WaysIn) -> None:
    asked = await ask_for_name(world, "Noor Haddad")
    await world.sql("alter table erasure_request disable trigger change_update")
    await world.sql("update erasure_request set token_digest = 'x' where id = $1", uuid_of(asked))
    await world.sql("alter table erasure_request enable always trigger change_update")

    settled = await _settle(world, noted)

    assert settled.erasures_to_confirm == 0
    assert await world.value("select token_digest from erasure_request where id = $1", uuid_of(asked)) is None
    assert (await look(await world.client("admin"), asked))["version"] == asked["version"]


async def test_a_hold_that_was_placed_since_stands_again(world: World) -> None:
    """Where its subject lies is as the database says, and what it keeps is kept."""
    organization_id = await world.organization_id("clearwater")
    asked = "select id, project_id from record where organization_id = $1 order by id limit 1"
    record = (await world.sql(asked, organization_id))[0]
    for subject in (
        f"Record:{record['id']}",
        f"Project:{record['project_id']}",
        f"User:{await world.member_id('manager')}",
    ):
        await hold(world, subject)
    lifted = await hold(world, f"User:{await world.member_id('collector')}")
    now = await ways_in(world.services.keystore)
    await lift(world, lifted)
    before = await _holds(world)
    await world.sql("alter table legal_hold disable trigger change_delete")
    await world.sql("delete from legal_hold where lifted_at is null")
    await world.sql("alter table legal_hold enable always trigger change_delete")
    since = await world.now()

    settled = await _settle(world, now)

    assert settled.holds == 3
    assert await _holds(world) == before
    assert (await _settle(world, now)).holds == 0
    owner = await world.client("owner")
    shown = await owner.run("{ legalHolds(first: 9) { nodes { reason liftedAt } } }")
    assert sum(REASON in one["reason"] for one in shown.data["legalHolds"]["nodes"]) == 3
    assert (
        await world.value(
            "select count(*) from change c join audit_entry e on e.organization_id = c.organization_id"
            " and e.id = c.entry_id where c.entity = 'legal_hold' and e.action = 'database.restore' and e.at > $1",
            since,
        )
        == 3
    )


async def _holds(world: World) -> list[Any]:
    columns = "id, subject_kind, subject, project_id, site_code, placed_by_id, lifted_at"
    return [tuple(one) for one in await world.sql(f"select {columns} from legal_hold order by id")]


async def test_a_hold_of_who_joined_since_is_an_owner_s(world: World, noted: WaysIn) -> None:
    organization_id = await world.organization_id("clearwater")
    key = f"{new_id()}:ORGANIZATION:{organization_id}:{new_id()}"
    standing = {**noted.standing[organization_id], "holds": [key]}

    settled = await _settle(world, replace(noted, standing={**noted.standing, organization_id: standing}))

    assert settled.holds == 1
    assert await world.value("select placed_by_id from legal_hold") == await world.member_id("owner")


async def test_a_note_that_says_nothing_of_a_kind_takes_nothing_of_it_away(world: World, noted: WaysIn) -> None:
    settled = await _settle(world, replace(noted, standing={key: {} for key in noted.standing}))

    assert not settled.closed
    assert not settled.other


async def test_without_a_note_nothing_is_deleted_by_a_period(world: World) -> None:
    await keep_for(world, "RECORD", 365)

    settled = await _settle(world, None)

    assert settled.closed == {"periods": 1}
    assert await world.value("select days from data_retention") is None


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
