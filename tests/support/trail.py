"""A sealed trail of more than ten thousand entries, in a database that tests copy, and hands that reach behind it."""

import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.principal import Channel, Origin
from fieldward.cli.audit_export import writing_bundle
from fieldward.verifier import main
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import append_entries
from models.base import new_id
from models.finding import Finding
from models.reading import OneStatement
from models.record import Record
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.kept_heads import parse_kept
from resolvers.pace import Pace
from resolvers.sealing import seal_organization, unsealed_organizations
from resolvers.services import Services
from resolvers.trail import Actor, new_entry
from resolvers.trail_export import export_trail
from resolvers.trail_verification import TrailVerification, verify_trail
from tests.support.world import World, connect

READS: Final = 10_000
MOST_CHANGED: Final = 200
"""Records whose comment is changed."""


def an_actor(organization_id: UUID) -> Actor:
    """Return the operator, in an organization."""
    return Actor(organization_id, Origin(channel=Channel.COMMAND, request_id=new_id(), client_name="fieldward"))


async def seal_all(services: Services) -> None:
    """Seal whatever is not sealed."""
    for organization_id in await unsealed_organizations(0):
        while await seal_organization(services.sealer, organization_id) is not None:
            pass


async def write_trail(services: Services, organization_id: UUID) -> None:
    """Write a long trail: comments that are changed twice, and very many reads; sealed in between."""
    actor = an_actor(organization_id)
    await services.keyring.load(actor.key_owners)
    async with OneStatement(Tenant(organization_id)) as connection:
        rows = await connection.fetch(
            "select id from record where organization_id = $1 limit $2", organization_id, MOST_CHANGED
        )
    ids = [row["id"] for row in rows]
    await _comment(actor, ids, "First")
    for at in range(0, READS, 1000):
        await append_entries(_reads(actor, ids, 1000))
        if at % 4000 == 0:
            await seal_all(services)
    await _comment(actor, ids[:20], "Second")
    await seal_all(services)


async def _comment(actor: Actor, ids: Sequence[UUID], comment: str) -> None:
    for row_id in ids:

        async def work(change: Change, row_id: UUID = row_id) -> None:
            record = await Record.get(id=row_id, using_db=change.connection)
            record.comment = comment
            await record.save(using_db=change.connection, update_fields=["comment"])

        await commit_change(Intent(Action.RECORD_UPDATE, actor, entity="record", subjects=[row_id]), work)


def _reads(actor: Actor, ids: Sequence[UUID], count: int) -> Any:
    return [
        new_entry(
            actor,
            kind=EntryKind.READ,
            action=Action.FIELD_READ,
            outcome=Outcome.DONE,
            entity="record",
            field="comment",
            entity_ids=[ids[place % len(ids)]],
        )
        for place in range(count)
    ]


async def verified(world: World, *kept: str) -> TrailVerification:
    """Verify the world's trail, by heads that were kept."""
    heads = [one for text in kept for one in parse_kept(text, source="kept.txt")]
    actor = an_actor(UUID(int=0))
    return await verify_trail(world.services.sealer, world.services.keystore, actor, Pace(), kept=heads)


def kinds(found: TrailVerification) -> set[str]:
    """Return what was found wrong, by its kind."""
    return {one.kind.value for one in found.findings}


def about(found: TrailVerification, row_id: UUID) -> list[Finding]:
    """Return what was found wrong about a row."""
    return [one for one in found.findings if one.row_id == row_id]


async def export(world: World, organization_id: UUID, path: Path) -> str:
    """Export an organization's trail, and return the verifier key."""
    with writing_bundle(path) as archive:
        exported = await export_trail(world.services.sealer, organization_id, archive, Pace(), said={})
    return exported.verifier_key


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the offline verifier said: its exit code, and its report."""

    code: int
    report: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        """What is wrong, by its kind."""
        return [one["kind"] for one in self.report.get("findings", [])]

    @property
    def lines(self) -> list[int | None]:
        """The lines that are named."""
        return [one["line"] for one in self.report.get("findings", [])]


def offline(bundle: Path, key: str | None, *heads: Path, **more: str) -> Verdict:
    """Run the offline verifier in this process."""
    arguments = [str(bundle), "--json"]
    arguments += ["--key", key] if key is not None else []
    arguments += [one for head in heads for one in ("--head", str(head))]
    arguments += [one for name, value in more.items() for one in (f"--{name}", value)]
    with redirect_stdout(io.StringIO()) as printed:
        code = main(arguments)
    return Verdict(code, json.loads(printed.getvalue()))


async def checkpoint(world: World, organization_id: UUID, *, at: int = 0) -> str:
    """Return a signed head as it is published: the newest, or one before."""
    found: str = await world.value(
        "select checkpoint from sealed_batch where organization_id = $1 order by tree_size desc offset $2 limit 1",
        organization_id,
        at,
    )
    return found


@asynccontextmanager
async def behind(world: World, *tables: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection of the tables' owner, who has taken triggers, walls and keys down; put up again at the end."""
    connection = await connect(world.owner)
    try:
        fired = {
            table: await connection.fetch(
                "select tgname from pg_trigger where tgrelid = $1::text::regclass and not tgisinternal", table
            )
            for table in tables
        }
        for table in tables:
            await connection.execute(f"alter table {table} disable trigger user")
            await connection.execute(f"alter table {table} no force row level security")
        yield connection
        for table, triggers in fired.items():
            await connection.execute(f"alter table {table} force row level security")
            for trigger in triggers:
                await connection.execute(f"alter table {table} enable always trigger {trigger['tgname']}")
    finally:
        await connection.close()
