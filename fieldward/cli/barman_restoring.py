"""`restore` of a PostgreSQL of an operator's own: Barman copies it, a command of theirs starts it, and we end what must
not work again and look at what came of it, as after any restore.

Nothing of it is taken for done that was not looked at: whoever is asked to restore over a database that answers is told
so before anything is copied, since what would be settled then is the one that was there before.
"""

import asyncio
import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from fieldward.backup.barman import Barman, BarmanBackup, census_of
from fieldward.backup.checking import Checked, check_restored
from fieldward.backup.error import BackupError
from fieldward.cli.barman_backing import kept_in
from fieldward.cli.environment import operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.restored import end, notes_of, settle_by, settled_json
from fieldward.cli.told_backup import telling_backups
from fieldward.database import Databases, migrate
from fieldward.settings import Settings
from models.cluster import Cluster
from resolvers.key_rotation import Progress
from resolvers.restore_settling import Settled
from resolvers.row_census import Census

BARMAN: Final = "barman:"
"""What stands before the name of a server where Barman is meant, and no directory."""

_AGAIN_S: Final = 1.0
_ANSWER_S: Final = 5.0
_AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is restored. server: what Barman calls it. moment: None for the newest. backup: None for the newest that
    fits. start: the command that starts PostgreSQL; None where only its data directory is made. ssh: how Barman reaches
    its machine; None where it is this one. patience_s: how long replaying may take."""

    server: str
    into: Path
    moment: datetime | None
    backup: str | None
    start: str | None
    ssh: str | None
    patience_s: float


@dataclass
class _Restored:
    backup: BarmanBackup
    settled: Settled | None = None
    erasures: int = 0
    checked: Checked | None = None
    took_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took_s[step] = round(time.monotonic() - began, 2)


def restore_by_barman(
    settings: Settings, wanted: Wanted, *, reason: str, restarts_trail: bool, checks: bool, as_json: bool
) -> None:
    """Restore a database by Barman, settle and check it, print what came of it, and exit as it is."""
    if settings.is_embedded:
        refuse("FIELDWARD_DATABASE_URL: expected, as where the database is reached once it is restored")
    kept = kept_in(settings)
    with telling_backups():
        barman = Barman(settings.barman_command, wanted.server)
    command = _command(wanted.start)
    if wanted.ssh is None and wanted.into.exists() and (not wanted.into.is_dir() or any(wanted.into.iterdir())):
        refuse(f"--into: {wanted.into} is not empty", code=1)

    async def work() -> _Restored:
        with reach(settings) as reached, showing_progress(as_json) as told:
            if await _answers(reached.service):
                raise BackupError(
                    "The database that FIELDWARD_DATABASE_URL and FIELDWARD_KEYSTORE_URL name answers. Stop it, and"
                    " every server of Fieldward, before it is restored."
                )
            done = _Restored(await _choose(barman, wanted))
            census = _census(kept, done.backup)
            with done.timing("copy"):
                told(f"Restoring {done.backup.id}", 0, None)
                await barman.restore(done.backup, wanted.into, to=wanted.moment, ssh=wanted.ssh)
            if not command:
                return done
            with done.timing("recover"):
                await _start(command)
                await _until_it_takes_writes(reached.service, wanted.patience_s, told)
            if reached.owner is not None:
                await migrate(reached.owner, settings)
            async with services(settings, reached.service) as built:
                with done.timing("settle"):
                    done.erasures = len(await built.destructions.all())
                    done.settled = await settle_by(notes_of(settings), built, settings.data_directory, reason)
                if checks:
                    with done.timing("check"):
                        done.checked = await check_restored(
                            built,
                            operator(),
                            census,
                            restart_reason=reason if restarts_trail else None,
                            progress=told,
                        )
        return done

    with telling_backups():
        done = run(work())
    end(_shown(wanted, done, has_census=census_of(kept, done.backup) is not None), done.checked, as_json)


def _shown(wanted: Wanted, done: _Restored, *, has_census: bool) -> dict[str, Any]:
    is_settled = done.settled is not None
    return {
        "backup": done.backup.id,
        "into": str(wanted.into),
        "rows_counted": has_census and done.checked is not None,
        "erasures": done.erasures,
        "settled": settled_json(done.settled),
        "checked": done.checked.to_json() if done.checked else None,
        "may_be_served": is_settled and (done.checked is None or done.checked.may_be_served),
        "next": None if is_settled else "start PostgreSQL on it; then fieldward verify-restore --settle",
        "took_s": done.took_s,
    }


async def _choose(barman: Barman, wanted: Wanted) -> BarmanBackup:
    if wanted.backup is None:
        return await (barman.newest() if wanted.moment is None else barman.backup_before(wanted.moment))
    found = await barman.backup(wanted.backup)
    if not found.is_whole or found.finished_at is None:
        raise BackupError(f"{found.id} is not whole: {found.status}.")
    if wanted.moment is not None and wanted.moment < found.finished_at:
        raise BackupError(f"{found.id} ends at {found.finished_at.isoformat()}: it can't be restored to before that.")
    return found


def _census(kept: Path, backup: BarmanBackup) -> Census | None:
    path = census_of(kept, backup)
    if path is None:
        return None
    try:
        return Census.of_json(json.loads(path.read_bytes()))
    except ValueError as error:
        raise BackupError(f"{path}: expected what `backup census` wrote.") from error


def _command(start: str | None) -> list[str]:
    try:
        return [] if start is None else shlex.split(start)
    except ValueError:
        refuse("--start: expected a program and its arguments, as a shell takes them")


async def _start(command: list[str]) -> None:
    """Run what starts PostgreSQL, to its end; what it says goes to where our own errors go."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise BackupError(f"--start: {command[0]} can't be run: {error.strerror}.") from error
    if (code := await process.wait()) != 0:
        raise BackupError(f"--start: {command[0]} ended with {code}. What was copied is there.")


async def _answers(databases: Databases) -> bool:
    """Return whether a server of the data takes connections, and one of the keystore, too: nothing is to be restored
    where both do."""
    return await _takes_writes(databases.main_cluster) is not None and (
        await _takes_writes(databases.keystore_cluster) is not None
    )


async def _until_it_takes_writes(databases: Databases, patience_s: float, told: Progress) -> None:
    began = time.monotonic()
    clusters = [databases.main_cluster, databases.keystore_cluster]
    while not all([await _takes_writes(one) for one in clusters]):
        waited_s = time.monotonic() - began
        if waited_s > patience_s:
            raise BackupError(
                "The database takes no writes yet. What was copied is there: when it does, run fieldward verify-restore"
                " --settle before anybody is served."
            )
        told("Replaying WAL", int(waited_s), None)
        await asyncio.sleep(_AGAIN_S)


async def _takes_writes(cluster: Cluster) -> bool | None:
    """Return whether a database takes writes; None where it does not answer."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await cluster.connect()
    except _AWAY:
        return None
    try:
        return not await connection.fetchval("select pg_is_in_recovery()", timeout=_ANSWER_S)
    except _AWAY:
        return None
    finally:
        connection.terminate()
