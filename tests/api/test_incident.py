"""Incidents in the API: who sees them, who answers them, and that no organization sees another's."""

from typing import Any
from uuid import UUID

import pytest

from auth.principal import SYSTEM_ID
from tests.support.incident import an_incident, incidents, judge_trails, just, refuse, seal_trails
from tests.support.mutation import mutate, prepare
from tests.support.world import World

SHOWN = """
  id rule severity status count firstSeenAt lastSeenAt openedAt version note
  user { name } device { id } serviceAccount { id }
  newestEntry { id action outcome } evidence { entry { id action outcome errorCode } }
  acknowledgedBy { name } acknowledgedAt closedBy { name } closedAt
  viewerCan { acknowledge close }
"""
LIST = f"query($filter: IncidentFilter) {{ incidents(filter: $filter) {{ totalCount nodes {{ {SHOWN} }} }} }}"
ONE = f"query($id: ID!) {{ incident(id: $id) {{ {SHOWN} }} node(id: $id) {{ id }} }}"


async def _of_a_person(world: World) -> str:
    """Have an incident opened about the VIEWER and return its id."""
    stage = await prepare(world)
    viewer = await world.client("viewer")
    for _ in range(3):
        await mutate(viewer, "deleteRecord", {"id": stage.draft, "expectedVersion": 1, "reason": "?"})
    await seal_trails()
    (opened,) = await judge_trails(just(denials=3))
    return f"Incident:{opened}"


@pytest.mark.parametrize("who", ["owner", "admin", "auditor"])
async def test_who_may_read_incidents_is_shown_what_they_stand_on(world: World, who: str) -> None:
    incident_id = await _of_a_person(world)

    shown = (await (await world.client(who)).run(ONE, {"id": incident_id})).data

    one = shown["incident"]
    assert (one["rule"], one["severity"], one["status"], one["count"]) == ("denials", "MEDIUM", "OPEN", 3)
    assert one["user"]["name"]
    refused = {"action": "record.delete", "outcome": "DENIED", "errorCode": "FORBIDDEN"}
    assert [{**entry["entry"], "id": None} for entry in one["evidence"]] == [{**refused, "id": None}] * 3
    assert one["newestEntry"]["id"] == one["evidence"][-1]["entry"]["id"]
    may = who != "auditor"
    assert one["viewerCan"] == {"acknowledge": may, "close": may}
    assert shown["node"] == {"id": incident_id}


@pytest.mark.parametrize("who", ["member", "manager", "reviewer", "collector", "viewer", "other-owner"])
async def test_who_may_not_sees_none_and_answers_none(world: World, who: str) -> None:
    incident_id = await _of_a_person(world)
    client = await world.client(who)
    before = await world.fingerprint()

    listed, looked_up = await client.run(LIST), await client.run(ONE, {"id": incident_id})
    acknowledged = await mutate(client, "acknowledgeIncident", {"id": incident_id, "expectedVersion": 1})
    given = {"id": incident_id, "expectedVersion": 1, "note": "Nothing."}
    closed = await mutate(client, "closeIncident", given)

    assert listed.data["incidents"] == {"totalCount": 0, "nodes": []}
    assert looked_up.data == {"incident": None, "node": None}
    assert [one["code"] for one in acknowledged.data["acknowledgeIncident"]["errors"]] == ["NOT_FOUND"]
    assert [one["code"] for one in closed.data["closeIncident"]["errors"]] == ["NOT_FOUND"]
    assert await world.fingerprint() == before


async def test_the_auditor_reads_and_changes_nothing(world: World) -> None:
    incident_id = await _of_a_person(world)
    auditor = await world.client("auditor")
    before, since = await world.fingerprint(), await world.now()

    answer = await mutate(auditor, "closeIncident", {"id": incident_id, "expectedVersion": 1, "note": "Nothing."})

    (error,) = answer.data["closeIncident"]["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "incident:manage")
    assert await world.fingerprint() == before
    (entry,) = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "incident.close", "DENIED")


async def test_an_incident_of_one_organization_does_not_exist_for_another(world: World) -> None:
    ours, theirs = await an_incident(world, "clearwater"), await an_incident(world, "suncoast")

    for who, mine, other in (("owner", ours, theirs), ("other-owner", theirs, ours)):
        client = await world.client(who)
        assert [one["id"] for one in (await client.run(LIST)).data["incidents"]["nodes"]] == [f"Incident:{mine}"]
        assert (await client.run(ONE, {"id": f"Incident:{other}"})).data == {"incident": None, "node": None}
        given = {"id": f"Incident:{other}", "expectedVersion": 1}
        answer = await mutate(client, "acknowledgeIncident", given)
        assert [one["code"] for one in answer.data["acknowledgeIncident"]["errors"]] == ["NOT_FOUND"]


async def test_no_organization_sees_the_incidents_of_the_installation(world: World) -> None:
    for _ in range(3):
        await refuse(SYSTEM_ID, address="192.0.2.7")
    await seal_trails()
    (opened,) = await judge_trails(just(denials_from_address=3))

    for who in ("owner", "other-owner"):
        client = await world.client(who)
        assert (await client.run(LIST)).data["incidents"]["nodes"] == []
        assert (await client.run(ONE, {"id": f"Incident:{opened}"})).data["incident"] is None


async def test_an_incident_is_acknowledged_and_closed_with_a_note_that_is_sealed(world: World) -> None:
    incident_id = await _of_a_person(world)
    admin, owner = await world.client("admin"), await world.client("owner")

    first = await mutate(
        admin, "acknowledgeIncident", {"id": incident_id, "expectedVersion": 1}, f"incident {{ {SHOWN} }}"
    )
    given = {"id": incident_id, "expectedVersion": 2, "note": " A script of Vera's. "}
    second = await mutate(owner, "closeIncident", given, f"incident {{ {SHOWN} }}")

    assert first.data["acknowledgeIncident"]["errors"] == second.data["closeIncident"]["errors"] == []
    one, other = first.data["acknowledgeIncident"]["incident"], second.data["closeIncident"]["incident"]
    assert (one["status"], one["version"], one["closedAt"]) == ("ACKNOWLEDGED", 2, None)
    assert one["viewerCan"] == {"acknowledge": False, "close": True}
    assert (other["status"], other["version"], other["note"]) == ("CLOSED", 3, "A script of Vera's.")
    assert other["acknowledgedBy"] == one["acknowledgedBy"]
    assert other["acknowledgedBy"] != other["closedBy"]
    assert other["viewerCan"] == {"acknowledge": False, "close": False}
    (row,) = await incidents(world)
    assert b"script" not in row["note"]
    trail = await owner.run(
        '{ auditEntries(filter: {action: {eq: "incident.close"}}) { nodes { changes { columns { column after } } } } }'
    )
    (change,) = trail.data["auditEntries"]["nodes"][0]["changes"]
    assert {one["column"]: one["after"] for one in change["columns"]}["note"] == "A script of Vera's."


@pytest.mark.parametrize("note", ["", "  ", "x" * 2001])
async def test_without_a_note_nothing_is_closed(world: World, note: str) -> None:
    incident_id = f"Incident:{await an_incident(world)}"
    owner = await world.client("owner")

    answer = await mutate(owner, "closeIncident", {"id": incident_id, "expectedVersion": 1, "note": note})

    (error,) = answer.data["closeIncident"]["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "note"])
    (row,) = await incidents(world)
    assert (row["status"], row["note"]) == ("OPEN", None)


async def test_what_was_answered_already_or_meanwhile_is_a_conflict(world: World) -> None:
    incident_id = f"Incident:{await an_incident(world)}"
    owner, admin = await world.client("owner"), await world.client("admin")
    assert (await mutate(owner, "acknowledgeIncident", {"id": incident_id, "expectedVersion": 1})).data

    stale = await mutate(admin, "closeIncident", {"id": incident_id, "expectedVersion": 1, "note": "Done."})
    again = await mutate(admin, "acknowledgeIncident", {"id": incident_id, "expectedVersion": 2})
    closed = await mutate(admin, "closeIncident", {"id": incident_id, "expectedVersion": 2, "note": "Done."})
    twice = await mutate(owner, "closeIncident", {"id": incident_id, "expectedVersion": 3, "note": "Done."})

    codes = [[one["code"] for one in next(iter(answer.data.values()))["errors"]] for answer in (stale, again, twice)]
    assert codes == [["CONFLICT"]] * 3
    assert closed.data["closeIncident"]["errors"] == []


async def test_who_answers_is_not_overtaken_by_what_goes_on(world: World) -> None:
    incident_id = f"Incident:{await an_incident(world)}"
    await refuse(await world.organization_id("clearwater"), address="192.0.2.7")
    await seal_trails()
    await judge_trails(just(denials_from_address=3))
    (row,) = await incidents(world)
    assert row["count"] == 4

    answer = await mutate(await world.client("owner"), "acknowledgeIncident", {"id": incident_id, "expectedVersion": 1})

    assert answer.data["acknowledgeIncident"]["errors"] == []


async def test_incidents_are_filtered_by_what_is_theirs(world: World) -> None:
    one, other = UUID((await _of_a_person(world)).removeprefix("Incident:")), await an_incident(world)
    owner = await world.client("owner")
    await mutate(owner, "acknowledgeIncident", {"id": f"Incident:{one}", "expectedVersion": 1})
    opened = {row["id"]: row["opened_at"].isoformat() for row in await incidents(world)}
    cases: list[tuple[dict[str, Any], list[UUID]]] = [
        ({}, [other, one]),
        ({"status": {"eq": "OPEN"}}, [other]),
        ({"status": {"in": ["OPEN", "ACKNOWLEDGED"]}}, [other, one]),
        ({"severity": {"eq": "CRITICAL"}}, []),
        ({"rule": {"eq": "denials"}}, [one]),
        ({"openedAt": {"gte": opened[other]}}, [other]),
        ({"openedAt": {"lt": opened[other]}}, [one]),
    ]

    for given, expected in cases:
        shown = (await owner.run(LIST, {"filter": given})).data["incidents"]["nodes"]
        assert [node["id"] for node in shown] == [f"Incident:{found}" for found in expected], given


async def test_evidence_is_shown_to_none_who_may_not_read_the_trail(world: World) -> None:
    incident_id = await _of_a_person(world)
    owner = await world.client("owner")
    role = {"name": "Watch", "level": "ORGANIZATION", "permissions": ["INCIDENT_READ"], "reason": "Night shift."}
    made = (await mutate(owner, "createRole", role, "role { id }")).data["createRole"]["role"]["id"]
    given = {"userId": f"User:{await world.member_id('member')}", "customRoleId": made, "reason": "Night shift."}
    assert (await mutate(owner, "assignOrganizationRole", given)).data["assignOrganizationRole"]["errors"] == []

    answer = await (await world.client("member")).run(ONE, {"id": incident_id})

    one = answer.body["data"]["incident"]
    assert (one["rule"], one["count"]) == ("denials", 3)
    assert one["user"] is None
    assert one["newestEntry"] is None
    assert [entry["entry"] for entry in one["evidence"]] == [None] * 3
    assert one["note"] is None
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["extensions"]["permission"] == "incident:read_confidential"
    assert one["viewerCan"] == {"acknowledge": False, "close": False}
