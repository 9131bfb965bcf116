"""What the guard of a field lets through, to whom, and what stays when it does not."""

from uuid import UUID

import pytest

from models.base import new_id
from models.encryption.envelope import Cell, DataKey, KeyOwner, OwnerKind, seal
from models.encryption.keystore import KeyStore, StoredKey
from tests.support.world import World

COMMENT = "Gate unlocked on arrival; owner asked us to call before the next visit."
COLLECTOR = "Cleo Cole"
RECORDS = """
{ records(filter: {siteCode: {eq: "CANAL-07"}}) { nodes { id siteCode collector comment } } }
"""


async def test_a_viewer_reads_a_comment_as_null_with_one_error_that_names_the_path(world: World) -> None:
    client = await world.client("viewer")

    answer = await client.run("{ records(first: 40) { nodes { siteCode comment } } }")

    nodes = answer.body["data"]["records"]["nodes"]
    assert len(nodes) == 40
    assert all(node["comment"] is None and node["siteCode"] for node in nodes)
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["path"] == ["records", "nodes", 0, "comment"]
    assert answer.errors[0]["extensions"]["permission"] == "record:read_confidential"


async def test_the_stored_bytes_hold_no_part_of_the_plain_text(world: World) -> None:
    rows = await world.sql("select comment, collector from record where site_code = 'CANAL-07'")

    for stored, plain in ((rows[0]["comment"], COMMENT), (rows[0]["collector"], COLLECTOR)):
        text = plain.encode()
        for start in range(len(text) - 3):
            assert text[start : start + 4] not in stored


async def test_no_part_of_the_plain_text_is_in_any_table(world: World) -> None:
    tables = await world.sql("select tablename from pg_tables where schemaname = 'public'")

    for table in tables:
        dump = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        for plain in ("Gate unlocked", "next visit", "Mara Mann", "manager@clearwater"):
            assert plain not in dump
            assert plain.encode().hex() not in dump


async def test_a_manager_reads_it_and_the_read_is_in_the_audit(world: World) -> None:
    client = await world.client("manager")
    since = await world.now()

    answer = await client.run(RECORDS)

    node = answer.data["records"]["nodes"][0]
    assert node["comment"] == COMMENT
    reads = await world.entries(since=since, kinds=["READ"])
    assert {(entry["entity"], entry["field"]) for entry in reads} == {("record", "comment"), ("record", "collector")}
    for entry in reads:
        assert [f"Record:{one}" for one in entry["entity_ids"]] == [node["id"]]
        assert entry["membership_id"] == await world.member_id("manager")


async def test_what_is_not_asked_for_is_neither_opened_nor_logged(world: World) -> None:
    client = await world.client("manager")
    since = await world.now()

    answer = await client.run("{ records { nodes { siteCode } } }")

    assert answer.data["records"]["nodes"]
    assert await world.entries(since=since, kinds=["READ"]) == []


@pytest.mark.parametrize(
    ("principal", "collector", "comment"),
    [
        ("owner", COLLECTOR, COMMENT),
        ("admin", COLLECTOR, COMMENT),
        ("auditor", COLLECTOR, COMMENT),
        ("manager", COLLECTOR, COMMENT),
        ("reviewer", COLLECTOR, COMMENT),
        ("collector", COLLECTOR, COMMENT),
        ("viewer", None, None),
    ],
)
async def test_each_role_reads_what_its_permissions_say(
    world: World, principal: str, collector: str | None, comment: str | None
) -> None:
    client = await world.client(principal)

    answer = await client.run(RECORDS)

    node = answer.body["data"]["records"]["nodes"][0]
    assert node["comment"] == comment
    assert node["collector"] == collector or (collector is None and node["collector"].startswith("person-"))
    assert bool(answer.errors) == (comment is None)
    if comment is None:
        assert COMMENT not in answer.text
        assert COLLECTOR not in answer.text


async def test_a_pseudonym_is_equal_for_the_same_person_and_stands_beside_no_id_of_theirs(world: World) -> None:
    client = await world.client("viewer")

    answer = await client.run("{ records(first: 100) { nodes { collector createdBy { id } } } }")

    nodes = answer.data["records"]["nodes"]
    assert 1 < len({node["collector"] for node in nodes}) < len(nodes)
    assert all(node["createdBy"] is None for node in nodes)


async def test_a_member_without_projects_sees_none(world: World) -> None:
    client = await world.client("member")

    answer = await client.run(
        "{ projects { nodes { id } totalCount } records { nodes { id } totalCount } devices { nodes { id } }"
        " users { nodes { name } } auditEntries { nodes { id } totalCount } }"
    )

    assert answer.data == {
        "projects": {"nodes": [], "totalCount": 0},
        "records": {"nodes": [], "totalCount": 0},
        "devices": {"nodes": []},
        "users": {"nodes": [{"name": "Mina Moss"}]},
        "auditEntries": {"nodes": [], "totalCount": 0},
    }


async def test_if_the_read_log_cannot_be_written_nothing_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.client("manager")
    await world.sql("revoke insert on audit_entry from fieldward_service")
    try:
        answer = await client.run(RECORDS)
    finally:
        await world.sql("grant insert on audit_entry to fieldward_service")

    assert answer.body["data"] is None
    assert answer.codes == ["INTERNAL"]
    assert COMMENT not in answer.text


async def test_a_value_from_another_row_opens_as_an_error_and_never_as_text(world: World) -> None:
    client = await world.client("manager")
    await world.sql("alter table record disable trigger all;")
    await world.sql(
        "update record set comment = (select comment from record where site_code = 'CANAL-07')"
        " where id = (select id from record where comment is not null and site_code <> 'CANAL-07'"
        " and organization_id = $1 and project_id = $2 limit 1)",
        await world.organization_id("clearwater"),
        await world.project_id("CANAL"),
    )

    answer = await client.run("{ records(first: 1000) { nodes { siteCode comment } } }")

    assert answer.codes == ["INTERNAL"]
    assert answer.text.count(COMMENT) == 1


async def _seal_under_a_key_of_nobody(world: World) -> tuple[KeyOwner, UUID]:
    """Put a comment in the place of one, sealed under a key that no keystore has; return whose it is, and its row."""
    organization_id = await world.organization_id("clearwater")
    row_id = await world.value("select id from record where site_code = 'CANAL-07'")
    owner = KeyOwner(OwnerKind.SUBJECT, new_id(), within=organization_id)
    key = DataKey(new_id(), owner, bytes(32))
    gone = seal(key, Cell(organization_id, "record", "comment", row_id), COMMENT)
    await world.sql("alter table record disable trigger all")
    await world.sql("update record set comment = $1 where id = $2", gone, row_id)
    await KeyStore().add([StoredKey(key.id, owner, "file", "0123", bytes(60))])
    return owner, row_id


async def test_a_value_whose_key_was_destroyed_is_null_and_was_not_read(world: World) -> None:
    client = await world.client("manager")
    owner, row_id = await _seal_under_a_key_of_nobody(world)
    await KeyStore().destroy([one.id for one in await KeyStore().keys_of([owner])])
    since = await world.now()

    answer = await client.run("{ records(first: 1000) { nodes { id comment } } }")

    nodes = answer.data["records"]["nodes"]
    assert [node["comment"] for node in nodes if node["id"] == f"Record:{row_id}"] == [None]
    (entry,) = await world.entries(since=since, kinds=["READ"])
    assert [f"Record:{one}" for one in entry["entity_ids"]] == [node["id"] for node in nodes if node["comment"]]
    assert len(entry["entity_ids"]) > 2


async def test_a_value_whose_key_never_was_is_an_error_and_an_entry(world: World) -> None:
    client = await world.client("manager")
    organization_id = await world.organization_id("clearwater")
    row_id = await world.value("select id from record where site_code = 'CANAL-07'")
    key = DataKey(new_id(), KeyOwner(OwnerKind.ORGANIZATION, organization_id), bytes(32))
    strange = seal(key, Cell(organization_id, "record", "comment", row_id), COMMENT)
    await world.sql("alter table record disable trigger all")
    await world.sql("update record set comment = $1 where id = $2", strange, row_id)

    for query, variables in (
        ("{ records(first: 1000) { nodes { comment } } }", {}),
        ("query One($id: ID!) { node(id: $id) { ... on Record { again: comment } } }", {"id": f"Record:{row_id}"}),
    ):
        since = await world.now()
        answer = await client.run(query, variables)

        assert answer.codes == ["INTERNAL"]
        assert COMMENT not in answer.text
        (entry,) = await world.entries(since=since)
        assert (entry["kind"], entry["action"], entry["outcome"]) == ("ATTEMPT", "field.read", "FAILED")
        assert (entry["entity"], entry["field"], entry["entity_ids"]) == ("record", "comment", [row_id])


async def test_a_row_that_is_shown_in_two_places_is_in_the_read_log_once(world: World) -> None:
    client = await world.client("manager")
    since = await world.now()

    answer = await client.run(
        "{ records(first: 9) { nodes { id comment again: comment } edges { node { comment } } } }"
    )

    (entry,) = await world.entries(since=since, kinds=["READ"])
    shown = [node["id"] for node in answer.data["records"]["nodes"] if node["comment"]]
    assert [f"Record:{one}" for one in entry["entity_ids"]] == shown
