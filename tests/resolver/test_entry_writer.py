"""The writer of what was read: all of a batch or none, each for its own tenant, and nobody waits in vain."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from auth.principal import Channel, Origin
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import SealedEntry, append_entries
from models.base import new_id
from models.encryption.keyring import active_keyring
from models.pool import Purpose
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.entry_writer import EntryWriter
from resolvers.trail import Actor, new_entry
from tests.support.world import World

TENANT = "select current_setting('fieldward.organization_id', true)"


async def _entry(organization_id: UUID, field: str) -> SealedEntry:
    actor = Actor(organization_id, Origin(channel=Channel.API, request_id=new_id(), ip_address="192.0.2.7"))
    await active_keyring().load(actor.key_owners)
    return new_entry(actor, kind=EntryKind.READ, action="field.read", outcome=Outcome.DONE, field=field)


async def _written(world: World) -> list[tuple[UUID, str]]:
    rows = await world.sql("select organization_id, field from audit_entry where field like 'read %' order by field")
    return [(row["organization_id"], row["field"]) for row in rows]


async def test_what_waits_together_is_all_written(world: World) -> None:
    mine, theirs = await world.organization_id("clearwater"), await world.organization_id("suncoast")
    whose = [theirs if number == 5 else mine for number in range(9)]
    entries = [await _entry(one, f"read {number}") for number, one in enumerate(whose)]
    writer = EntryWriter()

    await asyncio.gather(*(writer.write(one, [entry]) for one, entry in zip(whose, entries, strict=True)))

    assert await _written(world) == [(one, f"read {number}") for number, one in enumerate(whose)]


async def test_a_connection_keeps_no_tenant(world: World) -> None:
    entry = await _entry(await world.organization_id("clearwater"), "read")

    await append_entries([entry])

    async with OneStatement(Tenant(), Purpose.APPENDING) as connection:
        assert not await connection.fetchval(TENANT)
        assert await connection.fetchval("select count(*) from audit_entry") == 0


async def test_entries_of_two_tenants_are_each_written_for_their_own(world: World) -> None:
    mine, theirs = await world.organization_id("clearwater"), await world.organization_id("suncoast")

    await append_entries([await _entry(mine, "read a"), await _entry(theirs, "read b"), await _entry(mine, "read c")])

    assert await _written(world) == [(mine, "read a"), (theirs, "read b"), (mine, "read c")]


async def test_of_a_batch_that_fails_nothing_is_written_and_all_are_told(world: World) -> None:
    mine = await world.organization_id("clearwater")
    entries = [await _entry(mine, f"read {number}") for number in range(4)]
    broken = SealedEntry([None if value == "field.read" else value for value in entries[2].values])
    writer = EntryWriter()

    told = await asyncio.gather(
        *(writer.write(mine, [entry]) for entry in (entries[0], entries[1], broken, entries[3])), return_exceptions=True
    )

    # The first did not wait for the others.
    assert told[0] is None
    assert [type(one) for one in told[1:]] == [asyncpg.NotNullViolationError] * 3
    assert await _written(world) == [(mine, "read 0")]
    await writer.write(mine, [entries[3]])
    assert await _written(world) == [(mine, "read 0"), (mine, "read 3")]


@pytest.mark.parametrize("given_up", [0, 1])
async def test_a_request_that_is_given_up_takes_no_other_with_it(world: World, given_up: int) -> None:
    mine = await world.organization_id("clearwater")
    entries = [await _entry(mine, f"read {number}") for number in range(4)]
    writer = EntryWriter()
    tasks = [asyncio.create_task(writer.write(mine, [entry])) for entry in entries]
    await asyncio.sleep(0)

    tasks[given_up].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(one, asyncio.CancelledError) for one in done] == [number == given_up for number in range(4)]
    written = {field for _, field in await _written(world)}
    assert {f"read {number}" for number in range(4) if number != given_up} <= written
