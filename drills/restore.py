"""A database restored to a moment at which many wrote: what was committed by then is there, and nothing else.

A database is filled to a size, by audited changes. A backup is made while writers go on over HTTP; some time later a
moment is taken in their midst, and they go on. Then it is restored to that moment from backup and archive, and held
against what was acknowledged by then. Which transaction is the last before the moment is found out besides by
PostgreSQL's own reading of the archived WAL.
"""

import asyncio
import gzip
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from bench.process import ROOT
from drills.crash import scene
from drills.error import DrillError, require
from drills.fold import untold
from drills.journal import Kept
from drills.machine import ORGANIZATION, Machine
from drills.timed import AsOf, TimedRound
from drills.writer import Writer
from fieldward.backup.line import noted_line
from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.embedded import postgres_programs
from fieldward.settings import Settings
from models.base import new_id
from models.project import Project
from models.record import Medium, Record
from resolvers.change import Change, Intent, commit_change

PROMISED_S: Final = 1800.0
"""The promise: so many seconds from the decision to restore until it is served again, without the checks."""
BATCH: Final = 2000
"""Records of one change."""
LOOK_EVERY: Final = 10
"""Changes after which it is looked how large the database is."""
WORDS: Final = ("silt", "reed", "riffle", "gauge", "turbid", "upstream", "culvert", "alder", "gravel", "calm", "probe")
COMMENT_WORDS: Final = 90
WRITING_S: Final = 4.0
"""Seconds that writers write before, and after, the moment."""
SHIFT_S: Final = 20.0
"""Seconds after which a writer looks whether its sign-in is still good."""
ARCHIVED_WITHIN_S: Final = 120.0

_COMMITTED: Final = re.compile(r"desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC")
_SIZE: Final = "select sum(pg_database_size(datname))::bigint from pg_database"
_NOW: Final = """
    select r.id, r.version, r.status, r.site_code,
           (select count(*) from measurement m
             where m.organization_id = r.organization_id and m.record_id = r.id) as results
      from record r where r.project_id <> $1
"""


@dataclass
class RestoredTo:
    """What a drill was like. took_s: seconds of each step of the restore. ready_s: of a server's start on it."""

    seed: int
    bytes: int = 0
    filled: int = 0
    backup_s: float = 0
    writers: int = 0
    acknowledged: int = 0
    under_way: int = 0
    after: int = 0
    moment: str = ""
    last_transaction_at: str = ""
    segments: int = 0
    rows: int = 0
    entries: int = 0
    opened: int = 0
    took_s: dict[str, float] | None = None
    ready_s: float = 0

    @property
    def until_served_s(self) -> float:
        """Seconds until it is served: without the checks, which `restore --no-check` leaves to who has no time."""
        return self._took_s("copy", "recover") + self._fixed_s

    @property
    def mib_per_s(self) -> float:
        """MiB of the database in a second, over what grows with its size."""
        return self.bytes / 2**20 / max(0.01, self._took_s("copy", "recover"))

    @property
    def promised_gib(self) -> float:
        """How large a database may be to be served again within the promise, at this rate."""
        return max(0.0, PROMISED_S - self._fixed_s) * self.mib_per_s / 1024

    @property
    def _fixed_s(self) -> float:
        """Seconds of what does not grow with the database."""
        return self._took_s("start", "settle") + self.ready_s

    def _took_s(self, *steps: str) -> float:
        return sum((self.took_s or {})[step] for step in steps)


def restore_under_load(directory: Path, size_gb: float, *, seed: int, say: Any = lambda _: None) -> RestoredTo:
    """Go through the drill and return what it was like.

    Raises:
        DrillError: something that was committed before the moment is missing, something after it is there, or what was
            restored does not verify.
    """
    backups = directory / "backups"
    backups.mkdir(mode=0o700, parents=True)
    machine = Machine(
        directory / "house", FIELDWARD_BACKUP_DIRECTORY=str(backups), FIELDWARD_BACKUP_ARCHIVE_TIMEOUT_S="5"
    )
    outcome = RestoredTo(seed)
    with scene(machine, Writer, seed=seed, writers=4) as (_, writers):
        outcome.writers = len(writers)
        filled_id = asyncio.run(_fill(machine, int(size_gb * 1e9), outcome, random.Random(seed), say))
        journal, moment = _write_and_back_up(machine, writers, outcome, say)
        asyncio.run(_wait_until_archived(machine))
        as_of = journal.as_of(moment.timestamp())
        outcome.acknowledged, outcome.after = as_of.acknowledged, as_of.after
        outcome.under_way, outcome.moment = len(as_of.may), moment.isoformat()
        require(not journal.odd, f"answers that nobody should get, the first: {journal.odd[:3]}")
        require(as_of.acknowledged > 0 and as_of.after > 0, "nobody wrote before or after the moment")
        expected = _last_commit(machine, backups, moment)
        say(f"restoring {outcome.bytes / 2**30:.2f} GiB to {moment.isoformat()}")
        other = Machine(directory / "restored", **machine.settings)
        other.directory.mkdir(mode=0o755, parents=True)
        _restore(machine, other, backups, moment, outcome)
        require(
            outcome.last_transaction_at == expected.isoformat(),
            f"the last transaction is of {outcome.last_transaction_at}, and the WAL's before the moment of {expected}",
        )
        with other.standing():
            began = time.monotonic()
            other.start()
            outcome.ready_s = time.monotonic() - began
            require(
                outcome.until_served_s <= PROMISED_S, f"served again after {outcome.until_served_s:.0f} s, not in time"
            )
            asyncio.run(_hold(other, as_of, filled_id, outcome))
    return outcome


async def _fill(machine: Machine, size: int, outcome: RestoredTo, chance: random.Random, say: Any) -> UUID:
    """Fill the database, and return the project that the records lie in."""
    postgres = machine.joined()
    settings = Settings(data_directory=machine.data, password_cost="test")
    async with machine.superuser() as superuser, services(settings, embedded_databases(postgres, owner=False)) as built:
        del built
        organization_id = await superuser.fetchval("select id from organization where slug = $1", ORGANIZATION)
        author_id = await superuser.fetchval("select min(id::text)::uuid from membership where role = 'OWNER'")
        project_id = new_id()
        actor = replace(operator(), organization_id=organization_id)

        async def begin(change: Change) -> None:
            made = {"id": project_id, "organization_id": organization_id, "created_at": change.at}
            await change.insert_many(Project, [{**made, "code": "FILLED", "name": "What the drill is filled with"}])

        async def more(change: Change) -> None:
            await change.insert_many(
                Record,
                [
                    {
                        "id": new_id(),
                        "organization_id": organization_id,
                        "project_id": project_id,
                        "created_by_id": author_id,
                        "contributor_ids": [author_id],
                        "created_at": change.at,
                        "received_at": change.at,
                        "collected_at": change.at,
                        "site_code": f"F-{number}",
                        "medium": Medium.WATER,
                        "comment": " ".join(chance.choices(WORDS, k=COMMENT_WORDS)),
                    }
                    for number in range(BATCH)
                ],
            )

        await commit_change(Intent(Action.PROJECT_CREATE, actor, entity="project"), begin)
        batches = 0
        while (now := int(await superuser.fetchval(_SIZE))) < size:
            for _ in range(LOOK_EVERY):
                await commit_change(Intent(Action.RECORD_IMPORT, actor, entity="record"), more)
                batches += 1
            say(f"{now / 2**30:.2f} GiB filled")
        outcome.filled, outcome.bytes = batches * BATCH, int(await superuser.fetchval(_SIZE))
        return project_id


def _write_and_back_up(
    machine: Machine, writers: Sequence[Writer], outcome: RestoredTo, say: Any
) -> tuple[TimedRound, datetime]:
    """Have them write, make a backup in their midst, take a moment, have them go on; return what they were told."""
    journal, stop = TimedRound(), threading.Event()
    threads = [threading.Thread(target=_keep_writing, args=(writer, journal, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    try:
        say("making a backup while writers go on")
        began = time.monotonic()
        _command(machine, "backup", "create")
        outcome.backup_s = time.monotonic() - began
        time.sleep(WRITING_S)
        moment = datetime.now(UTC)
        time.sleep(WRITING_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return journal, moment


class _Shift(threading.Event):
    """Says to stop after a while, or when another says so."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._until = time.monotonic() + SHIFT_S
        self._told = stop

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self._told.is_set() or time.monotonic() > self._until


def _keep_writing(writer: Writer, journal: TimedRound, stop: threading.Event) -> None:
    """Write until told to stop, and sign in anew before a sign-in runs out: filling and a backup may take longer."""
    try:
        writer.settle(journal)
        while not stop.is_set():
            writer.work(journal, _Shift(stop))
            writer.settle(journal)
    except DrillError as error:
        journal.note_odd(f"a writer ended: {error}")


async def _wait_until_archived(machine: Machine) -> None:
    async with machine.superuser() as superuser:
        last = await superuser.fetchval("select pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + ARCHIVED_WITHIN_S
        while await superuser.fetchval("select coalesce(last_archived_wal < $1, true) from pg_stat_archiver", last):
            require(time.monotonic() < deadline, f"{last} is not archived")
            await asyncio.sleep(0.1)


def _last_commit(machine: Machine, backups: Path, moment: datetime) -> datetime:
    """Return when the last transaction before the moment was committed, as PostgreSQL reads the archived WAL."""
    line = noted_line(machine.data, backups)
    require(line is not None, "nothing is archived")
    assert line is not None
    newest: datetime | None = None
    with tempfile.TemporaryDirectory() as scratch:
        names = sorted(one.name.removesuffix(".gz") for one in line.wal.glob("*.gz"))
        for name in names:
            if len(name) == len("0" * 24):
                Path(scratch, name).write_bytes(gzip.decompress((line.wal / f"{name}.gz").read_bytes()))
        segments = sorted(one.name for one in Path(scratch).iterdir())
        done = subprocess.run(
            [postgres_programs() / "pg_waldump", f"--path={scratch}", "--rmgr=Transaction", segments[0], segments[-1]],
            capture_output=True,
            text=True,
            env={"TZ": "UTC"},
            check=False,
        )
        for line_of in done.stdout.splitlines():
            if found := _COMMITTED.search(line_of):
                at = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
                if at <= moment and (newest is None or at > newest):
                    newest = at
    require(newest is not None, f"the archived WAL has no transaction: {done.stderr[-300:]}")
    assert newest is not None
    return newest


def _restore(machine: Machine, other: Machine, backups: Path, moment: datetime, outcome: RestoredTo) -> None:
    told = _command(
        machine,
        *(
            "restore",
            "--from",
            str(backups),
            "--into",
            str(other.data),
            "--keys",
            str(machine.data),
        ),
        *("--to-time", moment.isoformat(), "--restart-trail", "--reason", "The restore drill"),
    )
    checked = told["checked"]
    require(checked["miscounts"] == [], f"rows are missing, or too many: {checked['miscounts'][:3]}")
    outcome.took_s, outcome.segments = told["took_s"], told["segments"]
    outcome.last_transaction_at = told["last_transaction_at"]
    outcome.rows, outcome.entries, outcome.opened = checked["rows"], checked["entries"], checked["values_opened"]


async def _hold(other: Machine, as_of: AsOf, filled_id: UUID, outcome: RestoredTo) -> None:
    """Hold the rows of what was restored against what its writers were told."""
    async with other.superuser() as superuser:
        # Nobody has looked at what was filled in since; the planner would read all of it for each record.
        await superuser.execute("analyze record, measurement")
        rows = {row["id"]: row for row in await superuser.fetch(_NOW, filled_id)}
        filled = await superuser.fetchval("select count(*) from record where project_id = $1", filled_id)
        wrong = await untold(superuser)
    for record_id, must in as_of.must.items():
        found = _state(rows.pop(record_id, None))
        allowed = [_kept(must)]
        if record_id in as_of.may:
            allowed.append(_kept(as_of.may[record_id]))
        require(found in allowed, f"the record {record_id} is {found}, and must be {allowed}")
    require(not rows, f"{len(rows)} records are there that were made after the moment")
    require(filled == outcome.filled, f"of what it was filled with there are {filled} records, not {outcome.filled}")
    require(not wrong, f"values of rows are others than the trail's last word of them: {wrong}")


def _state(row: asyncpg.Record | None) -> tuple[Any, ...] | None:
    return None if row is None else (row["version"], row["status"], row["site_code"], row["results"])


def _kept(kept: Kept | None) -> tuple[Any, ...] | None:
    return None if kept is None else (kept.version, kept.status, kept.site_code, kept.results)


def _command(machine: Machine, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "fieldward", *arguments, "--json"],
        cwd=ROOT,
        env=machine.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    require(done.returncode == 0, f"{arguments[:2]} ended with {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    return json.loads(done.stdout)
