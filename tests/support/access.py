"""Roles of an organization's own, grants that expire and programs, made through the API by those who may."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from auth.permission import Permission
from tests.support.mutation import mutate, takes
from tests.support.world import Client, World

REASON = "Because."
ME = "query($p: ID) { viewer { role permissions here: permissions(projectId: $p) } }"


@dataclass(frozen=True, slots=True)
class Program:
    """A service account: its global id, its token, and a client that sends the token."""

    id: str
    token: str
    client: Client


def names(permissions: Collection[Permission]) -> list[str]:
    """Return the permissions' names in the API."""
    return sorted(permission.name for permission in permissions)


async def refusals(client: Client, name: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a mutation, with a reason where it takes one, and return its errors."""
    reason = {"reason": REASON} if takes(name, "reason") else {}
    answer = await mutate(client, name, {**reason, **given})
    errors: list[dict[str, Any]] = answer.data[name]["errors"]
    return errors


async def codes(client: Client, name: str, given: dict[str, Any]) -> list[str]:
    """Do the same and return the errors' codes."""
    return [error["code"] for error in await refusals(client, name, given)]


async def define_role(
    client: Client, permissions: Collection[Permission], *, level: str = "PROJECT", name: str = "Own", **more: Any
) -> str:
    """Define a role and return its global id."""
    given = {"name": name, "level": level, "permissions": names(permissions), "reason": REASON, **more}
    payload = (await mutate(client, "createRole", given, "role { id }")).data["createRole"]
    assert payload["errors"] == [], payload
    return str(payload["role"]["id"])


async def in_project(world: World, whose: str, code: str = "CANAL", **more: Any) -> dict[str, Any]:
    """Return the input that gives or takes somebody's role in a project."""
    return {
        "userId": f"User:{await world.member_id(whose)}",
        "projectId": f"Project:{await world.project_id(code)}",
        **more,
    }


async def in_organization(world: World, whose: str, **more: Any) -> dict[str, Any]:
    """Return the input that gives or takes somebody's role in the organization."""
    return {"userId": f"User:{await world.member_id(whose)}", **more}


async def give_in_project(world: World, whose: str, *, by: str = "owner", code: str = "CANAL", **role: Any) -> None:
    """Give a role in a project, as somebody who may."""
    given = await in_project(world, whose, code, **role)
    assert await refusals(await world.client(by), "assignProjectRole", given) == []


async def give_in_organization(world: World, whose: str, *, by: str = "owner", **role: Any) -> None:
    """Give a role in the organization, as somebody who may."""
    given = await in_organization(world, whose, **role)
    assert await refusals(await world.client(by), "assignOrganizationRole", given) == []


async def person_with(world: World, whose: str, permissions: Collection[Permission], *, level: str, **more: Any) -> str:
    """Give somebody a role made of these permissions alone, and return the role's id."""
    role = await define_role(await world.client("owner"), permissions, level=level, name=f"Of {whose}")
    give = give_in_project if level == "PROJECT" else give_in_organization
    await give(world, whose, customRoleId=role, **more)
    return role


def program_input(permissions: Collection[Permission], projects: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the input that makes a program for a month."""
    return {
        "name": "Pull",
        "permissions": names(permissions),
        "projectIds": projects,
        "expiresAt": later(days=30),
        "reason": REASON,
    }


async def make_program(
    world: World, permissions: Collection[Permission], projects: Sequence[str] | None = None, *, by: str = "owner"
) -> Program:
    """Make a program and a client that is it. `projects` are codes."""
    ids = None if projects is None else [f"Project:{await world.project_id(code)}" for code in projects]
    given = program_input(permissions, ids)
    answer = await mutate(await world.client(by), "createServiceAccount", given, "token serviceAccount { id }")
    payload = answer.data["createServiceAccount"]
    assert payload["errors"] == [], payload
    return Program(payload["serviceAccount"]["id"], payload["token"], Client(world.http, payload["token"]))


def later(**duration: float) -> str:
    """Return a moment so much from now, as the API takes it."""
    return (datetime.now(UTC) + timedelta(**duration)).isoformat()


async def put_into_the_past(world: World, table: str, column: str, where: str, *arguments: Any) -> None:
    """Let something have expired a second ago, past the triggers, which hold also superusers."""
    await behind_the_triggers(world, table, f"{column} = clock_timestamp() - interval '1 second'", where, *arguments)


async def behind_the_triggers(world: World, table: str, change: str, where: str, *arguments: Any) -> None:
    """Change rows without an entry in the trail, and leave the triggers as they were."""
    await world.sql(f"alter table {table} disable trigger user")
    await world.sql(f"update {table} set {change} where {where}", *arguments)
    triggers = "select tgname from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal"
    for row in await world.sql(triggers, table):
        await world.sql(f'alter table {table} enable always trigger "{row["tgname"]}"')


async def permissions_of(client: Client, project: object = None) -> set[str]:
    """Return what the viewer may do in a project or, if none is named, in the organization."""
    answer = await client.run(ME, {"p": None if project is None else str(project)})
    return set(answer.data["viewer"]["here"])


async def content(world: World) -> dict[str, str]:
    """Return a digest of each table's content, but of sign-ins, which a test may make anywhere."""
    return {name: digest for name, digest in (await world.fingerprint()).items() if name != "session"}


async def until_waiting(world: World, many: int) -> None:
    """Return once so many sessions of this database wait for a lock."""
    query = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    for _ in range(200):
        if await world.value(query) >= many:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("nobody waits")
