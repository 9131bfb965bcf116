"""`backup`: making backups of the embedded database, or having Barman make them of another, and looking after them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldward.backup.catalogue import Backup, backup_named, backups_in
from fieldward.backup.making import create_backup
from fieldward.backup.pruning import prune as prune_backups
from fieldward.backup.verifying import VerifiedBackup, verify_backup
from fieldward.backup.wal import run_from
from fieldward.cli import barman_backing
from fieldward.cli.environment import load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.told_backup import NOT_WHOLE, AsJson, show, telling_backups
from fieldward.embedded import postgres_programs
from fieldward.settings import Settings
from resolvers.row_census import take_census

app = typer.Typer(
    help="Backups of the embedded database, or by Barman of your own: make, list, verify and delete them.",
    no_args_is_help=True,
)


@app.callback()
def _backup() -> None:
    """Backups of the embedded database, or by Barman of your own: make, list, verify and delete them."""


@app.command("create")
def create(
    rate_mib: Annotated[int | None, typer.Option(min=1, max=1024, help="MiB to copy in a second, at the most.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a backup into FIELDWARD_BACKUP_DIRECTORY while the service goes on, and verify it.

    It is there under its name once it is whole; one that was cut short is removed by the next. With the WAL that is
    archived from then on, it is restored to any moment.

    Of a PostgreSQL of your own, Barman makes one of each of FIELDWARD_BARMAN_SERVERS, at the rate of its own settings;
    what it finds wrong with it, or with the server, is said, with exit code 8.

    Example: fieldward backup create --rate-mib 100
    """
    settings = load_settings()
    if settings.barman_names:
        if rate_mib is not None:
            refuse("--rate-mib: Barman has a bandwidth_limit of its own")
        barman_backing.create(settings, as_json)
        return
    backups = directory_of(settings)

    async def work() -> Backup:
        with reach(settings, may_join=True) as reached:
            assert reached.embedded is not None
            async with services(settings, reached.service) as built:
                with showing_progress(as_json) as told:
                    return await create_backup(
                        reached.embedded,
                        built.keystore,
                        operator(),
                        data_directory=settings.data_directory,
                        backups=backups,
                        rate_mib=rate_mib,
                        progress=told,
                    )

    with telling_backups():
        made = run(work())
    shown = {"id": made.id, "directory": str(made.directory), "bytes": made.size, "rows": rows_of(made)}
    show(shown, as_json)


@app.command("list")
def list_backups(as_json: AsJson = False) -> None:
    """List the backups, the oldest first, and until when the archive takes each.

    Example: fieldward backup list --json
    """
    settings = load_settings()
    if settings.barman_names:
        barman_backing.list_backups(settings, as_json)
        return
    with telling_backups():
        found = backups_in(directory_of(settings))
        runs = [run_from(one.line, one.last) for one in found]
    shown = [
        {
            "id": one.id,
            "line": one.line.name,
            "started_at": one.started_at.isoformat(),
            "finished_at": one.finished_at.isoformat(),
            "bytes": one.size,
            "restorable_until": until.newest_at.isoformat() if until.newest_at else one.finished_at.isoformat(),
            "missing": until.missing.name if until.missing else None,
        }
        for one, until in zip(found, runs, strict=True)
    ]
    if as_json:
        print(json.dumps({"backups": shown}))
        return
    for one, until in zip(found, runs, strict=True):
        gap = f", then {until.missing.name} is missing" if until.missing else ""
        reached = (until.newest_at or one.finished_at).isoformat(timespec="seconds")
        print(f"{one.id}  {one.size / 2**20:,.0f} MiB  restorable until about {reached}{gap}")
    if not shown:
        print("There is no backup yet.")


@app.command("verify")
def verify(
    name: Annotated[str | None, typer.Argument(metavar="[ID]", help="The backup's id; the newest by default.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Read a backup, and the WAL that takes it further, and say what is damaged or missing. Needs no database.

    Of Barman's, read the backup, and ask what is wrong with the server. Exit code 8 where something is.

    Example: fieldward backup verify --all
    """
    settings = load_settings()
    if settings.barman_names:
        barman_backing.verify(settings, name, every, as_json)
        return
    backups = directory_of(settings)

    async def work() -> list[VerifiedBackup]:
        there = backups_in(backups)
        chosen = there if every else [backup_named(there, name)]
        with showing_progress(as_json) as told:
            return [await verify_backup(postgres_programs(), backups, one, progress=told) for one in chosen]

    with telling_backups():
        found = run(work())
    if as_json:
        shown = [
            {
                "id": one.backup.id,
                "segments": one.segments,
                "restorable_until": one.restorable_until.isoformat() if one.restorable_until else None,
                "findings": list(one.findings),
            }
            for one in found
        ]
        print(json.dumps({"verified": all(not one.findings for one in found), "backups": shown}))
    else:
        for one in found:
            print(f"{one.backup.id}: {one.segments:,} segments, {'NOT whole' if one.findings else 'whole'}")
            for finding in one.findings:
                print(f"  {finding}")
    if any(one.findings for one in found):
        raise typer.Exit(NOT_WHOLE)


@app.command("prune")
def prune(as_json: AsJson = False) -> None:
    """Delete the backups that are older than FIELDWARD_BACKUP_RETENTION_DAYS, and the WAL that none needs any more.

    What was erased is gone from the backups once those from before are. The newest is never deleted: where it is too
    old itself, that is said, with exit code 1.

    Example: fieldward backup prune
    """
    settings = load_settings()
    if settings.barman_names:
        refuse("Barman deletes what is too old, by the retention_policy of its settings")
    with telling_backups():
        done = prune_backups(
            directory_of(settings),
            data_directory=settings.data_directory,
            now=datetime.now(UTC),
            keep=timedelta(days=settings.backup_retention_days),
        )
    show(asdict(done), as_json)
    if done.too_old is not None:
        refuse(f"the newest backup, {done.too_old}, is too old and was kept: make another, and prune again", code=1)


@app.command("census")
def census(
    out: Annotated[Path, typer.Option(help="The file to write, which must not be there.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Count the rows of each organization, as they are now: to be kept beside a backup that another tool makes.

    After a restore of that backup, or to any moment after it, `verify-restore --census` holds the database against it.

    Example: fieldward backup census --out census.json
    """
    settings = load_settings()

    async def work() -> dict[str, Any]:
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                with showing_progress(as_json) as told:
                    return (await take_census(built.keystore, progress=told)).to_json()

    if out.exists():
        refuse(f"{out} is there already")
    counted = run(work())
    with out.open("x") as file:
        out.chmod(0o600)
        json.dump(counted, file)
    show({"file": str(out), "rows": sum(sum(one.values()) for one in counted["rows"].values())}, as_json)


def directory_of(settings: Settings) -> Path:
    """Return where backups lie, or exit with 2 where nothing says it."""
    if not settings.is_embedded:
        refuse("FIELDWARD_BARMAN_SERVERS: expected, as what Barman calls your own database (docs/backup.md)")
    if settings.backup_directory is None:
        refuse("FIELDWARD_BACKUP_DIRECTORY: expected, as where backups are to lie")
    return settings.backup_directory


def rows_of(backup: Backup) -> int:
    """Return how many rows were counted when the backup began."""
    return sum(int(count) for tables in backup.census["rows"].values() for count in tables.values())
