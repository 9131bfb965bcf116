"""Sensitive locations in tests: declared, rewritten, and looked for where they must not stand."""

from typing import Any
from uuid import UUID

from models.inventory import entities
from resolvers.location_rewrite import LocationRewrite
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World

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


async def project_of(world: World) -> Any:
    client = await world.client("manager")
    return (
        await client.run(
            "query($p: ID!) { project(id: $p) { locationsAreSensitive locationsRewriting } }",
            {"p": f"Project:{await world.project_id('CANAL')}"},
        )
    ).data["project"]
