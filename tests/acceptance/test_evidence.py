"""`fieldward evidence`, beside a server that runs: what is collected, what is not in it, and how it is verified."""

import asyncio
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from fieldward.cli.evidence import _json, wrong_with
from fieldward.demo.people import PEOPLE
from fieldward.embedded import EmbeddedPostgres
from fieldward.measure import MEASURES
from models.ledger.checkpoint import HeadSigner, VerifierKey
from resolvers.evidence import _COUNTED
from tests.support.server import ROOT, Server, environment, free_port, start_demo

SECRET: Final = "a-token-of-metrics-8a1f"
ADDRESS: Final = "alarms.person@clearwater.example"
GROUPED: Final = " group by "
WITHIN: Final = " where organization_id = (select id from organization where slug = 'clearwater')"
MOVING: Final = frozenset({"trail", "incidents", "alarms"})
"""What is counted of that which a service that runs goes on to make."""
SETTINGS: Final = {
    "FIELDWARD_METRICS_TOKEN": SECRET,
    "FIELDWARD_ALARM_EMAIL_TO": ADDRESS,
    "FIELDWARD_SMTP_HOST": "localhost",
    "FIELDWARD_SMTP_FROM": ADDRESS,
}


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


@pytest.fixture(scope="module")
def collected(directory: Path, running: Server) -> tuple[Path, str]:
    """An archive of the demo's organization, and the key by which it is verified."""
    out = directory.parent / "evidence.zip"
    done = evidence(directory, "collect", "--organization", "clearwater", "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["trail_verified"] is True
    return out, told["verifier_key"]


def evidence(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of evidence."""
    return command(directory, "evidence", *arguments)


def command(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    return subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments],
        cwd=ROOT,
        env=environment(directory, **SETTINGS),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def files(out: Path) -> dict[str, bytes]:
    """Return what is in an archive."""
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rows(directory: Path, text: str) -> list[dict[str, Any]]:
    """Return the rows of a statement past the service."""

    async def fetch() -> list[dict[str, Any]]:
        postgres = EmbeddedPostgres(directory)
        postgres.join()
        connection = await asyncpg.connect(**dict(postgres.superuser("fieldward").dsn_parameters()))
        try:
            return [dict(row) for row in await connection.fetch(text)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_every_measure_has_its_figures_and_they_are_the_database_s(
    directory: Path, collected: tuple[Path, str]
) -> None:
    held = files(collected[0])
    measures = {one["key"]: one for one in json.loads(held["measures.json"])["measures"]}
    organization = json.loads(held["organization.json"])

    assert set(measures) == {one.key for one in MEASURES}
    for one in MEASURES:
        assert set(measures[one.key]["figures"]) == set(one.figures)
    plain = {name: text for name, text in _COUNTED.items() if GROUPED in text}
    assert len(plain) > 15
    for name, text in plain.items():
        counted = sorted(organization[name], key=str)
        found = sorted(json.loads(_json(rows(directory, text.replace(GROUPED, f"{WITHIN}{GROUPED}")))), key=str)
        if name in MOVING:
            assert sum(one["count"] for one in counted) <= sum(one["count"] for one in found), name
        else:
            assert counted == found, name
    assert organization["people"]
    assert organization["records"]
    assert organization["trail"]
    installation = json.loads(held["installation.json"])
    role = installation["database"]["role"]
    assert role["is_superuser"] is False
    assert role["passes_row_security"] is False
    assert role["owned_relations"] == 0
    assert installation["backups"]["is_archiving"] is False
    assert installation["backups"]["newest_age_s"] is None
    # The service's role is shown nothing of them, and it is not said that there are none.
    assert installation["standbys"]["by_sync_state"] is None
    assert "pg_read_all_stats" in installation["standbys"]["reason"]
    assert json.loads(held["trail.json"])["sealed_entries"] > 0


def test_nothing_of_anybody_is_in_it_and_no_secret(collected: tuple[Path, str]) -> None:
    held = files(collected[0])

    for name, content in held.items():
        for person in PEOPLE:
            assert person.email.encode() not in content, name
            assert person.name.encode() not in content, name
        assert SECRET.encode() not in content, name
        assert ADDRESS.encode() not in content, name
    settings = json.loads(held["settings.json"])
    assert settings["FIELDWARD_METRICS_TOKEN"] == settings["FIELDWARD_ALARM_EMAIL_TO"] == "set"
    assert settings["FIELDWARD_VAULT_TOKEN"] == "not set"
    assert settings["FIELDWARD_SESSION_LIFETIME_H"] == 12.0
    assert settings["FIELDWARD_KEY_PROVIDER"] == "file"


def altered(name: str, content: bytes) -> bytes:
    """Return a file with a change in it: of the manifest, in what is signed of it (DSSE signs no spaces around it)."""
    if name != "manifest.json":
        return content + b" "
    envelope = json.loads(content)
    payload = base64.b64decode(envelope["payload"]).replace(b"clearwater", b"clearwatch")
    return json.dumps({**envelope, "payload": base64.b64encode(payload).decode()}).encode()


def test_it_is_verified_by_the_key_and_a_change_of_any_file_is_found(
    directory: Path, collected: tuple[Path, str]
) -> None:
    out, key = collected
    held = files(out)
    assert evidence(directory, "check", str(out), "--key", key).returncode == 0

    changed = directory.parent / "changed.zip"
    for name in held:
        for content in (altered(name, held[name]), None):
            with zipfile.ZipFile(changed, "w") as archive:
                for other, kept in held.items():
                    if other != name or content is not None:
                        archive.writestr(other, kept if other != name else content or b"")
            # By what the command asks: it takes seconds to begin, and there are many files.
            assert wrong_with(changed, VerifierKey.parse(key)), name
    done = evidence(directory, "check", str(changed), "--key", key)
    assert done.returncode == 7, done.stdout
    assert "Traceback" not in done.stderr
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in {**held, "more.json": b"{}"}.items():
            archive.writestr(name, content)
    assert wrong_with(changed, VerifierKey.parse(key))
    changed.write_bytes(out.read_bytes()[:-200])
    assert wrong_with(changed, VerifierKey.parse(key))
    whole = bytearray(out.read_bytes())
    with zipfile.ZipFile(out) as archive:
        first = archive.infolist()[0]
    # In the middle of what is packed.
    whole[first.header_offset + first.compress_size // 2] ^= 0xFF
    changed.write_bytes(whole)
    assert wrong_with(changed, VerifierKey.parse(key))


def test_it_is_verified_by_the_key_that_the_trail_has(directory: Path, collected: tuple[Path, str]) -> None:
    printed = command(directory, "audit", "key")
    assert printed.returncode == 0, printed.stderr

    done = evidence(directory, "check", str(collected[0]), "--key", printed.stdout.strip())

    assert done.returncode == 0, done.stderr
    assert printed.stdout.strip() != collected[1]


def test_another_s_key_verifies_nothing_and_what_is_no_key_is_refused(
    directory: Path, collected: tuple[Path, str]
) -> None:
    out, key = collected

    other = HeadSigner.generate().verifier_key(VerifierKey.parse(key).name)

    assert evidence(directory, "check", str(out), "--key", str(other)).returncode == 7
    done = evidence(directory, "check", str(out), "--key", "nothing")
    assert done.returncode == 2
    assert "--key" in done.stderr


def test_collecting_stands_in_the_trail_and_who_may_not_read_the_trail_collects_nothing(
    directory: Path, collected: tuple[Path, str]
) -> None:
    out = directory.parent / "refused.zip"
    done = evidence(
        directory,
        *("collect", "--organization", "clearwater", "--out", str(out), "--as", "viewer@clearwater.example"),
    )
    assert done.returncode == 1
    assert not out.exists()
    again = evidence(directory, "collect", "--organization", "clearwater", "--out", str(collected[0]))
    assert again.returncode == 1
    assert "is there already" in again.stderr
    unknown = evidence(directory, "collect", "--organization", "nobody", "--out", str(out))
    assert unknown.returncode == 1

    entries = rows(directory, "select kind, outcome from audit_entry where action = 'evidence.collect' order by id")
    assert [(one["kind"], one["outcome"]) for one in entries] == [("CHANGE", "DONE"), ("ATTEMPT", "DENIED")]
