"""Migrations hold nobody up: by their text, by the locks that the newest holds, and where locks are not to be had.

What is measured is how long others wait; the bound is far above what it takes on a quiet machine.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs
from tortoise import Tortoise
from tortoise.connection import get_connection
from tortoise.migrations.executor import MigrationExecutor, MigrationTarget

from fieldward.database import Databases, migrate, pools
from fieldward.lock_patience import with_patience
from models.errors import UnavailableError
from tests.conftest import Template
from tests.support.migration import Watched, copy_rows, objections, tables_with_rows, watching, without_triggers
from tests.support.world import World, connect

BUDGET_S = 1.0
"""Seconds for which a table that has rows may be one's alone."""
ROWS = 20_000
MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = sorted(path.stem for path in (MODELS / "migrations").glob("0*.py"))
NAMES_OF_KEYS = sorted(path.stem for path in (MODELS / "encryption" / "migrations").glob("0*.py"))
UNRELEASED = frozenset(
    {
        *("0002_wards", "0003_ledger", "0004_incident", "0005_retention"),
        *("0013_feed", "0014_retention", "0015_erasure_request"),
    }
)
"""Those that would hold others up, and were written before there was a release: nobody's rows were there when they ran,
and no version was. None is added.
"""
READ = "select count(*) from (select id from record limit 50) r"
WRITE = "begin; lock table organization, record in row exclusive mode; commit"
"""What every change begins with: the locks that it takes, without an entry of the trail that it would have to have."""
MULTIPLY = (
    "insert into record select p.* from record r, generate_series(1, $1) n, lateral jsonb_populate_record(r,"
    " jsonb_build_object('id', md5(n::text)::uuid, 'comment', null, 'collector', null, 'creation_digest', null)) p"
    " where r.id = (select id from record limit 1)"
)


async def _sql_of(names: Sequence[str], template: Template, *, of_keys: bool = False) -> dict[str, str]:
    """Return all that each migration executes. of_keys: they are those of the keystore."""
    app, connection = ("keystore", "keystore") if of_keys else ("models", "default")
    config = pools(_owner(template, "fieldward"), template.settings)
    await Tortoise.init(config=config, _enable_global_fallback=True)
    try:
        executor = MigrationExecutor(get_connection(connection), {app: config["apps"][app]})
        return {name: ";\n".join(await executor.collect_sql(app, name)) for name in names}
    finally:
        await Tortoise.close_connections()


def _owner(template: Template, database: str) -> Databases:
    return Databases(
        main=template.postgres.owner(database).dsn_parameters(),
        keystore=template.postgres.owner("fieldward_keys").dsn_parameters(),
    )


@pytest.fixture
async def older(template: Template) -> AsyncIterator[tuple[str, str]]:
    """The name of a database that lacks the newest migration and has rows, and that migration's name."""
    superuser = await connect(template.postgres.superuser())
    name = "before_newest"
    await superuser.execute(f"create database {name} owner fieldward_owner")
    owner = _owner(template, name)
    config = pools(owner, template.settings)
    made = await connect(template.postgres.superuser(name))
    # As `setup_script` leaves it.
    await made.execute("alter schema public owner to fieldward_owner; revoke create on schema public from public")
    try:
        await Tortoise.init(config=config, _enable_global_fallback=True)
        executor = MigrationExecutor(get_connection("default"), {"models": config["apps"]["models"]})
        await executor.migrate([MigrationTarget("models", NAMES[-2])], direction="forward")
        await Tortoise.close_connections()
        source = await connect(template.postgres.superuser("fieldward"))
        try:
            async with without_triggers(made):
                assert await copy_rows(source, made) > 500
                await made.execute(MULTIPLY, ROWS)
        finally:
            await source.close()
        yield name, NAMES[-1]
    finally:
        await made.close()
        await superuser.execute(f"drop database {name} with (force)")
        await superuser.close()


async def test_the_newest_migration_holds_no_table_with_rows_beyond_the_budget_while_others_read_and_write(
    older: tuple[str, str], template: Template
) -> None:
    database, newest = older
    superuser = template.postgres.superuser(database)
    looking = await connect(superuser)
    filled = await tables_with_rows(looking)
    applied: list[str] = []

    async with watching(superuser, read=READ, write=WRITE) as watched:
        await asyncio.sleep(0.2)
        await migrate(
            _owner(template, database),
            template.settings,
            progress=lambda event, app, name: (
                applied.append(name) if (event, app) == ("apply_done", "models") else None
            ),
        )
    columns = await looking.fetchval("select count(*) from record")
    await looking.close()

    assert applied == [newest]
    assert {"record", "organization", "audit_entry"} <= set(filled)
    assert columns > ROWS
    _require_within(watched, filled)
    assert watched.reads > 20
    assert watched.writes > 20


def _require_within(watched: Watched, filled: list[str]) -> None:
    beyond = {name: held for name, held in watched.held_s.items() if name in filled and held > BUDGET_S}
    assert not beyond, f"tables with rows were one's alone for seconds: {beyond}"
    # A machine that is busy is late by itself: so late as with what takes no lock.
    assert watched.reader_s < BUDGET_S + watched.late_s
    assert watched.writer_s < BUDGET_S + watched.late_s


async def test_a_lock_that_is_held_too_long_is_noticed(world: World) -> None:
    holding = await connect(world.superuser)
    async with watching(world.superuser, read=READ, write=WRITE) as watched:
        await holding.execute("begin; alter table record add column more int; select pg_sleep(1.3); rollback")
    await holding.close()

    with pytest.raises(AssertionError, match="record"):
        _require_within(watched, ["record"])
    assert watched.reader_s > BUDGET_S


async def test_no_migration_does_by_its_text_what_holds_others_up(template: Template) -> None:
    found = {name: list(objections(sql)) for name, sql in (await _sql_of(NAMES, template)).items()}

    assert {name: said for name, said in found.items() if said and name not in UNRELEASED} == {}
    assert {name for name, said in found.items() if said} == UNRELEASED
    assert len(found) > len(UNRELEASED) + 5


async def test_no_migration_of_the_keys_does_either(template: Template) -> None:
    found = await _sql_of(NAMES_OF_KEYS, template, of_keys=True)

    assert {name: list(objections(sql)) for name, sql in found.items()} == {name: [] for name in NAMES_OF_KEYS}
    # What makes the table is read with what is done to it: by itself, the rest would be objected to.
    assert "create index on wrapped_key" in found[NAMES_OF_KEYS[0]]


async def test_the_text_of_a_migration_is_read_as_it_is_executed(template: Template) -> None:
    sql = (await _sql_of(["0013_feed"], template))["0013_feed"]

    assert [(one.table, one.why) for one in objections(sql)] == [("audit_entry", "writes wait while an index is built")]


@pytest.mark.parametrize(
    "sql",
    [
        "create index on record (site_code)",
        "create unique index a on public.record (site_code)",
        "create index if not exists a on record (site_code)",
        "create unique index if not exists a on only record (site_code)",
        "alter table record alter column site_code type text",
        "alter table only record alter site_code set data type text",
        "alter table record alter column site_code set not null",
        "alter table record add check (site_code <> '')",
        'alter table "record" add constraint c foreign key (organization_id) references organization (id)',
        "alter table record add constraint c unique (site_code) using index tablespace fast",
        "alter table record add column a int check (a is not null)",
        "alter table record add column a uuid references organization (id)",
        "alter table record add a int constraint c unique",
        "alter table record add column a uuid default gen_random_uuid()",
        "alter table record add column a uuid default (gen_random_uuid()) not null",
        "alter table record add a timestamptz default (now() + random() * interval '1 day')",
        "alter table record add column a timestamptz not null default pg_catalog.clock_timestamp()",
        'alter table record add column a float default "random"()',
        "alter table record add column a numeric(10, 2), add b text default (md5(random()::text))",
        "alter table record add column a int generated always as (1) stored",
        "alter table record add column a int generated by default as identity",
        "alter table record add column if not exists a bigserial",
        "alter table record add column a serial not null",
        "alter table record add column a int not null",
        "alter table record add a int not null",
        "alter table record add column a numeric(10, 2) not null",
        'alter table if exists "public"."record" add column a int, add "b" int not null',
        "alter table record drop column site_code",
        "alter table record drop site_code",
        "alter table record add a int, drop if exists site_code",
        "alter table record rename column site_code to code",
        "drop table record",
        "truncate record",
        "lock table record",
        "do $$ begin update record set site_code = 'x'; end $$",
        "update record r set site_code = 'x' where r.id = '1'",
        'update only public."record" as "r" set site_code = 1',
        "delete from record where true",
    ],
)
def test_a_statement_that_holds_others_up_is_found(sql: str) -> None:
    assert [one.table for one in objections(sql)] == ["record"]


@pytest.mark.parametrize(
    "sql",
    [
        "create index concurrently a on record (site_code)",
        "alter table record add column a int",
        "create unique index concurrently if not exists a on record (site_code)",
        "alter table record add a numeric(10, 2), add column if not exists b text",
        "alter table record add column a timestamptz not null default now()",
        "alter table record add column a timestamptz not null default (current_timestamp(3))",
        "alter table record add column a int not null default 0",
        "alter table record add a text not null default 'random()'",
        "alter table record add column serial int, add column if not exists b int",
        "alter table record add a varchar(9) default ''::character varying(9) not null",
        "alter table record add a text[] not null default array['x', 'y']::text[]",
        "alter table record add constraint c check (a > 0) not valid",
        "alter table record add constraint c check (a is not null and random() > b) not valid",
        "alter table record add foreign key (a) references organization (id) on update set null not valid",
        "alter table record add constraint c unique using index i",
        "alter table record drop constraint c, alter column site_code drop not null",
        "alter table record alter site_code set default gen_random_uuid()",
        "alter table record validate constraint c",
        'create table "public"."more" (id int); alter table more add unique (id)',
        "create table more (id uuid primary key); create index on more (id); alter table more add check (true)",
        "create function f() returns void language sql as $$ delete from record; update record set a = 1 $$",
        "create trigger refuse before truncate on record for each statement execute function f()",
        "create trigger refuse before update on record for each row execute function f()",
        "grant select, update (site_code) on record to fieldward_service; grant update on record to fieldward_service",
        "insert into record (id) values (1) on conflict (id) do update set site_code = 'x'",
        "-- drop table record\nselect 'truncate record'",
    ],
)
def test_a_statement_that_holds_nobody_up_is_let_be(sql: str) -> None:
    assert list(objections(sql)) == []


async def test_a_migration_that_waits_for_a_lock_lets_others_go_first_and_is_tried_again(world: World) -> None:
    holding, changing = await connect(world.superuser), await connect(world.superuser)
    await changing.execute("set lock_timeout = '150ms'")
    await holding.execute("begin; select count(*) from record")
    slept: list[float] = []

    async def sleep(wait_s: float) -> None:
        slept.append(wait_s)
        if len(slept) == 3:
            await holding.execute("commit")

    async def attempt() -> None:
        await changing.execute("alter table record add column more int")

    async with watching(world.superuser, read=READ, write=WRITE) as watched:
        with capture_logs() as logged:
            await with_patience(attempt, lambda: "0099_more", attempts=5, sleep=sleep)

    assert [one["attempt"] for one in logged] == [1, 2, 3]
    assert {one["event"] for one in logged} == {"migration_waits"}
    assert slept[0] < slept[2]
    # Readers stand behind who waits for the lock, and no longer than that one waits.
    assert watched.reader_s < BUDGET_S
    await holding.close()
    await changing.close()


async def test_a_migration_that_never_gets_its_lock_gives_up_and_says_which(world: World) -> None:
    holding, changing = await connect(world.superuser), await connect(world.superuser)
    await changing.execute("set lock_timeout = '50ms'")
    await holding.execute("begin; select count(*) from record")

    async def attempt() -> None:
        await changing.execute("alter table record add column more int")

    async def sleep(_: float) -> None:
        return

    with pytest.raises(UnavailableError, match="0099_more did not get its locks in 4 attempts"):
        await with_patience(attempt, lambda: "0099_more", attempts=4, sleep=sleep)
    await holding.close()
    await changing.close()


async def test_what_fails_for_another_reason_is_not_tried_again(world: World) -> None:
    changing, attempts = await connect(world.superuser), 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        await changing.execute("alter table nothing add column more int")

    with pytest.raises(asyncpg.UndefinedTableError):
        await with_patience(attempt, lambda: "0099_more", attempts=5)
    assert attempts == 1
    await changing.close()
