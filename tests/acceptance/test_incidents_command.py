"""`fieldward incidents` and `fieldward alarms`, over a database in which something was found."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

from auth.principal import SYSTEM_ID
from tests.conftest import Template
from tests.support.alarm_servers import hook
from tests.support.incident import an_incident, incidents, judge_trails, just, refuse, seal_trails
from tests.support.served import url_of
from tests.support.server import ROOT
from tests.support.world import World

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


async def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of Fieldward's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "fieldward", *arguments],
        cwd=ROOT,
        env={**own, **{f"FIELDWARD_{name.upper()}": value for name, value in settings.items()}},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def reached(world: World, template: Template) -> dict[str, str]:
    """The settings by which commands reach the test's databases."""
    return {
        "database_url": url_of(world.service),
        "keystore_url": url_of(world.keystore),
        "data_directory": str(template.settings.data_directory),
    }


async def _of_the_installation() -> UUID:
    for _ in range(3):
        await refuse(SYSTEM_ID, address="192.0.2.7")
    await seal_trails()
    (opened,) = await judge_trails(just(denials_from_address=3))
    return opened


async def test_an_operator_sees_incidents_of_all_and_closes_those_of_none(
    world: World, reached: dict[str, str]
) -> None:
    theirs, ours = await an_incident(world), await _of_the_installation()

    listed = await run("incidents", "list", "--json", **reached)
    shown = await run("incidents", "list", **reached)
    refused = await run("incidents", "close", str(theirs), "--note", "Not mine.", **reached)
    blank = await run("incidents", "close", str(ours), "--note", " ", **reached)
    since = await world.now()
    closed = await run("incidents", "close", str(ours), "--note", "A scanner.", "--json", **reached)
    twice = await run("incidents", "close", str(ours), "--note", "A scanner.", **reached)
    left = await run("incidents", "list", "--json", **reached)

    assert [line.split("  ")[-3] for line in shown.stdout.splitlines()] == ["the installation", "clearwater"]
    told: list[dict[str, Any]] = json.loads(listed.stdout)
    organization_id = await world.organization_id("clearwater")
    assert [(one["id"], one["organization_id"], one["count"]) for one in told] == [
        (str(ours), str(SYSTEM_ID), 3),
        (str(theirs), str(organization_id), 3),
    ]
    assert [line.split()[2:5] for line in shown.stdout.splitlines()] == [["MEDIUM", "OPEN", "denials_from_address"]] * 2
    assert (refused.returncode, blank.returncode, twice.returncode) == (1, 2, 1)
    assert "no such incident" in refused.stderr
    assert (closed.returncode, json.loads(closed.stdout)) == (0, {"closed": str(ours)})
    assert [one["id"] for one in json.loads(left.stdout)] == [str(theirs)]
    (row,) = await incidents(world, id=ours)
    assert (row["status"], row["closed_by_id"]) == ("CLOSED", None)
    assert b"scanner" not in row["note"]
    entry, *_ = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["channel"]) == ("CHANGE", "incident.close", "COMMAND")


async def test_a_test_alarm_says_what_became_of_it() -> None:
    with hook() as received:
        settings = {"alarm_webhook_url": received.url, "alarm_webhook_secret": SECRET}
        sent = await run("alarms", "test", "--json", **settings)
        received.answers = [500]
        failed = await run("alarms", "test", **settings)

        assert (sent.returncode, json.loads(sent.stdout)) == (0, {"webhook": "sent"})
        assert json.loads(received.posts[0].body)["type"] == "alarm.test"
    assert (failed.returncode, failed.stdout) == (1, "webhook: not sent, HTTP 500\n")


async def test_without_a_channel_there_is_nothing_to_test() -> None:
    done = await run("alarms", "test")

    assert done.returncode == 2
    assert "FIELDWARD_ALARM_WEBHOOK_URL" in done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"alarm_webhook_url": "https://example.com/"}, "FIELDWARD_ALARM_WEBHOOK_SECRET"),
        ({"alarm_webhook_url": "http://example.com/", "alarm_webhook_secret": SECRET}, "FIELDWARD_ALARM_WEBHOOK_URL"),
        ({"alarm_webhook_secret": "a-secret-that-is-none"}, "FIELDWARD_ALARM_WEBHOOK_SECRET"),
        ({"alarm_email_to": "a@b.example", "smtp_host": "mail.example"}, "FIELDWARD_SMTP_FROM"),
        ({"smtp_host": "mail.example"}, "FIELDWARD_SMTP_FROM"),
        (
            {"smtp_host": "mail.example", "smtp_from": "a@b.example", "smtp_security": "none"},
            "FIELDWARD_SMTP_SECURITY",
        ),
        ({"public_url": "http://fieldward.example"}, "FIELDWARD_PUBLIC_URL"),
        ({"password_memory_kib": "7167"}, "FIELDWARD_PASSWORD_MEMORY_KIB"),
        ({"password_memory_kib": "19455", "password_time_cost": "2"}, "FIELDWARD_PASSWORD_MEMORY_KIB"),
        ({"metrics_token": "short"}, "FIELDWARD_METRICS_TOKEN"),
        ({"incident_denials": "0"}, "FIELDWARD_INCIDENT_DENIALS"),
    ],
)
async def test_settings_that_do_not_fit_are_named_without_their_value(settings: dict[str, str], named: str) -> None:
    done = await run("alarms", "test", **settings)

    assert done.returncode == 2
    assert named in done.stderr
    assert "a-secret-that-is-none" not in done.stderr
