"""Legal holds: placed and lifted by those who may, with a reason, and obeyed by everybody."""

from typing import Any

import pytest

from models.legal_hold import holds_on_name, holds_on_organization, holds_on_person
from models.transaction import Tenant, write_transaction
from resolvers.trail_expiry import expirable
from tests.support.keeping import hold, lift
from tests.support.mutation import mutate, prepare
from tests.support.retention import age, decide, seal
from tests.support.world import World

REASON = "A client goes to court."
LISTED = """
{ legalHolds(first: 10, filter: { liftedAt: { isNull: true } }) {
    nodes { id on subjectId siteCode reason liftedAt placedBy { id } version } } }
"""
OTHERS = ["auditor", "manager", "reviewer", "collector", "viewer", "member"]


async def place(world: World, by: str, subject: str, **more: Any) -> Any:
    """Place a hold as somebody, and return the payload."""
    given = {"subjectId": subject, "reason": REASON, **more}
    answer = await mutate(await world.client(by), "placeLegalHold", given, "legalHold { id on subjectId }")
    return answer.data["placeLegalHold"]


async def test_an_admin_places_a_hold_and_the_owner_lifts_it(world: World) -> None:
    project = f"Project:{await world.project_id('CANAL')}"
    since = await world.now()

    held = await hold(world, project, by="admin")

    assert (held["on"], held["subjectId"]) == ("PROJECT", project)
    for key in ("owner", "admin", "auditor"):
        [seen] = (await (await world.client(key)).run(LISTED)).data["legalHolds"]["nodes"]
        assert (seen["id"], seen["reason"], seen["liftedAt"]) == (held["id"], REASON, None)
        assert seen["placedBy"]["id"] == f"User:{await world.member_id('admin')}"
    lifting = {"id": held["id"], "expectedVersion": 1, "reason": "It was settled."}
    [error] = (await mutate(await world.client("admin"), "liftLegalHold", lifting)).data["liftLegalHold"]["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "hold:lift")
    await lift(world, held)
    assert (await (await world.client("owner")).run(LISTED)).data["legalHolds"]["nodes"] == []
    [error] = (await mutate(await world.client("owner"), "liftLegalHold", {**lifting, "expectedVersion": 2})).data[
        "liftLegalHold"
    ]["errors"]
    assert error["code"] == "CONFLICT"
    acts = [(one["action"], one["outcome"]) for one in await world.entries(since=since)]
    assert [one for one in acts if one[0].startswith("hold.")] == [
        ("hold.place", "DONE"),
        ("hold.lift", "DENIED"),
        ("hold.lift", "DONE"),
        ("hold.lift", "FAILED"),
    ]


@pytest.mark.parametrize("by", OTHERS)
async def test_nobody_else_places_one_and_who_is_not_to_know_sees_none(world: World, by: str) -> None:
    await hold(world, f"Organization:{await world.organization_id('clearwater')}")
    client = await world.client(by)
    before = await world.fingerprint()

    payload = await place(world, by, f"Project:{await world.project_id('CANAL')}")

    [error] = payload["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "hold:place")
    assert await world.fingerprint() == before
    seen = (await client.run(LISTED)).data["legalHolds"]["nodes"]
    assert len(seen) == (1 if by == "auditor" else 0)


async def test_a_hold_of_another_organization_is_nobodys_here(world: World) -> None:
    held = await hold(world, f"Project:{await world.project_id('CANAL')}")
    stranger = await world.client("other-owner")

    assert (await stranger.run(LISTED)).data["legalHolds"]["nodes"] == []
    given = {"id": held["id"], "expectedVersion": 1, "reason": REASON}
    [error] = (await mutate(stranger, "liftLegalHold", given)).data["liftLegalHold"]["errors"]
    assert error["code"] == "NOT_FOUND"
    [error] = (await place(world, "other-owner", f"Project:{await world.project_id('CANAL')}"))["errors"]
    assert error["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("Record:00000000-0000-7000-8000-000000000000", "NOT_FOUND"),
        ("Device:00000000-0000-7000-8000-000000000000", "INVALID_INPUT"),
        ("nothing", "INVALID_INPUT"),
    ],
)
async def test_a_hold_is_placed_on_something_that_there_is(world: World, subject: str, code: str) -> None:
    [error] = (await place(world, "owner", subject))["errors"]
    assert (error["code"], error["field"]) == (code, ["input", "subjectId"])


@pytest.mark.parametrize("reason", [None, " "])
async def test_without_a_reason_there_is_no_hold(world: World, reason: str | None) -> None:
    [error] = (await place(world, "owner", f"Project:{await world.project_id('CANAL')}", reason=reason))["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "reason"])


async def test_what_is_held_is_deleted_by_nobody(world: World) -> None:
    stage = await prepare(world)
    held = await hold(world, stage.project)
    manager = await world.client("manager")
    since, before = await world.now(), await world.fingerprint()

    for name, subject in (("deleteRecord", stage.draft), ("deleteSite", stage.site)):
        given = {"id": subject, "expectedVersion": 1, "reason": "A slip."}
        [error] = (await mutate(manager, name, given)).data[name]["errors"]
        assert (error["code"], error["field"]) == ("CONFLICT", ["input", "id"])
        assert error["message"] == f"A legal hold keeps this: {held['id']}."
        assert REASON not in error["message"]

    assert await world.fingerprint() == before
    assert [(one["action"], one["outcome"], one["error_code"]) for one in await world.entries(since=since)] == [
        ("record.delete", "FAILED", "CONFLICT"),
        ("site.delete", "FAILED", "CONFLICT"),
    ]
    await lift(world, held)
    given = {"id": stage.draft, "expectedVersion": 1, "reason": "A slip."}
    assert (await mutate(manager, "deleteRecord", given)).data["deleteRecord"]["errors"] == []


async def test_a_record_is_not_moved_out_of_a_hold_on_its_site(world: World) -> None:
    stage = await prepare(world)
    manager = await world.client("manager")
    code = await world.value("select code from site where id = $1::uuid", stage.site.removeprefix("Site:"))
    moved = {"id": stage.draft, "expectedVersion": 1, "siteCode": code}
    assert (await mutate(manager, "updateRecord", moved)).data["updateRecord"]["errors"] == []
    await hold(world, stage.site)

    away = {"id": stage.draft, "expectedVersion": 2, "siteCode": "ELSEWHERE"}
    [error] = (await mutate(manager, "updateRecord", away)).data["updateRecord"]["errors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["input", "siteCode"])
    # Nor is it let go of by another code of the site itself.
    renamed = {"id": stage.site, "expectedVersion": 1, "code": "NEW-CODE"}
    assert (await mutate(manager, "updateSite", renamed)).data["updateSite"]["errors"] == []
    given = {"id": stage.draft, "expectedVersion": 2, "reason": "A slip."}
    [error] = (await mutate(manager, "deleteRecord", given)).data["deleteRecord"]["errors"]
    assert error["code"] == "CONFLICT"
    # What else is in it may be changed: the trail keeps what it was.
    changed = {"id": stage.draft, "expectedVersion": 2, "comment": "Seen again."}
    assert (await mutate(manager, "updateRecord", changed)).data["updateRecord"]["errors"] == []


async def test_nothing_leaves_the_trail_while_something_is_held(world: World) -> None:
    organization = await world.organization_id("clearwater")
    await world.client("viewer")
    await age(world, 400, "kind = 'ATTEMPT'")
    await mutate(await world.client("viewer"), "createProject", {"code": "X", "name": "X"})
    await age(world, 400, "kind = 'ATTEMPT'")
    await decide(world, "ATTEMPT", 90)
    await seal(world, days=300)
    assert [one.kind for one in await expirable(organization)] == ["ATTEMPT"]

    held = await hold(world, f"User:{await world.member_id('viewer')}")
    assert await expirable(organization) == []
    await lift(world, held)
    assert [one.kind for one in await expirable(organization)] == ["ATTEMPT"]


async def test_an_erasure_is_told_of_what_holds(world: World) -> None:
    stage = await prepare(world)
    organization, person = await world.organization_id("clearwater"), await world.member_id("collector")
    other = await world.member_id("viewer")
    name = await world.value("select collector_index from record where collector_index is not null limit 1")

    async def found() -> tuple[list[str], list[str], list[str], list[str]]:
        async with write_transaction(Tenant(organization_id=organization)) as connection:
            return (
                [one.on for one in await holds_on_organization(connection, organization)],
                [one.on for one in await holds_on_person(connection, organization, person)],
                [one.on for one in await holds_on_person(connection, organization, other)],
                [one.on for one in await holds_on_name(connection, organization, name)],
            )

    assert await found() == ([], [], [], [])
    # The collector made the draft: a hold on it is one on what they did.
    record = await hold(world, stage.draft)
    assert await found() == (["RECORD"], ["RECORD"], [], [])
    on_person = await hold(world, f"User:{other}")
    assert await found() == (["RECORD", "PERSON"], ["RECORD"], ["PERSON"], [])
    await lift(world, record)
    await lift(world, on_person)
    everything = await hold(world, f"Organization:{organization}")
    assert await found() == (["ORGANIZATION"],) * 4
    await lift(world, everything)
    project = await world.value("select project_id from record where collector_index = $1 limit 1", name)
    await hold(world, f"Project:{project}")
    assert (await found())[3] == ["PROJECT"]
