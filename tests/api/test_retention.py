"""Deciding how long data are kept, and looking at what would go: by those who may, and with nothing deleted."""

from typing import Any

import pytest

from tests.support.keeping import REASON, grow_old, hold, keep_for, records_of, run_now
from tests.support.mutation import mutate
from tests.support.world import Answer, World

SHOWN = "retention { kind days }"
PERIODS = "{ retention { data trail days leastDays mostDays countsFrom decidedAt countsSince } }"
PREVIEW = """
query($kind: DataKind!, $days: Int, $first: Int = 100, $after: ID) {
  retentionPreview(kind: $kind, days: $days, first: $first, after: $after) {
    kind days due deleted parts held named hasMore ids byProject { projectId rows }
  }
}
"""
RUNS = "{ retentionRuns(first: 10) { nodes { kind days status isAsked deleted parts held named endedAt } } }"
OTHERS = ["admin", "auditor", "manager", "reviewer", "collector", "viewer", "member"]


async def decide(world: World, by: str, **more: Any) -> Answer:
    """Decide as somebody; a year for records where nothing else is said."""
    given = {"kind": "RECORD", "days": 365, "reason": REASON, **more}
    return await mutate(await world.client(by), "setRetention", given, SHOWN)


async def test_the_owner_decides_and_one_query_says_how_long_what_is_kept(world: World) -> None:
    assert (await decide(world, "owner")).data["setRetention"] == {
        "retention": {"kind": "RECORD", "days": 365},
        "errors": [],
    }
    trail = {"kind": "READ", "days": 730, "reason": REASON}
    await mutate(await world.client("owner"), "setTrailRetention", trail)

    for key in ("owner", "admin", "auditor"):
        found = (await (await world.client(key)).run(PERIODS)).data["retention"]
        by_kind = {one["data"] or f"TRAIL_{one['trail']}": one for one in found}
        assert len(found) == len(by_kind) == 11
        assert (by_kind["RECORD"]["days"], by_kind["TRAIL_READ"]["days"]) == (365, 730)
        assert by_kind["RECORD"]["decidedAt"] < by_kind["RECORD"]["countsSince"]
        assert by_kind["SESSION"]["days"] is None
        assert by_kind["SESSION"]["decidedAt"] is None
        assert (by_kind["SESSION"]["leastDays"], by_kind["SESSION"]["mostDays"]) == (90, 36500)
        assert all(one["countsFrom"] for one in found)


async def test_who_reads_no_trail_is_not_told_how_long_it_is_kept(world: World) -> None:
    given = {"name": "Records manager", "level": "ORGANIZATION", "permissions": ["RETENTION_READ"], "reason": REASON}
    role = (await mutate(await world.client("owner"), "createRole", given, "role { id }")).data["createRole"]
    member = f"User:{await world.member_id('member')}"
    assigned = {"userId": member, "customRoleId": role["role"]["id"], "reason": REASON}
    await mutate(await world.client("owner"), "assignOrganizationRole", assigned)
    client = await world.client("member")

    found = (await client.run(PERIODS)).data["retention"]

    assert len(found) == 8
    assert all(one["trail"] is None for one in found)
    # Nor which records there are.
    refused = await client.run(PREVIEW, {"kind": "RECORD", "days": 365})
    assert refused.codes == ["FORBIDDEN"]
    assert refused.body["data"]["retentionPreview"] is None


@pytest.mark.parametrize("by", OTHERS)
async def test_nobody_else_decides(world: World, by: str) -> None:
    await world.client(by)
    since, before = await world.now(), await world.fingerprint()

    payload = (await decide(world, by)).data["setRetention"]

    [error] = payload["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "retention:set")
    assert payload["retention"] is None
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "retention.set", "DENIED")


async def test_who_is_not_signed_in_decides_and_sees_nothing(world: World) -> None:
    before = await world.fingerprint()
    given = {"kind": "RECORD", "days": 365, "reason": REASON}

    assert (await mutate(world.anonymous, "setRetention", given, SHOWN)).codes == ["UNAUTHENTICATED"]
    for query in (PERIODS, RUNS):
        assert (await world.anonymous.run(query)).codes == ["UNAUTHENTICATED"]
    assert (await world.anonymous.run(PREVIEW, {"kind": "RECORD"})).codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


@pytest.mark.parametrize(
    ("kind", "days", "least"), [("RECORD", 29, 30), ("RECORD", 0, 30), ("RECORD", 36_501, 30), ("SESSION", 89, 90)]
)
async def test_a_period_that_is_too_short_or_too_long_is_refused(
    world: World, kind: str, days: int, least: int
) -> None:
    await world.client("owner")
    before = await world.fingerprint()

    payload = (await decide(world, "owner", kind=kind, days=days)).data["setRetention"]

    [error] = payload["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "days"])
    assert error["message"] == f"Expected {least} to 36500 days, or null."
    assert await world.fingerprint() == before


async def test_what_is_decided_already_is_said_to_be(world: World) -> None:
    assert (await decide(world, "owner")).data["setRetention"]["errors"] == []
    for days in (365,):
        [error] = (await decide(world, "owner", days=days)).data["setRetention"]["errors"]
        assert error["code"] == "CONFLICT"
    assert (await decide(world, "owner", days=None)).data["setRetention"]["errors"] == []


async def test_a_dry_run_says_what_would_go_and_nothing_goes(world: World) -> None:
    ids = await records_of(world, "CANAL")
    await grow_old(world, 1)
    await grow_old(world, 3650, "id = any($1)", ids[:4])
    await hold(world, f"Record:{ids[0]}")
    parts = await world.value("select count(*) from measurement where record_id = any($1)", ids[1:4])
    client, before = await world.client("auditor"), await world.fingerprint()
    # No period is set, and none has to be.
    assert (await client.run(PREVIEW, {"kind": "RECORD"})).data["retentionPreview"]["due"] == 0

    found = (await client.run(PREVIEW, {"kind": "RECORD", "days": 365, "first": 2})).data["retentionPreview"]

    expected = sorted(f"Record:{one}" for one in ids[1:4])
    assert (found["due"], found["deleted"], found["held"], found["named"], found["parts"]) == (4, 3, 1, 0, parts)
    assert found["byProject"] == [{"projectId": f"Project:{await world.project_id('CANAL')}", "rows": 3}]
    assert (found["ids"], found["hasMore"]) == (expected[:2], True)
    given = {"kind": "RECORD", "days": 365, "first": 2, "after": found["ids"][-1]}
    rest = (await client.run(PREVIEW, given)).data["retentionPreview"]
    assert (rest["ids"], rest["hasMore"]) == (expected[2:], False)
    assert await world.fingerprint() == before


async def test_what_a_dry_run_said_is_what_a_run_does(world: World) -> None:
    ids = await records_of(world, "CANAL")
    await grow_old(world, 1)
    await grow_old(world, 3650, "id = any($1)", ids[:3])
    await keep_for(world, "RECORD", 365)
    client = await world.client("owner")
    said = (await client.run(PREVIEW, {"kind": "RECORD"})).data["retentionPreview"]

    done = (await run_now(world))["RECORD"]

    assert (done.deleted, done.parts, done.held) == (said["deleted"], said["parts"], said["held"])
    [run] = (await client.run(RUNS)).data["retentionRuns"]["nodes"]
    assert (run["kind"], run["days"], run["status"], run["isAsked"]) == ("RECORD", 365, "DONE", True)
    assert (run["deleted"], run["parts"]) == (said["deleted"], said["parts"])
    left = (await client.run(PREVIEW, {"kind": "RECORD"})).data["retentionPreview"]
    assert (left["due"], left["ids"]) == (0, [])


@pytest.mark.parametrize("by", ["manager", "reviewer", "collector", "viewer", "member"])
async def test_who_may_not_look_is_told_nothing(world: World, by: str) -> None:
    await keep_for(world, "RECORD", 365)
    await run_now(world)
    client = await world.client(by)

    for query, variables in ((PERIODS, {}), (PREVIEW, {"kind": "RECORD"})):
        answer = await client.run(query, variables)
        assert answer.codes == ["FORBIDDEN"]
        assert set(answer.body["data"].values()) == {None}
    assert (await client.run(RUNS)).data["retentionRuns"]["nodes"] == []


async def test_another_organization_sees_and_loses_nothing(world: World) -> None:
    theirs = await world.value(
        "select count(*) from record r join organization o on o.id = r.organization_id where o.slug = 'suncoast'"
    )
    await grow_old(world, 3650)
    await keep_for(world, "RECORD", 365)
    client = await world.client("other-owner")
    assert all(one["days"] is None for one in (await client.run(PERIODS)).data["retention"])

    await run_now(world)

    assert (await client.run(RUNS)).data["retentionRuns"]["nodes"] == []
    assert theirs == await world.value(
        "select count(*) from record r join organization o on o.id = r.organization_id where o.slug = 'suncoast'"
    )


@pytest.mark.parametrize("first", [0, -1, 1001])
async def test_a_page_that_is_none_is_refused(world: World, first: int) -> None:
    answer = await (await world.client("owner")).run(PREVIEW, {"kind": "RECORD", "days": 365, "first": first})
    assert answer.codes == ["INVALID_INPUT"]
