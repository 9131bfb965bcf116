"""An access review lists all that everybody has, and takes away at once what somebody else says they don't keep."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auth.principal import Channel, Origin
from models.base import new_id
from resolvers.access_review_schedule import open_if_due, overdue_reviews
from resolvers.trail import Actor
from tests.support.entry import insert_entry
from tests.support.mutation import mutate
from tests.support.world import Client, World, connect

REASON = "Not needed any more."
ITEMS = "nodes { id kind role since lastUsedAt decision subjectId user { id } project { code } decidedBy { id } }"
PROGRESS = "progress { total kept removed undecided }"
REVIEW = f"accessReview {{ id version closedAt {PROGRESS} items(first: 200) {{ {ITEMS} }} }}"
LISTED = (
    "query($decision: ReviewDecisionFilter) { accessReviews { nodes { id closedAt openedBy { id } "
    f"{PROGRESS} items(first: 200, filter: {{ decision: $decision }}) {{ {ITEMS} }} }} }} }}"
)


async def _done(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Any:
    answer = await mutate(client, name, given, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def _id(world: World, key: str) -> str:
    return f"User:{await world.member_id(key)}"


async def _open(client: Client) -> Any:
    return (await _done(client, "openAccessReview", {}, REVIEW))["accessReview"]


def _of(review: Any, subject: str, kind: str = "MEMBERSHIP") -> Any:
    return next(
        one
        for one in review["items"]["nodes"]
        if one["kind"] == kind and subject in (one["subjectId"], one["user"]["id"])
    )


async def _decide(client: Client, item: Any, decision: str, reason: str | None = REASON) -> list[str]:
    given = {"id": item["id"], "decision": decision, **({"reason": reason} if reason else {})}
    answer = await mutate(client, "decideAccessReviewItem", given, "accessReviewItem { id }")
    return [one["code"] for one in answer.data["decideAccessReviewItem"]["errors"]]


async def test_a_review_lists_every_role_program_and_device_since_when_and_last_used(world: World) -> None:
    owner, collector = await world.client("owner"), await world.client("collector")
    collector_id = await _id(world, "collector")
    device = await _done(
        owner, "registerDevice", {"userId": collector_id, "platform": "ANDROID", "model": "Pixel 8"}, "device { id }"
    )
    promoted_at = await world.now()
    member = await _id(world, "member")
    await _done(owner, "assignOrganizationRole", {"userId": member, "role": "AUDITOR", "reason": "Audits."})
    await collector.run("{ viewer { user { id } } }")

    review = await _open(owner)

    items = review["items"]["nodes"]
    organization = await world.organization_id("clearwater")
    counted = await world.sql(
        "select (select count(*) from membership where organization_id = $1 and status = 'ACTIVE') as members,"
        " (select count(*) from project_membership where organization_id = $1) as roles,"
        " (select count(*) from service_account where organization_id = $1 and revoked_at is null) as programs,"
        " (select count(*) from device where organization_id = $1 and status = 'ACTIVE') as devices",
        organization,
    )
    kinds = ("MEMBERSHIP", "PROJECT_MEMBERSHIP", "SERVICE_ACCOUNT", "DEVICE")
    assert [sum(one["kind"] == kind for one in items) for kind in kinds] == list(counted[0].values())
    assert review["progress"] == {"total": len(items), "kept": 0, "removed": 0, "undecided": len(items)}
    auditor = _of(review, member)
    assert auditor["role"] == "AUDITOR"
    assert datetime.fromisoformat(auditor["since"]) > promoted_at
    assert _of(review, collector_id)["lastUsedAt"] is not None
    in_project = _of(review, collector_id, "PROJECT_MEMBERSHIP")
    assert (in_project["role"], in_project["project"]) == ("COLLECTOR", {"code": "CANAL"})
    assert _of(review, device["device"]["id"], "DEVICE")["role"] == "ANDROID Pixel 8"
    program = next(one for one in items if one["kind"] == "SERVICE_ACCOUNT")
    assert program["role"] == "Open data portal"
    told = await world.sql("select user_id from outgoing_mail where kind = 'ACCESS_REVIEW_DUE'")
    may = "select user_id from membership where organization_id = $1 and role in ('OWNER', 'ADMIN')"
    assert {one["user_id"] for one in told} == {one["user_id"] for one in await world.sql(may, organization)}
    # Ids are of the kind that is ordered by time, which not every PostgreSQL makes by itself.
    ids = await world.sql("select id from access_review_item")
    assert {row["id"].version for row in ids} == {7}


async def test_what_is_not_kept_is_taken_away_at_once_in_the_entry_of_the_decision(world: World) -> None:
    owner, admin, auditor, reviewer = [await world.client(key) for key in ("owner", "admin", "auditor", "reviewer")]
    device = await _done(
        owner,
        "registerDevice",
        {"userId": await _id(world, "reviewer"), "platform": "IOS", "model": "iPhone 15"},
        "device { id }",
    )
    review = await _open(admin)
    program = next(one for one in review["items"]["nodes"] if one["kind"] == "SERVICE_ACCOUNT")
    decider = admin if program["user"]["id"] == await _id(world, "owner") else owner
    since = await world.now()

    assert await _decide(owner, _of(review, await _id(world, "auditor")), "REMOVE") == []
    assert await _decide(owner, _of(review, await _id(world, "reviewer"), "PROJECT_MEMBERSHIP"), "REMOVE") == []
    assert await _decide(owner, _of(review, device["device"]["id"], "DEVICE"), "REMOVE") == []
    assert await _decide(owner, _of(review, await _id(world, "member")), "REMOVE") == []
    assert await _decide(decider, program, "REMOVE") == []

    assert (await auditor.run("{ viewer { user { role status } } }")).data["viewer"]["user"] == {
        "role": "MEMBER",
        "status": "ACTIVE",
    }
    assert (await reviewer.run("{ projects { nodes { id } } }")).data["projects"]["nodes"] == []
    shown = await owner.run(
        "query($device: ID!, $account: ID!) { device(id: $device) { status blockReason }"
        " serviceAccount(id: $account) { revokedAt } }",
        {
            "device": device["device"]["id"],
            "account": program["subjectId"],
        },
    )
    assert shown.data["device"] == {"status": "BLOCKED", "blockReason": REASON}
    assert shown.data["serviceAccount"]["revokedAt"] is not None
    gone = "select count(*) from membership where status = 'REMOVED'"
    assert await world.value(gone) == 1
    entries = [one for one in await world.entries(since=since) if one["kind"] == "CHANGE"]
    decisions = [one for one in entries if one["action"] == "access_review.decide"]
    assert len(decisions) == 5
    tables = [
        {one["entity"] for one in await world.sql("select entity from change where entry_id = $1", entry["id"])}
        for entry in decisions
    ]
    assert all("access_review_item" in one for one in tables)
    assert [one - {"access_review_item"} for one in tables][:3] == [{"membership"}, {"project_membership"}, {"device"}]


async def test_nobody_decides_about_what_is_theirs(world: World) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    review = await _open(owner)
    since, before = await world.now(), await world.fingerprint()

    codes = [
        await _decide(client, _of(review, await _id(world, key)), decision)
        for client, key in ((owner, "owner"), (admin, "admin"))
        for decision in ("KEEP", "REMOVE")
    ]

    assert codes == [["FORBIDDEN"]] * 4
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert {(one["action"], one["outcome"], one["error_code"]) for one in entries} == {
        ("access_review.decide", "DENIED", "FORBIDDEN")
    }


async def test_nobody_takes_away_by_a_review_what_they_could_not_otherwise(world: World) -> None:
    owner, admin = await world.client("owner"), await world.client("admin")
    review = await _open(admin)
    of_owner, of_auditor = [_of(review, await _id(world, key)) for key in ("owner", "auditor")]
    before = await world.fingerprint()

    assert await _decide(admin, of_owner, "REMOVE") == ["FORBIDDEN"]
    assert await _decide(admin, of_auditor, "REMOVE") == ["FORBIDDEN"]
    assert await _decide(owner, of_auditor, "REMOVE", reason=None) == ["INVALID_INPUT"]

    assert await world.fingerprint() == before
    assert await _decide(admin, of_owner, "KEEP", reason=None) == []


@pytest.mark.parametrize(
    ("who", "code"), [("auditor", "FORBIDDEN"), ("manager", "NOT_FOUND"), ("other-owner", "NOT_FOUND")]
)
async def test_a_review_is_decided_by_who_may_and_by_nobody_else(world: World, who: str, code: str) -> None:
    client = await world.client(who)
    review = await _open(await world.client("owner"))
    before = await world.fingerprint()

    assert await _decide(client, _of(review, await _id(world, "member")), "REMOVE") == [code]
    closing = await mutate(client, "closeAccessReview", {"id": review["id"], "expectedVersion": 1, "reason": REASON})
    assert [one["code"] for one in closing.data["closeAccessReview"]["errors"]] == [code]
    after = await world.fingerprint()
    assert {name for name in after if after[name] != before[name]} <= {"session"}
    listed = (await client.run(LISTED)).data["accessReviews"]["nodes"]
    assert bool(listed) == (who == "auditor")


async def test_keeping_can_be_changed_into_taking_away_while_the_review_is_open_and_nothing_else(world: World) -> None:
    owner = await world.client("owner")
    review = await _open(owner)
    item = _of(review, await _id(world, "auditor"))

    assert await _decide(owner, item, "KEEP", reason=None) == []
    assert await _decide(owner, item, "KEEP") == ["CONFLICT"]
    assert await _decide(owner, item, "REMOVE") == []
    assert await _decide(owner, item, "KEEP") == ["CONFLICT"]
    closing = {"id": review["id"], "expectedVersion": 1, "reason": "The rest is decided in the next one."}
    await _done(owner, "closeAccessReview", closing)
    assert await _decide(owner, _of(review, await _id(world, "manager")), "REMOVE") == ["CONFLICT"]


async def test_a_review_is_closed_with_what_is_undecided_named_and_a_reason_for_it(world: World) -> None:
    owner = await world.client("owner")
    review = await _open(owner)
    assert await _decide(owner, _of(review, await _id(world, "auditor")), "KEEP", reason=None) == []
    total = review["progress"]["total"]
    given = {"id": review["id"], "expectedVersion": 1}

    refused = await mutate(owner, "closeAccessReview", given)

    [error] = refused.data["closeAccessReview"]["errors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["input", "reason"])
    assert str(total - 1) in error["message"]
    await _done(owner, "closeAccessReview", {**given, "reason": "The owner's own things: nobody else may decide."})
    left = (await owner.run(LISTED, {"decision": {"eq": None}})).data["accessReviews"]["nodes"]
    assert len(left[0]["items"]["nodes"]) == total - 1
    assert left[0]["closedAt"] is not None
    assert left[0]["progress"] == {"total": total, "kept": 1, "removed": 0, "undecided": total - 1}


async def test_there_is_one_open_review_at_a_time(world: World) -> None:
    owner = await world.client("owner")
    await _open(owner)
    before = await world.fingerprint()

    answer = await mutate(await world.client("owner"), "openAccessReview", {})
    late = await mutate(owner, "openAccessReview", {"dueAt": "2020-01-01T00:00:00Z"})

    assert [one["code"] for one in answer.data["openAccessReview"]["errors"]] == ["CONFLICT"]
    assert [one["code"] for one in late.data["openAccessReview"]["errors"]] == ["INVALID_INPUT"]
    assert await world.fingerprint() == before


async def test_what_somebody_has_no_more_is_not_taken_from_who_has_it_now(world: World) -> None:
    owner = await world.client("owner")
    leaver, heir = await _id(world, "collector"), await _id(world, "manager")
    device = await _done(
        owner, "registerDevice", {"userId": leaver, "platform": "IOS", "model": "iPhone 15"}, "device { id }"
    )
    review = await _open(owner)
    await _done(owner, "removeUser", {"userId": leaver, "handOverTo": heir, "reason": "Left."})

    assert await _decide(owner, _of(review, device["device"]["id"], "DEVICE"), "REMOVE") == []
    assert await _decide(owner, _of(review, leaver), "REMOVE") == []

    shown = await owner.run(
        "query($id: ID!) { device(id: $id) { status user { id } } }", {"id": device["device"]["id"]}
    )
    assert shown.data["device"] == {"status": "ACTIVE", "user": {"id": heir}}


async def test_each_quarter_a_review_opens_by_itself_and_an_overdue_one_is_counted(world: World) -> None:
    organization = await world.organization_id("clearwater")
    actor = Actor(organization, Origin(channel=Channel.JOB, request_id=new_id(), client_name="fieldward"))
    since = await world.now()

    # An organization's first is in the quarter after that in which it was made.
    assert await open_if_due(actor) is False
    await _as_of_last_year(world, organization)
    assert await open_if_due(actor) is True
    assert await open_if_due(actor) is False

    entries = await world.entries(since=since)
    opened = [one for one in entries if one["action"] == "access_review.open"]
    assert [(one["channel"], one["outcome"], one["user_id"]) for one in opened] == [("JOB", "DONE", None)]
    listed = (await (await world.client("auditor")).run(LISTED)).data["accessReviews"]["nodes"]
    assert [one["openedBy"] for one in listed] == [None]
    assert listed[0]["progress"]["total"] == len(listed[0]["items"]["nodes"]) > 0
    assert await overdue_reviews() == 0
    await _alter(world, organization, "update access_review set due_at = now() - interval '1 day'")
    assert await overdue_reviews() == 1


async def _as_of_last_year(world: World, organization: object) -> None:
    then = datetime.now(UTC) - timedelta(days=365)
    await _alter(
        world, organization, f"update organization set created_at = '{then.isoformat()}' where id = '{organization}'"
    )


async def _alter(world: World, organization: object, statement: str) -> None:
    """Change a row as no use case does, with an entry as every change has."""
    connection = await connect(world.superuser)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            await connection.execute(statement)
    finally:
        await connection.close()
