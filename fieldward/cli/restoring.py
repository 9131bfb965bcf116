"""`restore` and `verify-restore`: the way back from a backup, checked to its end."""

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fieldward.backup.catalogue import Backup, backup_named, backups_in
from fieldward.backup.checking import Checked, check_restored
from fieldward.backup.error import BackupError
from fieldward.backup.line import locked
from fieldward.backup.restoring import (
    WAYS_IN,
    Recovered,
    choose_run,
    copy_backup,
    copy_keys,
    finish,
    mark_unchecked,
    mark_unfinished,
    recover,
    require_empty,
)
from fieldward.backup.wal import Run, run_from
from fieldward.cli.barman_restoring import BARMAN, Wanted, restore_by_barman
from fieldward.cli.environment import embedded_databases, load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.cli.restored import Outcome, notes_of, print_and_exit, settle_by, settled_json
from fieldward.cli.told_backup import AsJson, telling_backups
from fieldward.database import migrate
from fieldward.embedded import EmbeddedPostgres, EmbeddedPostgresError, postgres_programs
from fieldward.logs import configure_logs
from resolvers.restore_settling import Settled
from resolvers.row_census import Census

RestartTrail = Annotated[
    bool,
    typer.Option(
        "--restart-trail", help="Begin logs anew of which published entries are lost, as `audit restart` does."
    ),
]


@dataclass
class _Restored(Outcome):
    """backup: its id."""

    backup: str = field(kw_only=True)
    recovered: Recovered | None = None

    @property
    def last_transaction_at(self) -> str | None:
        """When the last transaction that is there was committed."""
        at = None if self.recovered is None else self.recovered.last_transaction_at
        return None if at is None else at.isoformat()


def restore(
    source: Annotated[str, typer.Option("--from", help="The directory of backups; or barman: and what it calls it.")],
    into: Annotated[Path, typer.Option(help="The data directory to make, which must be empty.", resolve_path=True)],
    reason: Annotated[str, typer.Option(help="Why, for the trail.")],
    keys: Annotated[
        Path | None,
        typer.Option(
            help="Where the keys lie that no backup has: the old data directory, or the copy of its keys. Not of"
            " Barman's, where they lie in FIELDWARD_DATA_DIRECTORY.",
            exists=True,
            file_okay=False,
            resolve_path=True,
        ),
    ] = None,
    to_time: Annotated[
        str | None, typer.Option(help="The moment to restore, as 2026-03-03T10:00:00Z: what was committed until then.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", help="All that was archived.")] = False,
    backup: Annotated[str | None, typer.Option(help="The backup's id; by default the newest that fits.")] = None,
    restart_trail: RestartTrail = False,
    new_signing_key: Annotated[
        bool, typer.Option("--new-signing-key", help="The key that signed the trail is lost: make another.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Check rows, trail and values before this ends.")] = True,
    start: Annotated[
        str | None,
        typer.Option(help="Of Barman's: the command that starts PostgreSQL on it. Without it, nothing but the copy."),
    ] = None,
    ssh: Annotated[
        str | None, typer.Option(help="Of Barman's: how it reaches the machine to restore on, as ssh postgres@db1.")
    ] = None,
    wait_minutes: Annotated[
        int, typer.Option(min=1, max=7 * 24 * 60, help="Of Barman's: minutes that replaying may take.")
    ] = 60,
    as_json: AsJson = False,
) -> None:
    """Restore the embedded database into a new data directory, to a moment or to the newest, and check it.

    From barman:NAME Barman restores a PostgreSQL of your own, into what is its data directory from then on. Stop every
    server of Fieldward first: nothing keeps one from being started on it.

    Erasures are done again, all sign-ins end, and what was taken away after that moment is taken away again, before
    anybody can be served. The trail says that it was restored. Exit code 8: a backup or WAL is damaged or missing; 7:
    the trail, or a row, is not what it must be; 5: a value does not open; 6: more of the trail was published than is
    there: --restart-trail says so in it. After 8, 7 and 5 no server starts on it that is embedded.

    Example: fieldward restore --from /mnt/backup --to-time 2026-03-03T10:00:00Z --into restored --keys .fieldward
    --reason "The disk failed"
    """
    moment = _moment(to_time)
    if (moment is None) != latest:
        refuse("expected one of --to-time and --latest")
    configure_logs("json")
    if source.startswith(BARMAN):
        if keys is not None or new_signing_key:
            refuse("--keys and --new-signing-key are of the embedded database: these are in FIELDWARD_DATA_DIRECTORY")
        wanted = Wanted(source.removeprefix(BARMAN), into, moment, backup, start, ssh, wait_minutes * 60)
        restore_by_barman(
            load_settings(), wanted, reason=reason, restarts_trail=restart_trail, checks=check, as_json=as_json
        )
        return
    if start is not None or ssh is not None:
        refuse("--start and --ssh are of a restore from barman:NAME")
    backups = Path(source).resolve()
    if not backups.is_dir():
        refuse("--from: expected the directory of backups, or barman: and a name")
    if keys is None:
        refuse("--keys: expected, as where the keys lie that no backup has")
    settings = load_settings().model_copy(
        update={
            "data_directory": into,
            "backup_directory": backups,
            **dict.fromkeys(("database_url", "owner_database_url", "keystore_url", "owner_keystore_url")),
        }
    )

    async def work() -> _Restored:
        with showing_progress(as_json) as told:
            require_empty(into)
            with locked(backups, shared=True):
                chosen, wal = _choose(backups, backup, moment)
                done = _Restored(backup=chosen.id)
                with done.timing("copy"):
                    mark_unfinished(into)
                    await copy_backup(chosen, wal, into, bin_directory=postgres_programs(), progress=told)
                    copy_keys(
                        keys,
                        into,
                        backups=backups,
                        needs_wrapping_key=settings.key_provider == "file",
                        is_signed_anew=new_signing_key,
                    )
            with done.timing("recover"):
                told("Replaying WAL", 0, None)
                done.recovered = await recover(into, wal, moment)
            census = Census.of_json(chosen.census)
            async with AsyncExitStack() as standing:
                with done.timing("start"):
                    postgres = standing.enter_context(EmbeddedPostgres(into, is_restoring=True))
                    await migrate(embedded_databases(postgres, owner=True), settings)
                    databases = embedded_databases(postgres, owner=False)
                    built = await standing.enter_async_context(services(settings, databases))
                with done.timing("settle"):
                    done.erasures = len(await built.destructions.all())
                    done.settled = await settle_by([keys / WAYS_IN, backups / WAYS_IN], built, into, reason)
                    mark_unchecked(into)
                if check:
                    with done.timing("check"):
                        done.checked = await check_restored(
                            built,
                            operator(),
                            census,
                            restart_reason=reason if restart_trail else None,
                            progress=told,
                        )
                if done.is_as_it_must_be:
                    finish(into)
        return done

    with telling_backups():
        try:
            done = run(work())
        except EmbeddedPostgresError as error:
            refuse(str(error), code=1)
    shown = {
        "backup": done.backup,
        "into": str(into),
        "last_transaction_at": done.last_transaction_at,
        "segments": done.recovered.segments if done.recovered else 0,
        "erasures": done.erasures,
        "settled": settled_json(done.settled),
        "checked": done.checked.to_json() if done.checked else None,
        "may_be_served": done.is_as_it_must_be,
        "took_s": done.took_s,
    }
    print_and_exit(shown, done.checked, as_json)


def verify_restore(
    census: Annotated[
        Path | None,
        typer.Option(help="The census that was taken before the backup.", exists=True, dir_okay=False),
    ] = None,
    settle: Annotated[
        bool, typer.Option("--settle", help="First end what must not work again, as `restore` does; with --reason.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it was restored, for the trail.")] = None,
    restart_trail: RestartTrail = False,
    as_json: AsJson = False,
) -> None:
    """Check a database that another tool restored: rows, trail, values, and what was published of the trail.

    With --settle, to be called once before the first server starts: erasures are done again, all sign-ins end, and what
    was taken away after the restored moment is taken away again. Exit codes as of `restore`.

    Example: fieldward verify-restore --census census.json --settle --reason "Restored to 3 March 10:00"
    """
    if (settle or restart_trail) and reason is None:
        refuse("--settle and --restart-trail go with --reason")
    configure_logs("json")
    settings = load_settings()
    counted = None
    if census is not None:
        try:
            counted = Census.of_json(json.loads(census.read_bytes()))
        except ValueError:
            refuse(f"{census}: expected what `backup census` wrote")

    async def work() -> tuple[Settled | None, Checked]:
        with reach(settings, may_join=True) as reached:
            async with services(settings, reached.service) as built:
                with showing_progress(as_json) as told:
                    done = None
                    if settle and reason is not None:
                        done = await settle_by(notes_of(settings), built, settings.data_directory, reason)
                    return done, await check_restored(
                        built, operator(), counted, restart_reason=reason if restart_trail else None, progress=told
                    )

    done, checked = run(work())
    print_and_exit({"settled": settled_json(done), "checked": checked.to_json()}, checked, as_json)


def _choose(backups: Path, name: str | None, to: datetime | None) -> tuple[Backup, Run]:
    """Return which backup is restored, and by which WAL: of those before a moment the newest that reaches it."""
    found = backups_in(backups)
    if name is not None or to is None:
        chosen = backup_named(found, name)
        return chosen, choose_run(chosen, to)
    before = [one for one in found if one.finished_at <= to]
    if not before:
        since = f" The first ends at {found[0].finished_at.isoformat()}." if found else ""
        raise BackupError(f"There is no backup from before {to.isoformat()}.{since}")
    for one in reversed(before):
        reached = run_from(one.line, one.last)
        if reached.newest_at is not None and reached.newest_at >= to:
            return one, reached
    return before[-1], choose_run(before[-1], to)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        refuse("--to-time: expected a moment such as 2026-03-03T10:00:00Z")
    if found.tzinfo is None:
        refuse("--to-time: expected a moment with its offset from UTC, such as 2026-03-03T10:00:00Z")
    return found.astimezone(UTC)
