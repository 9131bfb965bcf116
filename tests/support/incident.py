"""Sealing the trail and looking through it, as the background does, and what came of it."""

from typing import Any
from uuid import UUID

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth.action import Action
from auth.errors import ForbiddenError
from auth.principal import Channel, Origin, Viewer
from models.base import new_id
from models.incident import Channel as AlarmChannel
from models.ledger.checkpoint import HeadSigner
from resolvers.change import Intent, record_attempt
from resolvers.incident_judging import Judge, judge_step, unjudged_organizations
from resolvers.incident_rule import Thresholds
from resolvers.sealing import Sealer, seal_organization, unsealed_organizations
from resolvers.trail import Actor
from tests.support.world import World

SEALER = Sealer(HeadSigner(Ed25519PrivateKey.generate()), "fieldward.test")


async def seal_trails() -> None:
    """Seal whatever is in the trails."""
    for organization_id in await unsealed_organizations(0):
        while (done := await seal_organization(SEALER, organization_id)) is not None and done.is_behind:
            pass


async def judge_trails(judging: Judge | None = None) -> list[UUID]:
    """Judge whatever is sealed, and return the incidents that were opened."""
    opened: list[UUID] = []
    for organization_id in await unjudged_organizations():
        while True:
            done = await judge_step(judging or Judge(), organization_id)
            opened += done.opened
            if not done.is_behind:
                break
    return opened


async def look_through(world: World, judging: Judge | None = None) -> list[asyncpg.Record]:
    """Seal and judge the trails, and return all incidents that there are now."""
    await seal_trails()
    await judge_trails(judging)
    return await incidents(world)


async def incidents(world: World, **wanted: Any) -> list[asyncpg.Record]:
    """Return the incidents that there are, in the order in which they were opened."""
    rows = await world.sql("select * from incident order by opened_at, id")
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def just(**thresholds: int) -> Judge:
    """Return who judges by these thresholds, and by the defaults beside them."""
    return Judge(Thresholds(**thresholds))


async def refuse(
    organization_id: UUID, *, viewer: Viewer | None = None, address: str | None = None, action: Action | None = None
) -> None:
    """Leave the entry of a refused attempt, as whoever was refused leaves one."""
    origin = Origin(channel=Channel.API, request_id=new_id(), ip_address=address)
    intent = Intent(action or Action.RECORD_CREATE, Actor(organization_id, origin, viewer))
    await record_attempt(intent, ForbiddenError("Not yours."))


async def an_incident(world: World, organization: str = "clearwater", *channels: AlarmChannel) -> UUID:
    """Have an incident opened in an organization, about an address, with alarms for these channels; return its id."""
    organization_id = await world.organization_id(organization)
    for _ in range(3):
        await refuse(organization_id, address="192.0.2.7")
    await seal_trails()
    (opened,) = await judge_trails(Judge(Thresholds(denials_from_address=3), channels))
    return opened


async def evidence_of(world: World, incident: asyncpg.Record) -> list[UUID]:
    """Return the entries that an incident names, in their order."""
    rows = await world.sql("select entry_id from incident_evidence where incident_id = $1 order by id", incident["id"])
    return [row["entry_id"] for row in rows]
