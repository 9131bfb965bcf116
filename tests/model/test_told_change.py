"""What the audit triggers tell of a change, held against the rows as JSON, for every table and for odd values."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import asyncpg
import pytest

from models.inventory import entities
from tests.model.test_walls import TOLD
from tests.support.entry import insert_entry
from tests.support.world import World, connect

AUDITED: Final = {entity.name: entity.model for entity in entities() if entity.model.is_audited}
WIDE: Final = 60
"""More columns than PostgreSQL makes an object of at once."""

ODD: Final[Mapping[str, tuple[str, str]]] = {
    "uuid": ("gen_random_uuid()", "gen_random_uuid()"),
    "bytea": (r"'\x'", r"'\x00ff5c22'"),
    "text": ("'\"\\\u00e9\U0001f600'", "''"),
    "character varying": ("'null'", "'\"\\\u00e9\U0001f600'"),
    "boolean": ("true", "false"),
    "smallint": ("-32768", "0"),
    "integer": ("-2147483648", "0"),
    "bigint": ("9223372036854775807", "0"),
    "double precision": ("'NaN'", "1e-300"),
    "numeric": ("'NaN'", "0.1000"),
    "date": ("'infinity'", "'0001-01-01 BC'"),
    "timestamp with time zone": ("'infinity'", "'2026-02-28 23:59:59.000001+14'"),
    "uuid[]": ("'{null}'", "'{}'"),
    "text[]": ("""'{null,"","a,b"}'""", "'{\"null\"}'"),
    "jsonb": ("""'{"a": null, "b": [null, {"c": null}]}'""", """'[null, {"d": {"e": null}}]'"""),
}
"""Two values of each type that are told in an odd way, if any is."""


@pytest.fixture
async def owner(world: World) -> AsyncIterator[asyncpg.Connection]:
    """The owner's connection, in a transaction of one tenant with an entry, which comes to nothing."""
    organization = await world.organization_id("clearwater")
    connection = await connect(world.owner)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("set local timezone = 'UTC'")
    await connection.execute("select set_config('fieldward.organization_id', $1, true)", str(organization))
    await insert_entry(connection, organization)
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.mark.parametrize("table", AUDITED)
async def test_odd_values_are_told_as_the_row_has_them(owner: asyncpg.Connection, table: str) -> None:
    tenant, secret, digested = await _made_alike(owner, table)

    await _require_told(owner, tenant, secret, digested)


async def test_of_many_columns_and_of_fields_within_values_none_is_lost(owner: asyncpg.Connection) -> None:
    tenant, secret, digested = await _made_alike(owner, "measurement")
    more = [f"add column more_{number} text" for number in range(WIDE)]
    more += ["add column deep jsonb", "add column tags text[]", "add column deepest jsonb[]"]
    await owner.execute(f"alter table alike {', '.join(more)}")
    await owner.execute("alter table alike drop column more_7")
    await owner.execute("select fieldward_audit('alike', 'organization_id', '{more_1}', '{more_2}', null, null, null)")

    await _require_told(owner, tenant, [*secret, "more_1"], [*digested, "more_2"])


async def _made_alike(owner: asyncpg.Connection, table: str) -> tuple[bool, list[str], list[str]]:
    """Make a table of the same columns that is audited the same way; return whether it is a tenant's, and which are
    secret and digested.
    """
    told = await owner.fetchval(
        "select encode(tgargs, 'escape') from pg_trigger"
        " where tgrelid = $1::text::regclass and tgname = 'change_insert'",
        table,
    )
    tenant, secret, _project, _own, digested, _whole = told.split("\\000")[:6]
    await owner.execute(f"create table alike (like {table})")
    await owner.execute(
        "select fieldward_audit('alike', $1, $2, $3, null, null, null)",
        tenant or None,
        secret.split(",") if secret else [],
        digested.split(",") if digested else [],
    )
    return bool(tenant), [*filter(None, secret.split(","))], [*filter(None, digested.split(","))]


async def _require_told(owner: asyncpg.Connection, tenant: bool, secret: list[str], digested: list[str]) -> None:
    columns = await owner.fetch(
        "select attname as name, format_type(atttypid, null) as type, attnotnull as is_demanded from pg_attribute"
        " where attrelid = 'alike'::regclass and attnum > 0 and not attisdropped order by attnum"
    )
    names = {column["name"] for column in columns}
    fixed = {"id": "(select user_id from membership limit 1)", "organization_id": "fieldward_organization()"}
    if "organization_id" not in names and tenant:
        fixed["id"] = "fieldward_organization()"

    def values(at: int) -> dict[str, str]:
        """The first odd values, the second, or nothing wherever that goes."""
        found = {}
        for column in columns:
            odd = ODD.get(column["type"]) or ('array[$j${"a": null}$j$::jsonb, null]', "'{}'")
            value = odd[min(at, 1)] if at < 2 or column["is_demanded"] else "null"
            found[column["name"]] = fixed.get(column["name"], value)
        return found

    first = values(0)
    before = None
    expectations: list[tuple[str, str]] = []
    for operation, statement in (
        ("INSERT", f"insert into alike ({', '.join(first)}) values ({', '.join(first.values())})"),
        ("UPDATE", _update(values(1))),
        ("UPDATE", _update(values(2))),
        ("UPDATE", _update(values(0))),
        ("DELETE", "delete from alike"),
    ):
        await owner.execute(statement)
        after = await owner.fetchval("select to_jsonb(r)::text from alike r")
        text = TOLD.format(before="$1::text", after="$2::text", secret="$3::text[]", digested="$4::text[]")
        expected = await owner.fetchval(f"select {text}::text", before, after, secret, digested)
        found = await owner.fetch(
            "select operation, columns::text as told from change where entity = 'alike' order by id"
        )
        if before != after:
            expectations.append((operation, expected))
        assert [(row["operation"], row["told"]) for row in found] == expectations
        before = after


def _update(values: Mapping[str, str]) -> str:
    return "update alike set " + ", ".join(f"{name} = {value}" for name, value in values.items())
