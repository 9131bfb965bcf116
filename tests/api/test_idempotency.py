"""A mutation that is sent again with its `Idempotency-Key` is done once, and answers what its viewer may read now."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from models.errors import InvalidInputError
from models.transaction import Tenant, raw_write_transaction
from resolvers.idempotency import LIFETIME, LONGEST_KEY, forget_keys, key_of
from schema.api import build_api
from schema.mutation import mutation_of
from tests.api.test_mutation_audit import CASES, prepared
from tests.support.mutation import Stage, mutate, prepare, takes
from tests.support.world import Answer, Client, World, json_body

CORE = build_api()._schema
CREATE = """
mutation Create($input: CreateRecordInput!) {
  createRecord(input: $input) { record { id siteCode comment } errors { code message detail } } }
"""
TWO = """
mutation Two($one: CreateRecordInput!, $other: UpdateRecordInput!) {
  one: createRecord(input: $one) { record { id version } errors { code detail } }
  other: updateRecord(input: $other) { record { id version } errors { code detail } } }
"""
ISSUE = """
mutation Make($input: CreateServiceAccountInput!) {
  createServiceAccount(input: $input) { token serviceAccount { id name } errors { code detail } } }
"""
REPLAYED = "idempotency-replayed"


async def send(client: Client, query: str, variables: dict[str, Any], key: str, name: str | None = None) -> Answer:
    body = {"query": query, "variables": variables, **({"operationName": name} if name else {})}
    return await client.post(json_body(body), **{"idempotency-key": key})


def text_of(name: str) -> str:
    """Return an operation with the mutation that selects every leaf of its payload, and the ids of rows."""
    assert CORE.mutation_type is not None
    field = CORE.mutation_type.fields[name]
    declared = f"($input: {field.args['input'].type})" if field.args else ""
    passed = "(input: $input)" if field.args else ""
    payload: Any = field.type
    shown = [
        f"{one} {{ id }}" if hasattr(getattr(kind.type, "of_type", kind.type), "fields") else one
        for one, kind in payload.fields.items()
        if one != "errors"
    ]
    return f"mutation Again{declared} {{ {name}{passed} {{ {' '.join(shown)} errors {{ code message }} }} }}"


def input_of(name: str, given: dict[str, Any], client: Client) -> dict[str, Any]:
    """Return an input with what a signature takes besides, where it is one."""
    assert CORE.mutation_type is not None
    said = mutation_of(CORE.mutation_type.fields[name])
    password = {"password": client.password} if said is not None and said.signs else {}
    return {**({"meaning": "APPROVAL"} if takes(name, "meaning") else {}), **password, **given}


def new_record(stage: Stage, **more: Any) -> dict[str, Any]:
    return {
        "input": {
            "projectId": stage.project,
            "siteCode": "W-9",
            "latitude": 45.0,
            "longitude": 15.0,
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
            **more,
        }
    }


@pytest.mark.parametrize("name", CASES)
async def test_a_mutation_that_is_sent_again_does_nothing_and_answers_the_same(world: World, name: str) -> None:
    who, given, _, _, _ = CASES[name]
    client, stage = await world.client(who), await prepared(world, name)
    variables, key = {"input": input_of(name, given(stage), client)}, str(uuid4())
    since = await world.now()

    first = await send(client, text_of(name), variables, key)
    assert first.data[name]["errors"] == []
    assert REPLAYED not in first.headers
    before = await world.fingerprint()
    again = await send(client, text_of(name), variables, key)

    assert again.headers[REPLAYED] == "true"
    secrets = {error["path"][-1] for error in again.errors}
    assert again.body["data"][name] == {
        one: None if one in secrets else value for one, value in first.data[name].items()
    }
    assert {error["extensions"]["detail"] for error in again.errors} <= {"SHOWN_ONCE"}
    assert all(first.data[name][one] is not None for one in secrets)
    assert not any(str(first.data[name][one]) in again.text for one in secrets)
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [one["kind"] for one in entries if one["kind"] != "READ"] == ["CHANGE"]


def test_what_takes_no_key_proves_who_somebody_is() -> None:
    assert CORE.mutation_type is not None
    said = {name: mutation_of(field) for name, field in CORE.mutation_type.fields.items()}

    assert {name for name, one in said.items() if one is not None and one.notes_itself} == {
        *("signIn", "completeSignIn", "beginPasskeySignIn", "signInWithPasskey", "refreshSession", "reauthenticate"),
        *("enrolDevice", "acceptInvitation", "changePassword", "requestPasswordReset", "resetPassword"),
        "confirmErasureByLink",
    }


async def test_what_takes_no_key_says_so_and_does_nothing(world: World) -> None:
    text = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken errors { code message } } }"
    sessions = await world.value("select count(*) from session")

    answer = await send(world.anonymous, text, {"input": world.credentials("owner")}, "a")

    assert answer.data["signIn"]["accessToken"] is None
    assert [one["code"] for one in answer.data["signIn"]["errors"]] == ["INVALID_INPUT"]
    assert "takes no Idempotency-Key" in answer.data["signIn"]["errors"][0]["message"]
    assert await world.value("select count(*) from session") == sessions


async def test_a_secret_that_was_shown_once_is_not_shown_again_and_kept_nowhere(world: World) -> None:
    admin = await world.client("admin")
    soon = (await world.now() + timedelta(days=2)).isoformat()
    given = {"name": "Pull", "permissions": ["PROJECT_READ"], "expiresAt": soon, "reason": "Reports."}

    first = await send(admin, ISSUE, {"input": given}, "pull-1")
    again = await send(admin, ISSUE, {"input": given}, "pull-1")

    token = first.data["createServiceAccount"]["token"]
    assert again.body["data"]["createServiceAccount"]["token"] is None
    assert again.body["data"]["createServiceAccount"]["errors"] == []
    account = first.data["createServiceAccount"]["serviceAccount"]
    assert again.body["data"]["createServiceAccount"]["serviceAccount"] == account
    assert [(one["path"], one["extensions"]["code"], one["extensions"]["detail"]) for one in again.errors] == [
        (["createServiceAccount", "token"], "CONFLICT", "SHOWN_ONCE")
    ]
    kept = await world.value("select string_agg(k::text, '') from idempotency_key k")
    assert token not in kept
    assert token[-12:] not in kept
    assert "pull-1" not in kept
    assert "Pull" not in kept


async def test_the_answer_is_what_its_viewer_may_read_now(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    variables = new_record(stage, comment="Smells of chlorine.")
    first = await send(collector, CREATE, variables, "k")
    made = first.data["createRecord"]["record"]
    assert made["comment"] == "Smells of chlorine."
    renamed = await mutate(collector, "updateRecord", {"id": made["id"], "expectedVersion": 1, "siteCode": "W-10"})
    assert renamed.data["updateRecord"]["errors"] == []

    again = await send(collector, CREATE, variables, "k")

    assert again.data["createRecord"]["record"] == {**made, "siteCode": "W-10"}

    gone = {"userId": f"User:{await world.member_id('collector')}", "projectId": stage.project, "reason": "Moved on."}
    removed = await mutate(await world.client("manager"), "removeProjectRole", gone)
    assert removed.data["removeProjectRole"]["errors"] == []
    unseen = await send(collector, CREATE, variables, "k")

    assert unseen.data["createRecord"] == {"record": None, "errors": []}
    assert "chlorine" not in unseen.text


async def test_a_key_that_comes_with_anything_else_is_a_conflict_and_does_nothing(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    await send(collector, CREATE, new_record(stage), "k")
    since, count = await world.now(), await world.value("select count(*) from record")

    other = await send(collector, CREATE, new_record(stage, siteCode="W-10"), "k")
    otherwise = await send(collector, CREATE.replace("siteCode ", ""), new_record(stage), "k")

    for answer in (other, otherwise):
        (error,) = answer.data["createRecord"]["errors"]
        assert (error["code"], error["detail"]) == ("CONFLICT", "IDEMPOTENCY_KEY_REUSED")
        assert answer.data["createRecord"]["record"] is None
    assert await world.value("select count(*) from record") == count
    noted = await world.entries(since=since)
    assert [(one["outcome"], one["error_code"]) for one in noted] == [("FAILED", "IDEMPOTENCY_KEY_REUSED")] * 2


async def test_the_order_in_which_variables_are_written_does_not_count(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    variables = new_record(stage)
    await send(collector, CREATE, variables, "k")

    turned = {"input": dict(reversed(variables["input"].items()))}

    assert (await send(collector, CREATE, turned, "k")).headers[REPLAYED] == "true"


async def test_a_key_is_of_who_sent_it_and_nobody_else(world: World) -> None:
    stage = await prepare(world)
    made = set()
    for who in ("collector", "manager", "owner"):
        answer = await send(await world.client(who), CREATE, new_record(stage), "k")
        made.add(answer.data["createRecord"]["record"]["id"])
        assert REPLAYED not in answer.headers
    project = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code } } }"
    other = await send(await world.client("other-owner"), project, {"i": {"code": "K", "name": "K"}}, "k")

    assert len(made) == 3
    assert other.data["createProject"]["errors"] == []
    assert REPLAYED not in other.headers


async def test_what_was_refused_leaves_the_key_free(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)

    refused = await send(collector, CREATE, new_record(stage, latitude=91.0), "k")
    mended = await send(collector, CREATE, new_record(stage), "k")

    assert "errors" in refused.body or refused.data["createRecord"]["errors"]
    assert mended.data["createRecord"]["errors"] == []
    assert await world.value("select count(*) from idempotency_key") == 1


async def test_of_many_that_are_sent_at_once_one_is_done(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    count = await world.value("select count(*) from record")

    answers = await asyncio.gather(*(send(collector, CREATE, new_record(stage), "k") for _ in range(12)))

    ids = {one.data["createRecord"]["record"]["id"] for one in answers if one.data["createRecord"]["record"]}
    assert len(ids) == 1
    assert await world.value("select count(*) from record") == count + 1
    refused = [one.data["createRecord"]["errors"][0] for one in answers if one.data["createRecord"]["errors"]]
    assert {(one["code"], one["detail"]) for one in refused} <= {("CONFLICT", "IDEMPOTENCY_KEY_IN_USE")}
    assert (await send(collector, CREATE, new_record(stage), "k")).data["createRecord"]["record"]["id"] in ids


async def test_of_two_mutations_of_one_operation_the_one_that_is_left_is_done(world: World) -> None:
    """As if the process had ended between the two: what was done stays done, and the rest is done once."""
    collector, stage = await world.client("collector"), await prepare(world)
    count = await world.value("select count(*) from record")
    change = {"id": stage.draft, "expectedVersion": 2, "comment": "Third thoughts."}
    variables = {"one": new_record(stage)["input"], "other": change}
    first = await send(collector, TWO, variables, "k")
    assert first.data["one"]["errors"] == []
    assert [one["code"] for one in first.data["other"]["errors"]] == ["CONFLICT"]
    await mutate(collector, "updateRecord", {"id": stage.draft, "expectedVersion": 1, "comment": "Second thoughts."})

    again = await send(collector, TWO, variables, "k")
    third = await send(collector, TWO, variables, "k")

    assert again.data["one"] == first.data["one"]
    assert again.data["other"] == {"record": {"id": stage.draft, "version": 3}, "errors": []}
    assert third.data == again.data
    assert await world.value("select count(*) from record") == count + 1


async def test_a_key_ends_after_a_day_and_is_then_forgotten(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    await send(collector, CREATE, new_record(stage), "k")
    assert await forget_keys() == 0
    await world.sql("update idempotency_key set created_at = created_at - $1::interval", LIFETIME)

    anew = await send(collector, CREATE, new_record(stage, siteCode="W-10"), "k")

    assert anew.data["createRecord"]["errors"] == []
    assert REPLAYED not in anew.headers
    again = await send(collector, CREATE, new_record(stage, siteCode="W-10"), "k")
    assert again.headers[REPLAYED] == "true"
    await world.sql("update idempotency_key set created_at = created_at - $1::interval", LIFETIME)
    assert await forget_keys() == 1
    assert await world.value("select count(*) from idempotency_key") == 0


async def test_a_query_is_asked_as_ever_whatever_key_it_has(world: World) -> None:
    owner = await world.client("owner")

    for _ in range(2):
        answer = await send(owner, "{ viewer { user { name } } }", {}, "k")
        assert answer.data["viewer"]["user"]["name"]
        assert REPLAYED not in answer.headers
    assert await world.value("select count(*) from idempotency_key") == 0


async def test_who_looks_as_another_is_shown_nothing_of_what_was_done(world: World) -> None:
    collector, admin, stage = await world.client("collector"), await world.client("admin"), await prepare(world)
    await send(collector, CREATE, new_record(stage), "k")
    looking = {"fieldward-run-as": f"User:{await world.member_id('collector')}", "idempotency-key": "k"}

    answer = await admin.post(json_body({"query": CREATE, "variables": new_record(stage)}), **looking)

    assert REPLAYED not in answer.headers
    assert "FORBIDDEN" in answer.text or "NOT_FOUND" in answer.text
    assert '"record":{' not in answer.text


async def test_another_tenant_sees_no_key(world: World) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    await send(collector, CREATE, new_record(stage), "k")

    async with raw_write_transaction(Tenant(organization_id=uuid4())) as connection:
        assert await connection.fetchval("select count(*) from idempotency_key") == 0


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (' "a b" ', "a b"),
        ('"say \\"no\\" \\\\"', 'say "no" \\'),
        ("a" * LONGEST_KEY, "a" * LONGEST_KEY),
    ],
)
def test_a_key_comes_with_or_without_quotes(header: str, key: str) -> None:
    assert key_of(header) == key


@pytest.mark.parametrize("header", ["", '""', "a b", "a,b", '"a","b"', '"a', 'a"', "a;b", '"a\tb"', "a" * 256])
async def test_what_is_no_key_is_refused_before_anything_is_done(world: World, header: str) -> None:
    collector, stage = await world.client("collector"), await prepare(world)
    count = await world.value("select count(*) from record")

    answer = await send(collector, CREATE, new_record(stage), header)

    assert answer.status == 400
    assert answer.codes == ["INVALID_INPUT"]
    assert "Idempotency-Key" in answer.errors[0]["message"]
    assert await world.value("select count(*) from record") == count


@pytest.mark.parametrize("header", ["\u00e9", '"\u00e9"', "a\x7f", '"a\\b"', '"a"b"'])
def test_a_key_is_of_visible_characters_of_ascii(header: str) -> None:
    with pytest.raises(InvalidInputError, match="Idempotency-Key"):
        key_of(header)
