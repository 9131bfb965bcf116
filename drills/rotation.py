"""Rotating every key under load, with the rotation killed twice: no request fails, no value is lost.

Readers and writers go on for the whole time, over one server process. Beside it `fieldward keys rotate` replaces all
data keys; it is ended by SIGKILL when it is a third and two thirds through, and started again. Then the key-encryption
key is rotated. At the end every value is opened, those in the trail as well, and rows are counted.
"""

import asyncio
import json
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.dataset import Dataset
from bench.process import ROOT
from bench.server import Databases
from bench.targets.base import Setting
from bench.targets.fieldward import FieldwardTarget
from drills.error import DrillError, require
from drills.load import Load

LIFETIME_S: Final = 20
"""For so long the server keeps a key in memory: short, so that the drill lasts longer than that."""
KILLED_AT: Final = (1 / 3, 2 / 3)
WARM_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation under load was like. Times are of requests, in milliseconds, while it ran and before."""

    records: int
    took_s: float
    replaced: int
    resealed: int
    kills: int
    read: int
    values: int
    created: int
    updated: int
    opened: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    p50_before_ms: float
    p99_before_ms: float


class _Target(FieldwardTarget):
    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(FIELDWARD_DATA_KEY_LIFETIME_S=str(LIFETIME_S), **more)


def rotate_under_load(directory: Path, records: int, *, share: float, say: Any = lambda _: None) -> Rotated:
    """Go through the drill and return what it was like.

    Raises:
        DrillError: a request failed, a value does not open, or rows are missing.
    """
    with Databases(directory) as databases, ExitStack() as stack:
        target = _Target(Setting(Dataset(records), databases, directory), with_measurements=False)
        say(f"{records:,} records")
        target.prepare()
        target.start(stack)
        before = asyncio.run(_count(databases, target))
        load = Load(target)
        with load.running() as counts:
            time.sleep(WARM_S)
            with counts.lock:
                quiet, counts.took_s = counts.took_s, []
            began = time.monotonic()
            kills = sum(_rotate_and_kill(target, at, share, say) for at in KILLED_AT)
            done = _command(target, "keys", "rotate", "--share", str(share), say=say)
            replaced = asyncio.run(_replaced(databases))
            _command(target, "keys", "rotate", "--kek", say=say)
            # What the server sealed with old keys before it heard of the new ones.
            late = _command(target, "keys", "rotate", "--share", str(share), say=say)
            took_s = time.monotonic() - began
            with counts.lock:
                busy = list(counts.took_s)
        require(not counts.failures, f"{len(counts.failures)} requests failed, the first: {counts.failures[:1]}")
        require(kills == len(KILLED_AT), f"the rotation was killed {kills} times")
        after = asyncio.run(_count(databases, target))
        require(after == before + counts.created, f"{after} records, expected {before} and {counts.created} more")
        under_old = asyncio.run(_under_old_keys(databases, target))
        require(not under_old, f"{under_old} values lie under keys that were replaced")
        verified = _command(target, "keys", "verify", say=say)
        require(verified["broken"] == [], f"values do not open: {verified['broken'][:3]}")
        say("every value opens")
        require(done["broken"] == [] == late["broken"], "values were broken before they were sealed anew")
        return Rotated(
            records=records,
            took_s=took_s,
            replaced=replaced,
            resealed=asyncio.run(_resealed(databases, target)),
            kills=kills,
            read=counts.read,
            values=counts.values,
            created=counts.created,
            updated=counts.updated,
            opened=verified["opened"],
            **_times(busy, quiet),
        )


def _times(busy: list[float], quiet: list[float]) -> dict[str, float]:
    def of(found: list[float], percent: int) -> float:
        return statistics.quantiles(found, n=100)[percent - 1] * 1000

    return {
        "p50_ms": of(busy, 50),
        "p99_ms": of(busy, 99),
        "slowest_ms": max(busy) * 1000,
        "p50_before_ms": of(quiet, 50),
        "p99_before_ms": of(quiet, 99),
    }


def _rotate_and_kill(target: FieldwardTarget, at: float, share: float, say: Any) -> int:
    """Start a rotation, and end it by SIGKILL when so much of what it found to do is done. Return whether it was."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fieldward", "keys", "rotate", "--share", str(share), "--json"],
        cwd=ROOT,
        env=target.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            told = _progress(line)
            if told is not None and told["step"].startswith("Sealing") and told["done"] >= at * (told["total"] or 1):
                process.send_signal(signal.SIGKILL)
                process.wait()
                say(f"killed at {told['done']:,} of {told['total']:,} rows")
                return 1
    process.wait()
    return 0


def _progress(line: str) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return told if "step" in told else None


def _command(target: FieldwardTarget, *arguments: str, say: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments, "--json"],
        cwd=ROOT,
        env=target.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DrillError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    say(f"{' '.join(arguments)}: { ({name: one for name, one in found.items() if one}) }")
    return found


async def _count(databases: Databases, target: FieldwardTarget) -> int:
    async with databases.superuser(target.database) as superuser:
        return int(await superuser.fetchval("select count(*) from record"))


async def _replaced(databases: Databases) -> int:
    async with databases.superuser("fieldward_keys") as superuser:
        return int(await superuser.fetchval("select count(*) from wrapped_key where retired_at is not null"))


async def _resealed(databases: Databases, target: FieldwardTarget) -> int:
    async with databases.superuser(target.database) as superuser:
        return int(
            await superuser.fetchval(
                "select count(*) from change c join audit_entry e on e.id = c.entry_id where e.action = 'key.reseal'"
            )
        )


async def _under_old_keys(databases: Databases, target: FieldwardTarget) -> int:
    async with databases.superuser("fieldward_keys") as superuser:
        old = [
            row["id"].bytes for row in await superuser.fetch("select id from wrapped_key where retired_at is not null")
        ]
    async with databases.superuser(target.database) as superuser:
        return int(
            await superuser.fetchval(
                "select (select count(*) from record where substring(comment from 3 for 16) = any($1::bytea[])"
                "  or substring(collector from 3 for 16) = any($1::bytea[]))"
                " + (select count(*) from membership where substring(name from 3 for 16) = any($1::bytea[]))"
                " + (select count(*) from user_account where substring(email from 3 for 16) = any($1::bytea[]))",
                old,
            )
        )
