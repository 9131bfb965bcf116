"""Another tenant's rows are as rows that never were: by id, by list, by nested path, by node, by mutation."""

import re
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from tests.support.world import Client, World

LOOKUPS = {
    "project": ("project", "Project"),
    "record": ("record", "Record"),
    "device": ("device", "Device"),
    "user": ("membership", "User"),
}
PRINCIPALS = ("owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer", "member")


async def _foreign_ids(world: World) -> dict[str, str]:
    """Return an id of each kind in the other organization."""
    organization = await world.organization_id("suncoast")
    ids = {}
    for field, (table, type_name) in LOOKUPS.items():
        rows = await world.sql(f"select id from {table} where organization_id = $1 limit 1", organization)
        ids[field] = f"{type_name}:{rows[0]['id'] if rows else new_id()}"
    return ids


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("field", LOOKUPS)
async def test_a_foreign_id_answers_as_one_that_never_existed(world: World, principal: str, field: str) -> None:
    client = await world.client(principal)
    foreign = (await _foreign_ids(world))[field]
    never = f"{foreign.partition(':')[0]}:{new_id()}"
    query = f"query($id: ID!) {{ {field}(id: $id) {{ id }} node(id: $id) {{ id __typename }} }}"

    answers = [await client.run(query, {"id": one}) for one in (foreign, never)]

    assert answers[0].text == answers[1].text
    assert answers[0].data == {field: None, "node": None}


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_no_list_and_no_nested_path_leads_to_another_tenant(world: World, principal: str) -> None:
    client = await world.client(principal)
    foreign = {
        str(row["id"])
        for table in ("project", "record", "membership", "measurement", "project_membership")
        for row in await world.sql(
            f"select id from {table} where organization_id = $1", await world.organization_id("suncoast")
        )
    }

    answer = await client.run(
        """
        { organization { slug }
          projects(first: 5) { nodes { id records(first: 200) { nodes { id measurements { id } createdBy { id } } }
                             members { nodes { id user { id } } } } }
          records(first: 1000) { nodes { id project { id } } }
          devices { nodes { id user { id } } }
          users { nodes { id projectRoles { id project { id } } } }
          auditEntries(first: 1000) { nodes { id user { id } entityIds } } }
        """
    )

    assert answer.data["organization"]["slug"] == "clearwater"
    shown = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", answer.text))
    assert not shown & foreign
    assert len(foreign) > 100


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("updateProject", {"expectedVersion": 1, "name": "Mine now"}),
        ("archiveProject", {"expectedVersion": 1, "reason": "why not"}),
        ("blockDevice", {"expectedVersion": 1, "reason": "why not"}),
        ("updateRecord", {"expectedVersion": 1, "comment": "Mine now"}),
        ("submitRecord", {"expectedVersion": 1}),
        ("approveRecord", {"expectedVersion": 1}),
        ("rejectRecord", {"expectedVersion": 1, "reason": "why not"}),
        ("deleteRecord", {"expectedVersion": 1, "reason": "why not"}),
    ],
)
async def test_a_mutation_of_a_foreign_row_answers_as_of_one_that_never_existed(
    world: World, operation: str, given: dict[str, Any]
) -> None:
    client = await world.client("owner")
    kind = "project" if "Project" in operation else "device" if "Device" in operation else "record"
    foreign = (await _foreign_ids(world))[kind]
    before = await world.sql("select count(*), max(entry_id::text) from change")

    answers = [
        await _mutate(client, operation, {**given, "id": one})
        for one in (foreign, f"{foreign.partition(':')[0]}:{new_id()}")
    ]

    assert answers[0].text == answers[1].text
    assert [error["code"] for error in answers[0].data[operation]["errors"]] == ["NOT_FOUND"]
    assert await world.sql("select count(*), max(entry_id::text) from change") == before


async def test_an_id_that_another_tenant_uses_is_free_to_use(world: World) -> None:
    client = await world.client("manager")
    project = await world.project_id("CANAL")
    foreign = (await _foreign_ids(world))["record"]
    given = {
        "id": foreign,
        "projectId": str(project),
        "siteCode": "S-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "SOIL",
    }

    answer = await _mutate(client, "createRecord", given, "record { id siteCode }")

    assert answer.data["createRecord"]["errors"] == []
    assert answer.data["createRecord"]["record"]["id"] == foreign
    taken = await world.sql("select 1 from record where id = $1", UUID(foreign.partition(":")[2]))
    assert len(taken) == 2


async def _mutate(client: Client, operation: str, given: dict[str, Any], shown: str = "") -> Any:
    if operation == "approveRecord":
        given = {"meaning": "APPROVAL", "password": client.password, **given}
    types = {
        "submitRecord": "RecordVersionInput",
        "rejectRecord": "RecordReasonInput",
        "deleteRecord": "RecordReasonInput",
    }
    input_type = types.get(operation, f"{operation[0].upper()}{operation[1:]}Input")
    selection = f"{{ {shown} errors {{ code message field }} }}"
    query = f"mutation($input: {input_type}!) {{ {operation}(input: $input) {selection} }}"
    return await client.run(query, {"input": given})
