"""A PostgreSQL of an operator's own, backed up and restored by Barman, which our commands drive."""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from auth.role import OrganizationRole
from drills.caller import Caller
from drills.machine import Person
from fieldward.backup.error import BackupError
from fieldward.backup.job import newest_note
from fieldward.backup.restoring import WAYS_IN
from fieldward.cli.barman_restoring import require_restored
from tests.support.barman import SERVER, BarmanMachine
from tests.support.programs import needs
from tests.support.server import ROOT

OWNER: Final = Person("olive@basin.example", OrganizationRole.OWNER)
LEAVER: Final = Person("lee@basin.example", OrganizationRole.MEMBER)
CREATE: Final = (
    "mutation ($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
SUSPEND: Final = "mutation ($input: UserStandingInput!) { suspendUser(input: $input) { errors { code message } } }"
PROJECTS: Final = "{ projects(first: 50) { nodes { code } } }"
RESTORED: Final = '{ auditEntries(first: 9, filter: {action: {eq: "database.restore"}}) { nodes { reason } } }'
WAITS_S: Final = 300.0

pytestmark = needs("rsync")


@dataclass
class House:
    """The machine, and when what comes back was all that there was."""

    machine: BarmanMachine
    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def told(self, *arguments: str, code: int = 0, **more: str) -> Any:
        """Run a command beside the service, and return what it prints as JSON; where it ends with 1 or 2, its words."""
        done = subprocess.run(
            [sys.executable, "-m", "fieldward", *arguments, "--json"],
            cwd=ROOT,
            env=self.machine.environment(**more),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code in {1, 2} else json.loads(done.stdout)

    def restore(self, *arguments: str, code: int = 0, **more: str) -> Any:
        """Restore to the moment."""
        return self.told(
            *("restore", "--from", f"barman:{SERVER}", "--into", str(self.machine.into)),
            *("--to-time", self.moment.isoformat(), "--reason", "The disk failed", *arguments),
            code=code,
            **more,
        )

    def make(self, owner: Caller, code: str) -> None:
        """Make a project."""
        assert not owner.data(CREATE, {"input": {"code": code, "name": code}})["createProject"]["errors"]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """A service over a PostgreSQL of its own, with Barman."""
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    directory.chmod(0o755)
    house = House(BarmanMachine(directory / "m"))
    try:
        with house.machine.standing():
            asyncio.run(house.machine.found([OWNER, LEAVER]))
            house.machine.set_up()
            house.machine.start()
            yield house
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def created(house: House) -> Any:
    """What is told of the first backup."""
    assert house.told("backup", "list") == {"backups": []}
    assert "no backup" in house.told("backup", "verify", code=1)
    return house.told("backup", "create")


def test_barman_makes_a_backup_that_is_read_again_and_has_its_census(house: House, created: Any) -> None:
    (made,) = created["backups"]
    assert created["verified"]
    assert (made["server"], made["status"], made["findings"]) == (SERVER, "DONE", [])
    assert made["rows"] > 0
    assert made["bytes"] > 2**20
    assert datetime.fromisoformat(made["finished_at"]) <= datetime.now(UTC)
    listed = house.told("backup", "list")["backups"][0]
    assert (listed["id"], listed["has_census"]) == (made["id"], True)
    assert house.told("backup", "verify", made["id"])["verified"]
    assert "no backup named 20200101T000000" in house.told("backup", "verify", "20200101T000000", code=1)


def test_a_backup_that_is_damaged_or_has_no_census_is_not_whole(house: House, created: Any) -> None:
    listed = house.told("backup", "list")["backups"][0]
    census = house.machine.kept / f"census-{listed['id']}.json"
    (control,) = house.machine.directory.glob(f"barman/{SERVER}/base/{listed['id']}/data/global/pg_filenode.map")
    kept, whole = census.read_bytes(), control.read_bytes()
    try:
        census.unlink()
        (found,) = house.told("backup", "verify", code=8)["backups"]
        assert [one for one in found["findings"] if "no census" in one]
        assert found["rows"] is None
        census.write_bytes(b"{}")
        found = house.told("backup", "verify", "--all", code=8)["backups"][0]
        assert [one for one in found["findings"] if "census can't be read" in one]
        census.write_bytes(kept)
        control.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        (found,) = house.told("backup", "verify", code=8)["backups"]
        assert [one for one in found["findings"] if "pg_filenode.map" in one]
        assert found["rows"] > 0
    finally:
        census.write_bytes(kept)
        control.write_bytes(whole)
    assert house.told("backup", "verify")["verified"]


def test_what_is_called_wrong_or_can_not_be_done_is_said_and_nothing_is_copied(house: House, created: Any) -> None:
    machine = house.machine
    early = ("restore", "--from", f"barman:{SERVER}", "--into", str(machine.into), "--reason", "Why")

    assert "is not empty" in house.told(*early[:4], str(machine.kept), *early[5:], "--latest", code=1)
    assert "answers" in house.told(*early, "--latest", code=1)
    assert "shell" in house.told(*early[:4], f"{machine.into} $x", *early[5:], "--latest", code=2)
    assert "barman:" in house.told("restore", "--from", "nowhere", *early[3:], "--latest", code=2)
    assert "--keys" in house.told(*early, "--latest", "--keys", str(machine.data), code=2)
    assert "--start" in house.told(
        "restore", "--from", str(machine.kept), *early[3:], "--latest", "--start", "x", code=2
    )
    assert "retention_policy" in house.told("backup", "prune", code=2)
    assert "can't be run" in house.told("backup", "list", code=1, FIELDWARD_BARMAN_COMMAND="/nowhere/barman")
    assert "elsewhere" in house.told("backup", "list", code=1, FIELDWARD_BARMAN_SERVERS="elsewhere")
    assert not machine.into.exists()


def test_a_backup_that_the_hook_keeps_back_is_not_made(house: House, created: Any) -> None:
    hook = house.machine.directory / "before-backup"
    text = hook.read_text()
    hook.write_text("#!/bin/sh\nexit 63\n")
    try:
        assert "barman backup failed" in house.told("backup", "create", code=1)
    finally:
        hook.write_text(text)

    assert len([one for one in house.told("backup", "list")["backups"] if one["status"] == "DONE"]) == 1
    # What it left behind is wrong with no other.
    assert house.told("backup", "verify")["verified"]


def test_a_moment_comes_back_from_barman_and_nothing_that_had_ended(house: House, created: Any) -> None:
    """It comes last: the database ends."""
    machine = house.machine
    with closing(Caller(machine, OWNER)) as owner:
        house.make(owner, "BEFORE")
        time.sleep(1)
        house.moment = datetime.now(UTC)
        time.sleep(1)
        house.make(owner, "AFTER")
        with closing(Caller(machine, LEAVER)) as leaver:
            leaver_id = leaver.data("{ viewer { user { id } } }")["viewer"]["user"]["id"]
        given = {"userId": leaver_id, "reason": "Their laptop was stolen."}
        assert not owner.data(SUSPEND, {"input": given})["suspendUser"]["errors"]
    _note_ways_in(machine)
    assert "at work" in _refused(machine, "", None)
    machine.stop()
    system_id = asyncio.run(_system_id(machine))
    assert "another cluster" in _refused(machine, "1", None)
    assert "not replayed to that moment" in _refused(machine, system_id, house.moment)
    asyncio.run(require_restored(machine.databases("service"), system_id, None))
    machine.primary.stop()
    assert "from before" in house.restore("--to-time", "2026-01-01T00:00:00Z", code=1)
    assert "DATA_DIRECTORY" in house.restore(code=2, FIELDWARD_DATA_DIRECTORY="/nowhere")
    assert "ended with 1. What was copied is there" in house.restore("--start", "false", code=1)
    assert "is not empty" in house.restore("--start", machine.start_command, code=1)
    shutil.rmtree(machine.into)

    told = house.restore("--start", machine.start_command, "--restart-trail")

    assert told["checked"]["miscounts"] == []
    assert told["checked"]["trail_verified"]
    assert told["checked"]["values_broken"] == []
    assert told["checked"]["restarted"]
    assert told["rows_counted"]
    assert told["may_be_served"]
    assert told["next"] is None
    assert datetime.fromisoformat(told["last_transaction_at"]) <= house.moment
    assert told["settled"]["sessions"] >= 1
    assert told["settled"]["closed"] == {"members": 1}
    assert {"verify", "copy", "recover", "settle", "check"} == set(told["took_s"])
    machine.start()
    with closing(Caller(machine, OWNER)) as owner:
        assert [one["code"] for one in owner.data(PROJECTS)["projects"]["nodes"]] == ["BEFORE"]
        assert [one["reason"] for one in owner.data(RESTORED)["auditEntries"]["nodes"]] == ["The disk failed"]
        house.make(owner, "SINCE")


def _note_ways_in(machine: BarmanMachine) -> None:
    """Have the service note what stands, as it does at its start, and then every minute."""
    noted = newest_note([machine.data / WAYS_IN])
    assert noted is not None
    machine.stop()
    machine.start()
    end = time.monotonic() + WAITS_S
    while (now := newest_note([machine.data / WAYS_IN])) is None or now.at <= noted.at:
        assert time.monotonic() < end
        time.sleep(0.1)


def _refused(machine: BarmanMachine, system_id: str, moment: datetime | None) -> str:
    """Return why what runs is not taken for what was restored."""
    with pytest.raises(BackupError) as refused:
        asyncio.run(require_restored(machine.databases("service"), system_id, moment))
    return str(refused.value)


async def _system_id(machine: BarmanMachine) -> str:
    async with machine.superuser() as superuser:
        return str(await superuser.fetchval("select system_identifier from pg_control_system()"))
