"""A short round of the drill in which the service and PostgreSQL are killed, and what its checks find."""

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drills.acknowledged import Acknowledged
from drills.crash import crash_under_load, scene, verify_trail
from drills.error import DrillError
from drills.journal import Round, Told
from drills.machine import Kill, Machine
from drills.writer import Writer

SEED = 11


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory of this module's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_nothing_acknowledged_is_lost_when_the_service_and_postgresql_are_killed(directory: Path) -> None:
    found = crash_under_load(directory / "killed", len(Kill), seed=SEED)

    assert set(found.kills) == {kill.value for kill in Kill}
    assert found.held["writes"] > 0
    assert found.held["changes"] > found.held["writes"]
    assert found.held["reads"] > 0
    assert found.held["refused"] > 0
    assert found.records > 0
    assert found.opened > 0
    assert found.sealed > found.held["writes"]


@dataclass
class Quiet:
    """A house where somebody wrote and nothing was killed, with what they were told."""

    machine: Machine
    journal: Round
    records: int

    async def hold(self) -> None:
        """Hold the database against what they were told."""
        async with self.machine.superuser() as superuser:
            await Acknowledged().hold(superuser, self.journal, self.records, self.machine.logs)

    async def meddle(self, statement: str) -> None:
        """Do something behind the triggers' back, and hold."""
        async with self.machine.superuser() as superuser:
            transaction = superuser.transaction()
            await transaction.start()
            try:
                # Without what checks foreign keys, either.
                await superuser.execute("set local session_replication_role = replica")
                for table in ("record", "audit_entry", "change"):
                    await superuser.execute(f"alter table {table} disable trigger user")
                await superuser.execute(statement)
                await Acknowledged().hold(superuser, self.journal, self.records, self.machine.logs)
            finally:
                await transaction.rollback()


@pytest.fixture(scope="module")
def quiet(directory: Path) -> Iterator[Quiet]:
    """Two writers' half a second."""
    machine, journal, stop = Machine(directory / "quiet"), Round(), threading.Event()
    with scene(machine, Writer, seed=SEED, writers=2) as (_, writers):
        _write(writers, journal, stop)
        yield Quiet(machine, journal, sum(len(writer.records) for writer in writers))


def _write(writers: list[Writer], journal: Round, stop: threading.Event) -> None:
    threads = [threading.Thread(target=writer.work, args=(journal, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    stop.set()
    for thread in threads:
        thread.join()


def test_what_was_acknowledged_is_there(quiet: Quiet) -> None:
    assert len(quiet.journal.of(Told.DONE)) > 10
    asyncio.run(quiet.hold())


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("delete from change where id = (select max(id) from change where entity = 'record')", "lost"),
        ("update record set site_code = 'ELSEWHERE' where id = (select max(id::text)::uuid from record)", "must be"),
        ("delete from record where id = (select max(id::text)::uuid from record)", "must be"),
        (
            "insert into change (organization_id, entry_id, operation, entity, entity_id, columns)"
            " select organization_id, entry_id, operation, entity, entity_id, columns from change"
            " where entity = 'record' order by id limit 1",
            "twice",
        ),
        (
            "insert into change (organization_id, entry_id, operation, entity, entity_id, columns)"
            " select organization_id, entry_id, 'INSERT', entity, gen_random_uuid(), columns from change"
            " where entity = 'record' order by id limit 1",
            "nobody was told",
        ),
        (
            "delete from audit_entry where id in (select entry_id from change where entity = 'session')",
            "have no entry",
        ),
        ("delete from change where entity = 'session'", "nothing changed"),
        ("delete from audit_entry where kind = 'READ'", "logged"),
        ("delete from audit_entry where kind = 'ATTEMPT'", "left no entry"),
        ("update record set comment = null", "the trail's last word"),
    ],
    ids=[
        "a lost write",
        "a changed row",
        "a lost row",
        "a doubled write",
        "an unasked write",
        "a lost entry",
        "an entry without its change",
        "a lost read",
        "a lost refusal",
        "a value set back",
    ],
)
def test_the_drill_finds(quiet: Quiet, statement: str, found: str) -> None:
    with pytest.raises(DrillError, match=found):
        asyncio.run(quiet.meddle(statement))


def test_the_drill_finds_a_sealed_entry_that_was_changed(quiet: Quiet) -> None:
    """It is committed, for the command to see it; so it comes last."""
    assert verify_trail(quiet.machine) > 0

    asyncio.run(_misdate(quiet.machine))

    with pytest.raises(DrillError, match="audit verify ended with 7"):
        verify_trail(quiet.machine)


async def _misdate(machine: Machine) -> None:
    async with machine.superuser() as superuser, superuser.transaction():
        named = "select tgname from pg_trigger where tgrelid = 'audit_entry'::regclass and not tgisinternal"
        await superuser.execute("alter table audit_entry disable trigger user")
        await superuser.execute(
            "update audit_entry set at = at - interval '1 hour'"
            " where id = (select max(id::text)::uuid from audit_entry where action = 'record.create')"
        )
        for row in await superuser.fetch(named):
            await superuser.execute(f'alter table audit_entry enable always trigger "{row["tgname"]}"')
