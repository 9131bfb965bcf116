"""What the database itself refuses, whoever asks: as the service's role, with a client that knows every setting."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from models.base import new_id
from models.inventory import entities
from resolvers.trail_sealing import seal_everything
from tests.conftest import Template
from tests.support.entry import insert_entry
from tests.support.filling import fill
from tests.support.mutation import mutate
from tests.support.sealing import a_sealer
from tests.support.world import World, connect


@pytest.fixture
async def service(world: World) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the service's role."""
    connection = await connect(world.service)
    yield connection
    await connection.close()


@pytest.fixture(autouse=True)
async def _sealed(world: World, tmp_path: Path) -> None:
    """The trail is sealed, and its heads are published and cosigned, so that no table is empty."""
    await seal_everything(a_sealer(tmp_path))
    for statement in (
        "insert into cosignature (organization_id, id, tree_size, witness, line, cosigned_at)"
        " select organization_id, gen_random_uuid(), tree_size, 'w', '', now() from sealed_batch",
        "insert into publication (organization_id, id, heads_size, published_at)"
        " select organization_id, gen_random_uuid(), tree_size, now() from sealed_batch",
        "insert into sealed_node (organization_id, id, level, node_index, node_hash)"
        " select organization_id, gen_random_uuid(), 8, 1000 + tree_size, root_hash from sealed_batch",
    ):
        await world.sql(statement)


# What is counted of guesses is under keyed digests: nobody's, and no tenant's.
TENANT_TABLES = [entity.name for entity in entities() if entity.name != "throttle"]
AUDITED = [entity.name for entity in entities() if entity.model.is_audited]


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_without_a_tenant_set_no_row_of_any_tenant_is_seen(
    world: World, service: asyncpg.Connection, table: str
) -> None:
    await fill(world, table)
    assert await world.value(f"select count(*) from {table}") > 0

    assert await service.fetch(f"select * from {table}") == []


@pytest.mark.parametrize(
    "table",
    [name for name in TENANT_TABLES if name not in {"organization", "user_account", "challenge", "authenticator_use"}],
)
async def test_with_one_tenant_set_no_row_of_another_is_seen(
    world: World, service: asyncpg.Connection, table: str
) -> None:
    await fill(world, table)
    mine, other = await world.organization_id("suncoast"), await world.organization_id("clearwater")
    async with service.transaction():
        await service.execute("select set_config('fieldward.organization_id', $1, true)", str(mine))
        seen = await service.fetch(f"select distinct organization_id from {table}")

    assert {row["organization_id"] for row in seen} <= {mine}
    assert await world.value(f"select count(*) from {table} where organization_id = $1", other) > 0


async def test_people_of_other_organizations_are_not_seen(world: World, service: asyncpg.Connection) -> None:
    mine = await world.organization_id("suncoast")
    async with service.transaction():
        await service.execute("select set_config('fieldward.organization_id', $1, true)", str(mine))
        assert await service.fetchval("select count(*) from user_account") == 1
        assert await service.fetchval("select count(*) from organization") == 1


async def _refusal(service: asyncpg.Connection, statement: str) -> type[Exception] | None:
    """Return how a statement is refused; None where it is done."""
    try:
        async with service.transaction():
            await service.execute(statement)
    except asyncpg.PostgresError as error:
        return type(error)
    return None


@pytest.mark.parametrize("table", AUDITED)
@pytest.mark.parametrize("statement", ["update {} set id = id", "delete from {}", "truncate {} cascade"])
async def test_an_audited_table_takes_no_change_without_an_audit_entry_of_the_transaction(
    world: World, service: asyncpg.Connection, table: str, statement: str
) -> None:
    organization = await world.organization_id("clearwater")
    # A device on which nothing was recorded, and which nothing else keeps.
    given = {"userId": f"User:{await world.member_id('collector')}", "platform": "IOS", "model": "iPhone 15"}
    made = await mutate(await world.client("admin"), "registerDevice", given)
    assert made.data["registerDevice"]["errors"] == []
    entry = await world.value("select id from audit_entry where organization_id = $1 limit 1", organization)
    before = await world.value(f"select md5(string_agg(t::text, '' order by t::text)) from {table} t")
    transaction = service.transaction()
    await transaction.start()
    for name, value in (
        ("fieldward.organization_id", organization),
        ("fieldward.user_id", await world.value("select id from user_account limit 1")),
        ("fieldward.email_index", "00"),
        ("fieldward.entry_id", entry),
        ("fieldward.entry", entry),
        ("fieldward.transaction_id", await world.value("select max(transaction_id) from audit_entry")),
    ):
        await service.execute("select set_config($1, $2, true)", name, str(value))

    refusals = {await _refusal(service, statement.format(table))}
    if refusals == {asyncpg.ForeignKeyViolationError}:
        # What others refer to is kept by that already, and the others with it: none of those alone goes either.
        ids = [row["id"] for row in await service.fetch(f"select id from {table} limit 200")]
        refusals = {await _refusal(service, f"{statement.format(table)} where id = '{one}'") for one in ids}
        refusals.discard(asyncpg.ForeignKeyViolationError)
    assert refusals == {asyncpg.InsufficientPrivilegeError}

    await transaction.rollback()
    assert await world.value(f"select md5(string_agg(t::text, '' order by t::text)) from {table} t") == before


@pytest.mark.parametrize("table", ["audit_entry", "change"])
@pytest.mark.parametrize("statement", ["update {} set id = id", "delete from {}", "truncate {} cascade"])
@pytest.mark.parametrize("role", ["service", "owner"])
async def test_the_audit_tables_take_nothing_back(world: World, table: str, statement: str, role: str) -> None:
    endpoint = world.service if role == "service" else world.owner
    connection = await connect(endpoint)
    organization = await world.organization_id("clearwater")
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(statement.format(table))
    finally:
        await connection.close()


async def test_an_entry_of_another_transaction_does_not_open_a_table(world: World, service: asyncpg.Connection) -> None:
    organization = await world.organization_id("clearwater")
    await _entry(service, organization)

    async with service.transaction():
        await service.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="needs an audit entry"):
            await service.execute("update record set method = 'forged'")


async def test_time_and_transaction_of_an_entry_are_the_databases(world: World, service: asyncpg.Connection) -> None:
    organization = await world.organization_id("clearwater")
    entry = await _entry(service, organization, at="2001-01-01T00:00:00Z", transaction_id=7)

    row = (await world.sql("select at, transaction_id from audit_entry where id = $1", entry))[0]
    assert row["at"].year >= 2026
    assert row["transaction_id"] > 7


async def test_an_entry_of_one_tenant_does_not_open_the_rows_of_another(
    world: World, service: asyncpg.Connection
) -> None:
    mine, other = await world.organization_id("suncoast"), await world.organization_id("clearwater")
    before = await world.value("select count(*) from record where method = 'forged'")
    transaction = service.transaction()
    await transaction.start()
    await service.execute("select set_config('fieldward.organization_id', $1, true)", str(mine))
    await insert_entry(service, mine)
    await service.execute("select set_config('fieldward.organization_id', $1, true)", str(other))

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute("update record set method = 'forged'")

    await transaction.rollback()
    assert await world.value("select count(*) from record where method = 'forged'") == before


async def test_a_row_can_be_linked_to_no_row_of_another_tenant(world: World) -> None:
    mine = await world.organization_id("suncoast")
    foreign = await world.project_id("CANAL")
    owner = await connect(world.owner)
    try:
        async with owner.transaction():
            await owner.execute("select set_config('fieldward.organization_id', $1, true)", str(mine))
            await insert_entry(owner, mine)
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                async with owner.transaction():
                    await owner.execute("update record set project_id = $1", foreign)
    finally:
        await owner.close()


async def test_the_service_owns_nothing_and_can_take_no_wall_down(service: asyncpg.Connection) -> None:
    for statement in (
        "alter table record disable trigger all",
        "alter table record disable row level security",
        "drop policy tenant on record",
        "drop table measurement",
        "set session_replication_role = replica",
        "create table mine (id int)",
        "create function mine() returns int language sql as 'select 1'",
        "set role fieldward_owner",
        "select fieldward_change_of_record()",
        "select fieldward_audit('record', null, '{}', '{}', null, null, null)",
        "insert into change (organization_id, entry_id, operation, entity, entity_id, columns)"
        " values (gen_random_uuid(), gen_random_uuid(), 'INSERT', 'record', gen_random_uuid(), '{}')",
    ):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            await service.execute(statement)
    owned = await service.fetchval("select count(*) from pg_class where relowner = current_user::regrole")
    assert owned == 0


async def _entry(connection: asyncpg.Connection, organization: object, **more: object) -> object:
    async with connection.transaction():
        await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
        return await insert_entry(connection, organization, **more)


async def test_psql_as_the_service_is_refused_whatever_it_sets(world: World, template: Template) -> None:
    organization = await world.organization_id("clearwater")
    before = await world.fingerprint()

    def psql(text: str) -> subprocess.CompletedProcess[str]:
        endpoint = world.service
        return subprocess.run(
            [
                template.postgres.bin_directory / "psql",
                "--no-psqlrc",
                "--set=ON_ERROR_STOP=1",
                f"--host={endpoint.host}",
                f"--username={endpoint.user}",
                f"--dbname={endpoint.database}",
                "--tuples-only",
            ],
            input=text,
            env={"PGPASSWORD": endpoint.password},
            capture_output=True,
            text=True,
            check=False,
        )

    seen = psql("select count(*) from record; select count(*) from audit_entry; select count(*) from user_account;")
    assert seen.stdout.split() == ["0", "0", "0"]
    settings = f"set fieldward.organization_id = '{organization}'; set fieldward.user_id = '{organization}';"
    for statement in (
        "update record set method = 'forged'",
        "update audit_entry set outcome = 'DONE'",
        "delete from change",
        "truncate audit_entry cascade",
    ):
        for prefix in ("", settings):
            done = psql(f"{prefix} {statement};")
            assert done.returncode == 3, statement
            assert "ERROR" in done.stderr
    assert await world.fingerprint() == before


TOLD = """
    (select coalesce(jsonb_object_agg(k.key, case when k.key = any ({secret})
              then jsonb_build_array(case when coalesce(k.before, 'null') <> 'null' then 'secret' end,
                                     case when coalesce(k.after, 'null') <> 'null' then 'secret' end)
              when k.key = any ({digested})
              then jsonb_build_array('sha256:' || encode(sha256(convert_to(k.before #>> '{{}}', 'UTF8')), 'hex'),
                                     'sha256:' || encode(sha256(convert_to(k.after #>> '{{}}', 'UTF8')), 'hex'))
              else jsonb_build_array(k.before, k.after) end), '{{}}')
       from (select key, {before}::jsonb -> key as before, {after}::jsonb -> key as after
               from jsonb_object_keys(coalesce({after}::jsonb, {before}::jsonb)) as keys(key)) k
      where coalesce(k.before, 'null') is distinct from coalesce(k.after, 'null'))
"""
"""What a change's columns must say, worked out from the rows as JSON and not from the columns that there are."""


async def test_a_row_that_came_changed_and_went_is_told_by_its_columns(world: World) -> None:
    client = await world.client("manager")
    project_id = str(await world.project_id("CANAL"))
    row_id = str(new_id())
    row = "select to_jsonb(r)::text from record r where id = $1"
    made = {"projectId": project_id, "siteCode": "W-1", "medium": "WATER", "comment": "Gone.", "collector": "Ada"}
    await mutate(client, "createRecord", {"id": row_id, "collectedAt": "2026-01-02T03:04:05Z", **made})
    first = await world.value(row, row_id)
    changed = {
        "siteCode": "W-2",
        "comment": None,
        "collector": "Bo",
        "latitude": 1.5,
        "longitude": -2.5,
        "method": "Grab",
    }
    await mutate(client, "updateRecord", {"id": row_id, "expectedVersion": 1, **changed})
    last = await world.value(row, row_id)
    await mutate(client, "deleteRecord", {"id": row_id, "expectedVersion": 2, "reason": "A mistake."})

    told = TOLD.format(before="$1::text", after="$2::text", secret="$3::text[]", digested="'{}'::text[]")
    secret = ["collector_index", "collector_pseudonym", "creation_digest"]
    for operation, before, after in (("INSERT", None, first), ("UPDATE", first, last), ("DELETE", last, None)):
        found = await world.value(
            "select columns::text from change where entity = 'record' and entity_id = $1 and operation = $2",
            row_id,
            operation,
        )
        assert "secret" in found
        assert found == await world.value(f"select {told}::text", before, after, secret), operation


@pytest.mark.parametrize("table", AUDITED)
async def test_every_row_that_was_never_changed_is_told_as_it_is(world: World, table: str) -> None:
    await fill(world, table)
    arguments = await world.value(
        "select encode(tgargs, 'escape') from pg_trigger"
        " where tgrelid = $1::text::regclass and tgname = 'change_insert'",
        table,
    )
    secret, digested = ([name for name in arguments.split("\\000")[at].split(",") if name] for at in (1, 4))
    told = TOLD.format(before="null", after="to_jsonb(r)", secret="$2::text[]", digested="$3::text[]")
    rows = await world.sql(
        f"select c.columns = {told} as same from {table} r"
        " join change c on c.entity = $1::text and c.entity_id = r.id and c.operation = 'INSERT'"
        " where not exists (select 1 from change u where u.entity_id = r.id and u.operation = 'UPDATE')",
        table,
        secret,
        digested,
    )

    assert rows
    assert all(row["same"] for row in rows)


async def test_a_measurement_does_not_go_over_to_another_record(world: World, service: asyncpg.Connection) -> None:
    organization = await world.organization_id("clearwater")
    before = await world.value("select md5(string_agg(m::text, '' order by m.id)) from measurement m")
    transaction = service.transaction()
    await transaction.start()
    await service.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
    await insert_entry(service, organization)

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="its whole"):
        await service.execute(
            "update measurement m set record_id = r.id from record r"
            " where r.organization_id = m.organization_id and r.project_id = m.project_id and r.id <> m.record_id"
        )

    await transaction.rollback()
    assert await world.value("select md5(string_agg(m::text, '' order by m.id)) from measurement m") == before


async def test_a_table_with_another_column_takes_no_change_until_it_is_audited_anew(world: World) -> None:
    organization = await world.organization_id("suncoast")
    change = "update project set name = 'Another', weather = 'Fog' where id = (select min(id::text)::uuid from project)"
    arguments = "'project', 'organization_id', '{creation_digest}', '{}', 'id', null, null"
    owner = await connect(world.owner)
    try:
        async with owner.transaction():
            await owner.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            entry = await insert_entry(owner, organization)
            await owner.execute("update project set name = 'Told before'")
            await owner.execute("alter table project add column weather text")
            with pytest.raises(asyncpg.PostgresSyntaxError, match="same number of columns"):
                async with owner.transaction():
                    await owner.execute(change)
            await owner.execute(f"select fieldward_audit({arguments})")
            await owner.execute(change)
            told = await owner.fetchval(
                "select columns -> 'weather' from change where entry_id = $1 order by id desc limit 1", entry
            )
            enabled = await owner.fetch(
                "select tgenabled::text from pg_trigger where tgrelid = 'project'::regclass and not tgisinternal"
            )
            await owner.execute("alter table project rename column weather to sky")
            with pytest.raises(asyncpg.UndefinedColumnError):
                async with owner.transaction():
                    await owner.execute("update project set name = 'A third'")
    finally:
        await owner.close()

    assert told == '[null, "Fog"]'
    assert {row["tgenabled"] for row in enabled} == {"A"}
