"""Every malformed value is refused with the path of its field; nothing half-written, nothing quoted, nothing broken."""

from typing import Any

import pytest

from models.base import new_id
from tests.support.mutation import mutate, prepare
from tests.support.world import World

GOOD: dict[str, Any] = {
    "siteCode": "W-1",
    "collectedAt": "2026-01-02T03:04:05Z",
    "medium": "WATER",
    "measurements": [{"characteristic": "pH", "value": 7.0}],
}
LONG = "x" * 10_000_001

WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a NUL byte": ({"comment": "a\x00b"}, ["comment"]),
    "half a surrogate pair": ({"siteName": "a\ud800b"}, ["siteName"]),
    "NaN": ({"latitude": float("nan")}, ["latitude"]),
    "infinity": ({"latitude": float("inf")}, ["latitude"]),
    "beyond the poles": ({"latitude": 90.5}, ["latitude"]),
    "beyond the date line": ({"longitude": -180.5}, ["longitude"]),
    "a latitude alone": ({"latitude": 51.5}, ["longitude"]),
    "a longitude alone": ({"longitude": 0.0}, ["latitude"]),
    "a date in year 0": ({"collectedAt": "0000-01-01T00:00:00Z"}, ["collectedAt"]),
    "a date long ago": ({"collectedAt": "0214-01-01T00:00:00Z"}, ["collectedAt"]),
    "a date to come": ({"collectedAt": "2199-01-01T00:00:00Z"}, ["collectedAt"]),
    "a time without an offset": ({"collectedAt": "2026-01-01T00:00:00"}, ["collectedAt"]),
    "a time at the end of time": ({"collectedAt": "9999-12-31T23:59:59-12:00"}, ["collectedAt"]),
    "the last moment there is": ({"collectedAt": "9999-12-31T22:59:59.999999-01:00"}, ["collectedAt"]),
    "the first moment there is": ({"collectedAt": "0001-01-01T00:00:00Z"}, ["collectedAt"]),
    "no time": ({"collectedAt": "yesterday"}, ["collectedAt"]),
    "a string of 10 MB": ({"comment": LONG}, ["comment"]),
    "a text too long": ({"siteCode": "x" * 65}, ["siteCode"]),
    "a blank text": ({"siteCode": "  "}, ["siteCode"]),
    "an unknown enum": ({"medium": "FIRE"}, ["medium"]),
    "a wrong type": ({"siteCode": 7}, ["siteCode"]),
    "null where a value is due": ({"siteCode": None}, ["siteCode"]),
    "an unknown field": ({"nope": 1}, ["nope"]),
    "a bad element": (
        {"measurements": [{"characteristic": "pH"}, {"characteristic": "\x00"}]},
        ["measurements", "1", "characteristic"],
    ),
    "a bad number in an element": (
        {"measurements": [{"characteristic": "pH", "value": float("inf")}]},
        ["measurements", "0", "value"],
    ),
    "too many elements": ({"measurements": [{"characteristic": "pH"}] * 501}, ["measurements"]),
    "no id at all": ({"projectId": "nonsense"}, ["projectId"]),
    "the id of something else": ({"projectId": f"Record:{new_id()}"}, ["projectId"]),
    "an id that is no UUIDv7": ({"id": "7b0b3a52-8f0c-4d6e-9f5e-111111111111"}, ["id"]),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_value_is_refused_with_its_path(world: World, name: str) -> None:
    client = await world.client("collector")
    changed, path = WRONG[name]
    given = {"projectId": str(await world.project_id("CANAL")), **GOOD, **changed}
    before = await world.fingerprint()

    answer = await mutate(client, "createRecord", given)

    errors = answer.errors or (answer.body["data"]["createRecord"] or {}).get("errors", [])
    assert [error.get("code") or error["extensions"]["code"] for error in errors] == ["INVALID_INPUT"]
    assert (errors[0].get("field") or errors[0]["extensions"]["field"]) == ["input", *path]
    assert await world.fingerprint() == before
    assert len(answer.text) < 1000


@pytest.mark.parametrize(
    ("literal", "path"),
    [
        ("latitude: 1e400", ["input", "latitude"]),
        ('comment: "a\\u0000b"', ["input", "comment"]),
        ('comment: "a\\ud800b"', None),
        ("medium: FIRE", ["input", "medium"]),
        ('collectedAt: "0000-01-01T00:00:00Z"', ["input", "collectedAt"]),
        ("siteCode: 5", ["input", "siteCode"]),
        ("nope: 5", ["input", "nope"]),
        ('measurements: [{characteristic: "a\\u0000"}]', ["input", "measurements", "0", "characteristic"]),
    ],
)
async def test_a_wrong_literal_is_refused_with_its_path(world: World, literal: str, path: list[str] | None) -> None:
    client = await world.client("collector")
    project = await world.project_id("CANAL")
    rest = {"siteCode": '"W-1"', "collectedAt": '"2026-01-02T03:04:05Z"', "medium": "WATER"}
    rest.pop(literal.partition(":")[0], None)
    others = ", ".join(f"{name}: {value}" for name, value in rest.items())

    given = f'{{projectId: "{project}", {others}, {literal}}}'
    answer = await client.run(f"mutation {{ createRecord(input: {given}) {{ errors {{ code field }} }} }}")

    errors = answer.errors or answer.body["data"]["createRecord"]["errors"]
    assert [error.get("code") or error["extensions"]["code"] for error in errors] == ["INVALID_INPUT"]
    assert path is None or (errors[0].get("field") or errors[0]["extensions"]["field"]) == path


@pytest.mark.parametrize(
    ("filters", "path"),
    [
        ({"siteCode": {"eq": "\x00"}}, ["f", "siteCode", "eq"]),
        ({"siteCode": {"in": ["a", "\ud800"]}}, ["f", "siteCode", "in", "1"]),
        ({"collectedAt": {"gte": "0000-01-01"}}, ["f", "collectedAt", "gte"]),
        ({"status": {"in": ["DRAFT", "DONE"]}}, ["f", "status", "in", "1"]),
        ({"projectId": {"eq": "nonsense"}}, ["filter", "projectId", "eq"]),
        ({"comment": {"eq": "secret"}}, ["f", "comment"]),
        ({"siteCode": {"eq": "x" * 100_001}}, ["f", "siteCode", "eq"]),
    ],
)
async def test_a_wrong_filter_is_refused_with_its_path(world: World, filters: dict[str, Any], path: list[str]) -> None:
    client = await world.client("manager")

    answer = await client.run("query($f: RecordFilter) { records(filter: $f) { nodes { id } } }", {"f": filters})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == path


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("first: -1", "first"),
        ("first: 1001", "first"),
        ("last: 1001", "last"),
        ("first: 1, last: 1", "last"),
        ('last: 1, after: "x"', "after"),
        ('before: "x"', "before"),
        ('first: 1, after: "not a cursor"', "after"),
        ('first: 1, after: "AAAA"', "after"),
        ('first: 1, after: "ünïcode"', "after"),
    ],
)
async def test_a_page_that_is_none_is_refused_with_its_argument(world: World, arguments: str, field: str) -> None:
    client = await world.client("manager")

    answer = await client.run(f"{{ records({arguments}) {{ nodes {{ id }} }} }}")

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == [field]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"7", 400),
        (b"null", 400),
        (b'{"query": 7}', 400),
        (b'{"query": null}', 400),
        (b'{"query": "{ viewer { role } }", "variables": 7}', 400),
        (b'{"query": "{ viewer { role } }", "variables": []}', 400),
        (b'{"query": "{ viewer { role } }", "operationName": 7}', 400),
        (b'{"query": "{ viewer { role } }", "operationName": "Other"}', 400),
        (b'[{"query": "{ viewer { role } }"}]', 400),
        (b"\xff\xfe", 400),
        (b'{"query": "{ viewer { role } }", "variables": ' + b"[" * 100_000 + b"}", 400),
    ],
)
async def test_a_body_that_is_no_request_is_refused_in_json(world: World, content: bytes, status: int) -> None:
    client = await world.client("manager")

    answer = await client.post(content)

    assert answer.status == status
    assert answer.codes == ["INVALID_INPUT"]
    assert "data" not in answer.body or answer.body["data"] is None


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(world: World) -> None:
    signed_in = await (await world.client("manager")).post(b'{"query": "' + b" " * (16 * 1024 * 1024) + b'"}')
    anonymous = await world.anonymous.post(b'{"query": "' + b" " * (64 * 1024) + b'"}')

    for answer in (signed_in, anonymous):
        assert answer.status == 413
        assert answer.codes == ["INVALID_INPUT"]
        assert answer.errors[0]["extensions"]["field"] == ["body"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_foreign_page_can_send_is_not_taken(world: World, content_type: str) -> None:
    client = await world.client("manager")

    answer = await client.post(b'{"query": "{ viewer { role } }"}', **{"content-type": content_type})

    assert answer.status == 415
    assert answer.codes == ["INVALID_INPUT"]


async def test_get_runs_nothing_with_a_cookie(world: World) -> None:
    client = await world.client("manager")

    response = await world.http.get(
        "/graphql",
        params={"query": "{ viewer { role } }"},
        headers={"authorization": f"Bearer {client.token}", "cookie": "theme=dark"},
    )

    assert response.status_code == 405
    assert response.json()["errors"][0]["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{i}: viewer {{ role }}" for i in range(101)) + " }",
        "{ " + "".join("records { nodes { project { " for _ in range(6)) + "code" + " } } }" * 6 + " }",
        "{ projects(first: 1000) { nodes { records(first: 1000) { nodes { measurements { value } } } } } }",
        "fragment A on Query { viewer { role } } "
        + " ".join(f"fragment {chr(66 + i)} on Query {{ ...{chr(65 + i)} ...{chr(65 + i)} }}" for i in range(18))
        + " { ...S }",
    ],
)
async def test_an_operation_that_asks_for_too_much_is_refused(world: World, query: str) -> None:
    client = await world.client("manager")

    answer = await client.run(query)

    assert answer.codes == ["TOO_COMPLEX"]
    assert answer.body.get("data") is None


@pytest.mark.parametrize(
    "query",
    [
        "fragment A on Query { ...B } fragment B on Query { ...A } { ...A }",
        "{ viewer " + "{ user " * 3000 + "}" * 3001,
        "{ records { nodes { " + " ".join("id" for _ in range(5000)) + " } } }",
        "{ viewer { rolle } }",
        "{",
        "\x00",
        "query { viewer { role } } query { viewer { role } }",
    ],
)
async def test_an_operation_that_is_none_is_refused_and_nothing_breaks(world: World, query: str) -> None:
    client = await world.client("manager")

    answer = await client.run(query)

    assert set(answer.codes) <= {"INVALID_INPUT", "TOO_COMPLEX"}
    assert answer.codes
    assert "Did you mean" not in answer.text
    assert "Traceback" not in answer.text


async def test_a_page_of_the_size_counts_when_it_is_a_variable(world: World) -> None:
    client = await world.client("manager")
    query = "query($n: Int) { projects(first: $n) { nodes { records(first: $n) { nodes { id } } } } }"

    assert (await client.run(query, {"n": 1000})).codes == ["TOO_COMPLEX"]
    assert (await client.run(query, {"n": 10})).errors == []


async def test_a_password_in_the_wrong_place_is_read_back_to_nobody(world: World) -> None:
    secret = "correct horse battery staple"
    query = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken } }"

    for given in (
        {"email": 5, "password": secret},
        {"email": "a@b.example", "password": secret, "organisation": secret},
        {"email": ["a"], "password": [secret]},
        secret,
    ):
        answer = await world.anonymous.run(query, {"input": given})
        assert answer.codes
        assert set(answer.codes) == {"INVALID_INPUT"} or "UNAUTHENTICATED" in answer.codes
        assert secret not in answer.text


async def test_a_repeated_create_is_answered_as_the_first_and_another_content_is_a_conflict(world: World) -> None:
    client, stage = await world.client("collector"), await prepare(world)
    row_id = str(new_id())
    given = {"projectId": stage.project, **GOOD, "id": row_id, "comment": "Once."}

    first = await mutate(client, "createRecord", given, "record { id version comment }")
    again = await mutate(client, "createRecord", given, "record { id version comment }")
    other = await mutate(client, "createRecord", {**given, "comment": "Twice."}, "record { id }")

    assert first.data == again.data
    assert first.data["createRecord"]["record"]["id"] == f"Record:{row_id}"
    assert [error["code"] for error in other.data["createRecord"]["errors"]] == ["CONFLICT"]
    assert await world.value("select count(*) from record where id = $1", row_id) == 1
    assert await world.value("select count(*) from measurement where record_id = $1", row_id) == 1


@pytest.mark.parametrize(("who", "changed"), [("collector", {}), ("collector", {"comment": "Twice."}), ("manager", {})])
async def test_what_was_deleted_is_not_brought_back_by_sending_its_creation_again(
    world: World, who: str, changed: dict[str, Any]
) -> None:
    collector, manager, stage = await world.client("collector"), await world.client("manager"), await prepare(world)
    row_id = str(new_id())
    given = {"projectId": stage.project, **GOOD, "id": row_id, "comment": "Once."}
    assert (await mutate(collector, "createRecord", given)).data["createRecord"]["errors"] == []
    deleted = await mutate(
        manager, "deleteRecord", {"id": f"Record:{row_id}", "expectedVersion": 1, "reason": "Wrong."}
    )
    assert deleted.data["deleteRecord"]["errors"] == []
    before = await world.fingerprint()

    again = await mutate(await world.client(who), "createRecord", {**given, **changed}, "record { id }")

    (error,) = again.data["createRecord"]["errors"]
    assert (error["code"], error["field"]) == ("CONFLICT", ["input", "id"])
    assert again.data["createRecord"]["record"] is None
    assert await world.fingerprint() == before
    assert await world.value("select count(*) from record where id = $1", row_id) == 0


async def test_each_of_several_fields_at_fault_is_named_once(world: World) -> None:
    client = await world.client("reviewer")
    approve = "mutation ($input: ApproveRecordInput!) { approveRecord(input: $input) { errors { message } } }"

    answer = await client.run(approve, {"input": {"version": 2, "meaning": "APPROVAL"}})

    assert [(one["message"], one["extensions"]["field"][-1]) for one in answer.errors] == [
        ("Expected a field of ApproveRecordInput.", "version"),
        ("Expected a value of type ID!.", "id"),
        ("Expected a value of type Int!.", "expectedVersion"),
        ("Expected a value of type String!.", "password"),
    ]


@pytest.mark.parametrize("depth", [70, 900])
async def test_a_variable_that_is_nested_too_deeply_is_refused_by_its_name(world: World, depth: int) -> None:
    query = "query($filter: RecordFilter) { records(filter: $filter) { nodes { id } } }"
    given: dict[str, Any] = {"siteCode": {"eq": "C-07"}}
    for _ in range(depth):
        given = {"not": given}

    answer = await (await world.client("viewer")).run(query, {"filter": given})

    (error,) = answer.errors
    assert error["extensions"]["code"] == "INVALID_INPUT"
    assert error["extensions"]["field"][0] == "filter"
    assert error["message"] == "Expected a value that is not nested so deeply."


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("name", ["assignProjectRole", "assignOrganizationRole"])
async def test_a_role_that_ends_at_no_moment_is_not_given_and_shuts_nobody_out(
    world: World, name: str, moment: str
) -> None:
    owner = await world.client("owner")
    viewer = (await owner.run("{ viewer { user { id } } }")).data["viewer"]["user"]["id"]
    where = {"projectId": str(await world.project_id("CANAL")), "role": "VIEWER"}
    given = {"userId": viewer, "reason": "A test.", "expiresAt": moment}

    answer = await mutate(owner, name, {**given, **(where if name == "assignProjectRole" else {"role": "MEMBER"})})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == ["input", "expiresAt"]
    assert (await owner.run("{ viewer { role } }")).data["viewer"]["role"] == "OWNER"


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000001Z"])
async def test_a_series_from_the_first_moment_is_refused_and_from_the_one_after_answered(
    world: World, start: str
) -> None:
    client = await world.client("manager")
    of = "{ records(first: 1) { nodes { measurements { characteristic } } } }"
    (record,) = (await client.run(of)).data["records"]["nodes"]
    named = record["measurements"][0]["characteristic"]

    answer = await client.run(
        "query($c: String!, $s: DateTime!) { measurementSeries(characteristic: $c, start: $s,"
        ' end: "2030-01-01T00:00:00Z", width: 10) { count } }',
        {"c": named, "s": start},
    )

    if start.endswith("00:00:00Z"):
        assert answer.codes == ["INVALID_INPUT"]
    else:
        assert sum(one["count"] for one in answer.data["measurementSeries"]) > 0
