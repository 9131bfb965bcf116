"""How fast exports are made, what the process holds of memory meanwhile, and `COPY TO` of the same rows beside it.

The export is what a person gets: every row as they may read it, comments opened, each batch's rights asked for, what
was read written into the trail, the file sealed into the database. `COPY TO` reads the same columns of the same rows as
they are stored, opens nothing, asks nobody and writes nothing down. Each is done by a process of its own.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from bench.dataset import Dataset
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import ORGANIZATION, databases_of, seed_fieldward
from bench.server import Databases as Server
from fieldward.cli.environment import operator, services
from fieldward.database import Databases
from fieldward.settings import Settings
from models.cluster import Credentials
from models.data_export import DataExport, ExportFormat, ExportStatus
from models.inventory import entity_of
from models.measurement import Measurement
from models.record import Record
from resolvers.account import member_viewer
from resolvers.change import Change, Intent, commit_change
from resolvers.export import NewExport, create_export
from resolvers.export_job import Exporting
from resolvers.trail import Actor

FORMATS: Final = (ExportFormat.CSV, ExportFormat.GEOJSON, ExportFormat.PARQUET, ExportFormat.WQX_XML)
_DATABASE: Final = "exports"


@dataclass(frozen=True, slots=True)
class Done:
    """How an export, or a copy, went. rows: measurements. before_mb, most_mb: what the process held."""

    name: str
    seconds: float
    records: int
    rows: int
    size: int
    before_mb: float
    most_mb: float


def measure_export(plan: Plan, databases: Server, rows: int, formats: tuple[ExportFormat, ...] = FORMATS) -> Report:
    """Export so many records in each format, and copy them."""
    settings = Settings(data_directory=plan.directory / "fieldward" / _DATABASE)
    say(f"{rows:,} records: fill")
    person = asyncio.run(seed_fieldward(databases, _DATABASE, Dataset(rows), settings))
    reached = databases_of(databases, _DATABASE, owner=False)
    superuser: dict[str, Any] = dict(databases.postgres.superuser(_DATABASE).dsn_parameters())
    found = [_apart(_copied, superuser)]
    say(f"COPY TO: {found[0].seconds:.1f} s")
    for one in formats:
        found.append(_apart(_exported, settings.data_directory, reached.main, reached.keystore, person.email, one))
        say(f"{found[-1].name}: {found[-1].records / found[-1].seconds:,.0f} records/s, {found[-1].most_mb:.0f} MB")
    copied = found[0]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{rows:,} records with their {copied.rows:,} measurements, all that a manager of every project may read, in"
        " one file.",
        "",
        *table(
            ["", "s", "records/s", "rows/s", "file MB", "of COPY TO's time", "RSS before MB", "most RSS MB"],
            [
                [
                    one.name,
                    f"{one.seconds:.1f}",
                    f"{one.records / one.seconds:,.0f}",
                    f"{one.rows / one.seconds:,.0f}",
                    f"{one.size / 1e6:,.0f}",
                    f"{one.seconds / copied.seconds:.1f}",
                    f"{one.before_mb:.0f}",
                    f"{one.most_mb:.0f}",
                ]
                for one in found
            ],
        ),
    ]
    return Report("export", lines, {"export": [asdict(one) for one in found]})


def _apart(work: Callable[..., Done], *arguments: Any) -> Done:
    """Do it in a process that has done nothing else, so that its memory is that of the work."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _copied(superuser: dict[str, Any]) -> Done:
    return asyncio.run(_copy(superuser))


def _exported(directory: Path, main: Credentials, keystore: Credentials, email: str, form: ExportFormat) -> Done:
    return asyncio.run(_export(directory, Databases(main, keystore), email, form))


async def _copy(superuser: dict[str, Any]) -> Done:
    columns = [
        f't{place}."{name}"'
        for place, model in enumerate((Record, Measurement))
        for name, column in entity_of(model).columns.items()
        if column.is_in_api
    ]
    size = 0

    async def take(content: bytes) -> None:
        nonlocal size
        size += len(content)

    connection = await asyncpg.connect(**superuser)
    try:
        counted = await connection.fetchrow("select (select count(*) from record), (select count(*) from measurement)")
        before, started = _rss_mb(), time.perf_counter()
        await connection.copy_from_query(
            f"select {', '.join(columns)} from record t0 left join measurement t1"
            " on t1.organization_id = t0.organization_id and t1.record_id = t0.id order by t0.id, t1.position",
            output=take,
            format="csv",
            header=True,
        )
        seconds = time.perf_counter() - started
    finally:
        await connection.close()
    if counted is None:
        raise LookupError("There is nothing to copy.")
    return Done("COPY TO, as CSV", seconds, counted[0], counted[1], size, before, _most_mb())


async def _export(directory: Path, reached: Databases, email: str, form: ExportFormat) -> Done:
    settings = Settings(data_directory=directory)
    async with services(settings, reached) as built:
        viewer = await member_viewer(ORGANIZATION, email=email)
        actor = Actor(viewer.organization_id, operator().origin, viewer)

        async def ask(change: Change) -> UUID:
            return await create_export(change, export_id=None, new=NewExport(format=form))

        export_id = await commit_change(Intent(Action.EXPORT_CREATE, actor, entity=entity_of(DataExport).name), ask)
        job = Exporting(built, lifetime=timedelta(hours=1))
        before, started = _rss_mb(), time.perf_counter()
        while await job.step():
            pass
        seconds = time.perf_counter() - started
        connection = await asyncpg.connect(**reached.main)
        try:
            await connection.execute(
                "select set_config('fieldward.organization_id', $1, false)", str(viewer.organization_id)
            )
            row = await connection.fetchrow("select * from data_export where id = $1", export_id)
        finally:
            await connection.close()
    if row is None or row["status"] != ExportStatus.READY:
        raise LookupError(f"The export came to nothing: {row and row['error_code']}.")
    return Done(str(form), seconds, row["records"], row["measurements"], row["size"], before, _most_mb())


def _rss_mb() -> float:
    return _status_mb("VmRSS")


def _most_mb() -> float:
    # Not `ru_maxrss`: that of a process that was forked begins at its parent's.
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
