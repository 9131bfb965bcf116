"""The judge of the sealed trail: each leaf once, whoever looks, and nothing of one tenant in another's."""

import asyncio
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from auth.principal import SYSTEM_ID
from models.audit_entry import EntryKind
from models.incident import Channel
from resolvers.incident_judging import (
    MOST_EVIDENCE,
    Judge,
    SealingWatch,
    judge_step,
    note_sealing,
    unjudged_organizations,
)
from resolvers.incident_rule import RULES, Thresholds
from resolvers.trail_sealing import sealing_lag
from tests.support.incident import (
    an_incident,
    evidence_of,
    incidents,
    judge_trails,
    just,
    look_through,
    refuse,
    seal_trails,
)
from tests.support.world import World

ADDRESS = "192.0.2.7"
THREE = just(denials_from_address=3)


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization whose trail was judged up to now."""
    found = await world.organization_id("clearwater")
    await look_through(world)
    return found


async def _refused(organization_id: UUID, times: int, address: str = ADDRESS) -> None:
    for _ in range(times):
        await refuse(organization_id, address=address)


async def _cursor(world: World, organization_id: UUID) -> int:
    found: int = await world.value("select leaf_index from incident_cursor where organization_id = $1", organization_id)
    return found


async def test_what_was_found_is_written_once_with_one_entry_that_says_so(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 3)
    since = await world.now()

    (found,) = await look_through(world, THREE)

    assert await evidence_of(world, found) == [
        row["id"] for row in await world.sql("select id from audit_entry where error_code = 'FORBIDDEN' order by at")
    ]
    assert found["newest_entry_id"] == (await evidence_of(world, found))[-1]
    (entry,) = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("CHANGE", "incident.open", "DONE")
    assert (entry["organization_id"], entry["channel"], entry["user_id"]) == (organization_id, "JOB", None)
    assert entry["entity_ids"] == [found["id"]]
    told = await world.sql("select entity, operation from change where entry_id = $1 order by id", entry["id"])
    assert [tuple(one) for one in told] == [("incident", "INSERT"), *[("incident_evidence", "INSERT")] * 3]


async def test_an_incident_leads_to_no_other_and_the_judge_comes_to_rest(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 3)
    await look_through(world, just(denials_from_address=1, denials=1, role_denials=1))
    before = await world.value("select count(*) from audit_entry")

    for _ in range(3):
        await look_through(world, just(denials_from_address=1, denials=1, role_denials=1))

    assert len(await incidents(world)) == 1
    assert await world.value("select count(*) from audit_entry") == before
    assert await unjudged_organizations() == []


async def test_what_goes_on_is_the_same_incident_and_counts_on(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 3)
    (first,) = await look_through(world, THREE)
    await _refused(organization_id, 2)
    await _refused(organization_id, 2, "198.51.100.1")
    since = await world.now()

    (found,) = await look_through(world, THREE)

    assert (found["id"], found["count"], found["version"]) == (first["id"], 5, first["version"])
    assert found["last_seen_at"] > first["last_seen_at"]
    assert found["newest_entry_id"] != first["newest_entry_id"]
    assert len(await evidence_of(world, found)) == 5
    assert [one["action"] for one in await world.entries(since=since)] == ["incident.recur"]


async def test_an_incident_names_some_entries_and_counts_all(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, MOST_EVIDENCE - 1)
    await look_through(world, THREE)
    await _refused(organization_id, 11)

    (found,) = await look_through(world, THREE)

    assert found["count"] == MOST_EVIDENCE + 10
    assert len(await evidence_of(world, found)) == MOST_EVIDENCE


async def test_what_happens_again_after_the_end_is_another_incident_and_starts_anew(
    world: World, organization_id: UUID
) -> None:
    await _refused(organization_id, 4)
    (first,) = await look_through(world, THREE)
    await world.sql("alter table incident disable trigger all")
    await world.sql("update incident set status = 'CLOSED', closed_at = now()")
    await world.sql("alter table incident enable trigger all")

    await _refused(organization_id, 2)
    assert await look_through(world, THREE) == [await _incident(world, first["id"])]
    await _refused(organization_id, 1)

    (_, second) = await look_through(world, THREE)
    assert (second["key"], second["status"], second["count"]) == (first["key"], "OPEN", 3)


async def _incident(world: World, incident_id: UUID) -> Any:
    (found,) = await incidents(world, id=incident_id)
    return found


async def test_two_judges_at_once_find_it_once(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 7)
    await seal_trails()
    before = await _cursor(world, organization_id)

    done = await asyncio.gather(*(judge_step(THREE, organization_id) for _ in range(4)))

    assert sum(len(one.opened) for one in done) == 1
    (found,) = await incidents(world)
    assert found["count"] == 7
    assert await _cursor(world, organization_id) == before + 7


async def test_a_judge_that_breaks_half_way_leaves_all_to_the_next(
    world: World, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses the last thing that the transaction does: everything before it was written by then."""
    await _refused(organization_id, 3)
    await seal_trails()
    before = await _cursor(world, organization_id)
    await world.sql(
        "create function break_it() returns trigger language plpgsql as $$ begin raise exception 'half-way'; end $$"
    )
    await world.sql(
        "create constraint trigger break_it after insert on incident_evidence deferrable initially deferred"
        " for each row execute function break_it()"
    )

    with pytest.raises(Exception, match="half-way"):
        await judge_step(THREE, organization_id)

    assert await incidents(world) == []
    assert await _cursor(world, organization_id) == before
    await world.sql("drop trigger break_it on incident_evidence")
    (opened,) = await judge_trails(THREE)
    assert (await _incident(world, opened))["count"] == 3


async def test_a_window_reaches_over_steps_and_restarts(
    world: World, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resolvers.incident_judging.LEAVES", 2)
    for _ in range(4):
        await _refused(organization_id, 1)
        await look_through(world, just(denials_from_address=5))
    assert await incidents(world) == []

    await _refused(organization_id, 3)

    (found,) = await look_through(world, just(denials_from_address=5))
    assert found["count"] == 7


async def test_an_old_trail_is_judged_from_yesterday_on(world: World) -> None:
    organization_id = await world.organization_id("clearwater")
    await _refused(organization_id, 3)
    await world.sql("alter table audit_entry disable trigger refuse")
    await world.sql("update audit_entry set at = at - interval '2 days'")
    await world.sql("alter table audit_entry enable always trigger refuse")
    await _refused(organization_id, 2)

    assert await look_through(world, THREE) == []

    await _refused(organization_id, 1)
    (found,) = await look_through(world, THREE)
    assert found["count"] == 3


async def test_an_entry_that_the_trail_has_let_go_of_is_passed_over(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 3)
    await seal_trails()
    await world.sql("alter table audit_entry disable trigger refuse")
    await world.sql("delete from audit_entry where error_code = 'FORBIDDEN'")
    await world.sql("alter table audit_entry enable always trigger refuse")

    assert await judge_trails(THREE) == []
    assert await unjudged_organizations() == []


async def test_a_device_that_the_trail_names_and_nobody_has_does_not_stop_the_judge(
    world: World, organization_id: UUID
) -> None:
    await world.sql(
        "insert into audit_entry (id, organization_id, kind, action, outcome, error_code, repeated, channel,"
        " request_id, device_id) values (gen_random_uuid(), $1, 'ATTEMPT', 'session.sign_in', 'DENIED',"
        " 'DEVICE_BLOCKED', 0, 'API', gen_random_uuid(), gen_random_uuid())",
        organization_id,
    )

    (found,) = await look_through(world)

    assert (found["rule"], found["device_id"]) == ("blocked_device", None)


async def test_an_address_that_does_not_open_does_not_stop_the_judge(world: World, organization_id: UUID) -> None:
    await _refused(organization_id, 4)
    await world.sql("alter table audit_entry disable trigger refuse")
    for broken in ("'nonsense'::bytea", "overlay(ip_address placing gen_random_uuid()::text::bytea from 3 for 16)"):
        await world.sql(
            f"update audit_entry set ip_address = {broken} where id = (select id from audit_entry"
            " where error_code = 'FORBIDDEN' and length(ip_address) > 60 order by at desc limit 1)"
        )
    await world.sql("alter table audit_entry enable always trigger refuse")

    (found,) = await look_through(world, just(denials_from_address=2))

    assert found["count"] == 2


async def test_incidents_of_one_organization_are_made_of_its_own_trail(world: World, organization_id: UUID) -> None:
    other = await world.organization_id("suncoast")
    await _refused(organization_id, 2)
    await _refused(other, 2)
    await _refused(SYSTEM_ID, 2)
    assert await look_through(world, THREE) == []

    await _refused(other, 1)

    (found,) = await look_through(world, THREE)
    assert found["organization_id"] == other


async def test_the_same_address_has_another_key_in_another_organization(world: World) -> None:
    await an_incident(world, "clearwater")
    await an_incident(world, "suncoast")

    keys = [one["key"] for one in await incidents(world)]
    assert len(set(keys)) == 2


async def test_alarms_are_written_with_the_incident_and_not_again_while_it_goes_on(
    world: World, organization_id: UUID
) -> None:
    judging = Judge(Thresholds(denials_from_address=3), (Channel.EMAIL, Channel.WEBHOOK))
    for _ in range(2):
        await _refused(organization_id, 3)
        await look_through(world, judging)

    rows = await world.sql("select channel, state, count from alarm_delivery order by channel")
    assert [tuple(one) for one in rows] == [("EMAIL", "PENDING", 3), ("WEBHOOK", "PENDING", 3)]


async def _wait(world: World, by: timedelta) -> None:
    """Let whatever is not sealed wait for longer."""
    await world.sql("alter table audit_entry disable trigger refuse")
    await world.sql(
        "update audit_entry set at = at - $1::interval"
        " where not exists (select from sealed_leaf l where l.id = audit_entry.id)",
        by,
    )
    await world.sql("update sealed_batch set sealed_at = sealed_at - $1::interval", by)
    await world.sql("alter table audit_entry enable always trigger refuse")


async def test_sealing_that_falls_behind_is_one_incident_of_the_installation(
    world: World, organization_id: UUID
) -> None:
    await seal_trails()
    await world.sql("alter table sealed_batch disable trigger refuse")
    assert await sealing_lag() == 0
    await _refused(organization_id, 1)
    await _wait(world, timedelta(seconds=50))
    assert 50 <= await sealing_lag() < 60
    assert await _noted(3) == 0

    await _wait(world, timedelta(seconds=20))
    assert await _noted(1) == 0
    assert sum(await asyncio.gather(*(_noted(2) for _ in range(3)))) == 1
    assert await _noted(3) == 0

    (found,) = await incidents(world)
    assert (found["rule"], found["severity"], found["organization_id"]) == ("sealing_behind", "CRITICAL", SYSTEM_ID)
    assert found["newest_entry_id"] is None
    await seal_trails()
    assert await sealing_lag() == 0


async def _noted(times: int) -> int:
    """Look that often, a minute apart, and return how many incidents were opened."""
    watch = SealingWatch(clock=count(0.0, 60.0).__next__)
    return sum([len((await note_sealing(Judge(), watch)).opened) for _ in range(times)])


def test_sealing_that_catches_up_after_a_start_is_not_behind() -> None:
    watch = SealingWatch(clock=count(0.0, 60.0).__next__)

    assert [watch.is_behind(lag, 60.0) for lag in (5000.0, 4000.0, 3000.0, 50.0, 70.0, 130.0)] == [False] * 5 + [True]


def test_two_looks_at_once_are_not_compared() -> None:
    watch = SealingWatch(clock=count(0.0, 1.0).__next__)

    assert not any(watch.is_behind(lag, 60.0) for lag in (70.0, 71.0, 72.0))


def test_no_rule_looks_at_what_the_judge_writes() -> None:
    assert all(rule.pattern is None or rule.pattern.kind is not EntryKind.CHANGE for rule in RULES)
