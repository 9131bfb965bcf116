"""Nothing is missed and nothing is told twice, in whichever order transactions end.

Beside it goes a puller by the time of changes, as `updated_at > x` does, which misses what commits late: a test in
which it misses nothing would show nothing.
"""

import random
from collections import Counter
from uuid import UUID

import asyncpg

from auth.action import Action
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_change
from tests.conftest import Template
from tests.support.feed import PullerByTime, SlowWrite, a_record, cursor_of, pull, renamed, told, writing_slowly
from tests.support.trail import an_actor
from tests.support.world import Client, World, connect

WRITERS = 3
"""Transactions that are open at a time."""
WRITES = 12
"""Of each."""


async def _canal(world: World) -> str:
    return f"Project:{await world.project_id('CANAL')}"


async def test_what_commits_late_is_told_though_a_puller_by_time_misses_it(world: World) -> None:
    manager, project = await world.client("manager"), await _canal(world)
    slow, quick = [await a_record(manager, project) for _ in range(2)]
    organization = await world.organization_id("clearwater")
    naive, start = PullerByTime(world, organization), await cursor_of(manager)
    await naive.pull()

    slow_id, quick_id = (UUID(one.removeprefix("Record:")) for one in (slow, quick))
    async with writing_slowly(organization, slow_id, "Slow"):
        await renamed(manager, quick, "Quick")
        # It began after the slow one, and is over before it.
        assert await naive.pull() == [quick_id]
        # What is not to be passed over yet waits for the oldest that runs.
        during, after = await pull(manager, start)
        assert during == []
    late, end = await pull(manager, after)

    assert await naive.pull() == []
    assert told(late) == [("UPDATED", slow), ("UPDATED", quick)]
    assert [one["record"]["siteName"] for one in late] == ["Slow", "Quick"]
    assert (await pull(manager, end))[0] == []


async def test_a_full_sync_and_what_changed_since_the_cursor_before_it_are_everything(world: World) -> None:
    manager, project = await world.client("manager"), await _canal(world)
    slow, gone = await a_record(manager, project), await a_record(manager, project)
    organization = await world.organization_id("clearwater")

    async with writing_slowly(organization, UUID(slow.removeprefix("Record:")), "Slow"):
        after = await cursor_of(manager)
        made = await a_record(manager, project)
        copy = await _all_records(manager)
    await renamed(manager, gone, "Other")
    changes, after = await pull(manager, after)
    _apply(copy, changes)

    assert made in copy
    assert copy[slow] == "Slow"
    assert copy == await _all_records(manager)


async def test_beside_writers_with_long_transactions_nothing_is_missed_or_doubled(world: World) -> None:
    manager, project = await world.client("manager"), await _canal(world)
    organization = await world.organization_id("clearwater")
    records = [await a_record(manager, project) for _ in range(WRITERS * WRITES)]
    ids = {one: UUID(one.removeprefix("Record:")) for one in records}
    naive, start = PullerByTime(world, organization), await cursor_of(manager)
    await naive.pull()
    copy = await _all_records(manager)
    chance = random.Random(7)  # noqa: S311  (the same in each run)

    pulled: list[tuple[str, str]] = []
    by_time: list[UUID] = []
    after = start
    left, at_work = list(records), list[SlowWrite]()
    while left or at_work:
        while left and len(at_work) < WRITERS:
            record = left.pop()
            at_work.append(await SlowWrite.begin(organization, ids[record], f"Now {record[-6:]}"))
        # Whichever ends: the last to begin as well as the first.
        await at_work.pop(chance.randrange(len(at_work))).end()
        by_time += await naive.pull()
        changes, after = await pull(manager, after, first=chance.choice([1, 3, 50]))
        pulled += told(changes)
        _apply(copy, changes)
    changes, _ = await pull(manager, after)
    pulled += told(changes)
    _apply(copy, changes)
    by_time += await naive.pull()

    assert Counter(pulled) == Counter(("UPDATED", one) for one in records)
    assert copy == await _all_records(manager)
    missed = set(ids.values()) - set(by_time)
    print(f"{len(records)} late commits: 0 missed, {len(missed)} by a puller that goes by the time")
    assert missed
    # A cursor is no session: from the first one, everything is told again.
    assert set(told((await pull(manager, start))[0])) == set(pulled)


async def test_a_transaction_of_another_database_of_the_server_delays_and_loses_nothing(
    world: World, template: Template
) -> None:
    manager, start = await world.client("manager"), await cursor_of(await world.client("manager"))
    elsewhere: asyncpg.Connection = await connect(template.postgres.superuser("postgres"))
    try:
        await elsewhere.execute("begin; select pg_current_xact_id()")
        made = await a_record(manager, await _canal(world))
        delayed, after = await pull(manager, start)
        assert delayed == []
        await elsewhere.execute("commit")
    finally:
        await elsewhere.close()

    assert told((await pull(manager, after))[0]) == [("CREATED", made)]


async def test_one_transaction_of_very_many_changes_comes_in_pages(world: World) -> None:
    manager = await world.client("manager")
    start = await cursor_of(manager)
    organization, seen = await world.organization_id("clearwater"), await _all_records(manager)

    async def touch_all(change: Change) -> None:
        await fetch(
            change.connection, "update record set version = version + 1 where organization_id = $1", organization
        )

    await commit_change(Intent(Action.RECORD_UPDATE, an_actor(organization), entity="record"), touch_all)
    changes, end = await pull(manager, start, first=7)

    assert {one["id"] for one in changes} == set(seen)
    assert len(changes) == len(seen) < len(await _all_records(await world.client("owner")))
    assert (await pull(manager, end))[0] == []


async def _all_records(client: Client) -> dict[str, str | None]:
    """Return the name of each record's site: a copy of all that there is."""
    copy: dict[str, str | None] = {}
    after: str | None = None
    query = """query($after: String) {
      records(first: 500, after: $after) { nodes { id siteName } pageInfo { hasNextPage endCursor } }
    }"""
    while True:
        found = (await client.run(query, {"after": after})).data["records"]
        copy |= {one["id"]: one["siteName"] for one in found["nodes"]}
        if not found["pageInfo"]["hasNextPage"]:
            return copy
        after = found["pageInfo"]["endCursor"]


def _apply(copy: dict[str, str | None], changes: list[dict[str, object]]) -> None:
    for change in changes:
        record = change["record"]
        if change["type"] != "RECORD":
            continue
        if isinstance(record, dict):
            copy[str(change["id"])] = record["siteName"]
        else:
            copy.pop(str(change["id"]), None)
