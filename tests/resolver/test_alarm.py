"""Alarms as they arrive: at a mail server and at a webhook's receiver on this machine, and what is noted of it."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fieldward.jobs import DELIVER_ALARMS, JUDGE_TRAIL, build_jobs
from fieldward.settings import Settings
from models.incident import Channel
from resolvers.alarm import LONGEST_WAIT, Outbox, alarming_organizations, deliver_one, send_test, wait_before
from resolvers.alarm_channel import (
    Alarm,
    EmailSender,
    WebhookSender,
    channels_of,
    is_sound_url,
    webhook_key,
)
from resolvers.incident_judging import Judge
from resolvers.incident_rule import Thresholds
from resolvers.mail_server import MailServer
from resolvers.sending import NotSentError
from tests.support.alarm_servers import NAME, PASSWORD, Hook, Mailbox, Post, certificate, hook, mailbox
from tests.support.incident import incidents, judge_trails, refuse, seal_trails
from tests.support.server import free_port
from tests.support.world import World

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
KEY = webhook_key(SECRET)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
ADDRESS = "192.0.2.7"


@pytest.fixture
def received() -> Iterator[Hook]:
    """A receiver of webhooks."""
    with hook() as found:
        yield found


async def _alarming(world: World, outbox: Outbox) -> UUID:
    """Have an incident opened with its alarms, and return its organization."""
    organization_id = await world.organization_id("clearwater")
    for _ in range(3):
        await refuse(organization_id, address=ADDRESS)
    await seal_trails()
    await judge_trails(Judge(Thresholds(denials_from_address=3), channels_of(outbox.senders)))
    return organization_id


async def _deliveries(world: World) -> list[asyncpg.Record]:
    return await world.sql("select * from alarm_delivery order by channel")


async def _when_due(world: World) -> None:
    """Let it be later."""
    await world.sql("update alarm_delivery set next_attempt_at = clock_timestamp() where state = 'PENDING'")


def _verified(post: Post) -> Any:
    """Return what was posted, if its signature is that of Standard Webhooks: as a receiver checks it."""
    said, at = post.headers["webhook-id"], post.headers["webhook-timestamp"]
    digest = hmac.new(bytes(range(32)), f"{said}.{at}.".encode() + post.body, hashlib.sha256).digest()
    assert post.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert abs(int(at) - datetime.now().timestamp()) < 60
    return json.loads(post.body)


async def test_a_webhook_is_posted_signed_and_says_nothing_of_anybody(world: World, received: Hook) -> None:
    outbox = Outbox((WebhookSender(received.url, KEY),), "https://fieldward.example/")
    organization_id = await _alarming(world, outbox)
    assert await alarming_organizations() == [organization_id]

    assert await deliver_one(outbox, organization_id)

    (post,) = received.posts
    told = _verified(post)
    (incident,) = await incidents(world)
    assert post.path == "/hook?to=us"
    assert post.headers["content-type"] == "application/json"
    assert told["type"] == "incident.opened"
    assert told["data"] == {
        "rule": "denials_from_address",
        "severity": "MEDIUM",
        "organizationId": f"Organization:{organization_id}",
        "incidentId": f"Incident:{incident['id']}",
        "count": 3,
        "firstSeenAt": incident["first_seen_at"].isoformat(),
        "openedAt": incident["opened_at"].isoformat(),
        "link": "https://fieldward.example/graphiql",
    }
    assert ADDRESS not in post.body.decode()
    (delivery,) = await _deliveries(world)
    assert (delivery["state"], delivery["attempts"], delivery["last_error"]) == ("DELIVERED", 1, None)
    assert delivery["delivered_at"] is not None
    assert delivery["destination"] == received.url.partition("/hook")[0]
    assert post.headers["webhook-id"] == f"msg_{delivery['id'].hex}"
    assert not await deliver_one(outbox, organization_id)
    assert await alarming_organizations() == []


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_is_not_taken_is_posted_again_later_under_the_same_id(
    world: World, received: Hook, status: int
) -> None:
    received.answers = [status, status]
    outbox = Outbox((WebhookSender(received.url, KEY),))
    organization_id = await _alarming(world, outbox)

    for attempt in (1, 2):
        assert await deliver_one(outbox, organization_id)
        (delivery,) = await _deliveries(world)
        assert (delivery["state"], delivery["attempts"]) == ("PENDING", attempt)
        assert delivery["last_error"] == f"HTTP {status}"
        # Not at once.
        assert not await deliver_one(outbox, organization_id)
        assert await alarming_organizations() == []
        await _when_due(world)
    assert await deliver_one(outbox, organization_id)

    assert len({post.headers["webhook-id"] for post in received.posts}) == 1
    assert len({json.dumps(_verified(post)) for post in received.posts}) == 1
    assert [post.path for post in received.posts] == ["/hook?to=us"] * 3
    (delivery,) = await _deliveries(world)
    assert (delivery["state"], delivery["attempts"]) == ("DELIVERED", 3)


async def test_an_alarm_whose_sender_ended_before_noting_it_is_sent_again_under_the_same_id(
    world: World, received: Hook
) -> None:
    outbox = Outbox((WebhookSender(received.url, KEY),))
    organization_id = await _alarming(world, outbox)
    await deliver_one(outbox, organization_id)
    # As it stands when a process ends between sending and noting, once the time is over for which it was taken.
    await world.sql("update alarm_delivery set state = 'PENDING', delivered_at = null, next_attempt_at = now()")

    await deliver_one(outbox, organization_id)

    assert len(received.posts) == 2
    assert len({post.headers["webhook-id"] for post in received.posts}) == 1
    assert len({post.body for post in received.posts}) == 1


async def test_what_was_tried_for_a_day_is_given_up(world: World, received: Hook) -> None:
    received.answers = [500]
    outbox = Outbox((WebhookSender(received.url, KEY),))
    organization_id = await _alarming(world, outbox)
    await world.sql("update alarm_delivery set created_at = now() - interval '24 hours'")

    await deliver_one(outbox, organization_id)

    (delivery,) = await _deliveries(world)
    assert delivery["state"] == "GIVEN_UP"
    await _when_due(world)
    assert not await deliver_one(outbox, organization_id)


def test_waiting_doubles_and_is_never_the_same_for_all() -> None:
    waits = [[wait_before(attempt) for _ in range(50)] for attempt in range(1, 30)]

    assert all(timedelta(seconds=7) <= one <= timedelta(seconds=23) for one in waits[0])
    assert min(waits[4]) > max(waits[1])
    assert max(waits[-1]) <= 1.5 * LONGEST_WAIT
    assert len(set(waits[0])) > 10


async def test_nobody_there_is_an_attempt_that_came_to_nothing(world: World) -> None:
    outbox = Outbox((WebhookSender(f"http://127.0.0.1:{free_port()}/", KEY),))
    organization_id = await _alarming(world, outbox)

    await deliver_one(outbox, organization_id)

    (delivery,) = await _deliveries(world)
    assert (delivery["state"], delivery["last_error"]) == ("PENDING", "ConnectionRefusedError")


async def test_a_channel_that_is_no_longer_set_up_is_said_so(world: World, received: Hook) -> None:
    organization_id = await _alarming(world, Outbox((WebhookSender(received.url, KEY),)))

    await deliver_one(Outbox(), organization_id)

    (delivery,) = await _deliveries(world)
    assert delivery["last_error"] == "no such channel is set up"
    assert received.posts == []


async def test_a_webhook_goes_by_https_to_who_shows_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with hook(context=server) as received:
        assert await send_test(Outbox((WebhookSender(received.url, KEY, client),)), NOW) == {Channel.WEBHOOK: None}
        refused = await send_test(Outbox((WebhookSender(received.url, KEY),)), NOW)

        assert refused == {Channel.WEBHOOK: "SSLCertVerificationError"}
        (post,) = received.posts
        assert _verified(post)["type"] == "alarm.test"


def _mail(box: Mailbox, client: Any, *, password: str = PASSWORD) -> EmailSender:
    server = MailServer("127.0.0.1", box.port, "starttls", NAME, password, client)
    return EmailSender(server, "Fieldward <alarms@fieldward.example>", ("sec@acme.example", "ops@acme.example"))


async def test_mail_arrives_over_tls_from_who_signed_in(world: World, tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with mailbox(free_port(), server) as box:
        outbox = Outbox((_mail(box, client),), "https://fieldward.example")
        organization_id = await _alarming(world, outbox)

        assert await deliver_one(outbox, organization_id)

        (message,) = box.messages
        assert box.recipients == [["sec@acme.example", "ops@acme.example"]]
    assert message["subject"] == "[Fieldward] MEDIUM: denials_from_address"
    assert message["auto-submitted"] == "auto-generated"
    (delivery,) = await _deliveries(world)
    assert message["message-id"] == f"<{delivery['id']}@fieldward.example>"
    body = str(message.get_payload()).splitlines()
    (incident,) = await incidents(world)
    assert f"Incident: {incident['id']}" in body
    assert "Count: 3" in body
    assert ADDRESS not in str(message)
    assert (delivery["state"], delivery["destination"]) == ("DELIVERED", f"smtp://127.0.0.1:{box.port}")


async def test_mail_that_is_not_taken_is_tried_again(world: World, tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with mailbox(free_port(), server) as box:
        outbox = Outbox((_mail(box, client),))
        organization_id = await _alarming(world, outbox)
        box.refuses = True
        await deliver_one(outbox, organization_id)
        (delivery,) = await _deliveries(world)
        assert (delivery["state"], delivery["last_error"]) == ("PENDING", "SMTP 451")

        box.refuses = False
        await _when_due(world)
        await deliver_one(outbox, organization_id)

        (delivery,) = await _deliveries(world)
        assert (delivery["state"], len(box.messages)) == ("DELIVERED", 1)


async def test_a_wrong_password_or_an_unknown_certificate_sends_nothing(tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with mailbox(free_port(), server) as box:
        wrong = await send_test(Outbox((_mail(box, client, password="another"),)), NOW)
        unknown = await send_test(Outbox((_mail(box, None),)), NOW)

        # Whether the server says so or hangs up depends on how many ways to sign in were tried.
        assert wrong[Channel.EMAIL] in {"SMTP 535", "SMTPServerDisconnected"}
        assert unknown == {Channel.EMAIL: "SSLCertVerificationError"}
        assert box.messages == []


async def test_the_jobs_judge_and_send(world: World, received: Hook) -> None:
    organization_id = await world.organization_id("clearwater")
    settings = Settings(
        alarm_webhook_url=received.url,
        alarm_webhook_secret=SECRET,
        incident_denials_from_address=3,
        incident_sealing_lag_s=10_000,
    )
    woken: list[str] = []
    jobs = build_jobs(world.services, settings, wake=woken.append)
    for _ in range(3):
        await refuse(organization_id, address=ADDRESS)
    await seal_trails()

    while await jobs[JUDGE_TRAIL]():
        pass
    assert woken == [DELIVER_ALARMS]
    while await jobs[DELIVER_ALARMS]():
        pass

    (post,) = received.posts
    assert _verified(post)["data"]["rule"] == "denials_from_address"


def test_an_alarms_secrets_are_not_printed() -> None:
    server = MailServer("mail.example", 587, "starttls", NAME, PASSWORD)
    shown = repr((EmailSender(server, "a@b.example", ()), WebhookSender("https://example.com/", KEY)))

    assert PASSWORD not in shown
    assert repr(KEY) not in shown


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "not base64 at all!!", "whsec_é"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        webhook_key(secret)


@pytest.mark.parametrize(
    ("url", "is_sound"),
    [
        ("https://example.com/hook", True),
        ("http://127.0.0.1:9/hook", True),
        ("http://[::1]:9/hook", True),
        ("http://localhost/hook", True),
        ("http://example.com/hook", False),
        ("http://localhost.example.com/hook", False),
        ("ftp://127.0.0.1/hook", False),
        ("https:///hook", False),
        ("example.com", False),
    ],
)
def test_alarms_go_by_https_or_to_this_machine(url: str, is_sound: bool) -> None:
    assert is_sound_url(url) is is_sound


async def test_a_redirect_is_not_followed(received: Hook) -> None:
    received.answers = [307]
    alarm = Alarm(UUID(int=1), "denials", "LOW", UUID(int=2), None, 1, NOW, NOW)

    with pytest.raises(NotSentError, match="HTTP 307"):
        await WebhookSender(received.url, KEY).send(alarm)

    assert [post.path for post in received.posts] == ["/hook?to=us"]


async def test_a_receiver_that_never_answers_holds_up_nothing_but_alarms() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sender = WebhookSender(f"http://127.0.0.1:{silent.getsockname()[1]}/", KEY)
        alarm = Alarm(UUID(int=1), "test", "LOW", UUID(int=0), None, 1, NOW, NOW)
        waiting = [asyncio.create_task(sender.send(alarm)) for _ in range(40)]
        await asyncio.sleep(0.1)

        # As the heads that are signed are written down, before they are committed.
        async with asyncio.timeout(2):
            await asyncio.to_thread(lambda: None)

        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
