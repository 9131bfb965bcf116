"""A record with a past, made through the API: a comment, a place and measurements that come and go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from tests.support.entry import insert_entry
from tests.support.mutation import mutate
from tests.support.world import Answer, Client, World, connect

COMMENTS: Final = ("Cap was loose.", "Cap was sealed.")
MEASURED: Final = ("Two readings, far apart.", "Probe was calibrated.")
COLLECTORS: Final = ("Wilhelmina Thorne", "Ezekiel Marsh")
REASON: Final = "The laboratory mixed up two bottles."
CONFIDENTIAL: Final = (*COMMENTS, *MEASURED)
PLACE: Final = {"latitude": 51.47873, "longitude": -0.29561}
DIGITS: Final = ("51.47873", "0.29561")

SAYS: Final = """
  siteCode siteName latitude longitude locationIsCoarse exactLocation { latitude longitude } collectedAt
  collectedAtReported receivedAt medium activityType method collector comment status reviewer reviewedAt reviewReason
  createdAt version project { code } device { model } createdBy { name } reviewedBy { name }
  measurements { characteristic value valueReported unit comment detectionLimit sourceRow }
"""
"""All that a record says, now or then."""
NOW: Final = f"query($id: ID!) {{ record(id: $id) {{ {SAYS} }} }}"
THEN: Final = f"query($id: ID!, $at: DateTime!) {{ recordAsOf(id: $id, at: $at) {{ {SAYS} }} }}"
HISTORY: Final = """
query($id: ID!) {
  record(id: $id) {
    history(direction: ASC) {
      totalCount
      nodes {
        version entryId at action channel requestId user { name } serviceAccount { name } device { model }
        changes { operation entity entityId columns { column before after } }
      }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Past:
    """A record that was created, changed, changed back, given other measurements, submitted and approved.

    moments: of the database's clock, after each step; the first is before there was a record.
    """

    record: str
    moments: list[Any]

    @property
    def row_id(self) -> UUID:
        """The record's bare id."""
        return UUID(self.record.removeprefix("Record:"))


async def make_past(world: World) -> Past:
    """Make the record."""
    collector, reviewer = await world.client("collector"), await world.client("reviewer")
    moments = [await world.now()]
    given = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "W-1",
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "comment": COMMENTS[0],
        "collector": COLLECTORS[0],
        **PLACE,
        "measurements": [
            {"characteristic": "pH", "value": 7.25, "comment": MEASURED[0]},
            {"characteristic": "Zinc", "valueReported": "<0.1", "unit": "mg/l"},
        ],
    }
    record = (await done(collector, "createRecord", given))["record"]["id"]
    moments.append(await world.now())
    steps: list[tuple[Client, str, dict[str, Any]]] = [
        (collector, "updateRecord", {"siteCode": "W-2", "comment": COMMENTS[1], "collector": COLLECTORS[1]}),
        (collector, "updateRecord", {"siteCode": "W-1", "reason": REASON}),
        (
            collector,
            "updateRecord",
            {"measurements": [{"characteristic": "pH", "value": 8.5, "comment": MEASURED[1]}]},
        ),
        (collector, "submitRecord", {}),
        (reviewer, "approveRecord", {"reason": "Plausible."}),
    ]
    for version, (client, name, more) in enumerate(steps, 1):
        await done(client, name, {"id": record, "expectedVersion": version, **more})
        moments.append(await world.now())
    return Past(record, moments)


@asynccontextmanager
async def by_script(world: World) -> AsyncIterator[tuple[asyncpg.Connection, object]]:
    """Yield a transaction of the superuser's with an entry of its own, and the entry's id."""
    organization = await world.organization_id("clearwater")
    connection = await connect(world.superuser)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            yield connection, await insert_entry(connection, organization)
    finally:
        await connection.close()


async def done(client: Client, name: str, given: dict[str, Any]) -> Any:
    """Run a mutation of a record that must succeed, and return its payload."""
    payload = (await mutate(client, name, given, "record { id }")).data[name]
    assert payload["errors"] == [], payload
    return payload


async def history_of(client: Client, record: str) -> list[dict[str, Any]]:
    """Return the record's versions as somebody is told them, from the first on."""
    answer: Answer = await client.run(HISTORY, {"id": record})
    history = answer.data["record"]["history"]
    assert history["totalCount"] == len(history["nodes"])
    nodes: list[dict[str, Any]] = history["nodes"]
    return nodes


def columns_of(version: dict[str, Any], entity: str = "record", operation: str | None = None) -> dict[str, Any]:
    """Return what a version did to the columns of one table's rows: before and after, by column."""
    return {
        one["column"]: (one["before"], one["after"])
        for change in version["changes"]
        if change["entity"] == entity and operation in {None, change["operation"]}
        for one in change["columns"]
    }
