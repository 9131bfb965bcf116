"""`backup` of a PostgreSQL of an operator's own: Barman makes backups, and we look at what it made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from fieldward.backup.barman import Barman, BarmanBackup, census_of
from fieldward.backup.error import BackupError
from fieldward.cli.environment import refuse, run
from fieldward.cli.progress import showing_progress
from fieldward.cli.told_backup import NOT_WHOLE, telling_backups
from fieldward.settings import Settings
from resolvers.row_census import Census


def create(settings: Settings, as_json: bool) -> None:
    """Have Barman make a backup of each server, and look at it."""
    kept = kept_in(settings)

    async def work() -> list[dict[str, Any]]:
        made = []
        with showing_progress(as_json) as told:
            for one in _servers(settings):
                told(f"Backing up {one.server}", 0, None)
                backup = await one.create()
                told(f"Verifying {one.server}", 0, None)
                found = [*await one.findings(), *await one.verify(backup)]
                made.append(_shown(one, backup, kept, found))
        return made

    with telling_backups():
        _end(run(work()), as_json)


def list_backups(settings: Settings, as_json: bool) -> None:
    """List Barman's backups, by server, the oldest first."""
    kept = kept_in(settings)

    async def work() -> list[dict[str, Any]]:
        return [_shown(one, backup, kept, None) for one in _servers(settings) for backup in await one.backups()]

    with telling_backups():
        shown = run(work())
    if as_json:
        print(json.dumps({"backups": shown}))
        return
    for one in shown:
        size = "" if one["bytes"] is None else f"  {one['bytes'] / 2**20:,.0f} MiB"
        print(f"{one['server']}  {one['id']}  {one['status']}{size}{'' if one['has_census'] else '  without a census'}")
    if not shown:
        print("There is no backup yet.")


def verify(settings: Settings, name: str | None, every: bool, as_json: bool) -> None:
    """Have Barman look at its servers, and read a backup of each: by its id, the newest, or all of them."""
    kept = kept_in(settings)

    async def work() -> list[dict[str, Any]]:
        shown = []
        with showing_progress(as_json) as told:
            for one in _servers(settings):
                there = await _chosen(one, name, every)
                found = await one.findings() if there else []
                for backup in there:
                    told(f"Verifying {backup.id}", 0, None)
                    shown.append(_shown(one, backup, kept, [*found, *await one.verify(backup)]))
                    found = []
        if not shown:
            raise BackupError(f"Barman has no backup{f' named {name}' if name else ''}.")
        return shown

    with telling_backups():
        _end(run(work()), as_json)


def _servers(settings: Settings) -> Sequence[Barman]:
    return [Barman(settings.barman_command, one) for one in settings.barman_names]


async def _chosen(barman: Barman, name: str | None, every: bool) -> Sequence[BarmanBackup]:
    """Return the backups of a server that are meant; with a name none where it is another server's.

    Raises:
        BackupError: no backup is named, and the server has none that is whole.
    """
    newest = await barman.newest() if name is None else None
    if newest is not None and not every:
        return [newest]
    return [one for one in await barman.backups() if every or one.id == name]


def kept_in(settings: Settings) -> Path:
    """Return where Barman's hook keeps what is ours beside its backups, or exit with 2 where nothing says it."""
    if settings.backup_directory is None:
        refuse("FIELDWARD_BACKUP_DIRECTORY: expected, as where Barman's hook before-backup keeps censuses and notes")
    return settings.backup_directory


def _shown(barman: Barman, backup: BarmanBackup, kept: Path, found: Sequence[str] | None) -> dict[str, Any]:
    """Return a backup as it is shown. found: what is wrong with it so far; None where nobody looked."""
    census = census_of(kept, backup)
    shown = {"server": barman.server, **backup.to_json(), "has_census": census is not None}
    if found is None:
        return shown
    findings = list(found)
    rows = None
    if census is None:
        findings.append(f"{backup.id}: there is no census beside it: is before-backup Barman's hook?")
    else:
        try:
            rows = Census.of_json(json.loads(census.read_bytes())).total
        except (OSError, ValueError):
            findings.append(f"{backup.id}: its census can't be read")
    return {**shown, "rows": rows, "findings": findings}


def _end(shown: list[dict[str, Any]], as_json: bool) -> None:
    is_whole = not any(one["findings"] for one in shown)
    if as_json:
        print(json.dumps({"verified": is_whole, "backups": shown}))
    else:
        for one in shown:
            rows = "rows not counted" if one["rows"] is None else f"{one['rows']:,} rows"
            print(f"{one['server']} {one['id']}: {rows}, {'NOT whole' if one['findings'] else 'whole'}")
            for finding in one["findings"]:
                print(f"  {finding}")
    if not is_whole:
        raise typer.Exit(NOT_WHOLE)
