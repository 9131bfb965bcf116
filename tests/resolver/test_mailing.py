"""Letters on their way: taken once, tried again, given up, and never holding up one another."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from auth.action import Action
from fieldward.cli.environment import operator
from fieldward.demo.people import PEOPLE
from models.outgoing_mail import MailKind, OutgoingMail
from resolvers.account import member_viewer
from resolvers.account_index import email_index_of
from resolvers.change import Change, Intent, commit_change
from resolvers.mail_text import MailText
from resolvers.mailer import MailRoute
from resolvers.mailing import Draft, Mailing, enqueue, mailing_organizations
from tests.support.mail import send_mail, taking_mail, text_of
from tests.support.world import World

ADDRESS = "manager@clearwater.example"
NOTICES = {
    MailKind.PASSWORD_CHANGED: "Your password for Fieldward was changed",
    MailKind.AUTHENTICATOR_ADDED: "A second factor was added to your account in Fieldward",
    MailKind.AUTHENTICATOR_REMOVED: "A second factor was removed from your account in Fieldward",
    MailKind.RECOVERY_CODE_USED: "A recovery code was used to sign in to Fieldward",
    MailKind.ACCESS_REVIEW_DUE: "The access review of Clearwater Consulting is due",
}


async def _enqueue(world: World, kind: MailKind, **more: Any) -> UUID:
    """Have a letter sent to the manager, or as it is said, and return the organization."""
    viewer = await member_viewer("clearwater", email=ADDRESS)
    given = more or {"user_id": viewer.user_id}
    actor = replace(operator(), organization_id=viewer.organization_id, viewer=viewer)

    async def work(change: Change) -> None:
        await enqueue(change, kind=kind, **given)

    await commit_change(Intent(action=Action.SESSION_RENAME, actor=actor), work)
    return viewer.organization_id


async def _mail(world: World) -> asyncpg.Record:
    [row] = await world.sql("select * from outgoing_mail")
    return row


async def _when_due(world: World) -> None:
    """Let it be later."""
    await world.sql("update outgoing_mail set next_attempt_at = clock_timestamp() where state = 'PENDING'")


@pytest.mark.parametrize("kind", NOTICES)
async def test_a_person_is_told_at_the_address_of_their_account(world: World, kind: MailKind) -> None:
    organization_id = await _enqueue(world, kind)
    assert await mailing_organizations() == [organization_id]

    with taking_mail(world) as box:
        await send_mail(world)

        [message] = box.messages
        assert box.recipients == [[ADDRESS]]
    mail = await _mail(world)
    assert message["subject"] == NOTICES[kind]
    assert message["message-id"] == f"<{mail['id']}@fieldward.example>"
    assert "https://fieldward.example/account" in text_of(message)
    assert (mail["state"], mail["attempts"], mail["last_error"]) == ("SENT", 1, None)
    assert mail["sent_at"] is not None
    assert await mailing_organizations() == []


async def test_a_letter_about_a_programs_token_names_it_and_is_dropped_where_it_was_revoked(world: World) -> None:
    token = await world.value("select id from service_account_token limit 1")
    await _enqueue(
        world,
        MailKind.TOKEN_EXPIRES,
        user_id=(await member_viewer("clearwater", email=ADDRESS)).user_id,
        subject_id=token,
    )
    with taking_mail(world) as box:
        await send_mail(world)
        [message] = box.messages

    assert message["subject"] == "A program's token expires: Open data portal"
    assert await world.value("select hint from service_account_token where id = $1", token) in text_of(message)

    await world.sql("alter table service_account_token disable trigger user")
    await world.sql("update service_account_token set revoked_at = now()")
    await world.sql("update outgoing_mail set state = 'PENDING', next_attempt_at = now()")
    with taking_mail(world) as box:
        await send_mail(world)
        assert box.messages == []
    assert (await _mail(world))["state"] == "DROPPED"


async def test_a_letter_that_is_not_taken_waits_and_is_sent_later_under_the_same_id(world: World) -> None:
    organization_id = await _enqueue(world, MailKind.PASSWORD_CHANGED)
    with taking_mail(world) as box:
        box.refuses = True
        await send_mail(world)
        mail = await _mail(world)
        assert (mail["state"], mail["attempts"], mail["last_error"]) == ("PENDING", 1, "SMTP 451")
        assert mail["next_attempt_at"] > await world.now()
        # Not at once.
        assert await mailing_organizations() == []

        box.refuses = False
        await _when_due(world)
        assert await mailing_organizations() == [organization_id]
        await send_mail(world)

        [message] = box.messages
    assert message["message-id"] == f"<{mail['id']}@fieldward.example>"
    assert (await _mail(world))["state"] == "SENT"


async def test_what_was_tried_for_a_day_is_given_up_and_its_address_forgotten(world: World) -> None:
    await _enqueue(world, MailKind.PASSWORD_RESET, email_index=await email_index_of(ADDRESS))
    await world.sql("update outgoing_mail set created_at = now() - interval '24 hours'")

    await send_mail(world)

    mail = await _mail(world)
    assert (mail["state"], mail["last_error"], mail["email_index"]) == ("GIVEN_UP", "ConnectionRefusedError", None)
    await _when_due(world)
    assert await mailing_organizations() == []


async def test_a_letter_is_one_senders_at_a_time(world: World) -> None:
    organization_id = await _enqueue(world, MailKind.PASSWORD_CHANGED)
    taken: list[bool] = []

    async def slowly(_: MailRoute, mail: OutgoingMail) -> Draft | None:
        # Whoever else looks meanwhile finds nothing to send.
        taken.append(await mailing.deliver_one(mail.organization_id))
        return None

    mailing = Mailing(world.services.mail, {MailKind.PASSWORD_CHANGED: slowly})

    assert await mailing.deliver_one(organization_id)

    assert taken == [False]
    assert (await _mail(world))["attempts"] == 1


async def test_a_letter_that_can_not_be_made_holds_up_no_other(world: World) -> None:
    organization_id = await _enqueue(world, MailKind.PASSWORD_CHANGED)
    await _enqueue(world, MailKind.INVITATION, email_index=b"of somebody else")

    async def failing(_: MailRoute, __: OutgoingMail) -> Draft | None:
        raise LookupError("a secret that is in no table")

    async def made(_: MailRoute, __: OutgoingMail) -> Draft | None:
        return Draft("eve@river.example", MailText("Come", "Come.\n"))

    mailing = Mailing(world.services.mail, {MailKind.PASSWORD_CHANGED: failing, MailKind.INVITATION: made})
    with taking_mail(world) as box:
        while await mailing.deliver_one(organization_id):
            pass

        assert box.recipients == [["eve@river.example"]]
    rows = {row["kind"]: row for row in await world.sql("select * from outgoing_mail")}
    assert (rows["PASSWORD_CHANGED"]["state"], rows["PASSWORD_CHANGED"]["last_error"]) == ("PENDING", "LookupError")
    assert (rows["INVITATION"]["state"], rows["INVITATION"]["email_index"]) == ("SENT", None)


async def test_without_a_way_for_mail_what_is_written_waits_a_day(world: World) -> None:
    organization_id = await _enqueue(world, MailKind.PASSWORD_CHANGED)

    assert await Mailing(None).deliver_one(organization_id)

    mail = await _mail(world)
    assert (mail["state"], mail["last_error"]) == ("PENDING", "no way for mail is set up")
    assert mail["next_attempt_at"] - mail["created_at"] < timedelta(minutes=1)
    assert ADDRESS in {one.email for one in PEOPLE}
