"""PostgreSQL that restarts, and a name of it that does not resolve, below a service that goes on."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from models.encryption.signing import RETRY_S
from tests.support.forward import forwarding
from tests.support.installation import EMAIL, PASSWORD, Installation, Served, installed
from tests.support.served import Caller
from tests.support.world import SIGN_IN

AWAY = {"UNAVAILABLE", "UNKNOWN_OUTCOME"}
LONGEST_REFUSAL_S = 8.0
"""A connection is waited for for five seconds; a refusal takes hardly longer."""
RESOLVED_AGAIN_S = 10.0
STARTED = "select pg_postmaster_start_time()"
NAME = "db.fieldward.test"
READ = "{ projects(first: 1) { nodes { code } } }"


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One for this module."""
    with installed() as made:
        yield made


def test_a_restart_of_postgresql_is_an_outage_of_moments_that_loses_nothing(installation: Installation) -> None:
    with installation.served() as served:
        owner = served.signed_in()
        served.begin(owner, "RESTART")
        stop, codes = threading.Event(), list[tuple[float, str | None]]()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                code = served.create(owner, f"R-{number}")
                codes.append((time.monotonic(), code))

        writing = threading.Thread(target=write)
        writing.start()
        try:
            time.sleep(1)
            for mode in ("fast", "immediate"):
                started = installation.value(STARTED)
                _restart(installation, mode)
                assert installation.value(STARTED) > started
                time.sleep(3)
        finally:
            stop.set()
            writing.join()

        refused = {code for _, code in codes if code is not None}
        # What was certainly not committed is tried again: it may be that nothing is refused at all.
        assert refused <= AWAY, refused
        # It goes on by itself: nobody restarted the service, and its last words are good ones.
        assert [code for _, code in codes[-10:]] == [None] * 10
        there = served.sites(served.signed_in())
        assert len(there) == len(set(there))
        assert set(served.acknowledged) <= set(there)
        assert served.process.poll() is None
        assert not served.logged("unexpected_error")


def test_a_database_whose_name_does_not_resolve_is_away_and_found_when_it_does(
    installation: Installation, tmp_path: Path
) -> None:
    """The names that this machine knows are a file, and this process alone has another one."""
    if os.geteuid() != 0:
        pytest.skip("only root gives a process a file of names of its own")
    hosts = tmp_path / "hosts"
    known, unknown = f"127.0.0.1 localhost {NAME}\n", "127.0.0.1 localhost\n"
    hosts.write_text(unknown)
    to = installation.postgres.service()
    with forwarding(f"{to.host}/.s.PGSQL.{to.port}") as forward:
        own = ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]
        urls = installation.urls(f"{NAME}:{forward.port}")
        if subprocess.run([*own, "true"], check=False, capture_output=True).returncode != 0:
            pytest.skip("no process can be given names of its own here")
        with installation.served(settings=urls, before=own, is_ready=False) as served:
            # It starts, lives, says that it is not ready, and answers so at once.
            assert served.becomes("/health/ready", 503)
            _require_away(served)

            _rewrite(hosts, known)
            assert served.wait("/health/ready", 20) < RESOLVED_AGAIN_S
            owner = served.signed_in(within_s=RETRY_S + 2)
            served.begin(owner, "NAMES")
            assert served.create(owner, "N-1") is None

            # In the midst of it all the name is gone, and with it the connections.
            _rewrite(hosts, unknown)
            forward.cut()
            assert served.create(owner, "N-2") in AWAY
            _require_away(served, owner)

            _rewrite(hosts, known)
            served.wait("/health/ready", 20)
            assert served.create(owner, "N-3") is None
            assert {"N-1", "N-3"} <= set(served.sites(owner))
            assert not served.logged("unexpected_error")


def _require_away(served: Served, owner: Caller | None = None) -> None:
    """Hold what somebody who signs in is answered, and the owner, if somebody was let in before."""
    given = {"email": EMAIL, "password": PASSWORD, "organization": "basin"}
    asked = [(SIGN_IN, None), (READ, owner.token if owner is not None else None)]
    for query, token in asked:
        began = time.monotonic()
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        body = {"query": query, "variables": {"input": given} if query is SIGN_IN else {}}
        answer = served.http.post("/graphql", json=body, headers=headers)
        assert _codes(answer) == ["UNAVAILABLE"], answer.text
        assert time.monotonic() - began < LONGEST_REFUSAL_S
    assert served.status("/health/live") == 200
    assert served.becomes("/health/ready", 503)


def _codes(answer: httpx.Response) -> list[str]:
    """Return the codes of errors, and of those in payloads."""
    body = answer.json()
    payloads = [one for one in (body.get("data") or {}).values() if one is not None]
    codes = [one["extensions"]["code"] for one in body.get("errors", ())]
    return codes + [one["code"] for payload in payloads for one in payload.get("errors", ())]


def _rewrite(hosts: Path, text: str) -> None:
    """Write in place: a file that is mounted stays the one that it was."""
    with hosts.open("r+") as file:
        file.truncate()
        file.write(text)


def _restart(installation: Installation, mode: str) -> None:
    data = installation.postgres.data_directory
    log = f"--log={data.parent / 'postgresql.log'}"
    arguments = ("--wait", "--silent", f"--mode={mode}", f"--pgdata={data}", log)
    installation.postgres._run("pg_ctl", "restart", *arguments)
