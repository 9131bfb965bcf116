"""`restore` and `verify-restore`: the way back from a backup, checked to its end."""

import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldward.backup.catalogue import Backup, backup_named, backups_in
from fieldward.backup.checking import Checked, check_restored
from fieldward.backup.error import BackupError
from fieldward.backup.job import WaysInNote, newest_note
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
from fieldward.cli.backing import AsJson, telling_backups
from fieldward.cli.environment import embedded_databases, load_settings, operator, reach, refuse, run, services
from fieldward.cli.progress import showing_progress
from fieldward.database import migrate
from fieldward.embedded import EmbeddedPostgres, EmbeddedPostgresError, postgres_programs
from fieldward.logs import configure_logs
from fieldward.settings import Settings
from resolvers.restore_settling import Settled, settle_restored
from resolvers.row_census import Census
from resolvers.services import Services

RestartTrail = Annotated[
    bool,
    typer.Option(
        "--restart-trail", help="Begin logs anew of which published entries are lost, as `audit restart` does."
    ),
]


@dataclass
class _Restored:
    """What a restore came to. took_s: seconds of each step."""

    backup: str
    recovered: Recovered | None = None
    settled: Settled | None = None
    erasures: int = 0
    checked: Checked | None = None
    took_s: dict[str, float] = field(default_factory=dict)

    @property
    def may_be_served(self) -> bool:
        """Whether its check came out right, or was not asked for."""
        return self.checked is None or self.checked.may_be_served

    @contextmanager
    def timing(self, step: str) -> Iterator[None]:
        """Note how long a step takes."""
        began = time.monotonic()
        yield
        self.took_s[step] = round(time.monotonic() - began, 2)


def restore(
    backups: Annotated[
        Path, typer.Option("--from", help="The directory of backups.", exists=True, file_okay=False, resolve_path=True)
    ],
    into: Annotated[Path, typer.Option(help="The data directory to make, which must be empty.", resolve_path=True)],
    keys: Annotated[
        Path,
        typer.Option(
            help="Where the keys lie that no backup has: the old data directory, or the copy of its keys.",
            exists=True,
            file_okay=False,
            resolve_path=True,
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the trail.")],
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
    as_json: AsJson = False,
) -> None:
    """Restore the embedded database into a new data directory, to a moment or to the newest, and check it.

    Erasures are done again, all sign-ins end, and what was taken away after that moment is taken away again, before
    anybody can be served. The trail says that it was restored. Exit code 8: a backup or WAL is damaged or missing; 7:
    the trail, or a row, is not what it must be; 5: a value does not open; 6: more of the trail was published than is
    there: --restart-trail says so in it. After 8, 7 and 5 no server starts on it.

    Example: fieldward restore --from /mnt/backup --to-time 2026-03-03T10:00:00Z --into restored --keys .fieldward
    --reason "The disk failed"
    """
    moment = _moment(to_time)
    if (moment is None) != latest:
        refuse("expected one of --to-time and --latest")
    configure_logs("json")
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
                done = _Restored(chosen.id)
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
                    done.settled = await _settle(built, [keys / WAYS_IN, backups / WAYS_IN], into, reason)
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
                if done.may_be_served:
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
        "last_transaction_at": _iso(done.recovered.last_transaction_at if done.recovered else None),
        "segments": done.recovered.segments if done.recovered else 0,
        "erasures": done.erasures,
        "settled": _settled(done.settled),
        "checked": done.checked.to_json() if done.checked else None,
        "may_be_served": done.may_be_served,
        "took_s": done.took_s,
    }
    _end(shown, done.checked, as_json)


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
                        done = await _settle(built, _notes(settings), settings.data_directory, reason)
                    return done, await check_restored(
                        built, operator(), counted, restart_reason=reason if restart_trail else None, progress=told
                    )

    done, checked = run(work())
    _end({"settled": _settled(done), "checked": checked.to_json()}, checked, as_json)


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


async def _settle(built: Services, notes: list[Path], into: Path, reason: str) -> Settled:
    settled = await settle_restored(built, operator(), newest_note(notes), reason=reason)
    await WaysInNote(into, None).begin_anew(built.keystore)
    return settled


def _notes(settings: Settings) -> list[Path]:
    directories = [settings.data_directory, *filter(None, [settings.backup_directory])]
    return [directory / WAYS_IN for directory in directories]


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


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _settled(done: Settled | None) -> dict[str, Any] | None:
    return None if done is None else asdict(done)


def _end(shown: dict[str, Any], checked: Checked | None, as_json: bool) -> None:
    """Print what came out, and exit as it is."""
    if as_json:
        print(json.dumps(shown, default=str))
    else:
        for name, value in shown.items():
            if isinstance(value, dict):
                print(f"{name}:")
                for inner, one in value.items():
                    _print(f"  {inner}", one)
            else:
                _print(name, value)
        for line in _waiting(shown["settled"]):
            print(line)
        for one in checked.set_back if checked else ():
            _advise(one.slug, one.published_size, one.kept_size)
    if checked is not None and checked.exit_code:
        raise typer.Exit(checked.exit_code)


def _waiting(settled: dict[str, Any] | None) -> Iterator[str]:
    """Yield what of that which was settled waits for somebody."""
    if settled is None:
        return
    if not settled["knows_ways_in"]:
        yield (
            "There was no note of what stood last: nobody knows what was taken away, or held, since. No period of"
            " retention counts until it is decided anew. Look at members, factors and legal holds before you serve it."
        )
    if settled["erasures_to_confirm"]:
        yield "Erasures that were confirmed wait to be confirmed anew: they may have been taken back since."
    if settled["erasures_gone"]:
        yield "Erasures that were asked for after that moment are gone: have them asked for once more, in their time."
    if settled["holds"]:
        yield "Legal holds that were placed since stand again: who placed them says why."
    if settled["other"]:
        yield "Roles or rights are others than they stood last: look at them."


def _print(name: str, value: Any) -> None:
    if isinstance(value, list):
        print(f"{name.replace('_', ' ')}:" + ("".join(f"\n    {one}" for one in value) or " none"))
    else:
        print(f"{name.replace('_', ' ')}: {'none' if value is None or value == {} else value}")


def _advise(slug: str | None, published: int, kept: int) -> None:
    if slug is None:
        return
    print(
        f"The trail of {slug} has {kept:,} entries sealed, and {published:,} were published. Nothing more of it is"
        " sealed until you say that the newer ones are lost:\n"
        f'  fieldward audit restart --organization {slug} --reason "…"'
    )
