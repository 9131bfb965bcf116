"""Finding encrypted values by equality: who finds what, what leaks of it, what the trail says, and what is unique."""

from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from auth.permission import Permission as P
from models.encryption.owner import organization_owner, subject_owner
from tests.support.access import make_program, person_with, refusals
from tests.support.mutation import mutate
from tests.support.world import Client, World

NAME: Final = "Ana  Ruiz"
ASKED: Final = " ana RUIZ "
"""The same name, as somebody else writes it."""
SERIAL: Final = "SN 77-b"
FIND: Final = (
    "query($filter: RecordFilter) { records(filter: $filter, first: 50)"
    " { totalCount nodes { siteCode } edges { cursor } } }"
)
COUNT: Final = "query($filter: RecordFilter) { recordGroups(filter: $filter) { count } }"
DEVICES: Final = "query($filter: DeviceFilter) { devices(filter: $filter, first: 50) { totalCount nodes { model } } }"
BY_NAME: Final = {"filter": {"collector": {"eq": ASKED}}}


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys are replaced."""
    return own_keystore


async def collect(client: Client, project: UUID, site: str, name: str | None) -> str:
    """Make a record that somebody collected."""
    given = {
        "projectId": f"Project:{project}",
        "siteCode": site,
        "collectedAt": "2026-01-02T03:04:05Z",
        "medium": "WATER",
        "collector": name,
        "measurements": [{"characteristic": "pH", "value": 7.0}],
    }
    payload = (await mutate(client, "createRecord", given, "record { id }")).data["createRecord"]
    assert payload["errors"] == [], payload
    return str(payload["record"]["id"])


async def device_input(world: World, whose: str, serial: str | None, **more: Any) -> dict[str, Any]:
    """Return the input that registers a device."""
    user = f"User:{await world.member_id(whose)}"
    return {"userId": user, "platform": "LOGGER", "model": "CR1000", "serialNumber": serial, **more}


async def register(world: World, by: str, whose: str, serial: str | None, **more: Any) -> str:
    """Register a device that must not be refused."""
    given = await device_input(world, whose, serial, **more)
    payload = (await mutate(await world.client(by), "registerDevice", given, "device { id }")).data["registerDevice"]
    assert payload["errors"] == [], payload
    return str(payload["device"]["id"])


@pytest.fixture
async def collected(world: World) -> World:
    """The same name in two projects of an organization and in another organization, and another name beside it."""
    owner, other = await world.client("owner"), await world.client("other-owner")
    canal, parks, lakes = [await world.project_id(code) for code in ("CANAL", "PARKS", "LAKES")]
    for project, site, name in ((canal, "C-1", NAME), (canal, "C-2", "Ana Ruis"), (parks, "P-1", NAME)):
        await collect(owner, project, site, name)
    await collect(other, lakes, "L-1", NAME)
    return world


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is sent to the databases from now on: statements and their parameters."""
    found: list[str] = []

    def heard(name: str) -> Any:
        plain = getattr(asyncpg.Connection, name)

        def call(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
            found.extend([query, repr(arguments)])
            return plain(connection, query, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("fetch", "fetchrow", "fetchval", "execute", "executemany"):
            patch.setattr(asyncpg.Connection, name, heard(name))
        yield found


async def reads(world: World, since: Any) -> list[tuple[str, str, int]]:
    """Return what the read log says since a moment: the column, and of how many rows."""
    entries = await world.entries(since=since, kinds=["READ"])
    return [(one["entity"], one["field"], len(one["entity_ids"] or ())) for one in entries]


# -- collectors


@pytest.mark.parametrize(
    ("who", "sites"),
    [
        ("owner", ["C-1", "P-1"]),
        ("admin", ["C-1", "P-1"]),
        ("auditor", ["C-1", "P-1"]),
        ("manager", ["C-1"]),
        ("reviewer", ["C-1"]),
        ("collector", ["C-1"]),
        ("viewer", []),
        ("member", []),
        ("other-owner", ["L-1"]),
    ],
)
async def test_records_are_found_by_a_name_where_the_name_may_be_read(
    collected: World, who: str, sites: list[str]
) -> None:
    client = await collected.client(who)
    since = await collected.now()

    answer = await client.run(FIND, BY_NAME)
    counted = await client.run(COUNT, BY_NAME)

    page = answer.data["records"]
    assert sorted(node["siteCode"] for node in page["nodes"]) == sites
    assert page["totalCount"] == len(page["edges"]) == len(sites)
    assert counted.data["recordGroups"] == [{"count": len(sites)}]
    # Who may read a name nowhere has read none; everybody else's search is in the trail, as is what it found.
    expected = [] if who in {"viewer", "member"} else [("record", "collector", count) for count in (len(sites), 0)]
    assert await reads(collected, since) == expected


async def test_nobody_finds_anything_without_signing_in(collected: World) -> None:
    for query, given in ((FIND, BY_NAME), (COUNT, BY_NAME), (DEVICES, {"filter": {"serialNumber": {"eq": SERIAL}}})):
        answer = await collected.anonymous.run(query, given)

        assert answer.codes == ["UNAUTHENTICATED"]
        assert not any((answer.body["data"] or {}).values())


@pytest.mark.parametrize(
    ("permissions", "projects", "sites"),
    [
        ([P.PROJECT_READ, P.RECORD_READ], None, []),
        ([P.PROJECT_READ, P.RECORD_READ, P.RECORD_READ_CONFIDENTIAL], None, []),
        ([P.PROJECT_READ, P.RECORD_READ, P.RECORD_READ_PERSONAL], None, ["C-1", "P-1"]),
        ([P.PROJECT_READ, P.RECORD_READ, P.RECORD_READ_PERSONAL], ["PARKS"], ["P-1"]),
    ],
)
async def test_a_program_finds_by_a_name_within_its_scope(
    collected: World, permissions: list[P], projects: list[str] | None, sites: list[str]
) -> None:
    program = await make_program(collected, permissions, projects)
    since = await collected.now()

    answer = await program.client.run(FIND, BY_NAME)

    assert sorted(node["siteCode"] for node in answer.data["records"]["nodes"]) == sites
    found = await collected.entries(since=since, kinds=["READ"])
    assert [f"ServiceAccount:{one['service_account_id']}" for one in found] == [program.id] * bool(sites)


async def test_a_viewer_is_answered_alike_whether_a_name_is_there_or_not(collected: World) -> None:
    client = await collected.client("viewer")

    there = await client.run(FIND, BY_NAME)
    not_there = await client.run(FIND, {"filter": {"collector": {"eq": "Nobody at all"}}})
    masked = await client.run('{ records(filter: {siteCode: {eq: "C-1"}}) { nodes { collector } } }')

    assert there.body == not_there.body
    # Nor does a pseudonym find what it stands for.
    pseudonym = masked.data["records"]["nodes"][0]["collector"]
    assert pseudonym.startswith("person-")
    by_pseudonym = await client.run(FIND, {"filter": {"collector": {"eq": pseudonym}}})
    assert by_pseudonym.body == there.body


async def test_one_of_several_names_and_the_absence_of_one_are_found(collected: World) -> None:
    client = await collected.client("manager")
    await collect(client, await collected.project_id("CANAL"), "C-3", None)
    several = {"collector": {"in": ["ANA RUIS", ASKED]}}
    none = {"collector": {"eq": None}, "siteCode": {"startsWith": "C-"}}

    assert await _sites(client, several) == ["C-1", "C-2"]
    assert await _sites(client, none) == ["C-3"]
    assert await _sites(client, {"collector": {"in": []}}) == []


async def test_measurements_are_counted_by_who_collected_their_records(collected: World) -> None:
    query = "query($record: RecordFilter) { measurementGroups(record: $record) { count } }"

    counts = {
        who: (await (await collected.client(who)).run(query, {"record": BY_NAME["filter"]})).data
        for who in ("owner", "manager", "viewer")
    }

    assert [counts[who]["measurementGroups"][0]["count"] for who in ("owner", "manager", "viewer")] == [2, 1, 0]


async def test_what_is_searched_for_reaches_no_statement_and_no_parameter(collected: World, sent: list[str]) -> None:
    client = await collected.client("manager")
    await client.run(FIND, BY_NAME)
    sent.clear()

    answer = await client.run(FIND, BY_NAME)

    assert answer.data["records"]["totalCount"] == 1
    told = "\n".join(sent).casefold()
    assert "collector_index" in told
    assert "ruiz" not in told
    assert b"ruiz".hex() not in told


async def test_a_search_costs_no_statement_more_where_the_key_is_in_memory(collected: World) -> None:
    plain = await collected.inside("manager", FIND, {"filter": {"siteCode": {"eq": "C-1"}}})
    searched = await collected.inside("manager", FIND, BY_NAME)

    assert searched.reader.statements == plain.reader.statements


@pytest.mark.parametrize(
    ("operator", "value", "path"),
    [
        ("eq", "x" * 201, ["filter", "collector", "eq"]),
        ("eq", "  ", ["filter", "collector", "eq"]),
        ("in", ["Ana", "y" * 201], ["filter", "collector", "in", "1"]),
    ],
)
@pytest.mark.parametrize("who", ["manager", "viewer"])
async def test_what_a_name_cannot_be_is_refused_with_its_path(
    world: World, who: str, operator: str, value: Any, path: list[str]
) -> None:
    answer = await (await world.client(who)).run(FIND, {"filter": {"collector": {operator: value}}})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path
    assert "xxx" not in answer.text
    assert "yyy" not in answer.text


async def test_there_is_no_beginning_and_no_order_of_a_name(world: World) -> None:
    client = await world.client("owner")

    begun = await client.run('{ records(filter: {collector: {startsWith: "A"}}) { totalCount } }')
    ordered = await client.run("{ records(orderBy: {field: COLLECTOR}) { totalCount } }")

    assert begun.codes == ["INVALID_INPUT"]
    assert ordered.codes == ["INVALID_INPUT"]


# -- serial numbers


@pytest.mark.parametrize(
    ("who", "models"),
    [
        ("owner", ["theirs"]),
        ("admin", ["theirs"]),
        ("auditor", ["theirs"]),
        ("viewer", ["theirs"]),
        ("manager", []),
        ("collector", []),
        ("other-owner", ["elsewhere"]),
    ],
)
async def test_a_device_is_found_by_its_serial_number_where_that_may_be_read(
    world: World, who: str, models: list[str]
) -> None:
    await register(world, "admin", "viewer", SERIAL, model="theirs")
    await register(world, "admin", "manager", "SN 77-c", model="another")
    await register(world, "other-owner", "other-owner", SERIAL, model="elsewhere")
    since = await world.now()

    answer = await (await world.client(who)).run(DEVICES, {"filter": {"serialNumber": {"eq": "sn77-B"}}})

    assert answer.data["devices"] == {"totalCount": len(models), "nodes": [{"model": one} for one in models]}
    # One's own serial number everybody may read.
    assert await reads(world, since) == [("device", "serial_number", len(models))]


async def test_a_program_without_the_reading_of_serial_numbers_finds_none(world: World) -> None:
    await register(world, "admin", "viewer", SERIAL)
    by_serial = {"filter": {"serialNumber": {"eq": SERIAL}}}
    without = await make_program(world, [P.DEVICE_READ])
    reading = await make_program(world, [P.DEVICE_READ, P.DEVICE_READ_CONFIDENTIAL])
    since = await world.now()

    assert (await without.client.run(DEVICES, by_serial)).data["devices"]["totalCount"] == 0
    assert await reads(world, since) == []
    assert (await reading.client.run(DEVICES, by_serial)).data["devices"]["totalCount"] == 1


async def test_an_organization_has_a_serial_number_once_however_it_is_written(world: World) -> None:
    await register(world, "admin", "viewer", SERIAL)
    await register(world, "other-owner", "other-owner", SERIAL)
    since = await world.now()

    for written in (SERIAL, "sn77-B", " ＳＮ 77-b"):
        errors = await refusals(
            await world.client("owner"), "registerDevice", await device_input(world, "manager", written)
        )
        assert errors == [
            {
                "code": "CONFLICT",
                "message": "Another device has this serial number.",
                "field": ["input", "serialNumber"],
                "permission": None,
            }
        ]

    attempts = await world.entries(since=since, kinds=["ATTEMPT"])
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in attempts] == [
        ("ATTEMPT", "FAILED", "CONFLICT")
    ] * 3


async def test_devices_without_a_serial_number_are_not_alike(world: World) -> None:
    for serial in (None, None, "", ""):
        await register(world, "admin", "viewer", serial)


async def test_the_same_device_registered_again_is_the_one_there_is(world: World) -> None:
    id_ = "Device:0195515a-0000-7000-8000-00000000d0d0"

    assert [await register(world, "admin", "viewer", SERIAL, id=id_) for _ in range(2)] == [id_] * 2


async def test_who_may_not_read_serial_numbers_can_not_try_them(world: World) -> None:
    await person_with(world, "member", [P.DEVICE_REGISTER, P.DEVICE_READ, P.MEMBERSHIP_READ], level="ORGANIZATION")
    client = await world.client("member")
    await register(world, "admin", "viewer", SERIAL)
    since = await world.now()

    # One's own device would be readable; whose serial numbers are taken is of all devices.
    tried = [
        await refusals(client, "registerDevice", await device_input(world, whose, serial))
        for whose in ("viewer", "member")
        for serial in (SERIAL, "SN-free")
    ]

    assert all(one == tried[0] for one in tried)
    assert [(one["code"], one["permission"]) for one in tried[0]] == [("FORBIDDEN", "device:read_confidential")]
    attempts = await world.entries(since=since, kinds=["ATTEMPT"])
    assert [(one["kind"], one["outcome"]) for one in attempts] == [("ATTEMPT", "DENIED")] * 4
    assert await refusals(client, "registerDevice", await device_input(world, "member", None)) == []


# -- indexes


async def test_indexes_of_the_same_text_join_nowhere(world: World) -> None:
    for owner, code in (("owner", "CANAL"), ("other-owner", "LAKES")):
        await collect(await world.client(owner), await world.project_id(code), "J-1", "twin")
        await register(world, owner, owner, "twin")

    indexes = await world.sql(
        "select collector_index as i from record where site_code = 'J-1'"
        " union all select serial_index from device where model = 'CR1000'"
    )
    joined = await world.value(
        "select count(*) from record r join device d"
        " on r.collector_index in (d.serial_index, d.creation_digest) or r.collector_pseudonym = d.serial_index"
    )
    across = await world.value(
        "select count(*) from record a join record b on a.collector_index = b.collector_index"
        " where a.organization_id <> b.organization_id"
    )

    assert len({row["i"] for row in indexes}) == len(indexes) == 4
    assert all(len(row["i"]) == 16 for row in indexes)
    assert (joined, across) == (0, 0)


async def test_rows_are_found_after_the_keys_of_values_were_replaced(collected: World) -> None:
    keyring, store = collected.services.keyring, collected.services.keyring._store
    organization = await collected.organization_id("clearwater")
    await register(collected, "admin", "viewer", SERIAL)
    index = await collected.value("select collector_index from record where site_code = 'C-1'")
    owners = [organization_owner(organization), subject_owner(organization, index)]
    before = {row.owner: row.id for row in await store.current(owners)}

    await store.retire(before.values())
    for key_id in before.values():
        keyring.hear_retired(key_id)
    await keyring.load(owners)
    client = await collected.client("owner")
    await collect(client, await collected.project_id("CANAL"), "C-9", NAME)

    after = {row.owner: row.id for row in await store.current(owners)}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert await _sites(client, BY_NAME["filter"]) == ["C-1", "C-9", "P-1"]
    again = await device_input(collected, "manager", SERIAL)
    assert [one["code"] for one in await refusals(client, "registerDevice", again)] == ["CONFLICT"]


async def _sites(client: Client, given: dict[str, Any]) -> list[str]:
    answer = await client.run(FIND, {"filter": given})
    return sorted(node["siteCode"] for node in answer.data["records"]["nodes"])
