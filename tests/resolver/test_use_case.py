"""Use cases called below GraphQL, as commands and jobs call them: the same refusals, the same trail."""

from typing import Any
from uuid import UUID

import pytest

from auth.action import Action
from auth.errors import ForbiddenError, NotFoundError
from fieldward.cli.environment import operator
from models.base import new_id
from models.errors import InvalidInputError
from models.membership import MembershipStatus
from models.record import Record, SignatureMeaning
from resolvers.account import member_viewer, set_member_status
from resolvers.change import Change, Intent, commit_change
from resolvers.record import update_record
from resolvers.record_review import approve_record
from resolvers.trail import Actor
from tests.support.world import World


async def _run(email: str, slug: str, action: Action, work: Any) -> Any:
    viewer = await member_viewer(slug, email=email)
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    return await commit_change(Intent(action=action, actor=actor, entity="record"), work)


async def test_a_foreign_record_is_not_found_like_one_that_never_was(world: World) -> None:
    foreign: UUID = await world.value(
        "select id from record where organization_id = $1 limit 1", await world.organization_id("clearwater")
    )
    before = await world.fingerprint()
    messages = []

    for record_id in (foreign, new_id()):

        async def change_it(change: Change, record_id: UUID = record_id) -> UUID:
            return await update_record(
                change, record_id=record_id, expected_version=1, values={"site_name": "x"}, measurements=None
            )

        with pytest.raises(NotFoundError) as caught:
            await _run("owner@suncoast.example", "suncoast", Action.RECORD_UPDATE, change_it)
        messages.append((caught.value.message, caught.value.field))

    assert messages[0] == messages[1]
    assert await world.fingerprint() == before


async def test_a_refusal_in_the_middle_undoes_what_came_before_and_is_in_the_trail(world: World) -> None:
    record: UUID = await world.value("select id from record where site_code = 'CANAL-07'")
    before, since = await world.fingerprint(), await world.now()

    async def change_then_approve(change: Change) -> UUID:
        await update_record(
            change, record_id=record, expected_version=2, values={"site_name": "half-way"}, measurements=None
        )
        text = "select 1 from record where id = $1 and site_name = 'half-way'"
        assert await change.connection.execute_query_dict(text, [record])
        return await approve_record(change, record_id=record, expected_version=3, meaning=SignatureMeaning.APPROVAL)

    viewer = await member_viewer("clearwater", email="manager@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    intent = Intent(action=Action.RECORD_APPROVE, actor=actor, reason="Both at once.", entity="record")
    with pytest.raises(ForbiddenError):
        await commit_change(intent, change_then_approve)

    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["outcome"], one["channel"]) for one in entries] == [
        ("ATTEMPT", "record.approve", "DENIED", "COMMAND")
    ]


@pytest.mark.parametrize("reason", ["", " \n", "x" * 2001])
async def test_nobody_is_suspended_without_a_reason(world: World, reason: str) -> None:
    viewer = await member_viewer("clearwater", email="owner@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)
    member_id, before = await world.member_id("viewer"), await world.fingerprint()

    with pytest.raises(InvalidInputError) as caught:
        await set_member_status(
            actor,
            organization_id=viewer.organization_id,
            membership_id=member_id,
            status=MembershipStatus.SUSPENDED,
            reason=reason,
        )

    assert caught.value.field == ("reason",)
    assert await world.fingerprint() == before


async def test_why_somebody_was_suspended_is_in_the_trail(world: World) -> None:
    viewer = await member_viewer("clearwater", email="owner@clearwater.example")
    actor = Actor(viewer.organization_id, operator().origin, viewer)

    await set_member_status(
        actor,
        organization_id=viewer.organization_id,
        membership_id=await world.member_id("viewer"),
        status=MembershipStatus.SUSPENDED,
        reason="Left in March.",
    )

    answer = await (await world.client("auditor")).run(
        '{ auditEntries(first: 1, filter: {action: {eq: "user.suspend"}}) { nodes { reason user { name } channel } } }'
    )
    (entry,) = answer.data["auditEntries"]["nodes"]
    assert (entry["reason"], entry["channel"]) == ("Left in March.", "COMMAND")
    assert entry["user"]["name"]


async def test_plain_text_in_python_is_ciphertext_in_the_database(world: World) -> None:
    record_id: UUID = await world.value("select id from record where site_code = 'CANAL-07'")
    seen: list[str | None] = []

    async def read_and_write(change: Change) -> UUID:
        record = await Record.get(id=record_id, organization_id=change.organization_id, using_db=change.connection)
        seen.append(record.comment)
        record.comment = "Written in Python."
        await record.save(using_db=change.connection, update_fields=["comment"])
        return record_id

    await _run("manager@clearwater.example", "clearwater", Action.RECORD_UPDATE, read_and_write)

    assert seen == ["Gate unlocked on arrival; owner asked us to call before the next visit."]
    stored = await world.value("select comment from record where id = $1", record_id)
    assert b"Python" not in stored
    client = await world.client("manager")
    answer = await client.run(f'{{ record(id: "{record_id}") {{ comment }} }}')
    assert answer.data["record"]["comment"] == "Written in Python."
