"""Erasing a person on a running server, and after an older backup came back: nobody reads anything of them."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from drills.fold import untold
from fieldward.embedded import EmbeddedPostgres
from tests.support.served import Caller
from tests.support.server import ROOT, Server, environment, free_port, start_demo

NAME: Final = "Cleo Cole"
"""The collector of the demo, who collected under that name and under another."""
ALIAS: Final = "C. Quagga-Cole"
AGENT: Final = "FieldPhone/zq7x81"
REASON: Final = "Cleo's own words 5kd02m"
REVIEWER: Final = "Rafi Reyes"
SHORT: Final = {"FIELDWARD_DATA_KEY_LIFETIME_S": "600"}
"""Keys that stay in memory for long: what is erased must be gone without waiting."""

LOOK: Final = """
query Look {
  records(first: 1000) { nodes { id siteCode collector comment reviewReason reviewer
    createdBy { name } reviewedBy { name } device { serialNumber } measurements { comment } } }
  users(first: 100) { nodes { id name status } }
  devices(first: 100) { nodes { serialNumber blockReason } }
}
"""
TRAIL: Final = """
query Trail($after: String) {
  auditEntries(first: 200, after: $after) {
    pageInfo { hasNextPage endCursor }
    nodes { action reason ipAddress userAgent clientName user { name }
      changes { entity columns { column before after } } }
  }
}
"""
CREATE: Final = (
    "mutation ($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
)
MOVES: Final = {
    "submit": "mutation ($input: RecordVersionInput!) { done: submitRecord(input: $input) { errors { code } } }",
    "approve": "mutation ($input: ApproveRecordInput!) { done: approveRecord(input: $input) { errors { code } } }",
    "delete": "mutation ($input: RecordReasonInput!) { done: deleteRecord(input: $input) { errors { code } } }",
}
ROLES: Final = ("owner", "admin", "auditor", "manager", "reviewer", "viewer", "member")


@pytest.fixture
def directory() -> Iterator[Path]:
    """A data directory of this test's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made / "demo"
    shutil.rmtree(made, ignore_errors=True)


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run the demo."""
    server = start_demo(directory, free_port(), **SHORT)
    try:
        yield server
    finally:
        assert server.stop() == 0


def test_what_was_erased_is_unreadable_at_once_and_after_an_older_backup(directory: Path) -> None:
    with running(directory) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        _work(http, server)
        before = {role: _seen(http, server, role) for role in ROLES}
        for text in (NAME, ALIAS, AGENT, REASON):
            assert text in before["owner"]
        pseudonym = _pseudonyms(http, server)
        collector = _caller(http, server, "collector")
        assert collector.run("{ viewer { role } }").data["viewer"]
        _base_backup(directory)

        email, password = server.sign_ins["collector"]
        done = _command(directory, "erase", "person", email, "--also-named", ALIAS, "--reason", "Asked for it", "--yes")

        # At the next request: the address, both names as collector (values and pseudonyms), the person's own key.
        assert json.loads(done.stdout)["keys_destroyed"] == 5
        _expect_nothing(http, server, before)
        assert _pseudonyms(http, server) == pseudonym
        assert collector.run("{ viewer { role } }").errors[0]["extensions"]["code"] == "UNAUTHENTICATED"
        again = Caller(http).run(
            "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken errors { code } } }",
            {"input": {"email": email, "password": password}},
        )
        assert [error["extensions"]["code"] for error in again.errors] == ["UNAUTHENTICATED"]
        refused = _command(directory, "erase", "person", email, "--reason", "Again", "--yes", code=1)
        assert "Nobody has that address" in refused.stderr

    shutil.rmtree(directory / "postgres")
    (directory / "backup").rename(directory / "postgres")
    with running(directory) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        assert "erasures_applied" in server.errors
        _expect_nothing(http, server, before)
        assert _pseudonyms(http, server) == pseudonym

        verified = json.loads(_command(directory, "keys", "verify").stdout)
        assert verified["broken"] == []
        assert verified["erased"] > 0
        assert asyncio.run(_untold(directory)) == {}

    # A third start finds nothing to do.
    with running(directory) as server:
        assert "erasures_applied" not in server.errors


def test_who_approved_a_record_stays_attributable(directory: Path) -> None:
    with running(directory) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        record_id = _work(http, server)
        email, _ = server.sign_ins["reviewer"]
        # Neither is seen by who lists the machine's processes.
        given = ("erase", "person", "-", "--also-named", "R. Nobody", "--reason", "Asked for it", "--yes")
        done = json.loads(_command(directory, *given, told=f"{email}\n").stdout)
        assert done["unknown_names"] == ["R. Nobody"]

        owner = _caller(http, server, "owner")
        shown = owner.run(
            "query ($id: ID!) { record(id: $id) { reviewer reviewedBy { name status } } }", {"id": record_id}
        )
        assert shown.data["record"] == {"reviewer": REVIEWER, "reviewedBy": {"name": None, "status": "ERASED"}}
        assert shown.errors == []
        viewer = _caller(http, server, "viewer")
        denied = viewer.run("query ($id: ID!) { record(id: $id) { reviewer } }", {"id": record_id})
        assert denied.data["record"] == {"reviewer": None}
        assert [error["extensions"]["code"] for error in denied.errors] == ["FORBIDDEN"]


def test_the_last_owner_is_not_erased_and_an_organization_is(directory: Path) -> None:
    with running(directory) as server, httpx.Client(base_url=server.url, timeout=60) as http:
        email, _ = server.sign_ins["owner"]
        refused = _command(directory, "erase", "person", email, "--reason", "Asked for it", "--yes", code=1)
        assert "last owner" in refused.stderr
        owner = _caller(http, server, "owner")
        assert owner.run("{ viewer { role } }").data["viewer"]

        # What the trail can't hold is refused before a key is destroyed.
        manager = server.sign_ins["manager"][0]
        for reason in ("", "  ", "x" * 2001, "\udcff"):
            refused = _command(directory, "erase", "person", manager, "--reason", reason, "--yes", code=2)
            assert refused.stderr.startswith("fieldward: reason: ")
        assert not (directory / "destructions.jsonl").exists()

        _command(directory, "erase", "organization", "clearwater", "--reason", "Contract ended", "--yes")

        assert owner.run("{ viewer { role } }").errors[0]["extensions"]["code"] == "UNAUTHENTICATED"
        verified = json.loads(_command(directory, "keys", "verify").stdout)
        assert verified["broken"] == []
        assert verified["erased"] > 0
        assert asyncio.run(_untold(directory)) == {}


def _work(http: httpx.Client, server: Server) -> str:
    """Let the collector collect, under both names, and the reviewer approve; return the approved record's id."""
    collector = _caller(http, server, "collector", agent=AGENT)
    project = collector.run("{ projects(first: 1) { nodes { id } } }").data["projects"]["nodes"][0]["id"]
    ids = []
    for name in (NAME, ALIAS):
        new = {
            "projectId": project,
            "siteCode": "WELL-1",
            "collectedAt": "2026-01-05T10:00:00Z",
            "medium": "WATER",
            "collector": name,
        }
        made = collector.run(CREATE, {"input": new}).data["createRecord"]
        assert made["errors"] == [], made
        ids.append(made["record"]["id"])
    _move(collector, "submit", {"id": ids[0], "expectedVersion": 1})
    signature = {"meaning": "APPROVAL", "password": server.sign_ins["reviewer"][1]}
    _move(_caller(http, server, "reviewer"), "approve", {"id": ids[0], "expectedVersion": 2, **signature})
    # Refused, and so in the trail with the collector's reason.
    refused = collector.run(MOVES["delete"], {"input": {"id": ids[1], "expectedVersion": 1, "reason": REASON}})
    assert refused.data["done"]["errors"][0]["code"] == "FORBIDDEN"
    return str(ids[0])


def _move(caller: Caller, verb: str, given: dict[str, Any]) -> None:
    answer = caller.run(MOVES[verb], {"input": given})
    assert answer.data["done"]["errors"] == [], answer.body


def _caller(http: httpx.Client, server: Server, role: str, agent: str = "tests") -> Caller:
    email, password = server.sign_ins[role]
    http.headers["user-agent"] = agent
    return Caller(http, sign_in={"email": email, "password": password})


def _seen(http: httpx.Client, server: Server, role: str) -> str:
    """Return everything that the role is answered: rows, and the trail as far as it may."""
    caller = _caller(http, server, role)
    texts = [caller.run(LOOK).text]
    after: str | None = None
    while True:
        answer = caller.run(TRAIL, {"after": after})
        texts.append(answer.text)
        page = (answer.data or {}).get("auditEntries")
        if not page or not page["pageInfo"]["hasNextPage"]:
            return "\n".join(texts)
        after = page["pageInfo"]["endCursor"]


def _expect_nothing(http: httpx.Client, server: Server, before: dict[str, str]) -> None:
    email, _ = server.sign_ins["collector"]
    for role in ROLES:
        seen = _seen(http, server, role)
        for text in (NAME, ALIAS, AGENT, REASON, email):
            assert text not in seen, f"{role} still reads {text!r}"
        assert "INTERNAL" not in seen
        # Nothing of anybody else has gone with it.
        assert seen.count('"siteCode"') == before[role].count('"siteCode"')
    assert REVIEWER in _seen(http, server, "owner")


def _pseudonyms(http: httpx.Client, server: Server) -> list[str]:
    answer = _caller(http, server, "viewer").run(
        '{ records(filter: {siteCode: {eq: "WELL-1"}}) { nodes { collector } } }'
    )
    found = [node["collector"] for node in answer.data["records"]["nodes"]]
    assert len(set(found)) == 2
    assert all(one.startswith("person-") for one in found)
    return found


def _command(directory: Path, *arguments: str, code: int = 0, told: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command beside the server. told: its standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments, "--json"],
        cwd=ROOT,
        env=environment(directory),
        input=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


def _joined(directory: Path) -> EmbeddedPostgres:
    postgres = EmbeddedPostgres(directory)
    postgres.join()
    return postgres


def _base_backup(directory: Path) -> None:
    """Take a base backup of the running cluster, the keystore with it, as PostgreSQL does."""
    postgres = _joined(directory)
    reached = postgres.superuser()
    subprocess.run(
        [
            postgres.bin_directory / "pg_basebackup",
            f"--pgdata={directory / 'backup'}",
            "--checkpoint=fast",
            f"--host={reached.host}",
            f"--port={reached.port}",
            f"--username={reached.user}",
        ],
        env={**os.environ, "PGPASSWORD": reached.password},
        check=True,
        capture_output=True,
        timeout=120,
    )
    owner = (directory / "postgres").stat()
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", directory / "backup"], check=True)


async def _untold(directory: Path) -> dict[str, int]:
    reached: dict[str, Any] = {**_joined(directory).superuser("fieldward").dsn_parameters()}
    superuser = await asyncpg.connect(**reached)
    try:
        return await untold(superuser)
    finally:
        await superuser.close()
