"""Periods, holds and rows that are old, though a test takes seconds."""

from typing import Any
from uuid import UUID

from resolvers.retention_run import Done, RetentionRuns, run_to_its_end
from resolvers.trail import job_actor
from tests.support.entry import insert_entry
from tests.support.mutation import mutate
from tests.support.retention import age
from tests.support.world import World, connect

REASON = "As the law says."


async def keep_for(world: World, kind: str, days: int | None, *, days_ago: float = 8, by: str = "owner") -> None:
    """Decide for the organization of somebody how long data of a type are kept, so long ago."""
    before = await world.now()
    answer = await mutate(
        await world.client(by), "setRetention", {"kind": kind, "days": days, "reason": REASON}, "retention { kind }"
    )
    assert answer.data["setRetention"]["errors"] == []
    await age(world, days_ago, "action = 'retention.set' and at > $1", before)


async def run_now(world: World, slug: str = "clearwater", *, asked: bool = True, most: int = 500) -> dict[str, Done]:
    """Do the runs of an organization to their ends, and return what each type's came to."""
    actor = job_actor(await world.organization_id(slug))
    with world.services.keyring.activate():
        return {one.kind: one for one in await run_to_its_end(RetentionRuns(most=most), actor, asked=asked)}


async def hold(world: World, subject: str, *, by: str = "owner") -> dict[str, Any]:
    """Place a hold as somebody, and return it."""
    given = {"subjectId": subject, "reason": "A client goes to court."}
    answer = await mutate(await world.client(by), "placeLegalHold", given, "legalHold { id version on subjectId }")
    payload = answer.data["placeLegalHold"]
    assert payload["errors"] == []
    held: dict[str, Any] = payload["legalHold"]
    return held


async def lift(world: World, held: dict[str, Any], *, by: str = "owner") -> None:
    """Lift a hold as somebody."""
    given = {"id": held["id"], "expectedVersion": held["version"], "reason": "It was settled."}
    answer = await mutate(await world.client(by), "liftLegalHold", given, "legalHold { liftedAt }")
    assert answer.data["liftLegalHold"]["errors"] == []


async def grow_old(world: World, days: float, where: str = "true", *arguments: Any) -> None:
    """Let the first organization's records have been collected, and have arrived, so long ago, as the trail says."""
    organization = await world.organization_id("clearwater")
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(superuser, organization)
            await superuser.execute(
                f"update record set collected_at = now() - interval '{days} days',"
                f" received_at = now() - interval '{days} days'"
                f" where organization_id = '{organization}' and {where}",
                *arguments,
            )
    finally:
        await superuser.close()
    await age(
        world, 8, "id in (select entry_id from change where organization_id = $1 and entity = 'record')", organization
    )


async def records_of(world: World, project: str) -> list[UUID]:
    """Return the ids of a project's records, in their order."""
    rows = await world.sql(
        "select r.id from record r join project p on p.id = r.project_id where p.code = $1 order by r.id", project
    )
    return [row["id"] for row in rows]
