"""`viewerCan` says beforehand what a mutation or a field would say: neither more nor less."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from schema.api import Api
from tests.api.test_mutation_audit import CASES
from tests.support.mutation import mutate, prepare, prepare_with_incident
from tests.support.scene import SOON, Looking, done, readable, selections, set_scene
from tests.support.world import Client, World

PEOPLE = ("owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer", "member", "other-owner")
READERS = (*PEOPLE, "program", "wide program")
MUTATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "update": ("updateRecord", {"siteName": "Elsewhere", "reason": "Mistyped."}),
    "submit": ("submitRecord", {}),
    "approve": ("approveRecord", {"reason": "Fine."}),
    "reject": ("rejectRecord", {"reason": "Cap was loose."}),
    "delete": ("deleteRecord", {"reason": "Entered twice."}),
}
RECORD = "query($id: ID!) { record(id: $id) { viewerCan { update submit approve reject delete } } }"
STATES = ("DRAFT", "SUBMITTED", "APPROVED", "REJECTED")


async def make_record(world: World, project: str, maker: str, state: str, *, editor: str | None = None) -> str:
    """Have somebody make a record, somebody else change it, and bring it into a state."""
    client, reviewer = await world.client(maker), await world.client("reviewer")
    given = {"projectId": project, "siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}
    answer = await mutate(client, "createRecord", given, "record { id }")
    record = str(answer.data["createRecord"]["record"]["id"])
    version = 1
    if editor is not None:
        await done(await world.client(editor), "updateRecord", {"id": record, "expectedVersion": 1, "method": "Grab"})
        version += 1
    if state != "DRAFT":
        await _step(client, "submitRecord", record, version)
    if state in {"APPROVED", "REJECTED"}:
        await _step(reviewer, f"{state[:-2].lower() if state == 'REJECTED' else 'approve'}Record", record, version + 1)
    return record


@pytest.mark.parametrize("maker", ["collector", "manager", "member", "edited", "elsewhere"])
async def test_what_is_said_of_a_record_is_what_its_mutations_say(world: World, maker: str) -> None:
    scene = await set_scene(world)
    clients = {who: await world.client(who) for who in PEOPLE}
    clients["program"] = await _writing_program(clients["owner"])
    records = await _records(world, scene.stage.project, maker)
    seen: set[tuple[str, bool]] = set()

    async with _restored(world) as restore:
        for state, record in records.items():
            version = await world.value("select version from record where id = $1::uuid", record.partition(":")[2])
            for who, client in clients.items():
                said = (await client.run(RECORD, {"id": record})).data["record"]
                for name, (mutation, given) in MUTATIONS.items():
                    can = said is not None and said["viewerCan"][name]
                    sent = {"id": record, "expectedVersion": version, **given}
                    errors = (await mutate(client, mutation, sent)).data[mutation]["errors"]
                    assert can == (errors == []), (who, state, name, errors)
                    assert {one["code"] for one in errors} <= {"FORBIDDEN", "NOT_FOUND", "CONFLICT"}
                    assert all(
                        one["message"].startswith("The record is") for one in errors if one["code"] == "CONFLICT"
                    )
                    seen.add((name, can))
                    if not errors:
                        await restore()

    assert {name for name, _ in seen} == set(MUTATIONS)
    assert True in {can for _, can in seen}


async def test_who_looks_as_another_can_change_nothing(world: World) -> None:
    stage = await prepare(world)
    owner = await world.client("owner")

    for acting_as in ("OWNER", f"MANAGER@{stage.project}"):
        said = (await Looking(owner, acting_as).run(RECORD, {"id": stage.submitted})).data["record"]["viewerCan"]
        assert said == dict.fromkeys(MUTATIONS, False)
    assert (await owner.run(RECORD, {"id": stage.submitted})).data["record"]["viewerCan"]["approve"]


@pytest.mark.parametrize("who", READERS)
async def test_the_readable_fields_are_those_that_answer(world: World, api: Api, who: str) -> None:
    scene = await set_scene(world)
    client = await scene.client(world, who)
    checked = 0

    for on in scene.objects:
        type_name = on.partition(":")[0]
        fields = selections(api, type_name)
        answer = await client.run(
            f'{{ node(id: "{on}") {{ ... on {type_name} {{ viewerCan {{ readableFields }} }} }} }}'
        )
        if answer.data["node"] is None:
            continue
        said = set(answer.data["node"]["viewerCan"]["readableFields"])
        got = await readable(client, on, fields)
        told = {name for name, can in got.items() if can is not None and name != "viewerCan"}
        assert {name for name in said if name in told or name not in got} == {name for name in told if got[name]}, on
        checked += len(told)

    assert checked > 10 or who == "other-owner"


@pytest.mark.parametrize("who", ["viewer", "manager"])
async def test_a_masked_name_is_not_readable(world: World, who: str) -> None:
    stage = await prepare(world)
    query = "query($id: ID!) { record(id: $id) { collector comment viewerCan { readableFields } } }"

    record = (await (await world.client(who)).run(query, {"id": stage.draft})).body["data"]["record"]

    fields = record["viewerCan"]["readableFields"]
    assert ("collector" in fields, "comment" in fields) == ((True, True) if who == "manager" else (False, False))
    assert record["collector"].startswith("person-") is (who == "viewer")


# By mutation: the object on which `viewerCan` speaks of it, and its word there.
ELSEWHERE = {
    "updateProject": ("project", "update"),
    "archiveProject": ("project", "archive"),
    "createRecord": ("project", "createRecord"),
    "assignProjectRole": ("project", "assignRole"),
    "blockDevice": ("device", "block"),
    "unblockDevice": ("blocked_device", "unblock"),
    "startDeviceEnrolment": ("device", "startEnrolment"),
    "assignOrganizationRole": ("person", "assignRole"),
    "updateRole": ("role", "update"),
    "deleteRole": ("role", "delete"),
    "revokeServiceAccount": ("program", "revoke"),
    "acknowledgeIncident": ("incident", "acknowledge"),
    "closeIncident": ("incident", "close"),
    "createProject": ("organization", "createProject"),
    "registerDevice": ("organization", "registerDevice"),
    "createRole": ("organization", "defineRole"),
    "createServiceAccount": ("organization", "createServiceAccount"),
}


@pytest.mark.parametrize("mutation", ELSEWHERE)
async def test_what_is_said_of_other_objects_is_what_their_mutations_say(world: World, mutation: str) -> None:
    stage = await (prepare_with_incident if mutation.endswith("Incident") else prepare)(world)
    subject, word = ELSEWHERE[mutation]
    organization = f"Organization:{await world.organization_id('clearwater')}"
    on = organization if subject == "organization" else str(getattr(stage, subject))
    type_name, _, row_id = on.partition(":")
    query = f'{{ node(id: "{on}") {{ ... on {type_name} {{ viewerCan {{ can: {word} }} }} }} }}'
    refused, allowed = 0, 0

    # Twice over: what one of them did may leave nothing to do for the next.
    for number, who in enumerate(
        ("member", "viewer", "collector", "reviewer", "manager", "auditor", "admin", "owner") * 2
    ):
        client = await world.client(who)
        node = (await client.run(query)).data["node"]
        can = node is not None and node["viewerCan"]["can"]
        given = {**CASES[mutation][1](stage), **_fresh(mutation, number)}
        if "expectedVersion" in given:
            tables = {"Project": "project", "Device": "device", "CustomRole": "custom_role", "Incident": "incident"}
            table = tables.get(type_name, "service_account")
            rows = await world.sql(f"select version from {table} where id = $1::uuid", row_id)
            given["expectedVersion"] = rows[0]["version"] if rows else 1
        errors = (await mutate(client, mutation, given)).data[mutation]["errors"]
        assert can == (errors == []), (who, errors)
        refused, allowed = refused + bool(errors), allowed + (not errors)

    assert refused > 0
    assert allowed > 0


async def test_nobody_changes_their_own_role(world: World) -> None:
    owner = await world.client("owner")

    answer = await owner.run("{ viewer { user { viewerCan { assignRole } } } }")

    assert answer.data["viewer"]["user"]["viewerCan"]["assignRole"] is False


async def _records(world: World, project: str, maker: str) -> dict[str, str]:
    if maker == "elsewhere":
        found = await world.value(
            "select id from record where project_id = $1 limit 1", await world.project_id("PARKS")
        )
        return {"DRAFT": f"Record:{found}"}
    if maker == "edited":
        return {state: await make_record(world, project, "collector", state, editor="manager") for state in STATES}
    if maker == "member":
        # A technician makes records and neither changes nor submits them.
        return {"DRAFT": await make_record(world, project, "member", "DRAFT")}
    return {state: await make_record(world, project, maker, state) for state in STATES}


async def _step(client: Client, name: str, record: str, version: int) -> None:
    given = {"reason": "Cap was loose."} if name == "rejectRecord" else {}
    answer = await mutate(client, name, {"id": record, "expectedVersion": version, **given})
    assert answer.data[name]["errors"] == [], answer.data


async def _writing_program(owner: Client) -> Client:
    given = {
        "name": "Writes",
        "permissions": ["PROJECT_READ", "RECORD_READ", "RECORD_UPDATE", "RECORD_SUBMIT"],
        "expiresAt": SOON,
    }
    made = await done(owner, "createServiceAccount", given, "token")
    return Client(owner.http, made["token"])


@asynccontextmanager
async def _restored(world: World) -> AsyncIterator[Any]:
    """Yield a function that puts all records back as they were."""
    for table in ("record", "measurement"):
        await world.sql(f"create table before_{table} as select * from {table}")

    async def restore() -> None:
        await world.sql(
            "do $$ begin alter table record disable trigger all; alter table measurement disable trigger all;"
            " delete from measurement; delete from record;"
            " insert into record select * from before_record; insert into measurement select * from before_measurement;"
            " alter table record enable trigger all; alter table measurement enable trigger all;"
            " end $$"
        )

    yield restore


def _fresh(mutation: str, number: int) -> dict[str, Any]:
    """Return what has to differ each time, and a role that anybody who gives roles may give."""
    return {
        "createProject": {"code": f"NEW-{number}"},
        "updateProject": {"name": f"Name {number}"},
        "registerDevice": {"serialNumber": f"SN-{number}"},
        "createRole": {"name": f"Role {number}"},
        "updateRole": {"name": f"Role {number}"},
        "createServiceAccount": {"name": f"Program {number}"},
        "assignOrganizationRole": {"role": ("ADMIN", "MEMBER")[number % 2]},
        "assignProjectRole": {"role": ("VIEWER", "COLLECTOR", "REVIEWER")[number % 3]},
    }.get(mutation, {})
