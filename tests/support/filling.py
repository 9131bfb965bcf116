"""Rows for tables in which the demo leaves none."""

from models.incident import Channel
from tests.support.incident import an_incident
from tests.support.retention import decide
from tests.support.world import World


async def fill(world: World, table: str) -> None:
    """Have rows in a table in which the demo leaves none."""
    await world.client("collector")
    if table.startswith(("incident", "alarm")):
        await an_incident(world, "clearwater", Channel.WEBHOOK)
    if table == "trail_retention":
        await decide(world, "READ", 365)
