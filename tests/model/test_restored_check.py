"""Checking a restored database: what only a long check, or one long after, would find wrong in what is right."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from fieldward.backup.checking import check_restored
from fieldward.cli.environment import operator
from models.ledger.checkpoint import Head
from models.ledger.tree import last_head
from models.reading import Snapshot
from models.transaction import Tenant
from tests.support.sealing import a_sealer
from tests.support.world import World

_TRIGGERS: Final = "select tgname from pg_trigger where tgrelid = 'audit_entry'::regclass and not tgisinternal"
_UNSEALED: Final = (
    "select count(*) from audit_entry e where not exists"
    " (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)"
)


async def _grow_older(world: World) -> None:
    """Have all that is not sealed have been entered two minutes earlier."""
    names = [row["tgname"] for row in await world.sql(_TRIGGERS)]
    for name in names:
        await world.sql(f'alter table audit_entry disable trigger "{name}"')
    await world.sql("update audit_entry set at = at - interval '2 minutes'")
    for name in names:
        await world.sql(f'alter table audit_entry enable always trigger "{name}"')


async def test_what_was_entered_just_before_the_moment_is_sealed_before_the_trail_is_verified(world: World) -> None:
    await world.client("manager")
    await _grow_older(world)
    assert await world.value(_UNSEALED) > 0

    checked = await check_restored(world.services, operator(), None)

    assert (checked.findings, checked.exit_code) == ([], 0)
    assert await world.value(f"{_UNSEALED} and at < now() - interval '1 minute'") == 0


async def test_of_a_log_that_was_set_back_what_waits_is_no_finding(world: World, tmp_path: Path) -> None:
    """Of it nothing is sealed until somebody says so; that it was set back is said by itself."""
    await world.client("manager")
    await _grow_older(world)
    sealer = a_sealer(tmp_path)
    assert sealer.guard is not None
    organization = await world.organization_id("clearwater")
    async with Snapshot(Tenant(organization_id=organization)) as connection:
        last = await last_head(connection, organization)
    origin = sealer.origin(organization, last.generation)
    lost = Head(origin, last.frontier.size + 10_000, bytes(32))
    await sealer.guard.note([(Head(origin, last.frontier.size, last.frontier.root), lost)])
    await sealer.guard.settle([lost])

    checked = await check_restored(replace(world.services, sealer=sealer), operator(), None)

    assert [str(one) for one in checked.findings] == []
    assert organization in {one.organization_id for one in checked.set_back}
