"""Deciding how long the audit trail is kept: by the owner, with a reason, and not for a moment less than the floor."""

from typing import Any

import pytest

from resolvers.trail_expiry import TrailExpiry
from tests.support.mutation import mutate
from tests.support.retention import age, expiring_actor, ids_of, seal
from tests.support.world import Answer, World

REASON = "As the law says."
SHOWN = "trailRetention { kind days }"
LISTED = "{ organization { trailRetention { kind days } } }"


async def decide(world: World, by: str, **more: Any) -> Answer:
    """Decide as somebody; a year for reads where nothing else is said."""
    given = {"kind": "READ", "days": 365, "reason": REASON, **more}
    return await mutate(await world.client(by), "setTrailRetention", given, SHOWN)


async def test_the_owner_decides_and_those_who_read_the_trail_see_it(world: World) -> None:
    since = await world.now()

    payload = (await decide(world, "owner")).data["setTrailRetention"]
    assert payload == {"trailRetention": {"kind": "READ", "days": 365}, "errors": []}
    for days in (400, None):
        changed = (await decide(world, "owner", days=days)).data["setTrailRetention"]
        assert changed["trailRetention"] == {"kind": "READ", "days": days}
    assert (await decide(world, "owner", kind="ATTEMPT", days=90)).data["setTrailRetention"]["errors"] == []

    told = await world.sql(
        "select c.operation, c.columns -> 'days' as days, e.outcome, e.reason is not null as why"
        " from change c join audit_entry e on e.id = c.entry_id where c.entity = 'trail_retention' and e.at > $1"
        " order by c.id",
        since,
    )
    assert [(one["operation"], one["days"]) for one in told] == [
        ("INSERT", "[null, 365]"),
        ("UPDATE", "[365, 400]"),
        ("UPDATE", "[400, null]"),
        ("INSERT", "[null, 90]"),
    ]
    assert all(one["outcome"] == "DONE" and one["why"] for one in told)
    expected = [{"kind": "ATTEMPT", "days": 90}, {"kind": "READ", "days": None}]
    for key in ("owner", "admin", "auditor"):
        shown = (await (await world.client(key)).run(LISTED)).data["organization"]["trailRetention"]
        assert shown == expected
    for key in ("manager", "reviewer", "collector", "viewer", "member", "other-owner"):
        shown = (await (await world.client(key)).run(LISTED)).data["organization"]["trailRetention"]
        assert shown == []


@pytest.mark.parametrize("by", ["admin", "auditor", "manager", "reviewer", "collector", "viewer", "member"])
async def test_nobody_else_decides(world: World, by: str) -> None:
    await world.client(by)
    since, before = await world.now(), await world.fingerprint()

    payload = (await decide(world, by, days=90)).data["setTrailRetention"]

    [error] = payload["errors"]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", "audit:set_retention")
    assert payload["trailRetention"] is None
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "audit.set_retention", "DENIED")


async def test_who_is_not_signed_in_decides_nothing(world: World) -> None:
    before = await world.fingerprint()
    given = {"kind": "READ", "days": 365, "reason": REASON}

    answer = await mutate(world.anonymous, "setTrailRetention", given, SHOWN)

    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.fingerprint() == before


async def test_what_one_organization_decides_counts_in_no_other(world: World) -> None:
    assert (await decide(world, "other-owner")).data["setTrailRetention"]["errors"] == []

    rows = await world.sql("select organization_id from trail_retention")
    assert [row["organization_id"] for row in rows] == [await world.organization_id("suncoast")]


@pytest.mark.parametrize("days", [89, 1, 0, -1, 36_501])
async def test_fewer_days_than_the_floor_are_refused(world: World, days: int) -> None:
    await world.client("owner")
    since, before = await world.now(), await world.fingerprint()

    payload = (await decide(world, "owner", days=days)).data["setTrailRetention"]

    [error] = payload["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "days"])
    assert error["message"] == "Expected 90 to 36500 days, or null."
    assert await world.fingerprint() == before
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["outcome"], entry["error_code"]) == ("ATTEMPT", "FAILED", "INVALID_INPUT")


@pytest.mark.parametrize("reason", [None, " "])
async def test_without_a_reason_nothing_is_decided(world: World, reason: str | None) -> None:
    await world.client("owner")
    before = await world.fingerprint()

    payload = (await decide(world, "owner", reason=reason)).data["setTrailRetention"]

    [error] = payload["errors"]
    assert (error["code"], error["field"]) == ("INVALID_INPUT", ["input", "reason"])
    assert await world.fingerprint() == before


@pytest.mark.parametrize("days", [None, 365])
async def test_what_is_decided_so_already_is_a_conflict(world: World, days: int | None) -> None:
    if days is not None:
        assert (await decide(world, "owner", days=days)).data["setTrailRetention"]["errors"] == []

    payload = (await decide(world, "owner", days=days)).data["setTrailRetention"]

    assert [error["code"] for error in payload["errors"]] == ["CONFLICT"]


async def test_what_has_left_is_not_listed_any_more_and_its_end_is(world: World) -> None:
    reader, owner = await world.client("collector"), await world.client("owner")
    assert (await reader.run("{ records(first: 1) { nodes { comment } } }")).data["records"]["nodes"]
    await age(world, 400)
    await seal(world, days=400)
    gone = await ids_of(world, "kind = 'READ' and organization_id = $1", await world.organization_id("clearwater"))
    decided = await world.now()
    assert (await decide(world, "owner", days=300)).data["setTrailRetention"]["errors"] == []
    await age(world, 8, "at > $1", decided)
    [done] = await TrailExpiry().step(await expiring_actor(world))
    assert done.entries == len(gone)

    listed = "{ auditEntries(filter: { kind: { eq: READ } }) { nodes { id } } }"
    assert (await owner.run(listed)).data["auditEntries"]["nodes"] == []
    for entry_id in gone:
        answer = await owner.run("query($id: ID!) { node(id: $id) { id } }", {"id": f"AuditEntry:{entry_id}"})
        assert answer.data["node"] is None
    ends = '{ auditEntries(filter: { action: { eq: "audit.expire" } }) { nodes { outcome entity entityIds } } }'
    [act] = (await owner.run(ends)).data["auditEntries"]["nodes"]
    assert (act["outcome"], act["entity"]) == ("DONE", "audit_entry")
    assert set(act["entityIds"]) == {str(one) for one in gone}
