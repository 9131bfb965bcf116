"""How fast a large file is imported, what of memory that takes, and how it compares to COPY of the same rows.

The file is made up, in the layout of the Water Quality Portal, with four results to an activity, or one: then each row
is a record. A process of its own uploads it and runs the import as the server's job does: rows are parsed, judged,
looked up, sealed, and written with their audit entries and changes. COPY then puts the very rows that came of it into
two tables without triggers and without a trail, with the same indexes: the least that PostgreSQL has to do for them.
"""

import asyncio
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from bench.dataset import Dataset
from bench.process import ROOT, ProcessError, plain_environment
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import databases_of, seed_fieldward
from bench.server import Databases
from bench.targets.base import POOL_SIZE
from fieldward.settings import Settings
from resolvers.wqx_table import Column

USUAL: Final = 4
"""Results of an activity, which is a record, as in files of the Portal."""
_DATABASE: Final = "fieldward_importing"
_CHARACTERISTICS: Final = (
    ("Temperature, water", "deg C", "12.5"),
    ("pH", "None", "7.4"),
    ("Specific conductance", "uS/cm", "431"),
    ("Phosphorus", "mg/l", ""),
)
_TABLES: Final = ("record", "measurement")


def measure_import(plan: Plan, databases: Databases, rows: int, results: int = USUAL) -> Report:
    """Import a file of so many rows, then COPY what came of it. results: to a record."""
    name = "import" if results == USUAL else "import-records"
    with tempfile.TemporaryDirectory(dir=plan.directory) as directory:
        path = Path(directory) / "results.csv"
        size_mb = write_file(path, rows, results) / 2**20
        say(f"a file of {rows:,} rows, {size_mb:.0f} MiB")
        found, copied = asyncio.run(_measure(databases, plan, path))
    if found["status"] != "DONE" or found["created"] != rows:
        raise ProcessError(f"The import came to {found['status']}, with {found['created']} of {rows} rows.")
    rate, copy_rate = rows / found["import_s"], rows / copied
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"A file of {rows:,} rows, {size_mb:.0f} MiB, {rows // results:,} records; one process.",
        "",
        *table(
            ["what", "seconds", "rows/s", "times COPY"],
            [
                ["upload, sealed in pieces", f"{found['upload_s']:.1f}", f"{rows / found['upload_s']:,.0f}", ""],
                [
                    "import by the job",
                    f"{found['import_s']:.1f}",
                    f"{rate:,.0f}",
                    f"{found['import_s'] / copied:.1f}",
                ],
                ["COPY of the same rows, without a trail", f"{copied:.1f}", f"{copy_rate:,.0f}", "1.0"],
            ],
        ),
        "",
        f"Memory of the process: {found['before_mb']:.0f} MB before, {_quarter(found, 0):.0f} MB in the first quarter,"
        f" {_quarter(found, 3):.0f} MB in the last, {found['peak_mb']:.0f} MB at the most.",
    ]
    return Report(name, lines, {name: {**found, "copy_s": copied, "file_mb": size_mb}})


def write_file(path: Path, rows: int, results: int) -> int:
    """Write a file of so many rows, so many of them to a record, and return its bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [str(one) for one in Column], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(rows, results))
    return path.stat().st_size


def _rows(count: int, results: int) -> Iterator[dict[str, str]]:
    for number in range(count):
        activity = number // results
        characteristic, unit, value = _CHARACTERISTICS[number % len(_CHARACTERISTICS)]
        yield {
            Column.ORGANIZATION: "BENCH_WQX",
            Column.ORGANIZATION_NAME: "Bench Water Survey",
            Column.ACTIVITY: f"BENCH_WQX-{activity:08}",
            Column.ACTIVITY_TYPE: "Sample-Routine",
            Column.MEDIUM: "Water",
            Column.DATE: f"20{activity % 24:02}-{activity % 12 + 1:02}-{activity % 28 + 1:02}",
            Column.TIME: f"{activity % 24:02}:{activity % 60:02}:00",
            Column.ZONE: "EST",
            Column.CONDUCTING_ORGANIZATION: f"Crew {activity % 50}",
            Column.SITE: f"BENCH_WQX-S{activity % 4000:04}",
            Column.SITE_NAME: f"Site {activity % 4000} below the bridge",
            Column.LATITUDE: f"{30 + activity % 1000 / 100:.4f}",
            Column.LONGITUDE: f"-{80 + activity % 1000 / 100:.4f}",
            Column.ACTIVITY_COMMENT: "water low, a little foam at the left bank" if activity % 3 == 0 else "",
            Column.SAMPLING_METHOD: "G",
            Column.SAMPLING_METHOD_CONTEXT: "BENCH_WQX",
            Column.SAMPLING_METHOD_NAME: "Grab Sample",
            Column.DETECTION_CONDITION: "" if value else "Not Detected",
            Column.CHARACTERISTIC: characteristic,
            Column.FRACTION: "Total",
            Column.VALUE: value,
            Column.UNIT: unit,
            Column.RESULT_STATUS: "Accepted",
            Column.VALUE_TYPE: "Actual",
            Column.ANALYTICAL_METHOD: "2510",
            Column.ANALYTICAL_METHOD_CONTEXT: "APHA",
            Column.ANALYTICAL_METHOD_NAME: "Field measurement",
            Column.LIMIT_TYPE: "" if value else "Method Detection Level",
            Column.LIMIT: "" if value else "0.004",
            Column.LIMIT_UNIT: "" if value else "mg/l",
        }


async def _measure(databases: Databases, plan: Plan, path: Path) -> tuple[dict[str, Any], float]:
    settings = Settings(data_directory=plan.directory / "fieldward", password_cost="test", pool_size=POOL_SIZE)  # noqa: S106
    dataset = Dataset(100)
    person = await seed_fieldward(databases, _DATABASE, dataset, settings, with_measurements=False)
    project = next(iter(dataset.all_projects()))
    reached = databases_of(databases, _DATABASE, owner=False)
    before = {table: await _count(databases, table) for table in _TABLES}
    given = {"main": reached.main, "keystore": reached.keystore, "email": person.email, "project": str(project.id)}
    say("import")
    found = await asyncio.to_thread(_run, path, given, settings)
    say(f"{found['import_s']:.0f} s; COPY of what came of it")
    copied = 0.0
    for name in _TABLES:
        copied += await _copy(databases, name, before[name], path.parent)
    return found, copied


def _run(path: Path, given: dict[str, Any], settings: Settings) -> dict[str, Any]:
    environment = plain_environment(
        FIELDWARD_DATA_DIRECTORY=str(settings.data_directory),
        FIELDWARD_PASSWORD_COST="test",  # noqa: S106
    )
    command = [sys.executable, "-m", "bench.apps.importing", str(path), json.dumps(given)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessError(f"The import ended with {done.returncode}:\n{done.stderr[-3000:]}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


async def _count(databases: Databases, name: str) -> int:
    async with databases.superuser(_DATABASE) as superuser:
        return int(await superuser.fetchval(f"select count(*) from {name}"))


async def _copy(databases: Databases, name: str, before: int, directory: Path) -> float:
    """Return how long COPY takes to put the rows of a table into one like it. before: rows that were there already."""
    path = directory / f"{name}.copy"
    async with databases.superuser(_DATABASE) as superuser:
        rows = f"(select * from {name} order by created_at offset {before})"
        await superuser.copy_from_query(f"select * from {rows} r", output=path, format="binary")
        await superuser.execute(f"create table copied_{name} (like {name} including indexes including constraints)")
        began = time.perf_counter()
        await superuser.copy_to_table(f"copied_{name}", source=path, format="binary")
        took = time.perf_counter() - began
    path.unlink()
    return took


def _quarter(found: dict[str, Any], number: int) -> float:
    looks = found["looks_mb"] or [found["peak_mb"]]
    part = looks[number * len(looks) // 4 : (number + 1) * len(looks) // 4] or looks
    return float(max(part))
