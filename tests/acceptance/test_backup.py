"""Backups of a running service, and the way back: what was there is there, and what had ended stays ended."""

import asyncio
import json
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import pytest

from auth.role import OrganizationRole
from bench.process import children_of, free_port
from drills.caller import Caller
from drills.machine import Machine, Person
from fieldward.backup.catalogue import ABOUT
from fieldward.backup.job import newest_note
from fieldward.backup.restoring import WAYS_IN
from tests.support.server import ROOT

OWNER: Final = Person("olive@basin.example", OrganizationRole.OWNER)
WRITER: Final = Person("wren@basin.example", OrganizationRole.MEMBER)
LEAVER: Final = Person("lee@basin.example", OrganizationRole.MEMBER)
ERASED: Final = Person("zuleika-qx7@basin.example", OrganizationRole.MEMBER)
PEOPLE: Final = (OWNER, WRITER, LEAVER, ERASED)
WAITS_S: Final = 300.0

SIGN_IN: Final = (
    "mutation ($input: SignInInput!) { signIn(input: $input) { accessToken refreshToken errors { code } } }"
)
REFRESH: Final = (
    "mutation ($input: RefreshSessionInput!) { refreshSession(input: $input) { accessToken errors { code } } }"
)
WHO: Final = "{ viewer { user { id } } }"
PROJECTS: Final = "{ projects(first: 50) { nodes { code } } }"
CREATE: Final = (
    "mutation ($input: CreateProjectInput!) { createProject(input: $input) { project { id } errors { code } } }"
)
RESTORED: Final = '{ auditEntries(first: 9, filter: {action: {eq: "database.restore"}}) { nodes { reason } } }'
SUSPEND: Final = "mutation ($input: UserStandingInput!) { suspendUser(input: $input) { errors { code message } } }"


@dataclass
class House:
    """A service with backups, to which things happened before and after a moment."""

    machine: Machine
    backups: Path
    moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    tokens: dict[str, str] = field(default_factory=dict)
    destroyed: list[bytes] = field(default_factory=list)

    def run(self, *arguments: str, code: int = 0, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command beside the service."""
        done = subprocess.run(
            [sys.executable, "-m", "fieldward", *arguments],
            cwd=ROOT,
            env=self.machine.environment(**more),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def told(self, *arguments: str, code: int = 0, **more: str) -> Any:
        """Run a command and return what it prints as JSON."""
        return json.loads(self.run(*arguments, "--json", code=code, **more).stdout)

    def restore(self, into: Path, *arguments: str, code: int = 0) -> Any:
        """Restore, and return what it prints."""
        return self.told(
            *("restore", "--from", str(self.backups), "--into", str(into), "--keys", str(self.machine.data)),
            *("--reason", "The disk failed", *arguments),
            code=code,
        )

    def restored(self, name: str) -> Machine:
        """Return another machine, for what is restored."""
        other = Machine(self.machine.directory.with_name(name))
        other.directory.mkdir(mode=0o755)
        return other


def ask(machine: Machine, text: str, variables: Any = None, token: str = "") -> Any:
    """Ask the service something, and return its answer."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    body = {"query": text, "variables": variables or {}}
    return httpx.post(machine.url, json=body, headers=headers, timeout=30, trust_env=False).json()


def signed_in(machine: Machine, person: Person) -> dict[str, Any]:
    """Sign somebody in, and return what they were answered."""
    given = {"email": person.email, "password": person.password}
    answer: dict[str, Any] = ask(machine, SIGN_IN, {"input": given})
    return (answer["data"] or {}).get("signIn") or {"errors": answer["errors"]}


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory of this module's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def house(directory: Path) -> Iterator[House]:
    """A backup, a project before the moment; after it another, somebody who was suspended, and somebody erased."""
    backups = directory / "backups"
    backups.mkdir(mode=0o700)
    machine = Machine(
        directory / "house", FIELDWARD_BACKUP_DIRECTORY=str(backups), FIELDWARD_BACKUP_ARCHIVE_TIMEOUT_S="1"
    )
    house = House(machine, backups)
    with machine.standing():
        asyncio.run(machine.found(PEOPLE))
        machine.start()
        house.run("backup", "create")
        opened = signed_in(machine, WRITER)
        house.tokens = {"access": opened["accessToken"], "refresh": opened["refreshToken"]}
        with closing(Caller(machine, OWNER)) as owner:
            assert not owner.data(CREATE, {"input": {"code": "BEFORE", "name": "Before"}})["createProject"]["errors"]
            time.sleep(1)
            house.moment = datetime.now(UTC)
            time.sleep(1)
            assert not owner.data(CREATE, {"input": {"code": "AFTER", "name": "After"}})["createProject"]["errors"]
            with closing(Caller(machine, LEAVER)) as leaver:
                leaver_id = leaver.data(WHO)["viewer"]["user"]["id"]
            given = {"userId": leaver_id, "reason": "Their laptop was stolen."}
            assert not owner.data(SUSPEND, {"input": given})["suspendUser"]["errors"]
        keys = asyncio.run(_wrapped(machine))
        house.run("erase", "person", ERASED.email, "--reason", "Asked for it", "--yes")
        house.destroyed = sorted(keys - asyncio.run(_wrapped(machine)))
        noted = newest_note([machine.data / WAYS_IN])
        assert noted is not None
        # At its start a service notes what stands, and then every minute.
        machine.stop()
        machine.start()
        deadline = time.monotonic() + WAITS_S
        while (now := newest_note([machine.data / WAYS_IN])) is None or now.at <= noted.at:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        asyncio.run(_archived(machine))
        yield house


async def _wrapped(machine: Machine) -> set[bytes]:
    """Return the data keys as they are stored."""
    parameters: dict[str, Any] = dict(machine.joined().superuser("fieldward_keys").dsn_parameters())
    connection = await asyncpg.connect(**parameters)
    try:
        return {row[0] for row in await connection.fetch("select wrapped from wrapped_key where wrapped is not null")}
    finally:
        await connection.close()


async def _archived(machine: Machine) -> None:
    async with machine.superuser() as superuser:
        last = await superuser.fetchval("select pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + WAITS_S
        while await superuser.fetchval("select coalesce(last_archived_wal < $1, true) from pg_stat_archiver", last):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


def test_a_moment_comes_back_and_nothing_that_had_ended(house: House) -> None:
    other = house.restored("moment")

    told = house.restore(other.data, "--to-time", house.moment.isoformat(), "--restart-trail")

    assert datetime.fromisoformat(told["last_transaction_at"]) <= house.moment
    assert told["checked"]["miscounts"] == []
    assert told["checked"]["trail_verified"]
    assert told["checked"]["values_broken"] == []
    assert told["checked"]["values_erased"] > 0
    assert told["checked"]["restarted"]
    assert told["checked"]["set_back"] == []
    assert told["erasures"] == 1
    assert told["settled"]["sessions"] >= 2
    assert told["settled"]["closed"] == {"members": 1}
    with other.standing():
        other.start()
        owner = signed_in(other, OWNER)["accessToken"]
        codes = [one["code"] for one in ask(other, PROJECTS, token=owner)["data"]["projects"]["nodes"]]
        assert codes == ["BEFORE"]
        # Whoever was signed in is not any more, by either token.
        assert _code(ask(other, WHO, token=house.tokens["access"])) == "UNAUTHENTICATED"
        assert _code(ask(other, REFRESH, {"input": {"refreshToken": house.tokens["refresh"]}})) == "UNAUTHENTICATED"
        assert signed_in(other, WRITER)["accessToken"]
        # Nobody gets in whom the database took in again.
        assert "accessToken" not in signed_in(other, LEAVER)
        assert "accessToken" not in signed_in(other, ERASED)
        said = ask(other, RESTORED, token=owner)
        assert [one["reason"] for one in said["data"]["auditEntries"]["nodes"]] == ["The disk failed"]
    assert ERASED.email.encode() not in b"".join(one.read_bytes() for one in other.data.glob("*.log"))


def test_the_newest_comes_back_whole(house: House) -> None:
    other = house.restored("newest")

    told = house.restore(other.data, "--latest")

    assert told["checked"]["miscounts"] == []
    assert told["settled"]["closed"] == {}
    with other.standing():
        other.start()
        owner = signed_in(other, OWNER)["accessToken"]
        codes = {one["code"] for one in ask(other, PROJECTS, token=owner)["data"]["projects"]["nodes"]}
        assert codes == {"BEFORE", "AFTER"}


def test_who_restores_to_before_what_was_published_is_led_on(house: House) -> None:
    other = house.restored("set-back")
    arguments = ("--to-time", house.moment.isoformat())

    told = house.restore(other.data, *arguments, code=6)

    slugs = {one["slug"] for one in told["checked"]["set_back"]}
    assert {"basin", "-"} & slugs
    assert told["checked"]["trail_verified"]
    assert told["may_be_served"]
    assert not (other.data / "restore.unfinished").exists()
    with other.standing():
        pass


def test_what_is_not_as_it_must_be_is_not_served_without_a_word(house: House, directory: Path) -> None:
    copy = _copied(house, directory)
    (newest,) = [one["id"] for one in house.told("backup", "list")["backups"]][-1:]
    (about,) = copy.glob(f"line-*/base/{newest}/{ABOUT}")
    said = json.loads(about.read_text())
    (tables,) = [one for one in said["census"]["rows"].values() if "membership" in one]
    tables["membership"] += 1
    about.write_text(json.dumps(said))
    other = house.restored("miscounted")
    arguments = ("restore", "--from", str(copy), "--into", str(other.data), "--keys", str(house.machine.data))

    told = house.told(*arguments, "--latest", "--reason", "The disk failed", code=7)

    assert told["may_be_served"] is False
    assert told["settled"]["knows_ways_in"]
    assert told["took_s"]["start"] > 0
    elsewhere = {"FIELDWARD_DATA_DIRECTORY": str(other.data), "FIELDWARD_PORT": str(free_port())}
    refused = house.run("serve", code=1, **elsewhere)
    assert "check found something" in refused.stderr
    assert "restore.unfinished" in refused.stderr
    # Who knows better says so by hand.
    (other.data / "restore.unfinished").unlink()
    with other.standing():
        other.start()
        assert signed_in(other, OWNER)["accessToken"]


def test_without_the_check_what_is_restored_may_be_served(house: House) -> None:
    other = house.restored("unchecked")

    told = house.restore(other.data, "--latest", "--no-check")

    assert (told["checked"], told["may_be_served"]) == (None, True)
    assert not (other.data / "restore.unfinished").exists()


def test_backups_are_closed_to_others_and_hold_no_key(house: House) -> None:
    for path in house.backups.rglob("*"):
        # PostgreSQL's user may pass through the directory of its line, by an access control list.
        assert stat.S_IMODE(path.lstat().st_mode) & (0o007 if path.is_dir() else 0o077) == 0, path
    wrapping = (house.machine.data / "key-encryption-key").read_bytes()
    names = {path.name for path in house.backups.rglob("*")}
    assert not names & {"key-encryption-key", "audit-signing-key.pem", "database.json"}
    for path in house.backups.rglob("*"):
        if path.is_file() and path.stat().st_size < 2**27:
            assert wrapping[:32] not in path.read_bytes(), path


def test_a_backup_that_was_killed_is_not_taken_for_whole(house: House) -> None:
    before = [one["id"] for one in house.told("backup", "list")["backups"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldward", "backup", "create", "--rate-mib", "1"],
        cwd=ROOT,
        env=house.machine.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + WAITS_S
    while not list(house.backups.glob("line-*/base/*.unfinished/data/base")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    assert children_of(process.pid)

    process.kill()
    process.wait()

    assert [one["id"] for one in house.told("backup", "list")["backups"]] == before
    assert list(house.backups.glob("line-*/base/*.unfinished"))
    # What it had begun goes on by itself, until the next one ends it.
    house.run("backup", "create")
    after = [one["id"] for one in house.told("backup", "list")["backups"]]
    assert (after[:-1], len(after)) == (before, len(before) + 1)
    assert not list(house.backups.glob("line-*/base/*.unfinished"))
    deadline = time.monotonic() + WAITS_S
    while any(str(house.backups).encode() in one and b".unfinished" in one for one in _command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _command_lines() -> Iterator[bytes]:
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield one.read_bytes()


def test_a_backup_that_began_after_an_erasure_holds_nothing_of_its_keys(house: House) -> None:
    assert house.destroyed
    house.run("backup", "create")
    first, *_, newest = [one["id"] for one in house.told("backup", "list")["backups"]]

    held = {name: _holding(house.backups, name, house.destroyed) for name in (first, newest)}

    # From before it is as it was, or this would find nothing.
    assert held[first]
    assert not held[newest]


def _holding(backups: Path, name: str, keys: list[bytes]) -> list[Path]:
    (files,) = backups.glob(f"line-*/base/{name}/data")
    paths = [path for path in files.rglob("*") if path.is_file()]
    return [path for path in paths if any(key in path.read_bytes() for key in keys)]


def test_what_is_not_empty_is_not_restored_into(house: House, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")

    refused = house.run(
        *(
            "restore",
            "--from",
            str(house.backups),
            "--into",
            str(tmp_path),
            "--keys",
            str(house.machine.data),
        ),
        *("--latest", "--reason", "The disk failed"),
        code=1,
    )

    assert "not empty" in refused.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to-time", "2020-01-01T00:00:00Z"), "no backup from before"),
        (("--to-time", "2035-01-01T00:00:00Z"), "The archive ends before"),
        (("--latest", "--backup", "20200101T000000Z-aaaa"), "no backup 20200101T000000Z-aaaa"),
    ],
    ids=["before the first backup", "after the end", "no such backup"],
)
def test_a_moment_that_can_not_be_had_is_told(
    house: House, directory: Path, arguments: tuple[str, ...], said: str
) -> None:
    into = Path(tempfile.mkdtemp(dir=directory)) / "into"

    refused = house.run(
        *("restore", "--from", str(house.backups), "--into", str(into), "--keys", str(house.machine.data)),
        *(*arguments, "--reason", "The disk failed"),
        code=1,
    )

    assert said in refused.stderr
    if into.exists():
        # What was begun is not served.
        served = house.run("serve", code=1, FIELDWARD_DATA_DIRECTORY=str(into), FIELDWARD_PORT=str(free_port()))
        assert "not finished" in served.stderr


def test_without_the_key_nothing_is_restored(house: House, tmp_path: Path) -> None:
    refused = house.run(
        *("restore", "--from", str(house.backups), "--into", str(tmp_path / "into"), "--keys", str(tmp_path)),
        *("--latest", "--reason", "The disk failed"),
        code=1,
    )

    assert "key-encryption-key" in refused.stderr


def test_another_key_file_opens_nothing_and_is_refused(house: House, directory: Path) -> None:
    keys = Path(tempfile.mkdtemp(dir=directory))
    shutil.copy(house.machine.data / "audit-signing-key.pem", keys)
    other = Machine(directory / "stranger")
    asyncio.run(_found(other))
    shutil.copy(other.data / "key-encryption-key", keys)
    into = directory / "locked"

    refused = house.run(
        *("restore", "--from", str(house.backups), "--into", str(into), "--keys", str(keys)),
        *("--latest", "--reason", "The disk failed"),
        code=1,
    )

    assert "key" in refused.stderr
    assert (into / "restore.unfinished").exists()


async def _found(machine: Machine) -> None:
    machine.directory.mkdir(mode=0o755)
    await machine.found([Person("stranger@creek.example", OrganizationRole.OWNER, organization="creek")])


def _code(answer: Any) -> str:
    errors = answer.get("errors") or next(iter(answer["data"].values()))["errors"]
    code: str = (errors[0].get("extensions") or errors[0])["code"]
    return code


def _copied(house: House, directory: Path) -> Path:
    made = Path(tempfile.mkdtemp(dir=directory)) / "backups"
    shutil.copytree(house.backups, made)
    return made


def test_a_damaged_file_is_told_and_not_restored(house: House, directory: Path) -> None:
    copy = _copied(house, directory)
    (newest,) = [one["id"] for one in house.told("backup", "list")["backups"]][-1:]
    (files,) = copy.glob(f"line-*/base/{newest}/data/base/1")
    largest = max(files.iterdir(), key=lambda one: one.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)

    verified = house.told("backup", "verify", code=8, FIELDWARD_BACKUP_DIRECTORY=str(copy))
    refused = house.run(
        *(
            "restore",
            "--from",
            str(copy),
            "--into",
            str(directory / "damaged"),
            "--keys",
            str(house.machine.data),
        ),
        *("--latest", "--reason", "The disk failed"),
        code=8,
    )

    assert not verified["verified"]
    assert largest.name in verified["backups"][0]["findings"][0]
    assert "damaged" in refused.stderr
    assert house.told("backup", "verify", "--all")["verified"]


def test_missing_and_damaged_wal_is_told(house: House, directory: Path) -> None:
    copy = _copied(house, directory)
    first = house.told("backup", "list")["backups"][0]["id"]
    segments = sorted(one for one in copy.glob("line-*/wal/*.gz") if len(one.stem) == 24)
    assert len(segments) > 4
    gone, broken = segments[-2], segments[-3]
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:-100])

    listed = house.told("backup", "list", FIELDWARD_BACKUP_DIRECTORY=str(copy))["backups"][0]
    told = house.told("backup", "verify", first, code=8, FIELDWARD_BACKUP_DIRECTORY=str(copy))
    found = told["backups"][0]["findings"]
    refused = house.run(
        *(
            "restore",
            "--from",
            str(copy),
            "--into",
            str(directory / "gap"),
            "--keys",
            str(house.machine.data),
        ),
        *("--latest", "--backup", first, "--reason", "The disk failed"),
        code=8,
    )

    assert listed["missing"] == gone.stem
    assert any(gone.stem in one for one in found)
    assert any(broken.stem in one for one in found)
    assert gone.stem in refused.stderr


def test_another_tools_restore_is_checked_and_settled(house: House, tmp_path: Path) -> None:
    """It ends everybody's sign-ins, so it comes last."""
    census = tmp_path / "census.json"
    house.told("backup", "census", "--out", str(census))
    with closing(Caller(house.machine, OWNER)) as owner:
        assert not owner.data(CREATE, {"input": {"code": "LATER", "name": "Later"}})["createProject"]["errors"]

    told = house.told("verify-restore", "--census", str(census), "--settle", "--reason", "The disk failed")

    assert told["checked"]["miscounts"] == []
    assert told["checked"]["trail_verified"]
    assert told["settled"]["knows_ways_in"]
    assert told["settled"]["sessions"] > 0
    counted = json.loads(census.read_text())
    (tables,) = [one for one in counted["rows"].values() if "project" in one]
    tables["project"] += 1
    census.write_text(json.dumps(counted))
    wrong = house.told("verify-restore", "--census", str(census), code=7)
    assert "project of" in wrong["checked"]["miscounts"][0]
    refused = house.run("verify-restore", "--settle", code=2)
    assert "--reason" in refused.stderr
