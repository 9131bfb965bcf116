"""The database is as the models declare it: every column classified, every table walled, every trigger told."""

from typing import Any

import pytest
from tortoise import fields
from tortoise.fields import Field

from auth.classification import Classification
from models.base import Kept, Search, Storage, TenantModel, WardModel, ward
from models.encryption.blind_index import normalize_code
from models.encryption.codec import Date
from models.encryption.column import EncryptedField
from models.inventory import Entity, InventoryError, entities, entity_of
from models.retracing import is_told_by_digest
from tests.support.world import World

ENTITIES = {entity.name: entity for entity in entities()}
FOR_GOOD = Kept("For good.")


async def test_every_column_of_the_database_is_in_the_inventory_and_the_other_way_round(world: World) -> None:
    rows = await world.sql(
        "select table_name, column_name, is_nullable, data_type from information_schema.columns"
        " where table_schema = 'public' and table_name <> 'tortoise_migrations'"
    )

    stored = {(row["table_name"], row["column_name"]) for row in rows}
    assert stored == {(entity.name, name) for entity in entities() for name in entity.columns}
    for row in rows:
        column = ENTITIES[row["table_name"]].columns[row["column_name"]]
        assert column.is_nullable == (row["is_nullable"] == "YES"), row
        assert not column.is_sealed or row["data_type"] == "bytea"


async def test_what_must_be_encrypted_is_stored_as_ciphertext(world: World) -> None:
    for entity in entities():
        for column in entity.columns.values():
            if column.classification in {Classification.CONFIDENTIAL, Classification.PERSONAL}:
                assert column.is_sealed
                values = await world.sql(
                    f"select {column.name} as v from {entity.name} where {column.name} is not null"
                )
                assert all(len(row["v"]) > 60 and row["v"][0] == 1 for row in values)


@pytest.mark.parametrize("name", ENTITIES)
async def test_every_table_is_walled_by_row_level_security_even_for_its_owner(world: World, name: str) -> None:
    row = (
        await world.sql(
            "select relrowsecurity, relforcerowsecurity, relowner::regrole::text as owner from pg_class"
            " where relname = $1",
            name,
        )
    )[0]

    assert row["relrowsecurity"]
    assert row["relforcerowsecurity"]
    assert row["owner"] == "fieldward_owner"


@pytest.mark.parametrize(
    "entity", [one for one in entities() if "organization_id" in one.columns], ids=lambda one: one.name
)
async def test_keys_are_composite_with_the_tenant(world: World, entity: Entity) -> None:
    keys = await world.sql(
        "select contype::text as kind, confrelid::regclass::text as target,"
        " (select array_agg(a.attname::text order by k.n) from unnest(conkey) with ordinality k(attnum, n)"
        "   join pg_attribute a on a.attrelid = conrelid and a.attnum = k.attnum) as columns"
        " from pg_constraint where conrelid = $1::regclass and contype in ('p', 'f')",
        entity.name,
    )

    assert [row["columns"] for row in keys if row["kind"] == "p"] == [["organization_id", "id"]]
    for row in keys:
        if row["kind"] == "f" and row["target"] != "user_account":
            assert row["columns"][0] == "organization_id"
    named = {name for name in entity.columns if name.endswith("_id")} - {"organization_id", "user_id", "request_id"}
    if issubclass(entity.model, TenantModel):
        linked = {column for row in keys if row["kind"] == "f" for column in row["columns"]}
        assert named <= linked


@pytest.mark.parametrize("entity", [one for one in entities() if one.model.is_audited], ids=lambda one: one.name)
async def test_triggers_fire_always_and_know_the_tables_secrets_and_place(world: World, entity: Entity) -> None:
    triggers = await world.sql(
        "select tgname, tgenabled::text as enabled, replace(encode(tgargs, 'escape'), '\\000', '|') as arguments"
        " from pg_trigger where tgrelid = $1::regclass and not tgisinternal",
        entity.name,
    )
    placement = entity.placement
    assert placement is not None
    secrets = [one for _, one in sorted(entity.columns.items()) if one.classification is Classification.SECRET]
    digested = ",".join(one.name for one in secrets if is_told_by_digest(one))
    secret = ",".join(one.name for one in secrets if not is_told_by_digest(one))
    own = "" if placement.own_is_user else placement.own_column or ""
    expected = [
        placement.tenant_column or "",
        secret,
        placement.project_column or "",
        own,
        digested,
        placement.whole_column or "",
    ]

    holding = {"keep_held"} if entity.kept.period is not None else set()
    assert {row["tgname"] for row in triggers} == {
        *("refuse", "change_insert", "change_update", "change_delete"),
        *holding,
    }
    assert all(row["enabled"] == "A" for row in triggers)
    for row in triggers:
        if row["tgname"] not in {"refuse", "keep_held"}:
            arguments = row["arguments"].split("|")[:6]
            arguments[1], arguments[4] = (",".join(sorted(arguments[at].split(","))) for at in (1, 4))
            assert arguments == expected


async def test_functions_of_the_owner_pin_their_search_path(world: World) -> None:
    rows = await world.sql(
        "select proname, proconfig from pg_proc"
        " where pronamespace = 'public'::regnamespace and proname like 'fieldward%'"
    )

    assert len(rows) >= 6
    # Left out, pg_temp comes first for types: a temporary one would run as the owner.
    assert all(
        any(one.startswith("search_path=") and one.endswith("pg_temp") for one in row["proconfig"] or [])
        for row in rows
    )


async def test_the_service_may_do_what_it_must_and_no_more(world: World) -> None:
    rows = await world.sql(
        "select table_name, array_agg(privilege_type::text order by privilege_type::text) as may"
        " from information_schema.role_table_grants where grantee = 'fieldward_service' group by 1"
    )

    kept = ("organization", "user_account", "project", "service_account")
    decided = ("trail_retention", "data_retention", "retention_run", "legal_hold")
    deleted = (
        *("record", "measurement", "site", "project_membership", "custom_role", "authenticator"),
        # By a period alone: `tests/model/test_retention_run.py`.
        *("membership", "device", "session", "invitation", "data_import", "data_export", "data_export_progress"),
    )
    identity = ("authenticator_use", "challenge", "throttle", "outgoing_mail", "idempotency_key")
    programs = ("service_account_token", "service_account_use")
    reviews = ("access_review", "access_review_item")
    assert {row["table_name"]: row["may"] for row in rows} == {
        **{name: ["INSERT", "SELECT", "UPDATE"] for name in (*kept, *decided, *identity, *programs, *reviews)},
        **{name: ["DELETE", "INSERT", "SELECT", "UPDATE"] for name in deleted},
        **{name: ["INSERT", "SELECT", "UPDATE"] for name in ("incident", "incident_cursor", "alarm_delivery")},
        "incident_evidence": ["INSERT", "SELECT"],
        "trusted_document": ["DELETE", "INSERT", "SELECT"],
        "import_mapping": ["DELETE", "INSERT", "SELECT", "UPDATE"],
        "import_chunk": ["DELETE", "INSERT", "SELECT", "UPDATE"],
        "import_block": ["DELETE", "INSERT", "SELECT"],
        "data_export_piece": ["DELETE", "INSERT", "SELECT"],
        "erasure_request": ["INSERT", "SELECT", "UPDATE"],
        "audit_entry": ["INSERT", "SELECT"],
        "change": ["SELECT"],
        "sealed_leaf": ["INSERT", "SELECT"],
        "sealed_node": ["INSERT", "SELECT"],
        "sealed_batch": ["INSERT", "SELECT"],
        "cosignature": ["INSERT", "SELECT"],
        "publication": ["INSERT", "SELECT"],
    }


def test_a_column_without_a_classification_is_refused() -> None:
    class Bare(WardModel):
        noun = "record"
        kept = FOR_GOOD
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        note = fields.CharField(max_length=10)

        class Meta:
            table = "bare"

    with pytest.raises(InventoryError, match=r"bare\.note"):
        entity_of(Bare)


def test_a_confidential_column_in_the_clear_is_refused() -> None:
    class Open(WardModel):
        noun = "record"
        kept = FOR_GOOD
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        note = ward(Classification.CONFIDENTIAL, fields.CharField(max_length=10))

        class Meta:
            table = "open"

    with pytest.raises(InventoryError, match=r"open\.note"):
        entity_of(Open)


def _searchable(index: Field[Any] | None, text: Field[Any] | None = None) -> type[WardModel]:
    """Declare a table with a column that is searched by `code_index`."""

    class Searched(WardModel):
        noun = "record"
        kept = FOR_GOOD
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        code = text or ward(
            Classification.CONFIDENTIAL,
            EncryptedField(max_length=10, null=True),
            search=Search("code_index", normalize_code),
        )
        if index is not None:
            code_index = index

        class Meta:
            table = "searched"

    return Searched


def test_a_searchable_column_with_an_index_of_its_own_is_taken() -> None:
    model = _searchable(ward(Classification.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX))

    assert entity_of(model).columns["code"].search == Search("code_index", normalize_code)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "which there is not"),
        (ward(Classification.INTERNAL, fields.BinaryField(null=True)), "which is not SECRET"),
        (
            ward(Classification.SECRET, fields.CharField(max_length=32, null=True), holds=Storage.BLIND_INDEX),
            "which is not BYTEA",
        ),
        (ward(Classification.SECRET, fields.JSONField(null=True), holds=Storage.BLIND_INDEX), "which is not BYTEA"),
        (ward(Classification.SECRET, fields.BinaryField(), holds=Storage.BLIND_INDEX), "only one of them can be null"),
    ],
    ids=["missing", "not secret", "a text", "JSON", "never null"],
)
def test_a_searchable_column_whose_index_is_none_is_refused(index: Field[Any] | None, message: str) -> None:
    with pytest.raises(InventoryError, match=rf"searched\.code is searched by code_index, (and )?{message}"):
        entity_of(_searchable(index))


@pytest.mark.parametrize(
    "text",
    [
        ward(
            Classification.INTERNAL, fields.CharField(max_length=10, null=True), search=Search("code_index", str.strip)
        ),
        ward(
            Classification.CONFIDENTIAL,
            EncryptedField(max_length=10, codec=Date, null=True),
            search=Search("code_index", str.strip),
        ),
    ],
    ids=["in the clear", "a day"],
)
def test_only_an_encrypted_text_is_searchable(text: Field[Any]) -> None:
    index = ward(Classification.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)

    with pytest.raises(InventoryError, match=r"searched\.code is searchable and no encrypted text"):
        entity_of(_searchable(index, text))


def test_two_columns_with_one_index_are_refused() -> None:
    def searched() -> Any:
        field: Any = EncryptedField(max_length=10, null=True)
        return ward(Classification.CONFIDENTIAL, field, search=Search("index", normalize_code))

    class Shared(WardModel):
        noun = "record"
        kept = FOR_GOOD
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        one = searched()
        other = searched()
        index = ward(Classification.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)

        class Meta:
            table = "shared"

    with pytest.raises(InventoryError, match=r"shared\.other is searched by index, which is the index of one"):
        entity_of(Shared)


def test_a_table_that_does_not_say_how_long_its_rows_are_kept_is_refused() -> None:
    class Endless(WardModel):
        noun = "record"
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))

        class Meta:
            table = "endless"

    with pytest.raises(InventoryError, match="The table endless does not say how long its rows are kept"):
        entity_of(Endless)


@pytest.mark.parametrize(
    ("classification", "holds"),
    [
        (Classification.SECRET, None),
        (Classification.SECRET, Storage.PLAIN),
        (Classification.SECRET, Storage.ENCRYPTED),
        (Classification.INTERNAL, Storage.TOKEN_DIGEST),
    ],
)
def test_a_column_that_is_not_what_it_says_it_holds_is_refused(
    classification: Classification, holds: Storage | None
) -> None:
    class Vague(WardModel):
        noun = "record"
        kept = FOR_GOOD
        id = ward(Classification.PUBLIC, fields.UUIDField(primary_key=True))
        token = ward(classification, fields.BinaryField(), holds=holds)

        class Meta:
            table = "vague"

    with pytest.raises(InventoryError, match=r"vague\.token"):
        entity_of(Vague)
