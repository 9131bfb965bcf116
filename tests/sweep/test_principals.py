"""Every field of every table's type, read by every principal, and compared with the matrix.

The fields come from the schema, the expectation from `auth/role.py` and the data alone: a field added tomorrow is tried
without anyone remembering.
"""

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type

from auth.permission import Permission
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole, ProjectRole
from models.inventory import Column, Entity, entity_of
from schema.api import Api
from schema.field import TYPES, ColumnField
from schema.wiring import declaration_of, python_name
from tests.support.mutation import mutate, prepare
from tests.support.world import Answer, World

# How each type is reached: from the root to its rows, through the lists that lead there.
PATHS = {
    "Project": ["projects(first: 1000)", "nodes"],
    "Record": ["records(first: 1000)", "nodes"],
    "Measurement": ["records(first: 1000)", "nodes", "measurements"],
    "ProjectMember": ["projects(first: 1000)", "nodes", "members(first: 50)", "nodes"],
    "Device": ["devices(first: 1000)", "nodes"],
    "User": ["users(first: 1000)", "nodes"],
    "AuditEntry": ["auditEntries(first: 1000)", "nodes"],
    "Organization": ["organization"],
    "CustomRole": ["roles(first: 1000)", "nodes"],
    "ServiceAccount": ["serviceAccounts(first: 1000)", "nodes"],
}
NOT_LISTED = {"Change"}
PRINCIPALS = ("owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer", "member", "other-owner")


def column_fields(api: Api, type_name: str) -> dict[str, Column]:
    """Return the type's fields that show columns."""
    core: Any = api._schema.type_map[type_name]
    model = TYPES[type_name].model
    assert model is not None
    entity = entity_of(model)
    found = {}
    for name, field in core.fields.items():
        said = declaration_of(field)
        if isinstance(said, ColumnField) and is_leaf_type(get_named_type(field.type)):
            found[name] = entity.columns[said.name or python_name(field)]
    return found


def test_every_type_that_stands_for_a_table_is_reached(api: Api) -> None:
    stand_for_tables = {name for name, one in TYPES.items() if one.model is not None}

    assert stand_for_tables == set(PATHS) | NOT_LISTED
    assert all(isinstance(api._schema.type_map[name], GraphQLObjectType) for name in stand_for_tables)


@pytest.mark.parametrize("type_name", PATHS)
@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_each_field_answers_each_principal_as_the_matrix_says(
    world: World, api: Api, type_name: str, principal: str
) -> None:
    await _set_the_stage(world)
    client = await world.client(principal)
    fields = column_fields(api, type_name)
    before, after = PATHS[type_name], " }" * len(PATHS[type_name])
    query = f"{{ {' { '.join(before)} {{ id {' '.join(fields)} }}{after}"

    model = TYPES[type_name].model
    assert model is not None
    entity = entity_of(model)
    me = await _me(world, principal)
    visible = await _visible_rows(world, entity, me)

    answer = await client.run(query)

    shown = {str(node["id"]).partition(":")[2]: node for node in _nodes(answer, before)}
    assert set(shown) == {str(row["id"]) for row in visible}
    denied: Counter[str] = Counter()
    for row in visible:
        held = _held(entity, row, me)
        for name, column in fields.items():
            value = shown[str(row["id"])][name]
            if column.guard is None or column.guard in held:
                assert (value is None) == (row[column.name] is None), (name, row["id"])
            elif column.masked_by:
                assert value is None or value.startswith("person-"), (name, row["id"])
            else:
                assert value is None, (name, row["id"])
                denied[name] += 1
    errors = Counter(error["path"][-1] for error in answer.errors)
    assert set(answer.codes) <= {"FORBIDDEN"}
    assert errors == Counter(dict.fromkeys(denied, 1))


async def _set_the_stage(world: World) -> None:
    """Fill what the demo leaves empty: a device that is blocked, a record that was rejected."""
    stage = await prepare(world)
    reviewer = await world.client("reviewer")
    given = {"id": stage.submitted, "expectedVersion": 2, "reason": "The cap was loose."}
    assert (await mutate(reviewer, "rejectRecord", given)).data["rejectRecord"]["errors"] == []


async def _me(world: World, principal: str) -> dict[str, Any]:
    member = await world.member_id(principal)
    row = (await world.sql("select * from membership where id = $1", member))[0]
    grants = await world.sql("select project_id, role from project_membership where membership_id = $1", member)
    return {
        "organization_id": row["organization_id"],
        "membership_id": member,
        "role": OrganizationRole(row["role"]),
        "projects": {grant["project_id"]: ProjectRole(grant["role"]) for grant in grants},
    }


def _held(entity: Entity, row: Any, me: dict[str, Any]) -> frozenset[Permission]:
    """Return the permissions in the scope of a row, said again in other words than the code's."""
    placement = entity.placement
    assert placement is not None
    held = set(ORGANIZATION_ROLES[me["role"]])
    project: UUID | None = row[placement.project_column] if placement.project_column else None
    if project in me["projects"]:
        held |= PROJECT_ROLES[me["projects"][project]]
    if placement.own_column and row[placement.own_column] == me["membership_id"]:
        held |= SELF
    return frozenset(held)


async def _visible_rows(world: World, entity: Entity, me: dict[str, Any]) -> list[Any]:
    placement = entity.placement
    assert placement is not None
    rows = await world.sql(f"select * from {entity.name} where {placement.tenant_column} = $1", me["organization_id"])
    return [row for row in rows if entity.read in _held(entity, row, me)]


def _nodes(answer: Answer, path: list[str]) -> list[dict[str, Any]]:
    found = [answer.body["data"]]
    for step in path:
        name = step.partition("(")[0]
        found = [inner for one in found for inner in (one[name] if isinstance(one[name], list) else [one[name]])]
    return found
