"""What leaves the audit trail and what does not: as the service decides it, and as the database holds it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from drills.fold import untold
from fieldward.cli.audit_expire import expire_everywhere
from fieldward.jobs import EXPIRE_TRAIL, build_jobs
from fieldward.settings import Settings
from models.audit_entry import EntryKind
from models.base import new_id
from models.trail_retention import LEAST_DAYS, MOST_DAYS, WAITING_DAYS
from resolvers.trail_expiry import Expired, TrailExpiry, expirable
from tests.support.access import behind_the_triggers, until_waiting
from tests.support.entry import insert_entry
from tests.support.mutation import mutate
from tests.support.retention import age, decide, expiring_actor, ids_of, require_whole, seal
from tests.support.world import World, connect

REFUSED = asyncpg.InsufficientPrivilegeError
OF = "organization_id = (select id from organization where slug = '{}') and kind = '{}'"
HOME_READS = OF.format("clearwater", "READ")
READ = "{ records(first: 5) { nodes { comment } } }"


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """The first organization's id."""
    return await world.organization_id("clearwater")


@pytest.fixture
async def service(world: World, organization_id: UUID) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the service's role, set to the first organization."""
    connection = await _set_to(await connect(world.service), organization_id)
    yield connection
    await connection.close()


@pytest.fixture
async def owner(world: World, organization_id: UUID) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the owner of the tables, whose triggers stand, set to the first organization."""
    connection = await _set_to(await connect(world.owner), organization_id)
    yield connection
    await connection.close()


@pytest.fixture
async def old_reads(world: World) -> set[UUID]:
    """Reads of 400 days ago, in both organizations, sealed then; and the first's, which were decided about."""
    await _read(world, "collector", "manager")
    await _read(world, "other-owner")
    await age(world, 400)
    await seal(world, days=400)
    await decide(world, "READ", 300)
    found = await ids_of(world, HOME_READS)
    assert found
    return found


async def _set_to(connection: asyncpg.Connection, organization_id: UUID) -> asyncpg.Connection:
    await connection.execute("select set_config('fieldward.organization_id', $1, false)", str(organization_id))
    return connection


async def _read(world: World, *whose: str) -> None:
    for key in whose:
        assert (await (await world.client(key)).run(READ)).data["records"]["nodes"]


async def _expire(world: World, expiry: TrailExpiry | None = None) -> dict[str, int]:
    """Let go of all that may leave the first organization's trail, and return how many of each kind that were."""
    expiry, actor, left = expiry or TrailExpiry(), await expiring_actor(world), dict[str, int]()
    while done := await expiry.step(actor):
        for one in done:
            left[one.kind] = left.get(one.kind, 0) + one.entries
    return left


async def _act(
    connection: asyncpg.Connection, organization_id: UUID, ids: Sequence[UUID], *, action: str = "audit.expire"
) -> object:
    """Write an entry that says that these leave, as nobody but an attacker does by hand."""
    named = "{" + ",".join(map(str, ids)) + "}"
    return await insert_entry(connection, organization_id, action=action, entity_ids=named)


# ------------------------------------------------------------------ what leaves, and what does not


async def test_nothing_leaves_where_nobody_decided(world: World, organization_id: UUID) -> None:
    await _read(world, "collector")
    await age(world, 10_000)
    await seal(world, days=10_000)
    before = await ids_of(world, "true")

    assert await _expire(world) == {}
    assert await expirable(organization_id) == []

    assert await ids_of(world, "true") == before
    assert await require_whole(organization_id) == []


async def test_what_is_over_leaves_its_hash_and_the_rest_is_proved_as_before(
    world: World, organization_id: UUID, old_reads: set[UUID]
) -> None:
    others = await ids_of(world, "not (" + HOME_READS + ")")
    assert await ids_of(world, OF.format("suncoast", "READ"))
    leaves = await world.sql("select organization_id, id, leaf_index, leaf_hash from sealed_leaf order by 1, 2")

    assert await expirable(organization_id) == [Expired(EntryKind.READ, len(old_reads))]
    assert await _expire(world) == {"READ": len(old_reads)}

    acts = await world.sql("select * from audit_entry where action = 'audit.expire'")
    assert await ids_of(world, "true") == others | {act["id"] for act in acts}
    assert {(act["kind"], act["outcome"], act["channel"], act["entity"]) for act in acts} == {
        ("CHANGE", "DONE", "JOB", "audit_entry")
    }
    assert {one for act in acts for one in act["entity_ids"]} == old_reads
    kept = await world.sql("select organization_id, id, leaf_index, leaf_hash from sealed_leaf order by 1, 2")
    assert kept == leaves
    assert set(await require_whole(organization_id)) == old_reads
    await seal(world)
    assert set(await require_whole(organization_id)) == old_reads
    assert await _expire(world) == {}


async def test_attempts_leave_by_a_period_of_their_own(
    world: World, organization_id: UUID, old_reads: set[UUID]
) -> None:
    await mutate(await world.client("viewer"), "createProject", {"code": "NO", "name": "No"})
    tried = await ids_of(world, "action = 'project.create' and kind = 'ATTEMPT'")
    await age(world, 200, "id = any($1)", list(tried))
    await seal(world, days=200)

    await decide(world, "READ", None)
    await decide(world, "ATTEMPT", 199)

    assert await _expire(world) == {"ATTEMPT": len(tried)}
    assert await ids_of(world, HOME_READS) >= old_reads
    assert set(await require_whole(organization_id)) == tried


@pytest.mark.parametrize(
    ("written", "sealed", "period", "leaves"),
    [
        (100.05, 100.05, 100, True),
        (99.95, 99.95, 100, False),
        (100.05, 99.95, 100, False),
        (90.05, 90.05, 90, True),
        (89.95, 89.95, 90, False),
    ],
)
async def test_an_entry_leaves_once_it_and_the_head_over_it_are_old_enough(
    world: World, written: float, sealed: float, period: int, leaves: bool
) -> None:
    await _read(world, "collector")
    await age(world, written)
    await seal(world, days=sealed)
    await decide(world, "READ", period)
    before = await ids_of(world, HOME_READS)

    left = await _expire(world)

    assert left == ({"READ": len(before)} if leaves else {})
    assert await ids_of(world, HOME_READS) == (set() if leaves else before)


async def test_what_is_not_sealed_stays_however_old(world: World, old_reads: set[UUID]) -> None:
    await _read(world, "collector")
    unsealed = await ids_of(world, HOME_READS) - old_reads
    await age(world, 400, "id = any($1)", list(unsealed))

    assert await _expire(world) == {"READ": len(old_reads)}

    assert await ids_of(world, HOME_READS) == unsealed


@pytest.mark.parametrize(("days_ago", "leaves"), [(WAITING_DAYS - 0.1, False), (WAITING_DAYS + 0.1, True)])
async def test_nothing_leaves_in_the_week_after_the_period_was_decided(
    world: World, old_reads: set[UUID], days_ago: float, leaves: bool
) -> None:
    await decide(world, "READ", 200, days_ago=days_ago)

    assert await _expire(world) == ({"READ": len(old_reads)} if leaves else {})


async def test_the_end_of_a_period_keeps_what_is_left(world: World, old_reads: set[UUID]) -> None:
    await decide(world, "READ", None)

    assert await _expire(world) == {}
    assert await ids_of(world, HOME_READS) >= old_reads


# ------------------------------------------------------------------ changes


async def _made(world: World, site: str) -> UUID:
    """Make a record with measurements, which is changed once, and return its id."""
    client, row_id = await world.client("manager"), new_id()
    measurements = [{"characteristic": "pH", "value": value} for value in (7.1, 7.2)]
    given = {"id": str(row_id), "projectId": str(await world.project_id("CANAL")), "siteCode": site, "medium": "WATER"}
    when = {"collectedAt": "2026-01-02T03:04:05Z", "measurements": measurements}
    for name, one in (
        ("createRecord", {**given, **when}),
        ("updateRecord", {"id": str(row_id), "expectedVersion": 1, "siteCode": f"{site}-2"}),
    ):
        assert (await mutate(client, name, one)).data[name]["errors"] == []
    return row_id


async def _gone(world: World, row_id: UUID) -> None:
    given = {"id": str(row_id), "expectedVersion": 2, "reason": "A mistake."}
    answer = await mutate(await world.client("manager"), "deleteRecord", given)
    assert answer.data["deleteRecord"]["errors"] == []


def _about(*rows: UUID) -> tuple[str, list[UUID]]:
    return "id in (select entry_id from change where entity_id = any($1))", list(rows)


async def test_the_history_of_a_deleted_row_leaves_and_that_of_what_exists_does_not(
    world: World, organization_id: UUID
) -> None:
    there, gone = await _made(world, "THERE"), await _made(world, "GONE")
    await _gone(world, gone)
    await age(world, 400)
    await seal(world, days=400)
    await decide(world, "CHANGE", 300)
    expected = await ids_of(world, *_about(gone))
    assert len(expected) == 3
    kept = await ids_of(world, *_about(there))

    assert await _expire(world) == {"CHANGE": 3}

    assert set(await require_whole(organization_id)) == expected
    assert await ids_of(world, *_about(there)) == kept
    assert await world.value("select count(*) from change where entity_id = $1", gone) == 0
    connection = await connect(world.superuser)
    assert await untold(connection) == {}
    await connection.close()


async def test_the_history_of_a_row_stays_until_its_end_is_over_too(world: World) -> None:
    gone = await _made(world, "GONE")
    await age(world, 400)
    await seal(world, days=400)
    await _gone(world, gone)
    await age(world, 299.95, "action = 'record.delete'")
    await seal(world, days=299.95)
    await decide(world, "CHANGE", 300)

    assert await _expire(world) == {}
    await behind_the_triggers(world, "audit_entry", "at = at - interval '2 hours'", "action = 'record.delete'")
    assert await _expire(world) == {}
    await behind_the_triggers(world, "sealed_batch", "sealed_at = sealed_at - interval '2 hours'", "true")

    assert await _expire(world) == {"CHANGE": 3}


async def _roles(world: World, organization_id: UUID, *statements: tuple[str, tuple[Any, ...]]) -> object:
    """Change roles in one transaction as the service's role, and return its entry's id."""
    connection = await _set_to(await connect(world.service), organization_id)
    try:
        async with connection.transaction():
            entry = await insert_entry(connection, organization_id)
            for text, arguments in statements:
                await connection.execute(text, *arguments)
        return entry
    finally:
        await connection.close()


async def test_an_entry_stays_with_any_of_its_rows_and_what_came_after_it_stays_with_it(
    world: World, organization_id: UUID
) -> None:
    """A made with B, which stays; then A changed with C, and all but B deleted: no entry may leave before the first."""
    a, b, c = new_id(), new_id(), new_id()
    make = (
        "insert into custom_role (id, organization_id, created_at, name, level, permissions, version)"
        " values ($1, $2, now(), $1::uuid::text, 'PROJECT', '{}', 1)"
    )
    change, delete = "update custom_role set version = 2 where id = $1", "delete from custom_role where id = $1"
    await _roles(world, organization_id, (make, (a, organization_id)), (make, (b, organization_id)))
    await _roles(world, organization_id, (make, (c, organization_id)), (change, (a,)))
    await _roles(world, organization_id, (delete, (a,)))
    await _roles(world, organization_id, (delete, (c,)))
    alone = new_id()
    of_alone = [
        await _roles(world, organization_id, (make, (alone, organization_id))),
        await _roles(world, organization_id, (delete, (alone,))),
    ]
    await age(world, 400)
    await seal(world, days=400)
    await decide(world, "CHANGE", 300)

    assert await _expire(world) == {"CHANGE": 2}
    assert set(await require_whole(organization_id)) == set(of_alone)

    await _roles(world, organization_id, (delete, (b,)))
    await age(world, 400, *_about(b))
    await seal(world, days=400)
    assert await _expire(world) == {"CHANGE": 5}
    assert await world.value("select count(*) from change where entity_id = any($1)", [a, b, c, alone]) == 0


async def test_a_row_that_was_made_again_keeps_its_history(world: World, organization_id: UUID) -> None:
    role = new_id()
    make = (
        "insert into custom_role (id, organization_id, created_at, name, level, permissions, version)"
        " values ($1, $2, now(), 'Again', 'PROJECT', '{}', 1)"
    )
    for statement in (
        (make, (role, organization_id)),
        ("delete from custom_role where id = $1", (role,)),
        (make, (role, organization_id)),
    ):
        await _roles(world, organization_id, statement)
    await age(world, 400)
    await seal(world, days=400)
    await decide(world, "CHANGE", 300)

    assert await _expire(world) == {}


async def test_batches_let_go_of_the_end_of_a_row_last(world: World, organization_id: UUID) -> None:
    gone = [await _made(world, f"GONE-{number}") for number in range(3)]
    for row_id in reversed(gone):
        await _gone(world, row_id)
    await age(world, 400)
    await seal(world, days=400)
    await decide(world, "CHANGE", 300)
    expiry, actor, batches = TrailExpiry(most=1), await expiring_actor(world), 0

    while await expiry.step(actor):
        batches += 1
        await require_whole(organization_id)
        begun = await world.sql(
            "select entity_id from change where entity_id = any($1) group by 1"
            " having bool_or(operation = 'INSERT') and not bool_or(operation = 'DELETE')",
            gone,
        )
        assert begun == []

    assert batches == 9


async def test_entries_that_changed_nothing_and_those_by_which_others_left_stay(
    world: World, old_reads: set[UUID]
) -> None:
    assert await _expire(world) == {"READ": len(old_reads)}
    acts = await ids_of(world, "action = 'audit.expire'")
    await age(world, 400, "action = 'audit.expire'")
    await seal(world, days=400)
    await decide(world, "CHANGE", 90)

    assert await _expire(world) == {}
    assert await ids_of(world, "action = 'audit.expire'") == acts


# ------------------------------------------------------------------ what the database refuses, whoever asks


async def _refused(
    world: World,
    connection: asyncpg.Connection,
    organization_id: UUID,
    ids: Sequence[UUID],
    action: str = "audit.expire",
) -> None:
    """Require that these entries can't be let go of, and that nothing of it stays."""
    before = await ids_of(world, "true"), await world.value("select count(*) from sealed_leaf where expired_by notnull")
    transaction = connection.transaction()
    await transaction.start()
    await _act(connection, organization_id, ids, action=action)
    with pytest.raises(REFUSED):
        await connection.fetchval("select fieldward_expire()")
    await transaction.rollback()
    after = await ids_of(world, "true"), await world.value("select count(*) from sealed_leaf where expired_by notnull")
    assert after == before


async def test_an_entry_that_names_what_may_not_leave_lets_go_of_nothing(
    world: World, organization_id: UUID, service: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    old = sorted(old_reads)
    foreign = await ids_of(world, OF.format("suncoast", "READ"))
    await _read(world, "collector")
    fresh = await ids_of(world, HOME_READS) - old_reads
    await seal(world)
    changes = await ids_of(world, OF.format("clearwater", "CHANGE"))

    for others in (foreign, fresh, changes, {new_id()}):
        assert others
        await _refused(world, service, organization_id, [*old, min(others)])
        await _refused(world, service, organization_id, [min(others)])
    await _refused(world, service, organization_id, [])
    await _refused(world, service, organization_id, [old[0], old[0]])
    await _refused(world, service, organization_id, old, action="audit.expired")
    with pytest.raises(REFUSED):
        await service.fetchval("select fieldward_expire()")


async def test_an_entry_of_one_transaction_lets_go_of_nothing_in_another(
    world: World, organization_id: UUID, service: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    await _act(service, organization_id, sorted(old_reads))

    with pytest.raises(REFUSED):
        await service.fetchval("select fieldward_expire()")

    assert await ids_of(world, HOME_READS) >= old_reads


async def test_one_tenant_lets_go_of_nothing_of_another(
    world: World, organization_id: UUID, service: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    await _set_to(service, await world.organization_id("suncoast"))
    await service.execute("select set_config('fieldward.sealing', 'on', false)")
    transaction = service.transaction()
    await transaction.start()
    await _act(service, await world.organization_id("suncoast"), sorted(old_reads))

    with pytest.raises(REFUSED):
        await service.fetchval("select fieldward_expire()")

    await transaction.rollback()
    assert await ids_of(world, HOME_READS) >= old_reads


async def test_the_service_lets_go_of_what_may_leave_and_deletes_and_marks_nothing_itself(
    world: World, organization_id: UUID, service: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    old = sorted(old_reads)
    for statement in (
        "delete from audit_entry",
        "delete from change",
        "update sealed_leaf set expired_by = id",
        "delete from sealed_leaf",
        "delete from trail_retention",
        "insert into sealed_leaf (organization_id, id, leaf_index, leaf_hash, expired_by)"
        " values (fieldward_organization(), gen_random_uuid(), 10000000, sha256(''), gen_random_uuid())",
        "select fieldward_expiring()",
    ):
        transaction = service.transaction()
        await transaction.start()
        await _act(service, organization_id, old)
        with pytest.raises(REFUSED):
            await service.execute(statement)
        await transaction.rollback()

    async with service.transaction():
        await _act(service, organization_id, old)
        assert await service.fetchval("select fieldward_expire()") == len(old)
    assert set(await require_whole(organization_id)) == old_reads


async def test_the_time_of_a_head_is_the_databases(service: asyncpg.Connection, organization_id: UUID) -> None:
    async with service.transaction():
        sealed_at = await service.fetchval(
            "insert into sealed_batch (organization_id, id, tree_size, root_hash, frontier, cluster,"
            " through_transaction, sealed_at, checkpoint, generation)"
            " values ($1, gen_random_uuid(), 10000000, sha256(''), '', 0, 0, '2001-01-01', '', 1)"
            " returning sealed_at",
            organization_id,
        )
        assert sealed_at == await service.fetchval("select transaction_timestamp()")


@pytest.mark.parametrize("days", [LEAST_DAYS - 1, 0, -1, MOST_DAYS + 1])
async def test_a_period_below_the_floor_is_stored_by_nobody(
    service: asyncpg.Connection, organization_id: UUID, days: int
) -> None:
    transaction = service.transaction()
    await transaction.start()
    await insert_entry(service, organization_id)

    with pytest.raises(asyncpg.CheckViolationError):
        await service.execute(
            "insert into trail_retention (organization_id, id, created_at, kind, days)"
            " values ($1, gen_random_uuid(), now(), 'READ', $2)",
            organization_id,
            days,
        )

    await transaction.rollback()


async def test_a_period_that_no_entry_tells_of_counts_for_nothing(
    world: World, organization_id: UUID, old_reads: set[UUID]
) -> None:
    await world.sql("alter table change disable trigger refuse")
    await world.sql("delete from change where entity = 'trail_retention'")
    await world.sql("alter table change enable always trigger refuse")

    assert await _expire(world) == {}


async def test_the_owner_of_the_tables_lets_go_of_nothing_else_while_the_triggers_stand(
    world: World, organization_id: UUID, owner: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    old = sorted(old_reads)
    await _read(world, "collector")
    fresh = sorted(await ids_of(world, HOME_READS) - old_reads)
    await seal(world)
    before = await ids_of(world, "true")
    mark = "update sealed_leaf set expired_by = $1{more} where id = any($2)"

    async def refused(ids: Sequence[UUID], statement: tuple[str, tuple[Any, ...]], *, action: str) -> None:
        transaction, (text, arguments) = owner.transaction(), statement
        await transaction.start()
        act = await _act(owner, organization_id, ids, action=action)
        with pytest.raises(REFUSED):
            await owner.execute(text, *[act if one == "act" else one for one in arguments])
        await transaction.rollback()

    for action in ("audit.expire", "test"):
        for ids in (old, fresh):
            await refused(ids, ("delete from audit_entry where id = any($1)", (ids,)), action=action)
            await refused(ids, ("update audit_entry set reason = null where id = any($1)", (ids,)), action=action)
        await refused(old, ("delete from change", ()), action=action)
        await refused(fresh, (mark.format(more=""), ("act", fresh)), action=action)
        await refused(old, (mark.format(more=""), ("act", [*old, *fresh])), action=action)
        await refused(old, (mark.format(more=", leaf_hash = sha256('')"), ("act", old)), action=action)
        await refused(old, (mark.format(more=", leaf_index = leaf_index + 10000000"), ("act", old)), action=action)
        await refused(old, (mark.format(more=""), (new_id(), old)), action=action)
        await refused(old, ("truncate change, audit_entry", ()), action=action)
        await refused(old, ("delete from sealed_leaf", ()), action=action)
    # Marked in one transaction, they are not deleted in the next.
    async with owner.transaction():
        act = await _act(owner, organization_id, old)
        await owner.execute(mark.format(more=""), act, old)
    await refused(old, ("delete from audit_entry where id = any($1)", (old,)), action="audit.expire")
    assert await ids_of(world, "true") - {act} == before


# ------------------------------------------------------------------ two at once, jobs


async def test_of_two_processes_that_let_go_at_once_one_does(
    world: World, organization_id: UUID, old_reads: set[UUID]
) -> None:
    actor = await expiring_actor(world)

    done = await asyncio.gather(*(TrailExpiry().step(actor) for _ in range(4)))

    assert sum(one.entries for each in done for one in each) == len(old_reads)
    assert len(await ids_of(world, "action = 'audit.expire'")) == 1
    assert set(await require_whole(organization_id)) == old_reads


async def test_who_waits_for_another_to_let_go_of_the_same_is_refused(
    world: World, organization_id: UUID, service: asyncpg.Connection, old_reads: set[UUID]
) -> None:
    old, second = sorted(old_reads), await _set_to(await connect(world.service), organization_id)
    try:
        first_transaction, second_transaction = service.transaction(), second.transaction()
        await first_transaction.start()
        await second_transaction.start()
        for connection in (service, second):
            await _act(connection, organization_id, old)
        assert await service.fetchval("select fieldward_expire()") == len(old)
        waiting = asyncio.create_task(second.fetchval("select fieldward_expire()"))
        await until_waiting(world, 1)
        await first_transaction.commit()

        with pytest.raises(REFUSED):
            await waiting

        await second_transaction.rollback()
    finally:
        await second.close()
    assert set(await require_whole(organization_id)) == old_reads


async def test_the_job_lets_go_in_every_organization_that_decided(world: World, old_reads: set[UUID]) -> None:
    foreign = await ids_of(world, OF.format("suncoast", "READ"))
    await decide(world, "READ", 300, by="other-owner")
    job = build_jobs(world.services, Settings())[EXPIRE_TRAIL]

    while await job():
        pass

    assert await ids_of(world, "id = any($1)", [*old_reads, *foreign]) == set()
    for slug in ("clearwater", "suncoast"):
        await require_whole(await world.organization_id(slug))
    acts = await world.sql("select channel, user_id from audit_entry where action = 'audit.expire'")
    assert [tuple(act) for act in acts] == [("JOB", None)] * 2


async def test_the_command_counts_what_may_leave_and_lets_it_go(
    world: World, organization_id: UUID, old_reads: set[UUID]
) -> None:
    expected = {str(organization_id): {"READ": len(old_reads)}}

    assert await expire_everywhere(world.services, dry_run=True) == expected
    assert await ids_of(world, HOME_READS) >= old_reads
    assert await expire_everywhere(world.services, dry_run=False) == expected
    assert await expire_everywhere(world.services, dry_run=True) == {}

    assert set(await require_whole(organization_id)) == old_reads
    assert await world.value("select channel from audit_entry where action = 'audit.expire'") == "COMMAND"
