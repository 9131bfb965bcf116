"""The data inventory as the API answers it: the same as the page, to who may ask, and nothing to anybody else."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type

from auth.permission import Permission
from fieldward.cli.inventory import table_fields
from models.data_inventory import ROLES, data_inventory
from models.inventory import Entity, entity_of
from schema.api import Api
from schema.field import TYPES, ColumnField, LinkField
from schema.limits import MOST_ROWS, WORTH_OF_INVENTORY
from schema.mutation import mutation_of
from schema.wiring import declaration_of, object_types, python_name
from tests.support.mutation import prepare
from tests.support.scene import SOON, create_role, done, set_scene
from tests.support.world import Client, World
from tests.sweep.page import read_page

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "data-inventory.md"
MAY: Final = ("owner", "admin", "auditor", "other-owner")
MAY_NOT: Final = ("manager", "reviewer", "collector", "viewer", "member", "program", "wide program")


def everything(api: Api, type_name: str = "DataTable") -> str:
    """Return a selection of all fields."""
    one = api._schema.type_map[type_name]
    assert isinstance(one, GraphQLObjectType)
    parts = []
    for name, field in one.fields.items():
        target = get_named_type(field.type)
        parts.append(name if is_leaf_type(target) else f"{name} {{ {everything(api, target.name)} }}")
    return " ".join(parts)


def as_answered() -> Any:
    """Return what the command prints, with permissions as GraphQL names them."""
    text = json.dumps([table_fields(one) for one in data_inventory()])
    for permission in Permission:
        text = text.replace(f'"{permission}"', f'"{permission.name}"')
    return json.loads(text)


@pytest.mark.parametrize("who", MAY)
async def test_who_may_ask_is_answered_all_that_the_command_prints(world: World, api: Api, who: str) -> None:
    since = await world.now()

    answer = await (await world.client(who)).run(f"{{ dataInventory {{ {everything(api)} }} }}")

    assert answer.data["dataInventory"] == as_answered()
    # It holds no value of anybody's: no reading is logged.
    assert await world.entries(since=since, kinds=["READ"]) == []


async def test_the_answer_is_what_the_page_says(world: World, api: Api) -> None:
    answer = await (await world.client("auditor")).run(f"{{ dataInventory {{ {everything(api)} }} }}")
    page, table = PAGE.read_text(), ""
    said: dict[str, dict[str, list[str]]] = {}
    for line in page.splitlines():
        if line.startswith("## "):
            table = line.removeprefix("## ")
        elif re.match(r"\| `\w+` \|", line):
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            said.setdefault(table, {})[name.strip("`")] = cells

    tables = {one["name"]: one for one in answer.data["dataInventory"]}
    assert set(tables) == set(said)
    for name, one in tables.items():
        assert f"\n{one['row']}\n" in page
        assert f"\n- Kept: {one['kept']}" in page
        assert [column["name"] for column in one["columns"]] == list(said[name])
        for column in one["columns"]:
            kind, classification, stored, takes, logged, *roles = said[name][column["name"]]
            assert kind == column["type"] + (", or nothing" if column["isNullable"] else "")
            assert classification == column["classification"]
            assert stored.startswith("encrypted") == (column["storage"] == "ENCRYPTED")
            assert (stored == "plain") == (column["storage"] == "PLAIN")
            assert ("padded" in stored) == column["isPadded"]
            assert (f"blind index in `{column['indexColumn']}`" in stored) == (column["indexColumn"] is not None)
            assert takes == (f"`{Permission[column['permission']]}`" if column["permission"] else "")
            assert (logged == "yes") == column["readsAreLogged"]
            by = column["readBy"]
            readers = [*by["organizationRoles"], *by["projectRoles"], *(["own"] if by["own"] else [])]
            assert [role for role, cell in zip(ROLES, roles, strict=True) if cell == "r"] == readers
            assert "m" not in roles or column["otherwise"] == "PSEUDONYM"


@pytest.mark.parametrize("who", MAY_NOT)
async def test_who_may_not_ask_is_told_nothing(world: World, api: Api, who: str) -> None:
    scene = await set_scene(world)
    client, since, before = await scene.client(world, who), await world.now(), await world.fingerprint()

    answer = await client.run(f"{{ dataInventory {{ {everything(api)} }} }}")

    assert answer.body["data"] == {"dataInventory": None}
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["extensions"]["permission"] == "access:read"
    assert "user_account" not in answer.text
    # As with every other entry that takes a permission: a question that is refused is no attempt to change anything.
    assert await world.entries(since=since, kinds=["READ", "ATTEMPT", "CHANGE"]) == []
    assert await world.fingerprint() == before


@pytest.mark.parametrize("token", [None, "no.token.ofours"])
async def test_nobody_is_told_nothing(world: World, api: Api, token: str | None) -> None:
    answer = await Client(world.http, token).run(f"{{ dataInventory {{ {everything(api)} }} }}")

    assert answer.body["data"] == {"dataInventory": None}
    assert answer.codes == ["UNAUTHENTICATED"]
    assert "user_account" not in answer.text


async def test_a_program_and_a_role_of_the_organizations_own_may_ask_with_the_permission(world: World) -> None:
    stage, owner = await prepare(world), await world.client("owner")
    given = {"name": "Keeps books", "permissions": ["ACCESS_READ"], "expiresAt": SOON}
    made = await done(owner, "createServiceAccount", given, "token serviceAccount { id }")
    role = await create_role(owner, "Data protection", "ORGANIZATION", ["ACCESS_READ"])
    await done(owner, "assignOrganizationRole", {"userId": stage.person, "customRoleId": role})

    for client in (Client(world.http, made["token"]), await world.client("member")):
        answer = await client.run("{ dataInventory { name columns { name } } }")
        assert len(answer.data["dataInventory"]) == len(data_inventory())


async def test_it_is_asked_for_a_bounded_number_of_times(world: World, api: Api) -> None:
    most = MOST_ROWS // WORTH_OF_INVENTORY
    auditor = await world.client("auditor")

    many = await auditor.run(f"{{ {' '.join(f'a{n}: dataInventory {{ name }}' for n in range(most))} }}")
    more = await auditor.run(f"{{ {' '.join(f'a{n}: dataInventory {{ name }}' for n in range(most + 1))} }}")

    assert len(many.data) == most
    assert more.codes == ["TOO_COMPLEX"]


def test_the_roles_that_read_a_column_read_the_fields_that_show_it_by_the_page_of_access(api: Api) -> None:
    access, tables, checked = read_page(), {one.name: one for one in data_inventory()}, 0

    for object_type in object_types(api._schema):
        declared = TYPES.get(object_type.name)
        if declared is None or declared.model is None:
            continue
        entity: Entity = entity_of(declared.model)
        if declared.model.drawn_from is not None:
            # Nothing of it is stored.
            continue
        columns = {one.name: one for one in tables[entity.name].columns}
        for name, field in object_type.fields.items():
            said = declaration_of(field)
            if not isinstance(said, ColumnField | LinkField):
                continue
            column = columns[said.by if isinstance(said, LinkField) else said.name or python_name(field)]
            letters = access.fields[object_type.name][name].roles
            reads = [role for role in ROLES if "r" in letters[role]]
            assert reads == list(column.read_by.roles), (object_type.name, name)
            assert column.permission is None or access.fields[object_type.name][name].takes == column.permission
            checked += 1

    assert checked > 90


def test_rows_are_deleted_by_who_can_ask_for_it(api: Api) -> None:
    core = api._schema
    assert core.mutation_type is not None
    said = [mutation_of(field) for field in core.mutation_type.fields.values()]
    taken = {one for mutation in said if mutation is not None for one in mutation.takes}

    for table in data_inventory():
        assert set(table.deleted_by) <= taken
