"""A million readings on a chart: `measurementSeries` against plain SQL that puts the same readings into the same spans.

In this process, without HTTP. Readings lie a minute apart at four sites. The plain statement has no organization, no
guards and no log, and asks for the mean, the smallest and the largest value of each span by `date_bin`; ours answers
the first and the last value as well, as GraphQL. The two take turns; what is counted is the time until the answer.
"""

import asyncio
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from auth.principal import Channel, Origin, Viewer
from bench.dataset import Dataset
from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import ORGANIZATION, databases_of, seed_fieldward
from bench.server import Databases
from bench.targets.base import POOL_SIZE
from fieldward.cli.environment import services
from fieldward.settings import Settings
from models.base import new_id
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.read import Reader
from resolvers.services import Services
from resolvers.trail import Actor
from schema.api import Api, build_api
from schema.context import RequestContext

SITES: Final = 4
WIDTH: Final = 1000
"""Points of a series: about the width of a chart on a desk's screen."""
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
CHARACTERISTIC: Final = "Water level"

_QUERY: Final = """
query Chart($characteristic: String!, $start: DateTime!, $end: DateTime!, $width: Int!, $record: RecordFilter) {
  measurementSeries(characteristic: $characteristic, start: $start, end: $end, width: $width, record: $record) {
    siteCode unit count points { at count min max mean first last }
  }
}
"""
_PLAIN: Final = """
select r.site_code, m.unit, date_bin($1::interval, r.collected_at, $2) as at, count(*), min(m.value), max(m.value),
       avg(m.value)
from measurement m join record r on r.organization_id = m.organization_id and r.id = m.record_id
where m.characteristic = $3 and r.collected_at >= $2 and r.collected_at < $4 and ($5::text is null or r.site_code = $5)
group by 1, 2, 3 order by 1, 2, 3
"""
_RECORDS: Final = """
insert into record (id, organization_id, created_at, project_id, site_code, collected_at, received_at, medium, status,
                    contributor_ids, version, location_is_coarse)
select ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, p.organization_id, now(), p.id,
       'GAUGE-' || n % $1, $2::timestamptz + n / $1 * interval '1 min', now(), 'WATER', 'APPROVED', '{}', 1, false
from (select * from project order by code limit 1) p, generate_series(0, $3::int - 1) n
"""
_MEASUREMENTS: Final = """
insert into measurement (id, organization_id, created_at, project_id, record_id, position, characteristic, value, unit)
select id, organization_id, now(), project_id, id, 0, $1,
       2 + sin(extract(epoch from collected_at)::float8 / 43200) + random() / 10, 'm'
from record where site_code like 'GAUGE-%'
"""


def measure_series(plan: Plan, databases: Databases, readings: int) -> Report:
    """Measure a chart of all readings, and of those of one site, in turns with plain SQL."""
    found = asyncio.run(_measure(plan, databases, readings))
    rows = [
        [
            name,
            f"{read:,}",
            f"{points:,}",
            f"{statistics.median(ours):.0f}",
            f"{statistics.median(plain):.0f}",
            f"{statistics.median(ours) / statistics.median(plain):.2f}",
        ]
        for name, (read, points, ours, plain) in found.items()
    ]
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"{readings:,} readings at {SITES} sites, {WIDTH:,} points wide; medians of {plan.rounds} turns.",
        "",
        *table(["chart of", "readings", "points", "measurementSeries ms", "plain SQL ms", "ratio"], rows),
    ]
    data = {name: {"ours_ms": ours, "plain_ms": plain} for name, (_, _, ours, plain) in found.items()}
    return Report("series", lines, {"series": data})


async def _measure(plan: Plan, databases: Databases, readings: int) -> dict[str, Any]:
    settings = Settings(data_directory=plan.directory / "fieldward", pool_size=POOL_SIZE)
    say(f"series: {readings:,} readings")
    person = await seed_fieldward(databases, "series", Dataset(1000), settings, with_measurements=False)
    async with databases.superuser("series") as superuser:
        async with superuser.transaction():
            # The trail is not what is measured; without it, a million rows are there in seconds.
            await superuser.execute("set local session_replication_role = replica")
            for one in ("record", "measurement"):
                await superuser.execute(f"alter table {one} disable trigger change_insert")
            await superuser.execute(_RECORDS, SITES, START, readings)
            await superuser.execute(_MEASUREMENTS, CHARACTERISTIC)
            for one in ("record", "measurement"):
                await superuser.execute(f"alter table {one} enable always trigger change_insert")
        await databases.settle("series")
        end = START + timedelta(minutes=-(-readings // SITES))
        async with services(settings, databases_of(databases, "series", owner=False)) as built:
            viewer, api = await member_viewer(ORGANIZATION, email=person.email), build_api()
            found = {}
            for name, site in (("all sites", None), ("one site", "GAUGE-0")):
                ours: list[float] = []
                plain: list[float] = []
                answered: list[dict[str, Any]] = []
                for turn in range(plan.rounds + 1):
                    took, answered = await _ask(api, built, viewer, end, site)
                    took_plain = await _ask_plainly(superuser, end, site)
                    if turn:
                        # The first of each finds nothing in memory.
                        ours.append(took)
                        plain.append(took_plain)
                points = sum(len(one["points"]) for one in answered)
                found[name] = (sum(one["count"] for one in answered), points, ours, plain)
                say(f"series: {name}: {statistics.median(ours):.0f} ms, plain {statistics.median(plain):.0f} ms")
    return found


async def _ask(
    api: Api, built: Services, viewer: Viewer, end: datetime, site: str | None
) -> tuple[float, list[dict[str, Any]]]:
    """Return the milliseconds that the answer took, and the series in it."""
    actor = Actor(viewer.organization_id, Origin(channel=Channel.API, request_id=new_id()), viewer)
    tenant = Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)
    context = RequestContext(built, actor, Reader(tenant))
    variables = {
        "characteristic": CHARACTERISTIC,
        "start": START.isoformat(),
        "end": end.isoformat(),
        "width": WIDTH,
        "record": {"siteCode": {"eq": site}} if site is not None else None,
    }
    started = time.perf_counter()
    result = await api.execute(_QUERY, variables, context)
    took = (time.perf_counter() - started) * 1000
    if result.errors or not result.data:
        raise RuntimeError(f"The chart was not answered: {result.errors}")
    return took, result.data["measurementSeries"]


async def _ask_plainly(connection: asyncpg.Connection, end: datetime, site: str | None) -> float:
    """Return the milliseconds that plain SQL took."""
    microseconds = -(-((end - START) // timedelta(microseconds=1)) // WIDTH)
    started = time.perf_counter()
    await connection.fetch(_PLAIN, timedelta(microseconds=microseconds), START, CHARACTERISTIC, end, site)
    return (time.perf_counter() - started) * 1000
