"""What a record was at a moment, for whoever may read it today."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from fieldward.cli.environment import operator
from models.base import new_id
from resolvers.erasure import erase_name
from tests.conftest import Template
from tests.support.access import in_project, refusals
from tests.support.history import (
    COLLECTORS,
    COMMENTS,
    CONFIDENTIAL,
    DIGITS,
    MEASURED,
    NOW,
    REASON,
    SAYS,
    THEN,
    by_script,
    done,
    make_past,
)
from tests.support.location import declare, make_sensitive
from tests.support.mutation import mutate
from tests.support.priced import fresh_process
from tests.support.world import Client, World

STEPS: list[tuple[str, str, dict[str, Any]]] = [
    ("collector", "updateRecord", {"siteCode": "W-2", "comment": "Two.", "collector": "Bo Bard", "method": "Grab"}),
    ("collector", "updateRecord", {"siteName": "Weir", "latitude": 51.5, "longitude": -0.2, "comment": None}),
    ("collector", "updateRecord", {"measurements": [{"characteristic": "Zinc", "value": 0.125, "comment": "Low."}]}),
    ("collector", "submitRecord", {}),
    ("reviewer", "rejectRecord", {"reason": "Which weir?"}),
    ("collector", "updateRecord", {"siteName": "Old weir", "measurements": []}),
    ("collector", "submitRecord", {}),
    ("reviewer", "approveRecord", {"reason": "Good."}),
    ("manager", "updateRecord", {"siteCode": "W-2", "reason": REASON}),
]


async def then(client: Client, record: str, at: Any) -> Any:
    """Return what somebody is told that the record was."""
    return (await client.run(THEN, {"id": record, "at": at.isoformat()})).data["recordAsOf"]


async def test_a_record_is_told_as_it_was_told_then(world: World) -> None:
    clients = {who: await world.client(who) for who in ("collector", "reviewer", "manager", "auditor")}
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "comment": "One.",
        "collector": "Ann Ames",
        "measurements": [{"characteristic": name, "value": value} for name, value in (("pH", 7), ("Zinc", 1.5e-7))],
    }
    record = (await done(clients["collector"], "createRecord", given))["record"]["id"]
    told = []
    for version, (who, name, more) in enumerate([*STEPS, ("", "", {})], 1):
        shown = {one: (await client.run(NOW, {"id": record})).data["record"] for one, client in clients.items()}
        told.append((await world.now(), shown))
        if name:
            await done(clients[who], name, {"id": record, "expectedVersion": version, **more})

    for at, shown in told:
        for who, client in clients.items():
            assert await then(client, record, at) == shown[who]
    assert len({str(shown) for _, shown in told}) == len(STEPS) + 1


async def test_before_it_was_made_there_was_none_and_to_come_it_is_as_it_is(world: World) -> None:
    past = await make_past(world)
    client = await world.client("manager")

    assert await then(client, past.record, past.moments[0]) is None
    assert await then(client, past.record, past.moments[0] - timedelta(days=9000)) is None
    now = (await client.run(NOW, {"id": past.record})).data["record"]
    assert await then(client, past.record, past.moments[-1] + timedelta(days=9000)) == now


@pytest.mark.parametrize("who", ["anonymous", "member", "other-owner"])
async def test_who_does_not_see_a_record_is_not_told_that_there_was_one(world: World, who: str) -> None:
    past = await make_past(world)
    client = world.anonymous if who == "anonymous" else await world.client(who)
    since = await world.now()

    answers = [
        await client.run(THEN, {"id": record, "at": past.moments[3].isoformat()})
        for record in (past.record, f"Record:{new_id()}")
    ]

    for answer in answers:
        assert answer.body["data"] == {"recordAsOf": None}
        assert answer.codes == (["UNAUTHENTICATED"] if who == "anonymous" else [])
    assert await world.entries(since=since, kinds=["READ"]) == []


async def test_who_no_longer_sees_the_record_is_told_nothing_of_when_they_did(world: World) -> None:
    past = await make_past(world)
    viewer = await world.client("viewer")
    assert (await then_of(viewer, past.record, past.moments[1])).body["data"]["recordAsOf"]["siteCode"] == "W-1"
    given = await in_project(world, "viewer", reason=REASON)
    assert await refusals(await world.client("manager"), "removeProjectRole", given) == []

    answer = await then_of(viewer, past.record, past.moments[1])

    assert answer.data == {"recordAsOf": None}


async def then_of(client: Client, record: str, at: Any) -> Any:
    """Return the whole answer."""
    return await client.run(THEN, {"id": record, "at": at.isoformat()})


async def test_a_deleted_record_is_told_of_no_moment(world: World) -> None:
    past = await make_past(world)
    manager = await world.client("manager")
    given = {"id": past.record, "expectedVersion": 6, "reason": "Entered twice."}
    assert (await mutate(manager, "deleteRecord", given)).data["deleteRecord"]["errors"] == []

    assert await then(manager, past.record, past.moments[2]) is None


async def test_what_may_not_be_read_today_may_not_be_read_of_then(world: World) -> None:
    past = await make_past(world)

    answer = await then_of(await world.client("viewer"), past.record, past.moments[2])

    shown = answer.body["data"]["recordAsOf"]
    assert (shown["siteCode"], shown["version"], shown["project"]) == ("W-2", 2, {"code": "CANAL"})
    assert [one["characteristic"] for one in shown["measurements"]] == ["pH", "Zinc"]
    # A pseudonym is not known of the past, and the name is not for them.
    assert shown["collector"] is None
    assert shown["createdBy"] is None
    assert set(answer.codes) == {"FORBIDDEN"}
    denied = {".".join(map(str, error["path"][1:])) for error in answer.errors}
    assert denied == {
        *("exactLocation", "collector", "comment", "reviewer", "reviewReason"),
        *("measurements.0.comment", "measurements.0.sourceRow"),
    }
    for secret in (*CONFIDENTIAL, *COLLECTORS):
        assert secret not in answer.text


async def test_what_is_read_of_then_is_in_the_read_log_as_read_of_the_row(world: World) -> None:
    past = await make_past(world)
    client = await world.client("reviewer")
    ids = await world.sql(
        "select entity_id from change where part_of_id = $1 and operation = 'DELETE' order by id", past.row_id
    )
    since = await world.now()

    answer = await then_of(client, past.record, past.moments[1])

    assert answer.data["recordAsOf"]["comment"] == COMMENTS[0]
    entries = await world.entries(since=since, kinds=["READ"])
    read = {(one["entity"], one["field"]): one["entity_ids"] for one in entries}
    assert read["record", "comment"] == read["record", "collector"] == [past.row_id]
    assert read["measurement", "comment"] == [ids[0]["entity_id"]]
    assert {one["action"] for one in entries} == {"field.read"}


async def test_if_the_read_log_cannot_be_written_nothing_of_then_is_shown(world: World) -> None:
    past = await make_past(world)
    client = await world.client("manager")
    await world.sql("revoke insert on audit_entry from fieldward_service")
    try:
        answer = await then_of(client, past.record, past.moments[1])
    finally:
        await world.sql("grant insert on audit_entry to fieldward_service")

    assert answer.body["data"] is None
    assert not any(secret in answer.text for secret in CONFIDENTIAL)


async def test_where_it_was_is_told_by_its_cell_once_that_is_sensitive(world: World) -> None:
    past = await make_past(world)
    viewer, manager = await world.client("viewer"), await world.client("manager")

    async def where(client: Client) -> tuple[Any, ...]:
        answer = await then_of(client, past.record, past.moments[1])
        shown = answer.body["data"]["recordAsOf"]
        assert any(digits in answer.text for digits in DIGITS) is (shown["latitude"] == 51.47873)
        return shown["latitude"], shown["longitude"], shown["locationIsCoarse"]

    exact, cell = (51.47873, -0.29561, False), (51.45, -0.25, True)
    assert await where(viewer) == await where(manager) == exact
    # From the moment at which it is declared, whatever was rewritten.
    assert await declare(world) == []
    assert (await where(viewer), await where(manager)) == (cell, exact)
    await make_sensitive_again(world)
    assert (await where(viewer), await where(manager)) == (cell, exact)


async def make_sensitive_again(world: World) -> None:
    """Take the declaration back, and make it once more, until all is rewritten."""
    assert await declare(world, sensitive=False) == []
    await make_sensitive(world)


async def test_a_name_that_was_erased_is_nothing_of_then(world: World, template: Template) -> None:
    past = await make_past(world)
    owner = await world.client("owner")
    await erase_name(world.services, operator(), slug="clearwater", names=[COLLECTORS[0]], reason="Asked for it")

    async with fresh_process(world, template) as http:
        client = Client(http, owner.token)
        shown = [await then(client, past.record, at) for at in past.moments[1:3]]

    assert [one["collector"] for one in shown] == [None, COLLECTORS[1]]


async def test_a_value_that_was_put_into_another_cell_of_the_trail_does_not_open(world: World) -> None:
    past = await make_past(world)
    client = await world.client("manager")
    await world.sql("alter table change disable trigger all")
    await world.sql(
        "update change set columns = jsonb_set(columns, '{comment,1}',"
        " (select c.columns -> 'comment' -> 1 from change c where c.entity = 'measurement' and c.part_of_id = $1"
        "  and c.operation = 'INSERT' order by c.id limit 1))"
        " where entity = 'record' and entity_id = $1 and operation = 'INSERT'",
        past.row_id,
    )
    since = await world.now()

    answer = await then_of(client, past.record, past.moments[1])

    assert answer.codes == ["INTERNAL"]
    assert answer.body["data"]["recordAsOf"]["comment"] is None
    # It is shown where it belongs.
    assert answer.text.count(MEASURED[0]) == 1
    (entry,) = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["entity_ids"]) == ("field.read", "FAILED", [past.row_id])


async def test_what_a_script_changed_is_in_what_the_record_was(world: World) -> None:
    past = await make_past(world)
    viewer = await world.client("viewer")
    async with by_script(world) as (connection, _):
        await connection.execute("update measurement set value = 9.5 where record_id = $1", past.row_id)

    before, after = [
        (await then_of(viewer, past.record, at)).body["data"]["recordAsOf"]["measurements"][0]["value"]
        for at in (past.moments[-1], await world.now())
    ]

    assert (before, after) == (8.5, 9.5)


async def test_several_moments_are_asked_for_together(world: World) -> None:
    past = await make_past(world)
    aliases = " ".join(f"m{n}: recordAsOf(id: $id, at: $m{n}) {{ {SAYS} }}" for n in range(len(past.moments)))
    declared = ", ".join(f"$m{n}: DateTime!" for n in range(len(past.moments)))
    client = await world.client("manager")

    answer = await client.run(
        f"query($id: ID!, {declared}) {{ {aliases} now: record(id: $id) {{ {SAYS} }} }}",
        {"id": past.record, **{f"m{n}": at.isoformat() for n, at in enumerate(past.moments)}},
    )

    for n, at in enumerate(past.moments):
        assert answer.data[f"m{n}"] == await then(client, past.record, at)
    assert answer.data[f"m{len(past.moments) - 1}"] == answer.data["now"]


async def test_a_measurement_is_named_as_in_the_history_and_leads_nowhere(world: World) -> None:
    past = await make_past(world)
    client = await world.client("viewer")

    answer = await client.run(
        "query($id: ID!, $at: DateTime!) { recordAsOf(id: $id, at: $at) { asOf measurements { measurementId } } }",
        {"id": past.record, "at": past.moments[1].isoformat()},
    )

    shown = answer.data["recordAsOf"]
    assert shown["asOf"] == past.moments[1].isoformat()
    made = await world.sql(
        "select entity_id from change where part_of_id = $1 and operation = 'INSERT' order by id limit 2", past.row_id
    )
    assert [UUID(one["measurementId"]) for one in shown["measurements"]] == [one["entity_id"] for one in made]
    for name in ("PastRecord", "PastMeasurement", "RecordVersion"):
        node = await client.run("query($id: ID!) { node(id: $id) { id } }", {"id": f"{name}:{past.row_id}"})
        assert node.data == {"node": None}


async def test_more_moments_than_an_operation_may_read_are_refused(world: World) -> None:
    past = await make_past(world)
    asked = " ".join(
        f'm{one}: recordAsOf(id: "{past.record}", at: "2026-01-01T00:00:{one:02}Z") {{ siteCode }}' for one in range(51)
    )

    answer = await (await world.client("viewer")).run(f"{{ {asked} }}")

    assert answer.codes == ["TOO_COMPLEX"]
