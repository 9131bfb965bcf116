"""Sensitive locations: who is told where exactly, and where roughly; how that is switched on and off."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from auth.action import Action
from auth.permission import Permission as P
from fieldward.cli.environment import operator
from fieldward.jobs import build_jobs
from fieldward.settings import Settings
from models.aggregation import Aggregation, Function, Key, Measure, fetch_groups
from models.condition import Condition, Operator
from models.inventory import entities, entity_of
from models.place import cell_latitude, cell_longitude
from models.reading import OneStatement
from models.record import Record
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from resolvers.location_rewrite import REWRITE_LOCATIONS, LocationRewrite
from resolvers.record import update_record
from resolvers.record_import import import_results
from resolvers.trail import Actor
from tests.support.access import define_role, give_in_organization, give_in_project
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World
from tests.support.wqx import a_file, a_row

REASON = "Private wells."
EXACT = {"latitude": 51.47873, "longitude": -0.29561}
CELL = {"latitude": 51.45, "longitude": -0.25}
DIGITS = ("51.47873", "0.29561")
SHOWN = "id latitude longitude locationIsCoarse exactLocation { latitude longitude }"
READERS = ("owner", "admin", "auditor", "manager", "reviewer", "collector")
"""Those of the demo who read what is confidential of the records of its first project."""


async def declare(
    world: World, *, sensitive: bool = True, who: str = "manager", code: str = "CANAL", **more: Any
) -> list[dict[str, Any]]:
    """Say whether a project's locations are sensitive, and return the errors."""
    project = await world.project_id(code)
    version = await world.value("select version from project where id = $1", project)
    given = {"id": f"Project:{project}", "expectedVersion": version, "sensitive": sensitive, "reason": REASON, **more}
    answer = await mutate(await world.client(who), "setLocationSensitivity", given, "project { id }")
    errors: list[dict[str, Any]] = answer.data["setLocationSensitivity"]["errors"]
    return errors


async def rewrite(world: World, *, batch: int = 50, most: int = 1000) -> int:
    """Do what the background does, until there is nothing left, and return in how many steps."""
    job, organization = LocationRewrite(batch=batch), await world.organization_id("clearwater")
    for done in range(most):
        if not await job.step(organization):
            return done
    return most


async def make_sensitive(world: World) -> None:
    """Declare the first project's locations sensitive, and rewrite what is there."""
    assert await declare(world) == []
    await rewrite(world)


async def add_record(world: World, who: str = "collector", **more: Any) -> dict[str, Any]:
    """Make a record in the first project, and return it as its maker is shown it."""
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "WELL-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        **EXACT,
        **more,
    }
    payload = (await mutate(await world.client(who), "createRecord", given, f"record {{ {SHOWN} }}")).data[
        "createRecord"
    ]
    assert payload["errors"] == [], payload
    record: dict[str, Any] = payload["record"]
    return record


async def change_record(client: Client, record: str, version: int, **given: Any) -> Any:
    """Change a record, and return the payload."""
    given = {"id": record, "expectedVersion": version, **given}
    return (await mutate(client, "updateRecord", given, f"record {{ {SHOWN} version }}")).data["updateRecord"]


async def ask(client: Client, record: str, fields: str = SHOWN) -> Answer:
    """Ask for a record."""
    return await client.run(f"query($id: ID!) {{ record(id: $id) {{ {fields} }} }}", {"id": record})


async def told_where(world: World, *digits: str) -> dict[str, int]:
    """Return in how many rows of which tables some digits stand in the clear."""
    found = {}
    for entity in entities():
        wanted = " or ".join(f"t::text like '%' || ${place} || '%'" for place in range(1, len(digits) + 1))
        if count := await world.value(f'select count(*) from "{entity.name}" t where {wanted}', *digits):
            found[entity.name] = int(count)
    return found


async def places(world: World, code: str = "CANAL") -> dict[UUID, tuple[Any, ...]]:
    """Return how each record of a project keeps its place."""
    rows = await world.sql(
        "select id, latitude, longitude, location_is_coarse, exact_location is not null as sealed, version,"
        " contributor_ids from record where project_id = $1",
        await world.project_id(code),
    )
    return {row["id"]: tuple(row)[1:] for row in rows}


# ---------------------------------------------------------------- what is stored, and who is told


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


# ---------------------------------------------------------------- while it is being switched on


async def test_from_the_moment_it_is_declared_nobody_is_shown_a_place_that_is_still_plain(world: World) -> None:
    record = (await add_record(world))["id"]
    before = await places(world)
    assert sum(1 for one in before.values() if one[0] is not None) > 1

    assert await declare(world) == []

    for who in (*READERS, "viewer"):
        client = await world.client(who)
        shown = (await ask(client, record)).body["data"]["record"]
        assert (shown["latitude"], shown["longitude"], shown["locationIsCoarse"]) == (None, None, False)
        page = (
            await client.run(
                "query($p: ID!) { project(id: $p) { records(first: 1000) { nodes { latitude longitude } } } }",
                {"p": f"Project:{await world.project_id('CANAL')}"},
            )
        ).data["project"]["records"]["nodes"]
        assert len(page) == len(before)
        assert not any(one["latitude"] or one["longitude"] for one in page)
        query = "query($f: RecordFilter) { records(filter: $f, first: 1000) { nodes { project { code } } } }"
        for bounds in ({"latitude": {"gte": -90}}, {"longitude": {"lt": 180}}):
            found = (await client.run(query, {"f": bounds})).data["records"]["nodes"]
            assert not any(one["project"]["code"] == "CANAL" for one in found)
    # New ones are shown as they will be.
    assert (await add_record(world))["latitude"] == CELL["latitude"]
    # Other projects are as they were.
    assert all(one[0] is None or not one[2] for one in (await places(world, "PARKS")).values())


async def test_while_it_is_declared_and_not_done_aggregates_take_no_place_either(world: World) -> None:
    viewer, entity = await member_viewer("clearwater", email="owner@clearwater.example"), entity_of(Record)
    project = await world.project_id("CANAL")
    for n in range(5):
        await add_record(world, latitude=50 + n / 7)

    async def computed(*conditions: Condition) -> tuple[Any, ...]:
        aggregation = Aggregation(
            entity,
            keys=[],
            measures=[Measure(Function.MAX, "latitude"), Measure(Function.COUNT, "longitude"), Measure(Function.COUNT)],
            conditions=[Condition("project_id", Operator.EQUALS, project), *conditions],
            limit=10,
        )
        grouped = Aggregation(entity, [Key("latitude")], [], 5, aggregation.conditions)
        async with OneStatement(Tenant(viewer.organization_id)) as connection:
            [group] = await fetch_groups(connection, viewer, aggregation)
            keys = await fetch_groups(connection, viewer, grouped)
            return (*group.measures, {one.keys[0] for one in keys})

    most, count, rows, keys = await computed()
    assert most is not None
    assert count > 5
    assert keys != {None}

    assert await declare(world) == []

    assert await computed() == (None, 0, rows, {None})
    assert await computed(Condition("latitude", Operator.EQUALS, None)) == (None, 0, rows, {None})
    assert await computed(Condition("latitude", Operator.IN, [most])) == (None, 0, 0, set())
    await rewrite(world)
    most_by_cell, count_by_cell, _, _ = await computed()
    assert most_by_cell == cell_latitude(most)
    assert count_by_cell == count


async def test_what_is_there_is_rewritten_once_and_as_nobodys_doing(world: World) -> None:
    await add_record(world)
    await world.client("manager")
    before, since = await places(world), await world.now()
    others = await places(world, "PARKS")

    assert await declare(world) == []
    project = await _project(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (True, True)
    await rewrite(world, batch=50)

    project = await _project(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (True, False)
    for row_id, (latitude, longitude, is_coarse, sealed, version, hands) in (await places(world)).items():
        was = before[row_id]
        assert latitude == (None if was[0] is None else cell_latitude(was[0]))
        assert longitude == (None if was[1] is None else cell_longitude(was[1]))
        assert is_coarse
        assert sealed == (was[0] is not None or was[1] is not None)
        assert (version, hands) == was[4:]
    assert await places(world, "PARKS") == others
    entries = await world.entries(since=since)
    assert {one["action"] for one in entries[1:]} == {"project.rewrite_locations"}
    assert entries[0]["action"] == "project.set_location_sensitivity"
    for entry in entries[1:]:
        assert (entry["kind"], entry["outcome"], entry["channel"]) == ("CHANGE", "DONE", "JOB")
        assert entry["user_id"] is None
        assert entry["membership_id"] is None
    changed = await world.sql(
        "select c.entity_id, count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by 1"
    )
    assert {row["entity_id"]: row["times"] for row in changed} == dict.fromkeys(before, 1)
    # What is kept of the places from before is in the trail alone.
    assert set(await told_where(world, *DIGITS)) == {"change"}
    # There is nothing left: no step, and no entry.
    since = await world.now()
    assert await rewrite(world) == 0
    assert await world.entries(since=since) == []


async def test_switched_off_again_every_place_is_as_it_was(world: World) -> None:
    await add_record(world, latitude=None)
    before = await places(world)
    await make_sensitive(world)
    later = await add_record(world)

    assert await declare(world, sensitive=False) == []

    # What is still sealed is still shown as its cell, and told to those who may know.
    assert (await ask(await world.client("viewer"), later["id"])).body["data"]["record"]["latitude"] == CELL["latitude"]
    assert (await ask(await world.client("manager"), later["id"])).data["record"]["exactLocation"] == EXACT
    await rewrite(world)
    after = await places(world)
    assert {row_id: after[row_id] for row_id in before} == before
    shown = (await ask(await world.client("viewer"), later["id"], "latitude longitude locationIsCoarse")).data["record"]
    assert shown == {**EXACT, "locationIsCoarse": False}
    assert await world.value("select count(*) from record where exact_location is not null") == 0


async def test_a_rewrite_that_was_cut_off_goes_on_where_it_was(world: World) -> None:
    assert await declare(world) == []

    assert await rewrite(world, batch=20, most=2) == 2
    half = sum(one[2] for one in (await places(world)).values())
    await rewrite(world, batch=20)

    assert half == 40
    assert all(one[2] for one in (await places(world)).values())
    assert (await _project(world))["locationsRewriting"] is False
    times = await world.sql(
        "select count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by c.entity_id"
    )
    assert {row["times"] for row in times} == {1}


async def test_several_processes_rewrite_together_and_nothing_twice(world: World) -> None:
    assert await declare(world) == []

    await asyncio.gather(*(rewrite(world, batch=7) for _ in range(3)))
    await rewrite(world)

    kept = await places(world)
    assert all(one[2] for one in kept.values())
    times = await world.sql(
        "select c.entity_id, count(*) as times from change c join audit_entry e on e.id = c.entry_id"
        " where e.action = 'project.rewrite_locations' and c.entity = 'record' group by 1"
    )
    assert {row["entity_id"]: row["times"] for row in times} == dict.fromkeys(kept, 1)
    assert (await _project(world))["locationsRewriting"] is False


async def test_the_background_finds_the_organization_by_itself(world: World) -> None:
    assert await declare(world) == []
    job = build_jobs(world.services, Settings())[REWRITE_LOCATIONS]

    while await job():
        pass

    assert (await _project(world))["locationsRewriting"] is False
    assert all(one[2] for one in (await places(world)).values())


async def test_it_can_be_taken_back_in_the_middle(world: World) -> None:
    before = await places(world)
    assert await declare(world) == []
    job, organization = LocationRewrite(batch=20), await world.organization_id("clearwater")
    for _ in range(3):
        assert await job.step(organization)

    assert await declare(world, sensitive=False) == []
    while await job.step(organization):
        pass

    assert await places(world) == before
    project = await _project(world)
    assert (project["locationsAreSensitive"], project["locationsRewriting"]) == (False, False)


async def test_a_record_that_somebody_is_changing_is_rewritten_after_them(world: World) -> None:
    record = UUID((await add_record(world))["id"].partition(":")[2])
    assert await declare(world) == []
    holding, go_on = asyncio.Event(), asyncio.Event()

    async def update(change: Change) -> UUID:
        row_id = await update_record(
            change, record_id=record, expected_version=1, values={"site_name": "Well"}, measurements=None
        )
        holding.set()
        await go_on.wait()
        return row_id

    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    updating = asyncio.create_task(commit_change(Intent(Action.RECORD_UPDATE, actor, entity="record"), update))
    await holding.wait()

    await rewrite(world)

    kept = await places(world)
    assert {row_id for row_id, one in kept.items() if not one[2]} == {record}
    assert (await _project(world))["locationsRewriting"] is True
    go_on.set()
    await updating
    await rewrite(world)
    row = (await world.sql("select * from record where id = $1", record))[0]
    assert (row["site_name"], row["version"], row["latitude"], row["location_is_coarse"]) == ("Well", 2, 51.45, True)
    assert (await ask(await world.client("manager"), f"Record:{record}")).data["record"]["exactLocation"] == EXACT
    assert (await _project(world))["locationsRewriting"] is False


async def test_updates_and_the_rewrite_at_once_lose_nothing(world: World) -> None:
    made = [(await add_record(world, siteCode=f"WELL-{n}"))["id"] for n in range(12)]
    client = await world.client("collector")
    assert await declare(world) == []

    payloads, *_ = await asyncio.gather(
        asyncio.gather(*(change_record(client, one, 1, latitude=10 + n / 7) for n, one in enumerate(made))),
        rewrite(world, batch=3),
        rewrite(world, batch=5),
    )
    await rewrite(world)

    assert [one["errors"] for one in payloads] == [[]] * len(made)
    for n, one in enumerate(made):
        shown = (await ask(client, one)).data["record"]
        assert shown["exactLocation"] == {"latitude": 10 + n / 7, "longitude": EXACT["longitude"]}
        assert (shown["latitude"], shown["longitude"]) == (cell_latitude(10 + n / 7), CELL["longitude"])


# ---------------------------------------------------------------- writing places


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
    payload = await change_record(client, record, 2, latitude=None)
    assert payload["record"]["exactLocation"] == {"latitude": None, "longitude": -0.31234}
    assert (payload["record"]["latitude"], payload["record"]["longitude"]) == (None, -0.35)
    payload = await change_record(client, record, 3, longitude=None)
    assert payload["record"]["exactLocation"] is None
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


# ---------------------------------------------------------------- the trail


async def test_the_trail_tells_places_from_before_by_the_policy_of_today(world: World) -> None:
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
            '{ auditEntries(first: 1000, filter: {kind: {eq: CHANGE}, entity: {in: ["record", "project"]}})'
            " { nodes { changes { entityId columns { column before after } } } } }"
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


# ---------------------------------------------------------------- who declares it


@pytest.mark.parametrize("who", ["owner", "admin", "manager"])
async def test_who_manages_the_project_declares_it_with_a_reason(world: World, who: str) -> None:
    await world.client(who)
    since = await world.now()

    assert await declare(world, who=who) == []

    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"]) == ("CHANGE", "project.set_location_sensitivity")
    assert entry["reason"] is not None
    assert await declare(world, who=who, sensitive=False) == []


@pytest.mark.parametrize(
    ("who", "code"),
    [("viewer", "FORBIDDEN"), ("collector", "FORBIDDEN"), ("member", "NOT_FOUND"), ("other-owner", "NOT_FOUND")],
)
async def test_nobody_else_declares_it(world: World, who: str, code: str) -> None:
    await world.client(who)
    since, before = await world.now(), await world.fingerprint()

    errors = await declare(world, who=who)

    assert [error["code"] for error in errors] == [code]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"], entry["error_code"]) == (
        "ATTEMPT",
        "project.set_location_sensitivity",
        "DENIED",
        code,
    )


async def test_who_does_not_read_the_places_does_not_lay_them_open(world: World) -> None:
    held = [P.PROJECT_READ, P.PROJECT_UPDATE, P.RECORD_READ]
    role = await define_role(await world.client("owner"), held)
    await give_in_project(world, "member", customRoleId=role)
    assert await declare(world, who="member") == []
    since, before = await world.now(), await world.fingerprint()

    errors = await declare(world, who="member", sensitive=False)

    assert [(error["code"], error["permission"], error["field"]) for error in errors] == [
        ("FORBIDDEN", "record:read_confidential", ["input", "sensitive"])
    ]
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["outcome"]) == ("ATTEMPT", "DENIED")


async def test_it_is_not_declared_without_a_reason_or_on_an_older_version(world: World) -> None:
    await world.client("manager")
    before = await world.fingerprint()

    assert [error["code"] for error in await declare(world, reason=" ")] == ["INVALID_INPUT"]
    assert [error["code"] for error in await declare(world, expectedVersion=7)] == ["CONFLICT"]

    assert await world.fingerprint() == before


async def test_to_declare_what_is_so_already_rewrites_nothing(world: World) -> None:
    assert await declare(world, sensitive=False) == []

    assert (await _project(world))["locationsRewriting"] is False
    await make_sensitive(world)
    kept = await places(world)
    assert await declare(world) == []
    assert await rewrite(world) == 0
    assert await places(world) == kept


async def _project(world: World) -> Any:
    client = await world.client("manager")
    return (
        await client.run(
            "query($p: ID!) { project(id: $p) { locationsAreSensitive locationsRewriting } }",
            {"p": f"Project:{await world.project_id('CANAL')}"},
        )
    ).data["project"]
