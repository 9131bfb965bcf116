"""Sensitive locations: who is told where exactly, and where roughly; how that is switched on and off."""

from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission as P
from fieldward.cli.environment import operator
from resolvers.account import member_viewer
from resolvers.record_import import import_results
from resolvers.trail import Actor
from tests.support.access import define_role, give_in_organization, give_in_project
from tests.support.location import (
    CELL,
    DIGITS,
    EXACT,
    READERS,
    REASON,
    SHOWN,
    add_record,
    ask,
    change_record,
    declare,
    make_sensitive,
    rewrite,
    told_where,
)
from tests.support.mutation import mutate
from tests.support.world import Client, World
from tests.support.wqx import a_file, a_row


async def test_a_new_place_is_sealed_and_its_cell_is_plain(world: World) -> None:
    await make_sensitive(world)

    made = await add_record(world)

    assert made == {**CELL, "id": made["id"], "locationIsCoarse": True, "exactLocation": EXACT}
    row = (await world.sql("select * from record where id = $1", UUID(made["id"].partition(":")[2])))[0]
    assert (row["latitude"], row["longitude"], row["location_is_coarse"]) == (51.45, -0.25, True)
    assert len(row["exact_location"]) > 60
    assert await told_where(world, *DIGITS) == {}


async def test_a_place_that_is_not_sensitive_is_plain_and_there_is_no_other(world: World) -> None:
    made = await add_record(world)

    assert made == {**EXACT, "id": made["id"], "locationIsCoarse": False, "exactLocation": None}


@pytest.mark.parametrize("who", [*READERS, "viewer"])
async def test_who_reads_secrets_is_told_the_place_and_who_does_not_its_cell(world: World, who: str) -> None:
    await make_sensitive(world)
    record = (await add_record(world))["id"]
    client, since = await world.client(who), await world.now()

    answer = await ask(client, record)

    shown = answer.body["data"]["record"]
    assert {name: shown[name] for name in CELL} == CELL
    assert shown["locationIsCoarse"] is True
    reads = await world.entries(since=since, kinds=["READ"])
    if who == "viewer":
        assert shown["exactLocation"] is None
        assert [error["extensions"]["permission"] for error in answer.errors] == ["record:read_confidential"]
        assert answer.codes == ["FORBIDDEN"]
        assert reads == []
    else:
        assert shown["exactLocation"] == EXACT
        assert [(one["entity"], one["field"], one["entity_ids"]) for one in reads] == [
            ("record", "exact_location", [UUID(record.partition(":")[2])])
        ]
        assert reads[0]["membership_id"] == await world.member_id(who)


async def test_who_does_not_see_the_record_is_told_nothing(world: World) -> None:
    await make_sensitive(world)
    record = (await add_record(world))["id"]

    for who in ("member", "other-owner"):
        answer = await ask(await world.client(who), record)
        assert answer.body == {"data": {"record": None}}
    anonymous = await ask(world.anonymous, record)
    assert anonymous.codes == ["UNAUTHENTICATED"]
    assert anonymous.body["data"] == {"record": None}
    reviewer, member = await world.client("reviewer"), await world.member_id("reviewer")
    await world.sql("alter table membership disable trigger all")
    await world.sql("update membership set status = 'SUSPENDED' where id = $1", member)
    suspended = await ask(reviewer, record)
    assert suspended.codes == ["UNAUTHENTICATED"]
    assert not any(digits in suspended.text for digits in DIGITS)


async def test_a_program_without_the_permission_is_told_the_cell(world: World) -> None:
    await make_sensitive(world)
    record, owner = (await add_record(world))["id"], await world.client("owner")
    tokens = {}
    for name, permissions in {
        "Plain": ["PROJECT_READ", "RECORD_READ"],
        "Exact": ["PROJECT_READ", "RECORD_READ", "RECORD_READ_CONFIDENTIAL"],
    }.items():
        given = {"name": name, "permissions": permissions, "expiresAt": "2027-01-01T00:00:00Z", "reason": REASON}
        payload = (await mutate(owner, "createServiceAccount", given, "token")).data["createServiceAccount"]
        assert payload["errors"] == [], payload
        tokens[name] = Client(world.http, payload["token"])

    plain, exact = await ask(tokens["Plain"], record), await ask(tokens["Exact"], record)

    assert plain.body["data"]["record"]["exactLocation"] is None
    assert plain.codes == ["FORBIDDEN"]
    assert exact.data["record"]["exactLocation"] == EXACT


@pytest.mark.parametrize("who", ["manager", "viewer"])
async def test_lists_are_filtered_by_cells_for_everybody(world: World, who: str) -> None:
    await make_sensitive(world)
    record = (await add_record(world))["id"]
    client = await world.client(who)

    async def found(**bounds: float) -> bool:
        query = "query($f: RecordFilter) { records(filter: $f, first: 1000) { totalCount nodes { id } } }"
        page = (await client.run(query, {"f": {"latitude": bounds}})).data["records"]
        assert page["totalCount"] == len(page["nodes"])
        return record in [one["id"] for one in page["nodes"]]

    assert await found(gte=51.45, lt=51.46)
    # Nothing that lies within the cell tells the place apart from any other of it.
    assert not await found(gte=51.47, lt=51.48)
    assert not await found(gte=EXACT["latitude"])
    assert await found(gte=51.45)


async def test_nothing_is_filtered_ordered_or_grouped_by_the_exact_place(world: World) -> None:
    client = await world.client("owner")

    for query in (
        "{ records(filter: {exactLocation: {gte: 1}}) { totalCount } }",
        "{ records(orderBy: {field: EXACT_LOCATION}) { totalCount } }",
        "{ recordGroups(by: [EXACT_LOCATION]) { count } }",
    ):
        assert (await client.run(query)).codes == ["INVALID_INPUT"]


def fault_of(payload: dict[str, Any]) -> str:
    """Return which of the two degrees a refusal says is missing."""
    [error] = payload["errors"]
    assert (error["code"], error["message"]) == (
        "INVALID_INPUT",
        "Expected latitude and longitude together, or neither.",
    )
    return str(error["field"][-1])


@pytest.mark.parametrize("is_rewritten", [True, False])
async def test_one_of_the_two_degrees_is_changed_and_the_other_stays(world: World, is_rewritten: bool) -> None:
    record = (await add_record(world))["id"]
    assert await declare(world) == []
    if is_rewritten:
        await rewrite(world)
    client = await world.client("collector")

    payload = await change_record(client, record, 1, longitude=-0.31234)

    assert payload["errors"] == []
    shown = payload["record"]
    assert shown["exactLocation"] == {"latitude": EXACT["latitude"], "longitude": -0.31234}
    assert (shown["latitude"], shown["longitude"], shown["locationIsCoarse"]) == (51.45, -0.35, True)
    assert fault_of(await change_record(client, record, 2, latitude=None)) == "latitude"
    payload = await change_record(client, record, 2, latitude=None, longitude=None)
    assert payload["record"]["exactLocation"] is None
    assert (payload["record"]["latitude"], payload["record"]["longitude"]) == (None, None)
    # Of no place, one of the two makes none.
    assert fault_of(await change_record(client, record, 3, latitude=51.5)) == "longitude"
    assert await world.value("select exact_location from record where id = $1", UUID(record.partition(":")[2])) is None
    assert "0.31234" not in str(await told_where(world, "0.31234"))


async def test_a_change_of_something_else_leaves_the_place(world: World) -> None:
    await make_sensitive(world)
    record = (await add_record(world))["id"]

    payload = await change_record(await world.client("collector"), record, 1, siteName="Well")

    assert payload["record"]["exactLocation"] == EXACT
    assert payload["record"]["latitude"] == CELL["latitude"]


async def test_who_reads_no_secrets_says_where_their_own_records_were_made_and_no_others(world: World) -> None:
    await make_sensitive(world)
    others = (await add_record(world))["id"]
    empty = (await add_record(world, latitude=None, longitude=None))["id"]
    held = [P.PROJECT_READ, P.RECORD_READ, P.RECORD_CREATE, P.RECORD_UPDATE]
    role = await define_role(await world.client("owner"), held)
    await give_in_project(world, "member", customRoleId=role)
    technician = await world.client("member")

    # They were there: they say where.
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "WELL-2",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        **EXACT,
    }
    payload = (await mutate(technician, "createRecord", given, "record { id latitude }")).data["createRecord"]
    assert payload["errors"] == []
    own = payload["record"]["id"]
    assert payload["record"]["latitude"] == CELL["latitude"]
    moved = (await mutate(technician, "updateRecord", {"id": own, "expectedVersion": 1, "latitude": 52.0})).data
    assert moved["updateRecord"]["errors"] == []
    # Where there is none, there is nothing to overwrite.
    filled = (await mutate(technician, "updateRecord", {"id": empty, "expectedVersion": 1, **EXACT})).data
    assert filled["updateRecord"]["errors"] == []
    # Somebody else's place they don't see, and don't overwrite; nor their own once another had a hand in it.
    assert (await change_record(await world.client("manager"), own, 2, latitude=53.0))["errors"] == []
    for record, version, name in ((others, 1, "latitude"), (own, 3, "longitude")):
        since, before = await world.now(), await world.fingerprint()
        refused = (await mutate(technician, "updateRecord", {"id": record, "expectedVersion": version, name: 1.0})).data
        [error] = refused["updateRecord"]["errors"]
        assert (error["code"], error["permission"]) == ("FORBIDDEN", "record:read_confidential")
        assert error["field"] == ["input", name]
        assert await world.fingerprint() == before
        [entry] = await world.entries(since=since)
        assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "record.update", "DENIED")
    # All else of it they change as ever.
    other = (await mutate(technician, "updateRecord", {"id": others, "expectedVersion": 1, "siteName": "x"})).data
    assert other["updateRecord"]["errors"] == []


async def test_an_import_seals_places_like_everything_else_that_writes(world: World) -> None:
    await make_sensitive(world)
    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    row = a_row(ACTIVITY="WELL-9", LATITUDE="51.47873", LONGITUDE="-0.29561", DATUM="WGS84")

    async def bring() -> tuple[int, int]:
        report = await import_results(actor, viewer, a_file(row), project_id=await world.project_id("CANAL"))
        assert report.rejections == []
        return report.records_created, report.records_known

    assert await bring() == (1, 0)
    assert await bring() == (0, 1)

    kept = await world.sql("select id, latitude, longitude from record where latitude = $1", CELL["latitude"])
    assert [(one["latitude"], one["longitude"]) for one in kept] == [(CELL["latitude"], CELL["longitude"])]
    assert (await ask(await world.client("manager"), f"Record:{kept[0]['id']}")).data["record"][
        "exactLocation"
    ] == EXACT
    assert await told_where(world, *DIGITS) == {}


async def test_a_create_that_is_repeated_is_the_same_and_another_place_is_a_conflict(world: World) -> None:
    await make_sensitive(world)
    client = await world.client("collector")
    given = {
        "id": "Record:01a20000-0000-7000-8000-000000000001",
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "WELL-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        **EXACT,
    }

    first, again = [(await mutate(client, "createRecord", given, f"record {{ {SHOWN} }}")).data for _ in range(2)]
    # Of the same cell, and yet another place.
    other = (await mutate(client, "createRecord", {**given, "latitude": 51.4788})).data["createRecord"]["errors"]

    assert first == again
    assert first["createRecord"]["record"]["exactLocation"] == EXACT
    assert [error["code"] for error in other] == ["CONFLICT"]


async def test_the_trail_tells_places_from_before_by_the_policy_of_today(world: World) -> None:
    since = (await world.now()).isoformat()
    made = (await add_record(world))["id"]
    plain = [P.PROJECT_READ, P.RECORD_READ, P.AUDIT_READ]
    for level, whose, held in (
        ("ORGANIZATION", "member", plain),
        ("ORGANIZATION", "viewer", [P.RECORD_READ, P.AUDIT_READ]),
    ):
        role = await define_role(await world.client("owner"), held, level=level, name=f"Own {whose}")
        await give_in_organization(world, whose, customRoleId=role)
    await give_in_project(world, "viewer", code="PARKS", role="VIEWER")

    async def told(who: str) -> list[tuple[Any, ...]]:
        answer = await (await world.client(who)).run(
            "query($since: DateTime!) { auditEntries(first: 1000, filter: {at: {gte: $since}, kind: {eq: CHANGE},"
            ' entity: {in: ["record", "project"]}})'
            " { nodes { changes { entityId columns { column before after } } } } }",
            {"since": since},
        )
        return [
            (one["column"], one["before"], one["after"])
            for entry in answer.body["data"]["auditEntries"]["nodes"]
            for change in entry["changes"]
            if f"Record:{change['entityId']}" == made
            for one in change["columns"]
            if one["column"] in EXACT
        ]

    exact = [("latitude", None, "51.47873"), ("longitude", None, "-0.29561")]
    cell = [("latitude", None, "51.45"), ("longitude", None, "-0.25")]
    assert sorted(await told("member")) == exact
    assert sorted(await told("auditor")) == exact

    assert await declare(world) == []

    assert sorted(await told("member")) == cell
    assert sorted(await told("auditor")) == exact
    await rewrite(world)
    moved = [("latitude", "51.45", "51.45"), ("longitude", "-0.25", "-0.25")]
    assert sorted(await told("member"), key=str) == sorted([*cell, *moved], key=str)
    assert ("latitude", "51.47873", "51.45") in await told("auditor")
    # Whether it is sensitive where they see no project, they are not told: it is taken for sensitive.
    assert await declare(world, sensitive=False) == []
    await rewrite(world)
    assert all("51.47873" in str(one) or "0.29561" in str(one) for one in (await told("member")) if one[1] is None)
