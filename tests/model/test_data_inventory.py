"""What the data inventory says of storage, roles and retention is so: of the database, the keystore and the policy."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest
from tortoise import fields

from auth.access import Grant, access_of
from auth.classification import Classification
from auth.permission import Permission
from auth.principal import SYSTEM_ID
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from auth.scope import Scope
from fieldward.cli.erasing import app as erasing_app
from fieldward.cli.inventory_page import inventory_page
from models.base import Kept, Storage, WardModel, ward
from models.data_inventory import OWN, ROLES, DataColumn, DataTable, Place, data_inventory, table_of
from models.encryption.blind_index import blind_index
from models.encryption.column import open_light
from models.encryption.envelope import Cell, KeyPurpose, OwnerKind, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.keystore import KeyStore
from models.encryption.owner import SYSTEM_INDEX, index_owner, subject_owner
from models.inventory import InventoryError, entities, entity_named, entity_of
from models.trail_retention import LEAST_DAYS
from resolvers.service_account import LONGEST_LIFE
from tests.support.browser import Browser
from tests.support.erasure import ask_for_name
from tests.support.export import make
from tests.support.factor import add_totp, challenged
from tests.support.importing import fill_imports
from tests.support.keeping import hold, keep_for, lift
from tests.support.mail import send_mail, taking_mail
from tests.support.mutation import mutate, prepare_with_incident, with_invitation
from tests.support.people import link_of
from tests.support.scene import create_program, done
from tests.support.world import Client, World, connect, json_body

ROOT: Final = Path(__file__).resolve().parents[2]
TABLES: Final = {table.name: table for table in data_inventory()}
OF_NO_COLUMN: Final = frozenset(
    {("data_export", "searched_for"), ("erasure_request", "name_indexes"), ("outgoing_mail", "email_index")}
)
"""Columns that hold blind indexes of what was asked for, some one behind the other, and not of a value beside them."""
PROJECT: Final = UUID(int=7)
# Of the database's own words for types, those that ours stand for.
DATA_TYPES: Final = {
    "UUID": {"uuid"},
    "text": {"character varying"},
    "one": {"character varying"},
    "time": {"timestamp with time zone"},
    "date": {"date"},
    "number": {"double precision"},
    "whole": {"integer", "bigint", "smallint"},
    "bytes": {"bytea"},
    "JSON": {"jsonb"},
    "list": {"ARRAY"},
    "yes": {"boolean"},
}


def columns_held(*kinds: Storage) -> list[tuple[DataTable, DataColumn]]:
    """Return the columns of which the inventory says that they are so held."""
    return [(table, column) for table in TABLES.values() for column in table.columns if column.storage in kinds]


async def rows_of(world: World, table: DataTable, column: str) -> Sequence[Any]:
    """Return the rows that have a value in the column."""
    return await world.sql(f'select * from "{table.name}" where "{column}" is not null')


def organization_of(row: Any) -> UUID:
    """Return whose a row is, as its values are bound to it."""
    found: UUID = row.get("organization_id", SYSTEM_ID)
    return found


async def opened(table: DataTable, column: str, row: Any) -> str:
    """Return an encrypted value of a row."""
    await active_keyring().load_ids({key_id_of(row[column])})
    return open_light(row[column], Cell(organization_of(row), table.name, column, row["id"]))


async def fill(world: World) -> None:
    """Have something in every column: the demo, and what has to be done for the rest."""
    stage = await with_invitation(world, await prepare_with_incident(world))
    reviewer, owner = await world.client("reviewer"), await world.client("owner")
    review = {"id": stage.submitted, "expectedVersion": 2, "reason": "Too vague."}
    await done(reviewer, "rejectRecord", review)
    await mutate(owner, "closeIncident", {"id": stage.incident, "expectedVersion": 1, "note": "A test of ours."})
    await done(owner, "deleteRecord", {"id": stage.draft, "expectedVersion": 1})
    await done(owner, "setLocationSensitivity", {"id": stage.project, "expectedVersion": 1, "sensitive": True})
    well = {"siteCode": "WELL-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER", "latitude": 51.47873}
    create = "mutation($input: CreateRecordInput!) { createRecord(input: $input) { errors { code } } }"
    given = {"input": {"projectId": stage.project, **well, "longitude": -0.29561}}
    made = await owner.post(json_body({"query": create, "variables": given}), **{"idempotency-key": "well-1"})
    assert made.data["createRecord"]["errors"] == []
    spring = {"projectId": stage.project, "code": "SPRING", "name": "Spring", "latitude": 51.5, "longitude": -0.25}
    await done(owner, "createSite", spring)
    _, program = await create_program(owner, None)
    read = await Client(world.http, program).run(f'{{ record(id: "{stage.submitted}") {{ comment }} }}')
    assert read.data["record"]["comment"]
    token = (await world.sign_in("viewer")).data["signIn"]["refreshToken"]
    assert (await mutate(world.anonymous, "refreshSession", {"refreshToken": token})).data
    assert (await world.sign_in("viewer", password="not the one that it is")).status == 200
    await fill_imports(world)
    await make(world, owner, filter={"collector": {"eq": "Cleo Cole"}})
    await lift(world, await hold(world, stage.project))
    await keep_for(world, "RECORD", 3650)
    await ask_for_name(world, "Cleo Cole")
    about = {"kind": "PERSON", "userId": f"User:{await world.member_id('member')}", "reason": "Asked for it by letter."}
    with taking_mail(world):
        await done(owner, "requestErasure", about)
        await send_mail(world)
    await _fill_sign_ins(world, stage.invitation)
    export = await make(world, owner, filter={"siteCode": {"startsWith": "W"}})
    await done(owner, "createExportLink", {"id": export.shown["id"]})


async def _fill_sign_ins(world: World, invitation: str) -> None:
    """Have somebody invited get their link, one with a second factor be asked for it, and a browser hold a cookie."""
    assert await link_of(world, invitation)
    await add_totp(world, "manager")
    assert (await challenged(world, "manager"))["token"]
    browser = Browser(world.http)
    signed_in = await browser.sign_in(world, "collector", clientName="The laptop at the river")
    assert browser.session, signed_in.text
    assert (await mutate(world.anonymous, "requestPasswordReset", {"email": world.email("collector")})).status == 200


def test_every_column_of_every_table_is_on_the_page_once() -> None:
    found, table = [], ""
    for line in inventory_page().splitlines():
        if line.startswith("## "):
            table = line.removeprefix("## ")
        elif one := re.match(r"\| `(\w+)` \|", line):
            found.append((table, one[1]))

    assert sorted(found) == sorted((entity.name, name) for entity in entities() for name in entity.columns)


async def test_types_are_those_of_the_database(world: World) -> None:
    rows = await world.sql(
        "select table_name, column_name, data_type, is_nullable, character_maximum_length as most"
        " from information_schema.columns where table_schema = 'public'"
    )
    stored = {(row["table_name"], row["column_name"]): row for row in rows}

    for table in TABLES.values():
        for column in table.columns:
            row = stored[table.name, column.name]
            said = "bytes" if column.storage is Storage.ENCRYPTED else column.type.split()[0]
            assert row["data_type"] in DATA_TYPES[said], (table.name, column.name)
            assert column.is_nullable == (row["is_nullable"] == "YES")
            if bound := re.fullmatch(r"text of at most (\d+) characters", column.type):
                assert row["most"] in {None, int(bound[1])}


async def test_what_is_said_to_be_encrypted_is_and_under_the_key_that_is_said(world: World) -> None:
    await fill(world)
    kinds: dict[tuple[str, str], set[OwnerKind]] = {}

    for table, column in columns_held(Storage.ENCRYPTED):
        rows, key = await rows_of(world, table, column.name), column.key
        assert rows, f"nothing in {table.name}.{column.name}"
        assert key is not None
        owners = {one.id: one.owner for one in await KeyStore().by_ids({key_id_of(row[column.name]) for row in rows})}
        for row in rows:
            owner = owners[key_id_of(row[column.name])]
            whose = row[key.named_by] if key.named_by else None
            if whose is not None:
                whose = UUID(bytes=whose) if isinstance(whose, bytes) else whose
                assert (owner.kind, owner.id) == (key.owners[0], whose)
            else:
                of_row = organization_of(row)
                kind = OwnerKind.SYSTEM if of_row == SYSTEM_ID else OwnerKind.ORGANIZATION
                assert (owner.kind, owner.id) == (kind, of_row)
                assert kind in key.owners
            assert owner.purpose is key.purpose
            kinds.setdefault((table.name, column.name), set()).add(owner.kind)

    # Each of the owners that are named is one's in some row.
    seen = set().union(*kinds.values())
    assert seen == set(OwnerKind)
    assert kinds["audit_entry", "user_agent"] == {OwnerKind.PERSON, OwnerKind.ORGANIZATION, OwnerKind.SYSTEM}


async def test_what_is_said_to_be_padded_is_and_nothing_else(world: World) -> None:
    await fill(world)

    for table, column in columns_held(Storage.ENCRYPTED):
        for row in (await rows_of(world, table, column.name))[:20]:
            text = await opened(table, column.name, row)
            content = len(row[column.name]) - 62
            expected = -(-(len(text.encode()) + 2) // 32) * 32 if column.is_padded else len(text.encode()) + 1
            assert content == expected, (table.name, column.name)
            assert text.encode() not in row[column.name]


async def test_what_is_said_to_be_plain_is(world: World) -> None:
    rows = await world.sql("select table_name, column_name, data_type from information_schema.columns")
    stored = {(row["table_name"], row["column_name"]): row["data_type"] for row in rows}

    # Hashes of the trees that seal the trail stand for what is in a leaf, and show none of it.
    bytes_in_the_clear = {("sealed_leaf", "leaf_hash"), ("sealed_node", "node_hash")}
    bytes_in_the_clear |= {("sealed_batch", "root_hash"), ("sealed_batch", "frontier")}
    # What is public of a key pair, what names it, and what it is asked to sign.
    bytes_in_the_clear |= {("device", "public_key"), ("authenticator", "public_key"), ("authenticator", "credential")}
    bytes_in_the_clear |= {("challenge", "nonce")}
    for table, column in columns_held(Storage.PLAIN):
        place = table.name, column.name
        assert (stored[place] == "bytea") == (place in bytes_in_the_clear)
        assert column.key is None
        assert not column.is_padded


async def test_blind_indexes_are_those_of_the_values_beside_them(world: World) -> None:
    await fill(world)
    await active_keyring().load([SYSTEM_INDEX])
    beside = {(table.name, column.index_column): column for table in TABLES.values() for column in table.columns}

    for table, column in columns_held(Storage.BLIND_INDEX):
        if (table.name, column.name) in OF_NO_COLUMN:
            continue
        of, rows = beside[table.name, column.name], await rows_of(world, table, column.name)
        searched = entity_named(table.name).columns[of.name].search
        assert searched is not None
        assert column.key is not None
        assert column.key.purpose is KeyPurpose.INDEX
        for row in rows[:50]:
            organization = organization_of(row)
            owner = index_owner(organization)
            assert owner.kind in column.key.owners
            await active_keyring().load([owner])
            expected = blind_index(
                active_keyring().current(owner),
                table=table.name,
                column=of.name,
                organization_id=organization,
                text=searched.normalize(await opened(table, of.name, row)),
            )
            assert row[column.name] == expected


async def test_pseudonyms_are_made_under_the_name_s_own_key(world: World) -> None:
    [(table, column)] = columns_held(Storage.PSEUDONYM)
    assert column.key is not None
    assert column.key.named_by is not None
    rows = await rows_of(world, table, column.name)

    assert rows
    for row in rows[:50]:
        owner = subject_owner(row["organization_id"], row[column.key.named_by], column.key.purpose)
        assert column.key.owners == (owner.kind,)
        await active_keyring().load([owner])
        assert row[column.name] == blind_index(
            active_keyring().current(owner),
            table=table.name,
            column=column.name,
            organization_id=row["organization_id"],
            text="pseudonym",
        )


@pytest.mark.parametrize(
    ("kind", "is_one"),
    [
        (Storage.PASSWORD_HASH, lambda value: value.startswith("$argon2id$")),
        (Storage.TOKEN_DIGEST, lambda value: len(value) == 32),
        (Storage.CONTENT_DIGEST, lambda value: len(value) == 32),
        (Storage.BLIND_INDEX, lambda value: len(value) > 0 and len(value) % 16 == 0),
    ],
)
async def test_what_stands_for_a_secret_is_what_it_is_said_to_be(
    world: World, kind: Storage, is_one: Callable[[Any], bool]
) -> None:
    await fill(world)
    for table, column in columns_held(kind):
        rows = await rows_of(world, table, column.name)
        assert rows, f"nothing in {table.name}.{column.name}"
        assert all(is_one(row[column.name]) for row in rows)
        assert column.read_by.roles == ()


def test_who_is_said_to_read_a_column_may_by_the_policy_and_nobody_else() -> None:
    for table in TABLES.values():
        for column in table.columns:
            takes = {table.permission} | ({column.permission} if column.permission else set())
            in_api = column.classification is not Classification.SECRET
            expected = [role for role in ROLES if in_api and takes <= _held(role, table)]
            assert list(column.read_by.roles) == expected, (table.name, column.name)
        assert list(table.seen_by.roles) == [role for role in ROLES if table.permission in _held(role, table)]


def _held(role: str, table: DataTable) -> frozenset[Permission]:
    """Return what somebody with that one role may do with a row of the table, by the access that viewers have."""
    scope = Scope(PROJECT if table.place is Place.PROJECT else None)
    if role == OWN:
        # What is about nobody is nobody's own.
        return access_of([]).in_scope(Scope(scope.project_id, is_own=True)) if table.is_about_a_person else frozenset()
    if role in PROJECT_ROLES:
        granted = Grant(role, PROJECT_ROLES[ProjectRole(role)], project_id=PROJECT)
    else:
        granted = Grant(role, ORGANIZATION_ROLES[OrganizationRole(role)])
    return access_of([granted]).in_scope(scope)


async def test_rows_are_deleted_where_the_inventory_says_that_they_can_be_and_nowhere_else(world: World) -> None:
    rows = await world.sql(
        "select table_name from information_schema.role_table_grants"
        " where grantee = 'fieldward_service' and privilege_type in ('DELETE', 'TRUNCATE')"
    )

    theirs = {"authenticator"}  # People remove their own, which is no permission.
    # By a period alone, with what goes along: `tests/model/test_retention_run.py`.
    over = {one.name for one in entities() if one.kept.period is not None} | {"data_export_progress"}
    deleted = {one.name for one in TABLES.values() if one.deleted_by}
    assert {row["table_name"] for row in rows} == deleted | over | theirs
    for table in TABLES.values():
        leaves = theirs | {"audit_entry", "change", "authenticator_use", "challenge", "throttle", "idempotency_key"}
        is_kept = not table.deleted_by and table.name not in leaves
        assert table.kept.startswith("For good: ") == is_kept


async def test_the_trail_is_said_to_be_kept_and_refuses_its_owner(world: World) -> None:
    owner = await connect(world.owner)
    organization_id = str(await world.organization_id("clearwater"))
    await owner.execute("select set_config('fieldward.organization_id', $1, false)", organization_id)
    try:
        for name in ("audit_entry", "change"):
            assert "a trigger refuses" in TABLES[name].kept
            for statement in (f"delete from {name}", f"truncate {name} cascade", f"update {name} set id = id"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await owner.execute(statement)
    finally:
        await owner.close()


async def test_triggers_record_the_changes_of_the_tables_that_the_inventory_names(world: World) -> None:
    rows = await world.sql(
        "select tgrelid::regclass::text as name from pg_trigger where tgname = 'change_delete' and tgenabled = 'A'"
    )

    assert {row["name"] for row in rows} == {table.name for table in TABLES.values() if table.changes_are_recorded}


def test_the_times_that_are_named_are_those_of_the_code() -> None:
    for name in ("audit_entry", "change"):
        assert f"never under {LEAST_DAYS} days" in TABLES[name].kept
    assert f"within {LONGEST_LIFE.days} days" in TABLES["service_account"].kept


def test_the_page_names_the_command_that_destroys_keys() -> None:
    assert "`fieldward erase` destroys the keys" in inventory_page()
    assert {one.name for one in erasing_app.registered_commands} == {"person", "name", "organization"}


def test_a_table_is_said_in_words_or_refused() -> None:
    class Mute(WardModel):
        noun = "record"
        kept = Kept("For good.")
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))

        class Meta:
            table = "mute"

    class Odd(WardModel):
        """A row."""

        noun = "record"
        kept = Kept("For good.")
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        span = ward(Classification.INTERNAL, fields.TimeDeltaField())

        class Meta:
            table = "odd"

    class Alone(WardModel):
        """A row."""

        noun = "record"
        kept = Kept("For good.")
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        mark = ward(Classification.SECRET, fields.BinaryField(), holds=Storage.PSEUDONYM)

        class Meta:
            table = "alone"

    for model, said in ((Mute, "what a row is"), (Odd, r"odd\.span"), (Alone, r"alone\.mark")):
        with pytest.raises(InventoryError, match=said):
            table_of(entity_of(model))
