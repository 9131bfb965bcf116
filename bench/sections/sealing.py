"""Whether sealing keeps up: how fast it seals a trail that waits, and how far it falls behind one that is written.

Of the entries one in three changes four rows, one names the hundred rows that somebody read, one is a refused attempt.
Each is a transaction of its own, written inside PostgreSQL so that the writers' client costs next to nothing; the job
is the server's, with its guard and its file of signed heads, called as a server calls it.
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Final
from uuid import UUID

from bench.report import Report, heading, table
from bench.run import Plan, say
from bench.seed_fieldward import databases_of
from bench.server import Databases
from fieldward.cli.environment import services
from fieldward.database import migrate
from fieldward.settings import Settings
from models.base import new_id
from resolvers.trail_sealing import EVERY_S, TrailSealing, sealing_lag

RATE: Final = 1000
"""Entries a second that are written, and that sealing has to keep up with."""
MOST_LAG_S: Final = 5.0
WRITERS: Final = 4
_AT_ONCE: Final = 50
"""Transactions of a call of a writer."""

_READ, _CHANGED = 100, 4
_DATABASE: Final = "sealing"

# One entry and what belongs to it; `n` is its number, `o` its organization.
_WRITE: Final = f"""
create procedure write_entries(organizations uuid[], first integer, count integer) language plpgsql as $body$
declare o uuid; e uuid; n integer;
begin
  for n in first .. first + count - 1 loop
    o := organizations[1 + n % array_length(organizations, 1)];
    e := gen_random_uuid();
    insert into audit_entry (id, organization_id, kind, action, outcome, repeated, channel, request_id, client_name,
                             ip_address, entity, entity_ids)
    values (e, o, (array['CHANGE', 'READ', 'ATTEMPT'])[1 + n % 3], 'record.update', 'DONE', 0, 'API', e, 'bench',
            decode(repeat('5a', 90), 'hex'), 'record',
            case when n % 3 = 1 then (select array_agg(gen_random_uuid()) from generate_series(1, {_READ}))
                 else array[e] end);
    if n % 3 = 0 then
      insert into change (organization_id, entry_id, operation, entity, entity_id, columns)
      select o, e, 'UPDATE', 'record', gen_random_uuid(),
             jsonb_build_object('version', jsonb_build_array(s, s + 1), 'comment',
                                jsonb_build_array('\\x' || repeat('5a', 120), '\\x' || repeat('a5', 120)))
        from generate_series(1, {_CHANGED}) s;
    end if;
    commit;
  end loop;
end $body$
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a window went, in entries a second. lag: of the oldest entry that was not sealed; busy: the job's share."""

    organizations: int
    written_rate: float
    sealed_rate: float
    most_lag_s: float
    busy: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """How fast a trail was sealed that nobody had sealed yet."""

    organizations: int
    entries: int
    seconds: float

    @property
    def rate(self) -> float:
        """Entries a second."""
        return self.entries / self.seconds


def measure_sealing(plan: Plan, databases: Databases, entries: int, organizations: int) -> Report:
    """Seal a backlog, then what is written meanwhile; of one organization, and of several."""
    backlogs, windows = asyncio.run(_measure(plan, databases, entries, (1, organizations)))
    lines = [
        *heading(plan.generator, f"PostgreSQL {asyncio.run(databases.version())}"),
        f"One in three entries with {_CHANGED} changes, one with {_READ} ids, one attempt; each a transaction of its"
        f" own, committed to disk. A trail of {entries:,} entries that waits:",
        "",
        *table(
            ["organizations", "entries", "seconds", "sealed/s"],
            [
                [f"{one.organizations}", f"{one.entries:,}", f"{one.seconds:.1f}", f"{one.rate:,.0f}"]
                for one in backlogs
            ],
        ),
        "",
        f"While up to {RATE:,}/s are written, by {WRITERS} connections, for {plan.seconds:g} s:",
        "",
        *table(
            ["organizations", "written/s", "sealed/s", "most lag s", "at most", "time at work"],
            [
                [
                    f"{one.organizations}",
                    f"{one.written_rate:,.0f}",
                    f"{one.sealed_rate:,.0f}",
                    f"{one.most_lag_s:.1f}",
                    f"{MOST_LAG_S:.0f}",
                    f"{one.busy:.0%}",
                ]
                for one in windows
            ],
        ),
    ]
    data = {"backlogs": [asdict(one) for one in backlogs], "windows": [asdict(one) for one in windows]}
    return Report("sealing", lines, {"sealing": data})


async def _measure(
    plan: Plan, databases: Databases, entries: int, counts: tuple[int, ...]
) -> tuple[list[Backlog], list[Kept]]:
    backlogs, windows = [], []
    for count in counts:
        name = f"{_DATABASE}_{count}"
        settings = Settings(data_directory=plan.directory / "fieldward" / name)
        await databases.create_database(name, "fieldward_owner")
        async with databases.superuser(name) as superuser:
            await superuser.execute(f"revoke all on database {name} from public")
            await superuser.execute(f"grant connect on database {name} to fieldward_service")
            await superuser.execute("alter schema public owner to fieldward_owner")
        await migrate(databases_of(databases, name, owner=True), settings)
        async with databases.superuser(name) as superuser:
            await superuser.execute(_WRITE)
        organizations = [new_id() for _ in range(count)]
        async with services(settings, databases_of(databases, name, owner=False)) as built:
            job = TrailSealing(built.sealer, _leads)
            await _fill(databases, name, organizations, entries)
            await databases.settle(name)
            begun = time.perf_counter()
            while await job.round():
                pass
            backlogs.append(Backlog(count, job.sealed.total(), time.perf_counter() - begun))
            say(f"{count} organizations: {backlogs[-1].rate:,.0f} entries/s of a backlog")
            windows.append(await _keep_up(plan, databases, name, organizations, job))
            say(f"{count} organizations: {windows[-1].sealed_rate:,.0f}/s of {windows[-1].written_rate:,.0f}/s written")
    return backlogs, windows


async def _leads() -> bool:
    return True


async def _fill(databases: Databases, name: str, organizations: list[UUID], entries: int) -> None:
    async with databases.superuser(name) as superuser:
        await superuser.execute("set synchronous_commit = off")
        await superuser.execute("call write_entries($1, 0, $2)", organizations, entries)


async def _keep_up(plan: Plan, databases: Databases, name: str, organizations: list[UUID], job: TrailSealing) -> Kept:
    before = job.sealed.total()
    is_over = asyncio.Event()
    written = 0
    most_lag = busy = 0.0
    begun = time.perf_counter()

    async def write() -> None:
        nonlocal written
        async with databases.superuser(name) as connection:
            while (passed := time.perf_counter() - begun) < plan.seconds:
                if written > passed * RATE:
                    await asyncio.sleep(0.01)
                    continue
                written += _AT_ONCE
                await connection.execute("call write_entries($1, $2, $3)", organizations, written, _AT_ONCE)

    async def seal() -> None:
        nonlocal busy
        while not is_over.is_set():
            started = time.perf_counter()
            more = await job.round()
            busy += time.perf_counter() - started
            if not more:
                await asyncio.sleep(EVERY_S)

    async def look() -> None:
        nonlocal most_lag
        while not is_over.is_set():
            most_lag = max(most_lag, await sealing_lag())
            await asyncio.sleep(0.25)

    beside = [asyncio.create_task(seal()), asyncio.create_task(look())]
    await asyncio.gather(*(write() for _ in range(WRITERS)))
    seconds = time.perf_counter() - begun
    sealed = job.sealed.total() - before
    is_over.set()
    await asyncio.gather(*beside)
    return Kept(len(organizations), written / seconds, sealed / seconds, most_lag, busy / seconds)
