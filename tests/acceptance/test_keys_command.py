"""`fieldward keys`, beside a server that runs: what it prints, what it changes, and how it ends."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from auth.principal import SYSTEM_ID
from fieldward.embedded import EmbeddedPostgres
from tests.support.server import ROOT, Server, environment, free_port, start_demo


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """The data directory of this file's server, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    yield made / "demo"
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def running(directory: Path) -> Iterator[Server]:
    """A demo that runs beside the commands."""
    server = start_demo(directory, free_port())
    yield server
    assert server.stop() == 0


def keys(directory: Path, *arguments: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", "keys", *arguments],
        cwd=ROOT,
        env=environment(directory, **settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done


def asked(directory: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command that a program reads."""
    found: dict[str, Any] = json.loads(keys(directory, *arguments, "--json", code=code).stdout)
    return found


def test_status_says_what_keys_there_are(directory: Path) -> None:
    found = asked(directory, "status")
    shown = keys(directory, "status").stdout

    assert found["provider"] == "file"
    kinds = {(one["owner_kind"], one["purpose"]): one for one in found["keys"]}
    assert kinds["ORGANIZATION", "VALUES"]["current"] == 2
    assert kinds["PERSON", "VALUES"]["current"] == 9
    assert {one["wrapping_key"] for one in found["keys"]} == {found["wrapping_key"]}
    assert found["wrapping_key"] in shown
    metrics = keys(directory, "status", "--metrics").stdout
    assert f'purpose="VALUES",provider="file",wrapping_key="{found["wrapping_key"]}",state="current"}} 9\n' in metrics
    assert all(line.startswith(("#", "fieldward_")) for line in metrics.splitlines())
    assert len(shown.splitlines()) == 1 + len(found["keys"])


def test_data_keys_are_rotated_and_everything_opens(directory: Path) -> None:
    before = asked(directory, "verify")
    assert before["broken"] == []

    done = asked(directory, "rotate")

    assert done["resumed"] is False
    assert done["replaced"] > 10
    assert done["resealed"] > 300
    assert done["broken"] == []
    after = asked(directory, "verify")
    assert after["broken"] == []
    # The trail keeps what rows were, under the keys of that time, and what they are now.
    assert after["opened"] > before["opened"] + done["resealed"]
    # Nothing is left, but keys are looked at until no server can have them in memory any more.
    again = asked(directory, "rotate")
    assert (again["resumed"], again["resealed"]) == (True, 0)
    told = [json.loads(line) for line in keys(directory, "rotate", "--again", "--json").stderr.splitlines()]
    assert {one["step"] for one in told} == {"Replacing keys", "Sealing values anew"}
    assert all(one["done"] <= one["total"] for one in told)


def test_the_key_encryption_key_is_rotated_and_the_old_one_pruned(directory: Path) -> None:
    before = asked(directory, "status")["wrapping_key"]

    done = asked(directory, "rotate", "--kek")

    assert done["wrapping_key"] != before
    assert done["rewrapped"] > 20
    assert {one["wrapping_key"] for one in asked(directory, "status")["keys"]} == {done["wrapping_key"]}
    assert "wait for 60 s" in keys(directory, "prune", code=1).stderr
    long_ago = time.time() - 3600
    os.utime(directory / "key-encryption-key", (long_ago, long_ago))
    assert asked(directory, "prune") == {"dropped": [before]}
    assert asked(directory, "prune") == {"dropped": []}
    assert asyncio.run(_actions(directory)).count("key.prune") == 2
    assert asked(directory, "verify")["broken"] == []
    assert (directory / "key-encryption-key").stat().st_size == 32


def test_the_key_of_access_tokens_is_rotated_and_revoked_by_command(directory: Path, running: Server) -> None:
    jwks = f"{running.url}/.well-known/jwks.json"
    old = {one["kid"] for one in httpx.get(jwks).json()["keys"]}
    before = asyncio.run(_actions(directory))

    done = asked(directory, "rotate", "--signing")

    assert done["replaced"] == 1
    assert old < set(done["published"])
    kinds = {(one["owner_kind"], one["purpose"]): one for one in asked(directory, "status")["keys"]}
    signing = kinds["SYSTEM", "SIGNING"]
    assert (signing["current"], signing["retired"], signing["left_over"], signing["destroyed"]) == (1, 1, 0, 0)
    metrics = keys(directory, "status", "--metrics").stdout
    assert re.search(r"^fieldward_signing_key_age_seconds \d{1,3}$", metrics, re.MULTILINE)
    revoked = asked(directory, "rotate", "--signing", "--revoke")
    assert revoked["revoked"] == 2
    assert not set(done["published"]) & set(revoked["published"])
    assert asyncio.run(_actions(directory))[len(before) :].count("key.destroy") == 1
    assert asked(directory, "verify")["broken"] == []
    for wrong in (["--kek", "--signing"], ["--revoke"], ["--signing", "--share", "0.5"], ["--signing", "--again"]):
        assert keys(directory, "rotate", *wrong, code=2).stdout == ""


def test_a_key_file_that_is_not_the_keystores_is_refused_before_anything_is_sealed(directory: Path) -> None:
    file = directory / "key-encryption-key"
    kept = file.rename(directory / "kept")
    try:
        for arguments in (["status"], ["rotate", "--again"], ["rotate", "--kek"], ["verify"]):
            done = keys(directory, *arguments, code=1)
            assert "put back the file that belongs to this keystore" in done.stderr
    finally:
        kept.replace(file)

    assert asked(directory, "verify")["broken"] == []


def test_a_value_that_does_not_open_is_named_and_ends_with_5(directory: Path) -> None:
    row_id, change_id = asyncio.run(_spoil(directory))

    in_trail = f"change.record.comment of {change_id}"
    assert asked(directory, "verify", code=5)["broken"] == [f"record.comment of {row_id}", in_trail]
    done = asked(directory, "rotate", "--again", code=5)
    assert done["broken"] == [f"record.comment of {row_id}"]
    assert row_id in keys(directory, "verify", code=5).stdout


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FIELDWARD_KEY_PROVIDER": "aws-kms"}, "FIELDWARD_AWS_KMS_KEY"),
        ({"FIELDWARD_KEY_PROVIDER": "vault-transit", "FIELDWARD_VAULT_URL": "http://127.0.0.1:9"}, "FIELDWARD_VAULT"),
        ({"FIELDWARD_KEY_PROVIDER": "paper"}, "FIELDWARD_KEY_PROVIDER"),
        ({"FIELDWARD_CIPHER": "ROT13"}, "FIELDWARD_CIPHER"),
    ],
)
def test_a_provider_without_what_it_needs_is_refused_by_name(
    directory: Path, settings: dict[str, str], said: str
) -> None:
    assert said in keys(directory, "status", code=2, **settings).stderr


async def _connected(directory: Path) -> asyncpg.Connection:
    """Return a connection to the running database, as its superuser."""
    postgres = EmbeddedPostgres(directory)
    postgres.join()
    reached: dict[str, Any] = {**postgres.superuser("fieldward").dsn_parameters()}
    return await asyncpg.connect(**reached)


async def _actions(directory: Path) -> list[str]:
    """Return what the trail says was done in no organization, each time."""
    superuser = await _connected(directory)
    try:
        rows = await superuser.fetch("select action from audit_entry where organization_id = $1", SYSTEM_ID)
        return [row["action"] for row in rows]
    finally:
        await superuser.close()


async def _spoil(directory: Path) -> tuple[str, int]:
    """Change a byte of a comment behind the triggers' back, and write another into the trail that is no bytes."""
    superuser = await _connected(directory)
    try:
        async with superuser.transaction():
            await superuser.execute("set local session_replication_role = replica")
            await superuser.execute("alter table record disable trigger user")
            row_id = await superuser.fetchval(
                "update record set comment = set_byte(comment, 60, get_byte(comment, 60) # 1)"
                " where id = (select id from record where comment is not null order by id limit 1) returning id"
            )
            for name in ("change_insert", "change_update", "change_delete", "refuse"):
                await superuser.execute(f"alter table record enable always trigger {name}")
            await superuser.execute("alter table change disable trigger user")
            change_id: int = await superuser.fetchval(
                "update change set columns = jsonb_set(columns, '{comment,1}', '\"no bytes\"') where id ="
                " (select max(id) from change where entity = 'record' and columns -> 'comment' ->> 1 is not null)"
                " returning id"
            )
            await superuser.execute("alter table change enable always trigger refuse")
        return str(row_id), change_id
    finally:
        await superuser.close()
