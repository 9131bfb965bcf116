"""Every type of data goes once its period is over: looked at before, held, let go of, and told of in the trail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

import pytest

from models.data_kind import DataKind
from models.inventory import entities
from resolvers.retention_due import DELETED, periods
from schema.retention import TYPE_OF
from tests.support.entry import insert_entry
from tests.support.keeping import hold, keep_for, lift, run_now
from tests.support.retention import age
from tests.support.world import World, connect

PREVIEW: Final = """
query($kind: DataKind!) { retentionPreview(kind: $kind, first: 10) { due deleted held named ids } }
"""
OURS: Final = "clearwater"
THEIRS: Final = "suncoast"
OLD_DAYS: Final = 400
"""How old what is made is: more than any type's least period."""

_OLD: Final = f"now() - interval '{OLD_DAYS} days'"
_MEMBER: Final = "(select id from membership where organization_id = $1 order by id limit 1)"
_PROJECT: Final = "(select id from project where organization_id = $1 order by code limit 1)"


@dataclass(frozen=True, slots=True)
class Case:
    """A row that is over, and what belongs to it.

    made: the statements that make them, in the organization `$1` and under the id `$2`. held_by: on what a hold keeps
    it, by the types of ids, with the row's column that says on which.
    """

    made: tuple[str, ...]
    held_by: tuple[tuple[str, str], ...]


_BY_ALL: Final = ("Organization", "organization_id")
_BY_PROJECT: Final = ("Project", "project_id")
CASES: Final[Mapping[DataKind, Case]] = {
    DataKind.RECORD: Case(
        made=(
            "insert into record select p.* from record r, lateral jsonb_populate_record(r, jsonb_build_object("
            f" 'id', $2::uuid, 'created_at', {_OLD}, 'collected_at', {_OLD}, 'received_at', {_OLD},"
            f" 'created_by_id', {_MEMBER})) p where r.organization_id = $1 order by r.id limit 1",
            "insert into measurement select p.* from record r join measurement m using (organization_id, project_id),"
            " lateral jsonb_populate_record(m, jsonb_build_object('id', gen_random_uuid(), 'record_id', r.id)) p"
            " where r.organization_id = $1 and r.id = $2 order by m.id limit 1",
        ),
        held_by=(_BY_ALL, _BY_PROJECT, ("Record", "id"), ("User", "created_by_id")),
    ),
    DataKind.SITE: Case(
        made=(
            "insert into site (id, organization_id, created_at, project_id, code, name, location_is_coarse, version)"
            f" values ($2, $1, {_OLD}, {_PROJECT}, 'OLD-1', 'Weir', false, 1)",
        ),
        held_by=(_BY_ALL, _BY_PROJECT, ("Site", "id")),
    ),
    DataKind.SESSION: Case(
        made=(
            "insert into session (id, organization_id, created_at, user_id, membership_id, factors, authenticated_at,"
            " refresh_digest, idle_expires_at, expires_at, wrong_proofs)"
            f" select $2::uuid, organization_id, {_OLD}, user_id, id, '{{PASSWORD}}', {_OLD}, '\\x00', {_OLD}, {_OLD},"
            " 0 from membership where organization_id = $1 order by id limit 1",
        ),
        held_by=(_BY_ALL, ("User", "membership_id")),
    ),
    DataKind.DEVICE: Case(
        made=(
            "insert into device (id, organization_id, created_at, membership_id, platform, model, status,"
            " blocked_by_id, blocked_at, version)"
            f" values ($2, $1, {_OLD}, {_MEMBER}, 'ANDROID', 'Pixel 8', 'BLOCKED', {_MEMBER}, {_OLD}, 1)",
        ),
        held_by=(_BY_ALL, ("User", "membership_id")),
    ),
    DataKind.MEMBERSHIP: Case(
        made=(
            "with account as (insert into user_account (id, created_at, email, email_index, password_hash,"
            f" password_is_long, status) values (gen_random_uuid(), {_OLD}, '\\x01', uuid_send(gen_random_uuid()), '!',"
            " true, 'ACTIVE') returning id)"
            " insert into membership (id, organization_id, created_at, user_id, role, name, status, version)"
            f" select $2::uuid, $1::uuid, {_OLD}, id, 'MEMBER', '\\x01', 'REMOVED', 2 from account",
        ),
        held_by=(_BY_ALL, ("User", "id")),
    ),
    DataKind.INVITATION: Case(
        made=(
            "insert into invitation (id, organization_id, created_at, email, email_index, name, role, project_id,"
            " project_role, invited_by_id, expires_at, status, version)"
            f" values ($2, $1, {_OLD}, '\\x01', '\\x00', '\\x01', 'MEMBER', {_PROJECT}, 'VIEWER', {_MEMBER}, {_OLD},"
            " 'PENDING', 1)",
        ),
        held_by=(_BY_ALL, _BY_PROJECT, ("User", "invited_by_id")),
    ),
    DataKind.DATA_IMPORT: Case(
        made=(
            "insert into data_import (id, organization_id, created_at, project_id, kind, status, file_name, size,"
            " created_by_id, run, is_dry_run, started_by_id, started_at, ended_at)"
            f" values ($2, $1, {_OLD}, {_PROJECT}, 'WQX_CSV', 'FAILED', 'results.csv', 1, {_MEMBER}, 1, false,"
            f" {_MEMBER}, {_OLD}, {_OLD})",
            "insert into import_block (id, organization_id, created_at, import_id, run, position, total_rows,"
            " created_rows, known_rows, rejected_rows, blank_rows, records_created, fates)"
            f" values (gen_random_uuid(), $1, {_OLD}, $2, 1, 0, 1, 0, 0, 1, 0, 0, '[]')",
            "insert into import_chunk (id, organization_id, created_at, import_id, start, length, content)"
            f" values (gen_random_uuid(), $1, {_OLD}, $2, 0, 1, '\\x01')",
        ),
        held_by=(_BY_ALL, _BY_PROJECT, ("User", "created_by_id"), ("User", "started_by_id")),
    ),
    DataKind.EXPORT: Case(
        made=(
            "insert into data_export (id, organization_id, created_at, created_by_id, format, status, finished_at)"
            f" values ($2, $1, {_OLD}, {_MEMBER}, 'CSV', 'EXPIRED', {_OLD})",
            "insert into data_export_progress (id, organization_id, created_at, created_by_id, attempts, rows_done,"
            f" bytes_done, swept_at) values ($2, $1, {_OLD}, {_MEMBER}, 1, 0, 0, {_OLD})",
        ),
        held_by=(_BY_ALL, ("User", "created_by_id")),
    ),
}
"""Of every type. What belongs to a row by `DELETED` is made with it."""


@pytest.mark.parametrize("kind", list(DataKind))
async def test_what_is_over_is_looked_at_and_held_and_goes_with_all_that_belongs_to_it(
    world: World, kind: DataKind
) -> None:
    case = CASES[kind]
    table = DELETED[kind].entity.name
    row_id = uuid4()
    # Both organizations have a row of that id: only by whose it is one goes and the other one stays.
    ours, theirs = [await _make_old(world, case, slug, row_id) for slug in (OURS, THEIRS)]
    whole = dict.fromkeys([table, *_parts(kind)], 1)
    assert await _rows(world, kind, ours, row_id) == await _rows(world, kind, theirs, row_id) == whole
    await keep_for(world, kind.value, periods()[kind].least_days)

    assert await _look(world, kind) == {"due": 1, "deleted": 1, "held": 0, "named": 0, "ids": [_named(kind, row_id)]}

    [row] = await world.sql(f"select * from {table} where organization_id = $1 and id = $2", ours, row_id)
    for on, column in case.held_by:
        held = await hold(world, f"{on}:{row[column]}")
        assert await _look(world, kind) == {"due": 1, "deleted": 0, "held": 1, "named": 0, "ids": []}
        done = (await run_now(world))[kind.value]
        assert (done.deleted, done.held, done.error_code) == (0, 1, None)
        assert await _rows(world, kind, ours, row_id) == whole
        await lift(world, held)

    since = await world.now()
    done = (await run_now(world))[kind.value]

    assert (done.deleted, done.held, done.named, done.error_code) == (1, 0, 0, None)
    assert await _rows(world, kind, ours, row_id) == dict.fromkeys(whole, 0)
    assert await _rows(world, kind, theirs, row_id) == whole
    [entry] = await world.entries(since=since)
    assert (entry["organization_id"], entry["action"], entry["outcome"]) == (ours, "retention.run", "DONE")
    assert (entry["entity"], entry["entity_ids"]) == (table, [row_id])
    told = await world.sql("select entity, operation from change where entry_id = $1 order by entity", entry["id"])
    audited = {one.name for one in entities() if one.model.is_audited}
    assert [tuple(one) for one in told] == [(name, "DELETE") for name in sorted(audited & set(whole))]
    [told_of] = await world.sql("select * from change where entry_id = $1 and entity = $2", entry["id"], table)
    assert told_of["entity_id"] == row_id
    assert told_of["columns"]
    left = await _look(world, kind)
    assert (left["due"], left["ids"]) == (0, [])


def test_every_type_has_its_case() -> None:
    assert set(CASES) == set(DataKind)


async def _make_old(world: World, case: Case, slug: str, row_id: UUID) -> UUID:
    """Make the row of a case in an organization, and return the organization's id. What the trail says is old, too."""
    organization = await world.organization_id(slug)
    superuser = await connect(world.superuser)
    try:
        async with superuser.transaction():
            await superuser.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
            entry = await insert_entry(superuser, organization)
            for statement in case.made:
                assert await superuser.execute(statement, organization, row_id) == "INSERT 0 1", statement
    finally:
        await superuser.close()
    await age(world, OLD_DAYS, "id = $1", entry)
    return organization


def _parts(kind: DataKind) -> dict[str, str]:
    """Return the tables of what belongs to a type's rows, with the column that names its row."""
    how = DELETED[kind]
    table, _, column = (how.counted or "").partition(".")
    return {**({table: column} if table else {}), **(how.parts or {})}


async def _rows(world: World, kind: DataKind, organization: UUID, row_id: UUID) -> dict[str, int]:
    """Return how many rows there are of it, and of each table of what belongs to it."""
    named_by = {DELETED[kind].entity.name: "id", **_parts(kind)}
    return {
        table: await world.value(
            f"select count(*) from {table} where organization_id = $1 and {column} = $2", organization, row_id
        )
        for table, column in named_by.items()
    }


async def _look(world: World, kind: DataKind) -> dict[str, Any]:
    """Return what a dry run says to the owner."""
    answer = await (await world.client("owner")).run(PREVIEW, {"kind": kind.value})
    found: dict[str, Any] = answer.data["retentionPreview"]
    return found


def _named(kind: DataKind, row_id: UUID) -> str:
    return f"{TYPE_OF[kind]}:{row_id}"
