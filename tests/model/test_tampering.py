"""A stored value that somebody changed is an error and an entry of the trail, and never text or silently nothing.

What is changed here is a real row's value, past the service, as the superuser with the triggers off. That a value is
set to null, or one is put back that stood in the very place before, is what the trail tells, not the value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any
from uuid import UUID

import orjson
import pytest
import structlog

import fieldward.web.failure
import resolvers.change
import schema.api
import schema.errors
from auth.action import Action
from models.base import new_id
from models.encryption.envelope import Cell, DataKey, KeyOwner, OwnerKind, seal
from models.encryption.keystore import KeyStore
from models.inventory import entity_named
from tests.support.mutation import mutate, prepare
from tests.support.tampering import (
    HEADER,
    Tampering,
    clone_rows,
    every,
    flips,
    others,
    seal_rows,
    store,
    strangers_to,
)
from tests.support.world import Answer, World

PLAIN = "Osprey nest at the weir"
UNTOUCHED = "Nobody touched this one"


@dataclass(frozen=True, slots=True)
class Case:
    """A column, a query that shows it as `shown`, the list that it is in, and what marks the rows."""

    column: tuple[str, str]
    query: str
    path: tuple[str, ...]
    row: str
    instead: str = "'{}'::jsonb"


def _records(field: str) -> Case:
    return Case(
        column=("record", field),
        query='{ records(first: 1000, filter: {siteCode: {eq: "TAMPERED"}})'
        f" {{ nodes {{ id shown: {field} }} }} }}",
        path=("records", "nodes"),
        row="select id from record where site_code = 'CANAL-07'",
        instead='\'{"site_code": "TAMPERED"}\'::jsonb',
    )


CASES = {
    "record.comment": _records("comment"),
    "record.collector": _records("collector"),
    "record.reviewer": _records("reviewer"),
    "membership.name": Case(
        column=("membership", "name"),
        query="{ users(first: 1000) { nodes { id shown: name } } }",
        path=("users", "nodes"),
        row="select m.id from membership m join organization o on o.id = m.organization_id"
        " where o.slug = 'clearwater' and m.role = 'MEMBER' limit 1",
        instead="jsonb_build_object('user_id', gen_random_uuid())",
    ),
    "device.serial_number": Case(
        column=("device", "serial_number"),
        query="{ devices(first: 1000) { nodes { id shown: serialNumber } } }",
        path=("devices", "nodes"),
        row="select d.id from device d join organization o on o.id = d.organization_id"
        " where o.slug = 'clearwater' limit 1",
        instead="'{\"serial_index\": null}'::jsonb",
    ),
    "audit_entry.reason": Case(
        column=("audit_entry", "reason"),
        query='{ auditEntries(first: 1000, filter: {action: {eq: "tampered"}}) { nodes { id shown: reason } } }',
        path=("auditEntries", "nodes"),
        row="select e.id from audit_entry e join organization o on o.id = e.organization_id"
        " where o.slug = 'clearwater' and e.user_id is not null limit 1",
        instead="jsonb_build_object('action', 'tampered', 'transaction_id', (random() * 1e15)::bigint)",
    ),
}


@pytest.fixture
def log(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """What was logged and printed since it was last asked for."""
    # The loggers write to where the errors went when the run began, which no test sees.
    written, configured = StringIO(), structlog.get_config()
    structlog.configure(**{**configured, "logger_factory": structlog.PrintLoggerFactory(written)})
    for module in (schema.errors, schema.api, resolvers.change, fieldward.web.failure):
        monkeypatch.setattr(module, "log", structlog.get_logger().bind())
    structlog.configure(**configured)

    def since() -> str:
        said = "".join((*capfd.readouterr(), caplog.text, written.getvalue()))
        caplog.clear()
        written.truncate(0)
        written.seek(0)
        return said

    return since


def _holds_nothing_of(text: str, *, but: int = 0) -> bool:
    return text.count(PLAIN) == but and PLAIN.encode().hex() not in text and PLAIN[:12] not in text.replace(PLAIN, "")


@pytest.mark.parametrize("name", CASES)
async def test_every_change_of_a_stored_value_is_an_error_and_an_entry(
    world: World, log: Callable[[], str], name: str
) -> None:
    case = CASES[name]
    column = entity_named(case.column[0]).columns[case.column[1]]
    client = await world.client("owner")
    row_id = await world.value(case.row)
    strangers = await strangers_to(world, column, PLAIN)
    length = HEADER + 16 + (32 if getattr(column.field, "pad", False) else 1 + len(PLAIN))
    tamperings = every(length, strangers)
    ids = await clone_rows(world, column, row_id, len(tamperings) + 1, case.instead)
    blobs = await seal_rows(world, column, ids, [*[PLAIN] * len(tamperings), UNTOUCHED])
    assert {len(blob) for blob in blobs} == {length}
    # All of them open as they are.
    before = {node["id"].split(":")[1]: node["shown"] for node in _nodes(await client.run(case.query), case)}
    assert [before[str(one)] for one in ids] == [*[PLAIN] * len(tamperings), UNTOUCHED]

    changed = [tamper(blob) for tamper, blob in zip(tamperings.values(), blobs, strict=False)]
    assert all(now != blob for now, blob in zip(changed, blobs, strict=False))
    await store(world, column, ids[:-1], changed)
    log()
    since = await world.now()
    answer = await client.run(case.query)

    logged = log()
    entries = await world.entries(since=since, kinds=["ATTEMPT", "READ"])
    nodes = answer.body["data"][case.path[0]][case.path[1]]
    place_of = {UUID(node["id"].split(":")[1]): place for place, node in enumerate(nodes)}
    assert _holds_nothing_of(answer.text)
    assert {one: nodes[place_of[one]]["shown"] for one in ids} == {**dict.fromkeys(ids[:-1]), ids[-1]: UNTOUCHED}
    assert sorted(error["path"][2] for error in answer.errors) == sorted(place_of[one] for one in ids[:-1])
    assert {(*error["path"][:2], error["path"][3]) for error in answer.errors} == {(*case.path, "shown")}
    assert set(answer.codes) == {"INTERNAL"}
    _assert_is_told(entries, column.entity, column.name, ids[:-1])
    (read,) = [entry for entry in entries if entry["action"] == Action.FIELD_READ and entry["kind"] == "READ"]
    assert set(ids) & set(read["entity_ids"]) == {ids[-1]}
    assert "TamperedError" in logged
    assert _holds_nothing_of(logged)


async def test_it_is_so_wherever_the_value_is_asked_for(world: World, log: Callable[[], str]) -> None:
    column = entity_named("record").columns["comment"]
    client = await world.client("owner")
    row_id = await world.value("select id from record where site_code = 'CANAL-07'")
    strangers = await strangers_to(world, column, PLAIN)
    (blob,) = await seal_rows(world, column, [row_id], [PLAIN])
    paths = {
        '{ records(filter: {siteCode: {eq: "CANAL-07"}}) { nodes { one: comment two: comment } } }': [
            ["records", "nodes", 0, "one"],
            ["records", "nodes", 0, "two"],
        ],
        '{ records(filter: {siteCode: {eq: "CANAL-07"}}) { edges { node { comment } } nodes { id } } }': [
            ["records", "edges", 0, "node", "comment"]
        ],
        '{ projects(filter: {code: {eq: "CANAL"}}) { nodes'
        ' { records(filter: {siteCode: {eq: "CANAL-07"}}) { nodes { comment } } } } }': [
            ["projects", "nodes", 0, "records", "nodes", 0, "comment"]
        ],
        "query One($id: ID!) { node(id: $id) { ... on Record { ...F } } } fragment F on Record { comment }": [
            ["node", "comment"]
        ],
        "query One($id: ID!) { record(id: $id) { comment @include(if: true) } again: record(id: $id) { comment } }": [
            ["again", "comment"],
            ["record", "comment"],
        ],
    }
    sampled = [*list(flips(len(blob)))[::31], *list(others(strangers))[::5]]

    for name, tamper in sampled:
        await store(world, column, [row_id], [tamper(blob)])
        for query, expected in paths.items():
            since = await world.now()
            answer = await client.run(query, {"id": f"Record:{row_id}"} if "$id" in query else {})

            assert sorted([error["path"] for error in answer.errors], key=str) == expected, (name, query)
            assert set(answer.codes) == {"INTERNAL"}, (name, query)
            assert _holds_nothing_of(answer.text), (name, query)
            _assert_is_told(await world.entries(since=since), "record", "comment", [row_id])
    assert _holds_nothing_of(log())


TRAIL = """
{ auditEntries(first: 1, filter: {action: {eq: "record.update"}}) { nodes {
    changes { operation columns { column after } } } } }
"""


async def _commented(world: World) -> tuple[UUID, int, str]:
    """Have a comment written, and return its record, the change in the trail, and the value as it is stored there."""
    stage = await prepare(world)
    given = {"id": stage.draft, "expectedVersion": 1, "comment": PLAIN}
    assert (await mutate(await world.client("collector"), "updateRecord", given)).data
    record_id = UUID(stage.draft.split(":")[1])
    (change,) = await world.sql(
        "select id, columns ->> 'comment' as pair from change where entity_id = $1 and operation = 'UPDATE'", record_id
    )
    await world.sql("alter table change disable trigger all")
    return record_id, change["id"], orjson.loads(change["pair"])[1]


async def test_every_change_of_a_value_inside_the_trail_is_an_error_and_an_entry(
    world: World, log: Callable[[], str]
) -> None:
    record_id, change_id, stored = await _commented(world)
    strangers = await strangers_to(world, entity_named("record").columns["comment"], PLAIN)
    texts = _changed_texts(stored, every(len(stored) // 2 - 1, strangers))
    await world.sql(
        "insert into change"
        " (organization_id, entry_id, operation, entity, entity_id, project_id, membership_id, columns)"
        " select organization_id, entry_id, 'DELETE', entity, entity_id, project_id, membership_id,"
        " jsonb_build_object('comment', jsonb_build_array(null, n.text)) from change, unnest($2::text[]) n(text)"
        " where id = $1",
        change_id,
        texts,
    )
    client = await world.client("auditor")
    since = await world.now()
    log()

    answer = await client.run(TRAIL)

    changes = answer.body["data"]["auditEntries"]["nodes"][0]["changes"]
    shown = [(place, one["columns"][0]["after"]) for place, one in enumerate(changes) if one["operation"] == "DELETE"]
    assert [text for _, text in shown] == [None] * len(texts)
    assert sorted(error["path"][4] for error in answer.errors) == [place for place, _ in shown]
    assert {tuple(error["path"][5:]) for error in answer.errors} == {("columns", 0, "after")}
    assert set(answer.codes) == {"INTERNAL"}
    # The one that nobody touched is there, once.
    assert _holds_nothing_of(answer.text, but=1)
    _assert_is_told(await world.entries(since=since), "record", "comment", [record_id])
    assert _holds_nothing_of(log())


async def test_each_way_of_changing_the_trail_is_told_by_itself(world: World, log: Callable[[], str]) -> None:
    record_id, change_id, stored = await _commented(world)
    client = await world.client("auditor")

    otherwise = (stored.upper(), stored[2:], f"{stored} ", f"{stored[:4]} {stored[4:]}", f"\\y{stored[2:]}")
    odd: tuple[Any, ...] = (*otherwise, stored[:-1], stored[:-2], "", "\\x", 0, [], {}, False)
    for text in odd:
        await world.sql(
            "update change set columns = jsonb_build_object('comment', jsonb_build_array(null, $2::text::jsonb))"
            " where id = $1",
            change_id,
            orjson.dumps(text).decode(),
        )
        since = await world.now()
        answer = await client.run(TRAIL)

        assert [error["path"][4:] for error in answer.errors] == [[0, "columns", 0, "after"]], text
        assert answer.codes == ["INTERNAL"]
        assert _holds_nothing_of(answer.text)
        _assert_is_told(await world.entries(since=since), "record", "comment", [record_id])
    assert _holds_nothing_of(log())


async def test_a_change_that_shows_a_changed_value_is_made_and_tells_of_it(
    world: World, log: Callable[[], str]
) -> None:
    stage = await prepare(world)
    column = entity_named("record").columns["comment"]
    record_id = UUID(stage.draft.split(":")[1])
    client = await world.client("collector")
    (blob,) = await seal_rows(world, column, [record_id], [PLAIN])
    sampled = list(every(len(blob), await strangers_to(world, column, PLAIN)).values())[::23]

    for version, tamper in enumerate(sampled, start=1):
        await store(world, column, [record_id], [tamper(blob)])
        since = await world.now()
        given = {"id": stage.draft, "expectedVersion": version, "siteCode": f"W-{version}"}
        answer = await mutate(client, "updateRecord", given, "record { version siteCode comment }")

        assert answer.body["data"]["updateRecord"]["record"] == {
            "version": version + 1,
            "siteCode": f"W-{version}",
            "comment": None,
        }
        assert [(error["path"], error["extensions"]["code"]) for error in answer.errors] == [
            (["updateRecord", "record", "comment"], "INTERNAL")
        ]
        assert _holds_nothing_of(answer.text)
        _assert_is_told(await world.entries(since=since, kinds=["ATTEMPT"]), "record", "comment", [record_id])
        # What was found is what stays: nothing is sealed anew from it.
        assert await world.value("select comment from record where id = $1", record_id) == tamper(blob)
    assert _holds_nothing_of(log())


@pytest.mark.parametrize("name", ["approveRecord", "rejectRecord"])
async def test_a_change_that_would_be_made_from_a_changed_value_is_not_made(
    world: World, log: Callable[[], str], name: str
) -> None:
    stage = await prepare(world)
    column = entity_named("membership").columns["name"]
    member_id, client = await world.member_id("reviewer"), await world.client("reviewer")
    record_id = UUID(stage.submitted.split(":")[1])
    (blob,) = await seal_rows(world, column, [member_id], [PLAIN])
    sampled = list(every(len(blob), await strangers_to(world, column, PLAIN)).values())[::17]
    before = await world.fingerprint()
    first = await world.now()

    for tamper in sampled:
        await store(world, column, [member_id], [tamper(blob)])
        given = {"id": stage.submitted, "expectedVersion": 2, "reason": "As agreed."}
        answer = await mutate(client, name, given, "record { reviewer }")

        assert (answer.body["data"], answer.codes) == ({name: None}, ["INTERNAL"])
        assert _holds_nothing_of(answer.text)
    await store(world, column, [member_id], [blob])

    assert await world.fingerprint() == before
    tried = await world.entries(since=first)
    action = {"approveRecord": "record.approve", "rejectRecord": "record.reject"}[name]
    assert {(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in tried} == {
        ("ATTEMPT", action, "FAILED", "INTERNAL")
    }
    assert all(one["entity_ids"] == [record_id] for one in tried)
    assert _holds_nothing_of(log())


async def test_a_value_whose_key_was_changed_in_the_keystore_costs_no_other_its_place(
    world: World, log: Callable[[], str]
) -> None:
    organization_id = await world.organization_id("clearwater")
    column = entity_named("record").columns["comment"]
    row_ids = [
        row["id"]
        for row in await world.sql(
            "select id from record where organization_id = $1 and comment is not null order by id limit 4",
            organization_id,
        )
    ]
    await seal_rows(world, column, row_ids[3:], [UNTOUCHED])
    keyring, store_of_keys, blobs = world.services.keyring, KeyStore(), []
    for row_id, changed in zip(row_ids, (b"", bytes(69), None), strict=False):
        owner = KeyOwner(OwnerKind.SUBJECT, new_id(), within=organization_id)
        made = await keyring.new_key(owner)
        assert made.wrapped is not None
        # The last is wrapped for another id.
        wrapped = (await keyring.new_key(owner)).wrapped if changed is None else changed
        await store_of_keys.add([replace(made, wrapped=wrapped)])
        blobs.append(
            seal(DataKey(made.id, owner, bytes(32)), Cell(organization_id, "record", "comment", row_id), PLAIN)
        )
    await store(world, column, row_ids[:3], blobs)
    client = await world.client("owner")
    log()

    for query in (
        "{ records(first: 1000) { nodes { id comment } } }",
        "{ records(first: 1000) { nodes { id ... @include(if: true) { comment } } } }",
    ):
        since = await world.now()
        answer = await client.run(query)

        nodes = {UUID(node["id"].split(":")[1]): node for node in answer.body["data"]["records"]["nodes"]}
        assert [nodes[one]["comment"] for one in row_ids] == [None, None, None, UNTOUCHED]
        assert {answer.body["data"]["records"]["nodes"][error["path"][2]]["id"] for error in answer.errors} == {
            f"Record:{one}" for one in row_ids[:3]
        }
        assert answer.codes == ["INTERNAL"] * 3
        assert sum(node["comment"] is not None for node in nodes.values()) > 1
        _assert_is_told(await world.entries(since=since), "record", "comment", row_ids[:3])
    for one in row_ids[:3]:
        since = await world.now()
        answer = await client.run("query One($id: ID!) { record(id: $id) { comment } }", {"id": f"Record:{one}"})

        assert answer.body["data"] == {"record": {"comment": None}}
        assert answer.codes == ["INTERNAL"]
        _assert_is_told(await world.entries(since=since), "record", "comment", [one])
    assert _holds_nothing_of(log())


def _nodes(answer: Answer, case: Case) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = answer.data[case.path[0]][case.path[1]]
    return nodes


def _assert_is_told(entries: Sequence[Any], entity: str, field: str, ids: Sequence[UUID]) -> None:
    (told,) = [entry for entry in entries if entry["kind"] == "ATTEMPT"]
    assert (told["action"], told["outcome"], told["error_code"]) == ("field.read", "FAILED", "INTERNAL")
    assert (told["entity"], told["field"]) == (entity, field)
    assert sorted(told["entity_ids"]) == sorted(ids)


def _changed_texts(stored: str, tamperings: dict[str, Tampering]) -> list[str]:
    """Return what may stand in the trail instead: other bytes, and the bytes written otherwise."""
    blob = bytes.fromhex(stored[2:])
    texts = [f"\\x{tamper(blob).hex()}" for tamper in tamperings.values()]
    # Character by character, too: what is no hexadecimal is no silent nothing.
    texts += [stored[:at] + chr(ord(stored[at]) ^ 1 << at % 5) + stored[at + 1 :] for at in range(len(stored))]
    texts += [stored[:at] for at in range(1, len(stored), 2)]
    texts += [f"{stored} ", stored.upper(), stored[2:], f"\\\\x{stored[2:]}", "", "\\x", PLAIN[:1], f"{stored}0"]
    return [text for text in texts if text != stored and "\0" not in text]
