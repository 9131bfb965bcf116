"""A disk that is full: what needs room is refused and what needs none goes on, nothing acknowledged is lost, and when
there is room again the service goes on by itself."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.installation import Installation, Served, installed
from tests.support.served import Caller

LONGEST_REFUSAL_S = 8.0
"""A connection is waited for for five seconds; a refusal takes hardly longer."""
AWAY = {"UNAVAILABLE", "UNKNOWN_OUTCOME"}
READ = '{ records(first: 1, filter: {siteCode: {eq: "BEFORE"}}) { nodes { siteCode } } }'


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a file system of that size, as root alone may, and yield where."""
    directory = Path(tempfile.mkdtemp(prefix="fwd"))
    directory.chmod(0o755)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "none", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        directory.rmdir()
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False)
        directory.rmdir()


def fill(directory: Path) -> Path:
    """Fill the file system to its last byte, and return what fills it."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    assert os.statvfs(directory).f_bavail == 0
    return ballast


def _require_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a file system that can be filled")


def test_a_full_disk_of_the_database_refuses_changes_loses_none_and_is_left_behind() -> None:
    _require_root()
    with small_disk(400) as disk, installed(directory=disk) as installation, installation.served() as served:
        owner = served.signed_in()
        served.begin(owner)
        assert served.create(owner, "BEFORE") is None
        ballast = fill(disk)

        refused: list[str] = []
        slowest = 0.0
        comment = "As much as fits into a comment. " * 60
        end = time.monotonic() + 60
        while len(refused) < 5 and time.monotonic() < end:
            began = time.monotonic()
            code = served.create(owner, f"FULL-{len(served.acknowledged)}", comment)
            slowest = max(slowest, time.monotonic() - began)
            if code is not None:
                refused.append(code)

        # What was refused was refused as what it is: a service that can't at the moment, and said so at once.
        assert len(refused) == 5
        assert set(refused) <= AWAY, refused
        assert slowest < LONGEST_REFUSAL_S
        assert served.status("/health/live") == 200
        _require_read(installation, served, owner)

        ballast.unlink()
        if installation.postgres.postmaster_pid is None:
            # Where not even its log of changes could be written, PostgreSQL has stopped itself: it is started again.
            installation.postgres.stop()
            installation.postgres.start()
        served.wait("/health/ready", 30)
        owner = served.signed_in()
        assert served.create(owner, "AFTER") is None
        there = served.sites(owner)
        assert len(there) == len(set(there))
        assert set(served.acknowledged) <= set(there)
        doubtful = {f"FULL-{number}" for number in range(len(served.acknowledged) + 1)}
        assert set(there) <= {*served.acknowledged, *doubtful}
        assert "Traceback" not in served.log.read_text()
        assert not served.logged("unexpected_error"), served.log.read_text()


def test_a_full_disk_of_the_keys_stops_no_request_and_sealing_goes_on_when_there_is_room() -> None:
    _require_root()
    with installed() as installation, small_disk(2) as disk:
        for file in installation.keys.iterdir():
            (disk / file.name).write_bytes(file.read_bytes())
            (disk / file.name).chmod(0o600)
        disk.chmod(0o700)
        installation.keys = disk
        with installation.served() as served:
            owner = served.signed_in()
            served.begin(owner)
            ballast = fill(disk)
            assert served.create(owner, "WITHOUT-ROOM") is None
            served.wait_for_log("trail_not_sealed")
            assert served.create(owner, "STILL") is None
            assert served.status("/health/ready") == 200

            ballast.unlink()
            at = time.monotonic()
            while _unsealed(installation) and time.monotonic() - at < 40:
                time.sleep(0.5)
            assert _unsealed(installation) == 0
            assert {"WITHOUT-ROOM", "STILL"} <= set(served.sites(owner))


def _require_read(installation: Installation, served: Served, owner: Caller) -> None:
    """What is read goes on as long as PostgreSQL does: a query takes no room."""
    headers = {"authorization": f"Bearer {owner.token}"}
    end = time.monotonic() + LONGEST_REFUSAL_S
    while installation.postgres.postmaster_pid is not None and served.status("/health/ready") == 200:
        answer = served.http.post("/graphql", json={"query": READ}, headers=headers)
        if answer.json().get("data") == {"records": {"nodes": [{"siteCode": "BEFORE"}]}}:
            return
        # It may be stopping itself at this moment.
        assert time.monotonic() < end, answer.text
        time.sleep(0.2)


def _unsealed(installation: Installation) -> int:
    return int(
        installation.value(
            "select count(*) from audit_entry e where e.at < now() - interval '6 seconds' and not exists"
            " (select from sealed_leaf l where l.organization_id = e.organization_id and l.id = e.id)"
        )
    )
