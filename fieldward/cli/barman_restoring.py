"""`restore` of a PostgreSQL of an operator's own: Barman copies it, a command of theirs starts it, and we end what must
not work again and look at what came of it, as after any restore.

What is settled ends sign-ins for good, so it is looked at which database that is. Before the copy, and again before the
start, no server of the cluster that is restored may answer; what takes writes afterwards has to be that cluster, to
have been replayed to the moment that was asked for, and to have no server of Fieldward at work on it. Nothing keeps one
from being started meanwhile: that is for whoever restores.
"""

import asyncio
import json
import shlex
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import asyncpg

from fieldward.backup.barman import PLAIN, Barman, BarmanBackup, census_of, ending, environment_of_others
from fieldward.backup.checking import check_restored
from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.backup.line import write_whole
from fieldward.cli.barman_backing import kept_in
from fieldward.cli.environment import operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.restored import Outcome, notes_of, print_and_exit, settle_by, settled_json
from fieldward.cli.told_backup import telling_backups
from fieldward.container import DESTRUCTIONS
from fieldward.database import Databases, migrate
from fieldward.settings import Settings
from models.cluster import Cluster, Server
from resolvers.key_rotation import Progress
from resolvers.row_census import Census

BARMAN: Final = "barman:"
"""What stands before the name of a server where Barman is meant, and no directory."""

_AGAIN_S: Final = 1.0
_ANSWER_S: Final = 5.0
_UNKNOWN: Final = ""
_GO_ON: Final = "What was copied is there: go on by fieldward verify-restore --settle, before anybody is served."
_SYSTEM_ID: Final = "select system_identifier::text from pg_control_system()"
_FOUND: Final = """
    select (select system_identifier::text from pg_control_system()) as system_id,
           pg_last_xact_replay_timestamp() as last,
           nullif(current_setting('recovery_target_time'), '')::timestamptz as target,
           exists (
               select from pg_stat_activity
               where usename = current_user and application_name like 'fieldward%' and pid <> pg_backend_pid()
           ) as others
"""
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
class _Restored(Outcome):
    """warnings: what Barman wants looked at."""

    backup: BarmanBackup = field(kw_only=True)
    warnings: list[str] = field(default_factory=list)
    last_transaction_at: datetime | None = None


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
    if not settings.data_directory.is_dir():
        refuse(f"FIELDWARD_DATA_DIRECTORY: {settings.data_directory} is not there, and what no backup has lies in it")
    if not PLAIN.match(str(wanted.into)):
        refuse("--into: expected a path of letters, digits, dots and dashes: Barman hands it to a shell")
    try:
        if wanted.ssh is None and wanted.into.exists() and (not wanted.into.is_dir() or any(wanted.into.iterdir())):
            refuse(f"--into: {wanted.into} is not empty", code=1)
    except PermissionError:
        # Barman's user may see it, and refuses one that is not empty.
        pass

    async def work() -> _Restored:
        with reach(settings) as reached, showing_progress(as_json) as told:
            done = _Restored(backup=await _choose(barman, wanted))
            system_id = await barman.system_id(done.backup)
            await _require_away(reached.service, system_id)
            census = _census(kept, done.backup)
            with done.timing("verify"):
                told(f"Verifying {done.backup.id}", 0, None)
                if found := await barman.verify(done.backup):
                    raise DamagedBackupError("; ".join(found))
            with done.timing("copy"):
                told(f"Restoring {done.backup.id}", 0, None)
                done.warnings = await barman.restore(done.backup, wanted.into, to=wanted.moment, ssh=wanted.ssh)
            if not command:
                return done
            with done.timing("recover"):
                await _require_away(reached.service, system_id)
                await _start(command, wanted.patience_s)
                await _until_it_takes_writes(reached.service, wanted.patience_s, told)
            done.last_transaction_at = await require_restored(reached.service, system_id, wanted.moment)
            if reached.owner is not None:
                await migrate(reached.owner, settings)
            _bring_destructions(kept, settings.data_directory)
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
    print_and_exit(_shown(wanted, done, has_census=census_of(kept, done.backup) is not None), done.checked, as_json)


def _shown(wanted: Wanted, done: _Restored, *, has_census: bool) -> dict[str, Any]:
    is_settled = done.settled is not None
    return {
        "backup": done.backup.id,
        "into": str(wanted.into),
        "warnings": done.warnings,
        "last_transaction_at": None if done.last_transaction_at is None else done.last_transaction_at.isoformat(),
        "rows_counted": has_census and done.checked is not None,
        "erasures": done.erasures,
        "settled": settled_json(done.settled),
        "checked": done.checked.to_json() if done.checked else None,
        "may_be_served": is_settled and done.is_as_it_must_be,
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


async def _start(command: list[str], patience_s: float) -> None:
    """Run what starts PostgreSQL, to its end; what it says goes to where our own errors go."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment_of_others(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise BackupError(f"--start: {command[0]} can't be run: {error.strerror}. What was copied is there.") from error
    try:
        async with asyncio.timeout(patience_s):
            with ending(process):
                code = await process.wait()
    except TimeoutError as error:
        raise BackupError(f"--start: {command[0]} does not end. What was copied is there.") from error
    if code != 0:
        raise BackupError(f"--start: {command[0]} ended with {code}. What was copied is there.")


async def _require_away(databases: Databases, system_id: str) -> None:
    """Raise `BackupError` where a server of the cluster that is restored answers, or one that says not what it is."""
    for cluster in (databases.main_cluster, databases.keystore_cluster):
        for found in await asyncio.gather(*(_system_id(cluster, one) for one in cluster.servers)):
            if found in {system_id, _UNKNOWN}:
                raise BackupError(
                    "The database that FIELDWARD_DATABASE_URL and FIELDWARD_KEYSTORE_URL name answers. Stop all its"
                    " servers, and every server of Fieldward, before it is restored."
                )


async def _system_id(cluster: Cluster, server: Server) -> str | None:
    """Return which cluster a server is of; None where it does not answer, and `_UNKNOWN` where it does not say."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await cluster.connect_to(server)
    except asyncpg.PostgresError:
        return _UNKNOWN
    except _AWAY:
        return None
    try:
        return str(await connection.fetchval(_SYSTEM_ID, timeout=_ANSWER_S))
    except _AWAY:
        return _UNKNOWN
    finally:
        connection.terminate()


async def _until_it_takes_writes(databases: Databases, patience_s: float, told: Progress) -> None:
    began = time.monotonic()
    clusters = [databases.main_cluster, databases.keystore_cluster]
    while not all([await _takes_writes(one) for one in clusters]):
        waited_s = time.monotonic() - began
        if waited_s > patience_s:
            raise BackupError(f"The database takes no writes yet. {_GO_ON}")
        told("Replaying WAL", int(waited_s), None)
        await asyncio.sleep(_AGAIN_S)


async def _takes_writes(cluster: Cluster) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection = await cluster.connect()
    except _AWAY:
        return False
    try:
        return not await connection.fetchval("select pg_is_in_recovery()", timeout=_ANSWER_S)
    except _AWAY:
        return False
    finally:
        connection.terminate()


async def require_restored(databases: Databases, system_id: str, moment: datetime | None) -> datetime | None:
    """Return when the last transaction was committed that was replayed.

    Raises:
        BackupError: what takes writes is not what was restored, or somebody is at work on it.
    """
    is_there, last = False, None
    for cluster in (databases.main_cluster, databases.keystore_cluster):
        connection = await cluster.connect()
        try:
            found = await connection.fetchrow(_FOUND, timeout=_ANSWER_S)
        finally:
            connection.terminate()
        assert found is not None
        if found["others"]:
            raise BackupError(f"A server of Fieldward is at work on the database already. Stop it. {_GO_ON}")
        if found["system_id"] == system_id:
            is_there, last = True, found["last"]
            if moment is not None and found["target"] != moment:
                raise BackupError("What takes writes was not replayed to that moment: is it what was restored?")
    if not is_there:
        raise BackupError("What takes writes is another cluster than the one that was restored.")
    return last


def _bring_destructions(kept: Path, data_directory: Path) -> None:
    """Have the log of destroyed keys where a lost data directory has none: of what Barman's hook kept."""
    here, there = data_directory / DESTRUCTIONS, kept / DESTRUCTIONS
    if not here.exists() and there.is_file():
        write_whole(here, there.read_bytes())
