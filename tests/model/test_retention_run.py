"""Deleting what is over: in batches that are in the trail, never what is held, and one process at a time."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from models.data_kind import DataKind
from resolvers.incident_judging import Judge
from resolvers.retention_due import DELETED, periods
from resolvers.retention_run import RetentionRuns
from resolvers.retention_watch import note_retention, retention_is_behind
from resolvers.trail import job_actor
from tests.support.access import behind_the_triggers
from tests.support.entry import insert_entry
from tests.support.filling import fill
from tests.support.incident import incidents, look_through
from tests.support.keeping import grow_old, hold, keep_for, lift, records_of, run_now
from tests.support.mutation import mutate, prepare
from tests.support.retention import age
from tests.support.trail import seal_all, verified
from tests.support.world import World, connect

RUNS = "select kind, status, deleted, parts, held, named, error_code, is_asked from retention_run order by created_at"


async def old_and_new(world: World, *, old: int = 3) -> tuple[list[UUID], list[UUID]]:
    """Return the records of CANAL that are ten years old, and those that are of today."""
    ids = await records_of(world, "CANAL")
    await grow_old(world, 1)
    await grow_old(world, 3650, "id = any($1)", ids[:old])
    return ids[:old], ids[old:]


async def test_what_is_over_goes_with_its_measurements_and_the_trail_tells_of_each_row(world: World) -> None:
    old, new = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    parts = await world.value("select count(*) from measurement where record_id = any($1)", old)
    others = await world.value("select count(*) from record")
    since = await world.now()

    done = await run_now(world)

    assert (done["RECORD"].deleted, done["RECORD"].parts, done["RECORD"].held) == (3, parts, 0)
    assert parts > 0
    assert await world.value("select count(*) from record where id = any($1)", old) == 0
    assert await world.value("select count(*) from measurement where record_id = any($1)", old) == 0
    assert await world.value("select count(*) from record where id = any($1)", new) == len(new)
    assert await world.value("select count(*) from record") == others - 3
    [entry] = await world.entries(since=since)
    assert (entry["action"], entry["outcome"], entry["entity"]) == ("retention.run", "DONE", "record")
    assert set(entry["entity_ids"]) == set(old)
    told = await world.sql(
        "select entity, operation, count(*) as rows from change where entry_id = $1 group by 1, 2 order by 1",
        entry["id"],
    )
    assert [(one["entity"], one["operation"], one["rows"]) for one in told] == [
        ("measurement", "DELETE", parts),
        ("record", "DELETE", 3),
    ]
    [run] = await world.sql(RUNS)
    assert (run["kind"], run["status"], run["deleted"], run["parts"]) == ("RECORD", "DONE", 3, parts)
    assert (run["held"], run["named"], run["error_code"], run["is_asked"]) == (0, 0, None, True)


async def test_what_was_deleted_verifies(world: World) -> None:
    old, _ = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    await run_now(world)
    await seal_all(world.services)

    found = await verified(world)

    assert [one for one in found.findings if one.table in {"record", "measurement", "retention_run"}] == []
    assert await world.value("select count(*) from record where id = any($1)", old) == 0


async def test_nothing_goes_in_the_week_after_it_was_decided_nor_without_a_period(world: World) -> None:
    old, _ = await old_and_new(world)
    assert await run_now(world) == {}
    await keep_for(world, "RECORD", 365, days_ago=6)
    assert await run_now(world) == {}
    await keep_for(world, "RECORD", 366, days_ago=8)
    await keep_for(world, "RECORD", None, days_ago=8)
    assert await run_now(world) == {}
    assert await world.value("select count(*) from record where id = any($1)", old) == len(old)
    assert await world.sql(RUNS) == []


async def test_what_has_just_arrived_stays_a_week_however_old_it_is(world: World) -> None:
    old, _ = await old_and_new(world)
    await behind_the_triggers(world, "record", "received_at = now() - interval '6 days'", "id = $1", old[0])
    await keep_for(world, "RECORD", 365)

    assert (await run_now(world))["RECORD"].deleted == 2
    assert await world.value("select count(*) from record where id = $1", old[0]) == 1


async def test_who_may_change_a_record_deletes_none_by_what_they_say_of_its_age(world: World) -> None:
    old, new = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    await behind_the_triggers(world, "record", "received_at = now() - interval '30 days'", "id = $1", new[0])
    record, version = new[0], await world.value("select version from record where id = $1", new[0])
    given = {"id": f"Record:{record}", "expectedVersion": version, "collectedAt": "1900-01-01T00:00:00Z"}
    answer = await mutate(await world.client("manager"), "updateRecord", given, "record { collectedAt }")
    assert answer.data["updateRecord"]["errors"] == []

    assert (await run_now(world))["RECORD"].deleted == len(old)
    assert await world.value("select count(*) from record where id = $1", record) == 1
    # Somebody has had a week to see it.
    await age(world, 8, "action = 'record.update'")
    assert (await run_now(world))["RECORD"].deleted == 1
    assert await world.value("select count(*) from record where id = $1", record) == 0


async def test_a_run_goes_on_batch_by_batch_where_another_process_ended(world: World) -> None:
    await old_and_new(world, old=5)
    await keep_for(world, "RECORD", 365)
    actor = job_actor(await world.organization_id("clearwater"))
    since = await world.now()

    [first] = await RetentionRuns(most=2).step(actor)
    assert (first.deleted, first.is_over) == (2, False)
    [run] = await world.sql(RUNS)
    assert (run["status"], run["deleted"], run["is_asked"]) == ("RUNNING", 2, False)
    again = RetentionRuns(most=2)
    rest = [one for _ in range(3) for one in await again.step(actor)]

    assert [(one.deleted, one.is_over) for one in rest] == [(2, False), (1, False), (0, True)]
    [run] = await world.sql(RUNS)
    assert (run["status"], run["deleted"]) == ("DONE", 5)
    assert len([one for one in await world.entries(since=since) if one["action"] == "retention.run"]) == 3
    # A day later there is another run.
    assert await again.step(actor) == []
    await behind_the_triggers(world, "retention_run", "created_at = created_at - interval '25 hours'", "true")
    assert [one.is_over for one in await again.step(actor)] == [True]
    assert len(await world.sql(RUNS)) == 2


async def test_of_two_processes_one_deletes(world: World) -> None:
    await old_and_new(world, old=5)
    await keep_for(world, "RECORD", 365)
    actor = job_actor(await world.organization_id("clearwater"))

    done = await asyncio.gather(*(RetentionRuns(most=3).step(actor) for _ in range(4)))

    assert sorted(one.deleted for some in done for one in some) in ([3], [0, 2, 3], [2, 3])
    assert len(await world.sql(RUNS)) == 1


@pytest.mark.parametrize("on", ["Organization", "Project", "Site", "Record", "User"])
async def test_what_is_held_stays_until_the_hold_is_lifted(world: World, on: str) -> None:
    old, _ = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    subject = await subject_of(world, on, old[0])
    held = await hold(world, subject)

    done = (await run_now(world))["RECORD"]

    assert await world.value("select count(*) from record where id = $1", old[0]) == 1
    assert done.held >= 1
    assert done.deleted + done.held == 3
    await lift(world, held)
    assert (await run_now(world))["RECORD"].deleted == done.held
    assert await world.value("select count(*) from record where id = any($1)", old) == 0


async def subject_of(world: World, on: str, record_id: UUID) -> str:
    """Return what of a record a hold is placed on."""
    [row] = await world.sql("select * from record where id = $1", record_id)
    if on == "Organization":
        return f"Organization:{row['organization_id']}"
    if on == "Project":
        return f"Project:{row['project_id']}"
    if on == "Record":
        return f"Record:{record_id}"
    if on == "User":
        return f"User:{row['created_by_id'] or row['contributor_ids'][0]}"
    client = await world.client("manager")
    given = {"projectId": f"Project:{row['project_id']}", "code": row["site_code"], "name": "Weir"}
    made = await client.run(
        "mutation($i: CreateSiteInput!) { createSite(input: $i) { site { id } errors { code } } }", {"i": given}
    )
    return str(made.data["createSite"]["site"]["id"])


async def test_a_hold_in_another_organization_keeps_nothing_here(world: World) -> None:
    await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    await hold(world, f"Organization:{await world.organization_id('suncoast')}", by="other-owner")

    assert (await run_now(world))["RECORD"].deleted == 3


async def test_the_service_itself_cannot_delete_what_is_held(world: World) -> None:
    old, _ = await old_and_new(world)
    await hold(world, f"Record:{old[0]}")
    organization = await world.organization_id("clearwater")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="a legal hold keeps a row of record"):
        await as_the_service(world, organization, f"delete from record where id = '{old[0]}'")
    assert await world.value("select count(*) from record where id = $1", old[0]) == 1


async def as_the_service(world: World, organization: UUID, statement: str) -> None:
    """Run a statement as the service's role, with an entry of its own."""
    connection = await connect(world.service)
    try:
        async with connection.transaction():
            await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(connection, organization)
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize("table", ["session", "membership", "invitation", "device", "data_import", "data_export"])
async def test_what_only_a_period_deletes_is_deleted_by_nothing_else(world: World, table: str) -> None:
    await (prepare(world) if table == "device" else fill(world, table))
    organization = await world.organization_id("clearwater")
    # The rows that something names are protected besides.
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError)):
        await as_the_service(world, organization, f"delete from {table}")


async def test_a_hold_that_is_placed_while_a_run_works_wins(world: World) -> None:
    old, _ = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    await world.client("owner")
    organization = await world.organization_id("clearwater")
    # Somebody deletes, and has not committed: who places a hold waits for that.
    deleting = await connect(world.superuser)
    try:
        transaction = deleting.transaction()
        await transaction.start()
        await deleting.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
        await insert_entry(deleting, organization)
        await deleting.execute("delete from record where id = $1", old[2])
        placing = asyncio.create_task(hold(world, f"Record:{old[0]}"))
        await asyncio.sleep(0.5)
        assert not placing.done()
        # The run begins meanwhile. It takes its turn behind whoever places the hold, and sees it.
        running = asyncio.create_task(run_now(world))
        await asyncio.sleep(0.5)
        await transaction.commit()
        await placing
        done = (await running)["RECORD"]
    finally:
        await deleting.close()

    assert (done.deleted, done.held) == (1, 1)
    assert await world.value("select count(*) from record where id = $1", old[0]) == 1
    assert await world.value("select count(*) from record where id = $1", old[1]) == 0


async def test_a_batch_that_fails_is_in_the_trail_and_in_the_run_and_leaves_all_as_it_was(world: World) -> None:
    old, _ = await old_and_new(world)
    await keep_for(world, "RECORD", 365)
    await world.sql(
        "create function broken() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$;"
    )
    await world.sql("create trigger broken before delete on record for each row execute function broken()")
    since = await world.now()
    try:
        done = (await run_now(world))["RECORD"]
    finally:
        await world.sql("drop trigger broken on record")
        await world.sql("drop function broken()")

    assert (done.deleted, done.error_code, done.is_over) == (0, "INTERNAL", True)
    assert await world.value("select count(*) from record where id = any($1)", old) == 3
    assert await world.value("select count(*) from measurement where record_id = any($1)", old) > 0
    [run] = await world.sql(RUNS)
    assert (run["status"], run["error_code"]) == ("FAILED", "INTERNAL")
    [entry] = await world.entries(since=since)
    assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "retention.run", "FAILED")
    (found,) = await look_through(world)
    assert (found["rule"], found["organization_id"]) == (
        "retention_failure",
        await world.organization_id("clearwater"),
    )
    assert (await run_now(world))["RECORD"].deleted == 3


async def test_a_session_that_is_over_goes_and_one_that_stands_stays(world: World) -> None:
    await world.client("collector")
    ended = await world.member_id("viewer")
    await behind_the_triggers(world, "session", "expires_at = now() - interval '100 days'", "membership_id = $1", ended)
    await keep_for(world, "SESSION", 90)

    done = (await run_now(world))["SESSION"]

    assert done.deleted >= 1
    assert await world.value("select count(*) from session where membership_id = $1", ended) == 0
    answer = await (await world.client("collector")).run("{ viewer { role } }")
    assert answer.data["viewer"]["role"] == "MEMBER"


async def test_somebody_who_left_stays_as_long_as_something_names_them(world: World) -> None:
    gone = await world.member_id("reviewer")
    await behind_the_triggers(world, "membership", "status = 'REMOVED'", "id = $1", gone)
    await age(world, 400, "id in (select entry_id from change where entity = 'membership' and entity_id = $1)", gone)
    await keep_for(world, "MEMBERSHIP", 90)

    done = (await run_now(world))["MEMBERSHIP"]

    # They signed in: the session is kept, and names them.
    assert (done.deleted, done.named) == (0, 1)
    assert await world.value("select count(*) from membership where id = $1", gone) == 1


async def test_a_run_that_does_not_begin_is_behind(world: World) -> None:
    organization = await world.organization_id("clearwater")
    assert not await retention_is_behind(organization)
    await keep_for(world, "RECORD", 365, days_ago=8)
    assert not await retention_is_behind(organization)
    await age(world, 3, "action = 'retention.set'")
    assert await retention_is_behind(organization)
    # Whoever looks, and however often: there is one incident until somebody closes it.
    opened = [len((await note_retention(Judge(), organization)).opened) for _ in range(3)]
    assert opened == [1, 0, 0]
    (found,) = await incidents(world)
    assert (found["rule"], found["organization_id"], found["newest_entry_id"]) == (
        "retention_behind",
        organization,
        None,
    )
    await run_now(world)
    assert not await retention_is_behind(organization)
    await behind_the_triggers(world, "retention_run", "created_at = created_at - interval '4 days'", "true")
    assert await retention_is_behind(organization)
    assert not await retention_is_behind(await world.organization_id("suncoast"))


def test_every_type_is_declared_with_its_table() -> None:
    assert set(periods()) == set(DELETED) == set(DataKind)
    assert all(how.period.kind is kind for kind, how in DELETED.items())


@pytest.mark.parametrize("kind", list(DataKind))
async def test_the_database_has_the_same_least_period(world: World, kind: DataKind) -> None:
    organization, least = await world.organization_id("clearwater"), periods()[kind].least_days
    superuser = await connect(world.superuser)
    statement = (
        "insert into data_retention (organization_id, id, created_at, kind, days)"
        " values ($1, gen_random_uuid(), now(), $2, $3)"
    )
    try:
        for days, is_taken in ((least - 1, False), (least, True)):
            transaction = superuser.transaction()
            await transaction.start()
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            await insert_entry(superuser, organization)
            try:
                await superuser.execute(statement, organization, kind.value, days)
                assert is_taken
            except asyncpg.CheckViolationError:
                assert not is_taken
            await transaction.rollback()
    finally:
        await superuser.close()
