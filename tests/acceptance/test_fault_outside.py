"""What the service sends to others, while those are away, or their names don't resolve: nobody waits for it, nothing is
lost, and each leaves once when they are back."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.alarm_servers import mailbox
from tests.support.installation import EMAIL, Installation, installed
from tests.support.server import ROOT, free_port

RESET = "mutation($i: RequestPasswordResetInput!) { requestPasswordReset(input: $i) { errors { code } } }"
QUICK_S = 5.0
AGAIN_S = 150.0
"""A letter is tried again within a minute at first."""


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One for this module."""
    with installed() as made:
        yield made


def settings(host: str, port: int) -> dict[str, str]:
    """Return the settings of a mail server."""
    return {
        "FIELDWARD_SMTP_HOST": host,
        "FIELDWARD_SMTP_PORT": str(port),
        "FIELDWARD_SMTP_SECURITY": "none" if host == "127.0.0.1" else "tls",
        "FIELDWARD_SMTP_FROM": "fieldward@fieldward.example",
        "FIELDWARD_PUBLIC_URL": "https://fieldward.example",
    }


def test_a_letter_waits_for_a_mail_server_that_is_away_and_leaves_once(installation: Installation) -> None:
    port = free_port()
    with installation.served(settings=settings("127.0.0.1", port)) as served:
        began = time.monotonic()
        answer = served.http.post("/graphql", json={"query": RESET, "variables": {"i": {"email": EMAIL}}}).json()
        # Whoever asks is told nothing of it, and does not wait for it.
        assert answer["data"] == {"requestPasswordReset": {"errors": []}}
        assert time.monotonic() - began < QUICK_S
        served.wait_for_log("mail_not_sent", 60)
        assert served.status("/health/ready") == 200

        with mailbox(port, None) as box:
            end = time.monotonic() + AGAIN_S
            while not box.messages and time.monotonic() < end:
                time.sleep(0.5)
            assert [one["to"] for one in box.messages] == [EMAIL]
            time.sleep(3)
            assert len(box.messages) == 1
        assert not served.logged("unexpected_error")


def test_a_mail_server_whose_name_does_not_resolve_is_one_that_is_away(installation: Installation) -> None:
    with installation.served(settings=settings("mail.invalid", 465)) as served:
        before = served.log.read_text().count('"mail_not_sent"')
        began = time.monotonic()
        answer = served.http.post("/graphql", json={"query": RESET, "variables": {"i": {"email": EMAIL}}}).json()
        assert answer["data"] == {"requestPasswordReset": {"errors": []}}
        assert time.monotonic() - began < QUICK_S
        end = time.monotonic() + 60
        while served.log.read_text().count('"mail_not_sent"') == before:
            assert time.monotonic() < end, served.log.read_text()
            time.sleep(0.2)
        assert EMAIL not in served.log.read_text()
        assert served.status("/health/ready") == 200


def test_a_webhook_whose_name_does_not_resolve_is_said_to_be_away(installation: Installation) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", "alarms", "test", "--json"],
        cwd=ROOT,
        env=installation.environment(
            FIELDWARD_ALARM_WEBHOOK_URL="https://alarms.invalid/hook",
            FIELDWARD_ALARM_WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in done.stdout + done.stderr
