"""What attackers tried once: each stays tried."""

import asyncio
from typing import Any

import asyncpg
import pytest

from auth.permission import Permission as P
from models.base import new_id
from schema.input_value import MOST_ITEMS
from tests.support.access import make_program
from tests.support.entry import insert_entry
from tests.support.mutation import mutate, prepare
from tests.support.world import Client, World, connect

RECORD = {"siteCode": "W-1", "collectedAt": "2026-01-02T03:04:05Z", "medium": "WATER"}


class HeldBody:
    """A body that comes in two parts, with something happening in between."""

    def __init__(self, body: bytes, between: Any) -> None:
        self._body = body
        self._between = between

    async def __aiter__(self) -> Any:
        yield self._body[:10]
        await self._between()
        yield self._body[10:]


async def test_what_is_revoked_while_a_request_arrives_is_revoked_for_it(world: World) -> None:
    payload = (await world.sign_in("collector")).data["signIn"]
    client = Client(world.http, payload["accessToken"])
    project = await world.project_id("CANAL")

    async def revoke() -> None:
        assert (await mutate(client, "signOut", {})).data["signOut"]["errors"] == []

    body = b'{"query": "{ records { nodes { comment } } project(id: \\"%s\\") { code } }"}' % str(project).encode()
    response = await world.http.post(
        "/graphql",
        content=HeldBody(body, revoke),
        headers={"content-type": "application/json", "authorization": f"Bearer {client.token}"},
    )

    assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"UNAUTHENTICATED"}
    assert response.json()["data"] == {"records": None, "project": None}


async def test_a_role_taken_away_during_an_operation_counts_for_the_mutations_to_come(world: World) -> None:
    """The first mutation of the operation takes its own session away; the second is refused."""
    payload = (await world.sign_in("collector")).data["signIn"]
    client = Client(world.http, payload["accessToken"])
    given = {"projectId": str(await world.project_id("CANAL")), **RECORD}
    before = await world.value("select count(*) from record")

    answer = await client.run(
        "mutation($i: CreateRecordInput!) { signOut { errors { code } } createRecord(input: $i) { errors { code } } }",
        {"i": given},
    )

    assert answer.body["data"]["signOut"] == {"errors": []}
    assert answer.codes == ["UNAUTHENTICATED"]
    assert await world.value("select count(*) from record") == before


async def test_requests_that_are_none_hold_no_connection(world: World) -> None:
    client = await world.client("manager")

    for _ in range(20):
        assert (await client.post(b"[]")).status == 400
    answer = await asyncio.wait_for(client.run("{ viewer { role } }"), 5)

    assert answer.data == {"viewer": {"role": "MEMBER"}}


async def test_a_header_that_holds_no_token_of_ours_gives_no_more_room(world: World) -> None:
    answer = await Client(world.http, "x").post(b'{"query": "' + b" " * (64 * 1024) + b'"}')

    assert answer.status == 413


async def test_an_operation_of_more_text_than_any_needs_is_refused(world: World) -> None:
    client = await world.client("manager")

    answer = await client.run("{ viewer { role } } #" + "x" * 70_000)

    assert answer.status == 413


async def test_a_list_longer_than_any_needs_is_refused_before_it_is_looked_at(world: World) -> None:
    client = await world.client("manager")
    query = "query($i: [ID!]) { projects(filter: {id: {in: $i}}) { totalCount } }"

    for value in (None, str(new_id())):
        answer = await client.run(query, {"i": [value] * (MOST_ITEMS + 1)})
        assert answer.codes == ["INVALID_INPUT"]
        assert answer.errors[0]["extensions"]["field"] == ["i"]


@pytest.mark.parametrize(
    "query",
    [
        'mutation { a: signIn(input: {email: "a@b.c", password: "x"}) { accessToken }'
        ' b: signIn(input: {email: "a@b.c", password: "x"}) { accessToken } }',
        'mutation { signIn(input: {email: "a@b.c", password: "x"}) { accessToken } ...F }'
        " fragment F on Mutation { signOut { errors { code } } }",
        "mutation { " + " ".join(f"a{i}: signOut {{ errors {{ code }} }}" for i in range(21)) + " }",
    ],
)
async def test_sign_ins_come_alone_and_mutations_few(world: World, query: str) -> None:
    since = await world.now()

    answer = await world.anonymous.run(query)

    assert answer.codes == ["TOO_COMPLEX"]
    assert await world.entries(since=since) == []


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        (
            "query($n: Int = 1000) { records(first: $n) { nodes { project {"
            " records(first: $n) { nodes { id } } } } } }",
            {},
        ),
        (
            "query($a: Int, $b: Int) { records(first: $a, last: $b) { nodes { project {"
            " records(first: $a, last: $b) { nodes { id } } } } } }",
            {"b": 1000},
        ),
    ],
)
async def test_the_size_of_a_page_counts_however_it_is_said(
    world: World, query: str, variables: dict[str, Any]
) -> None:
    client = await world.client("manager")

    assert (await client.run(query, variables)).codes == ["TOO_COMPLEX"]


async def test_who_signs_in_is_who_the_password_says_whoevers_token_came_along(world: World) -> None:
    for bearer in ("owner", "other-owner"):
        client = await world.client(bearer)
        since = await world.now()
        query = "mutation($input: SignInInput!) { signIn(input: $input) { refreshToken errors { code } } }"
        given = {"email": "viewer@clearwater.example", "password": world.passwords["viewer@clearwater.example"]}
        token = (await client.run(query, {"input": given})).data["signIn"]["refreshToken"]
        await client.run(
            "mutation($input: RefreshSessionInput!) { refreshSession(input: $input) { accessToken } }",
            {"input": {"refreshToken": token}},
        )

        entries = await world.entries(since=since)
        assert [one["action"] for one in entries] == ["session.sign_in", "session.refresh"]
        for entry in entries:
            assert entry["membership_id"] == await world.member_id("viewer")
            assert entry["organization_id"] == await world.organization_id("clearwater")


async def test_nobody_reviews_what_they_had_a_hand_in(world: World) -> None:
    stage, manager = await prepare(world), await world.client("manager")
    changed = await mutate(manager, "updateRecord", {"id": stage.draft, "expectedVersion": 1, "siteCode": "W-9"})
    submitted = await mutate(manager, "submitRecord", {"id": stage.draft, "expectedVersion": 2})

    approved = await mutate(manager, "approveRecord", {"id": stage.draft, "expectedVersion": 3})

    assert changed.data["updateRecord"]["errors"] == submitted.data["submitRecord"]["errors"] == []
    assert [error["code"] for error in approved.data["approveRecord"]["errors"]] == ["FORBIDDEN"]
    reviewer = await world.client("reviewer")
    given = {"id": stage.draft, "expectedVersion": 3}
    assert (await mutate(reviewer, "approveRecord", given)).data["approveRecord"]["errors"] == []


async def test_fields_that_share_a_fragment_each_get_their_own_columns(world: World) -> None:
    owner = await world.client("owner")
    ids = {"a": str(await world.project_id("CANAL")), "b": str(await world.project_id("PARKS"))}

    answer = await owner.run(
        """
        query($a: ID!, $b: ID!) {
          a: project(id: $a) { ...F records(first: 1) { nodes { siteCode } } }
          b: project(id: $b) { ...F records(first: 1) { nodes { comment method } } }
        }
        fragment F on Project { records(first: 1) { nodes { id } } }
        """,
        ids,
    )

    assert set(answer.data["a"]["records"]["nodes"][0]) == {"id", "siteCode"}
    assert set(answer.data["b"]["records"]["nodes"][0]) == {"id", "comment", "method"}


async def test_a_code_tells_nothing_of_projects_that_one_does_not_see(world: World) -> None:
    manager = await world.client("manager")
    project = str(await world.project_id("CANAL"))

    answers = [
        await mutate(manager, "updateProject", {"id": project, "expectedVersion": 1, "code": code})
        for code in ("PARKS", "NO-SUCH")
    ]

    assert answers[0].text == answers[1].text
    assert [error["code"] for error in answers[0].data["updateProject"]["errors"]] == ["FORBIDDEN"]


@pytest.mark.parametrize("how", ["plainly", "not", "or", "and"])
@pytest.mark.parametrize("of", ["createdById", "deviceId"])
async def test_a_pseudonym_is_not_asked_for_by_the_id_of_a_person_or_of_their_device(
    world: World, of: str, how: str
) -> None:
    viewer, stage = await world.client("viewer"), await prepare(world)
    collector = f"User:{await world.member_id('collector')}"
    asked: Any = {of: {"eq": collector if of == "createdById" else stage.device}}
    asked = {"plainly": asked, "not": {"not": asked}, "or": {"or": [asked]}, "and": {"and": [asked]}}[how]
    since = await world.now()

    answers = [
        await viewer.run(query, {"f": asked})
        for query in (
            "query($f: RecordFilter) { records(filter: $f) { nodes { collector } } }",
            "query($f: RecordFilter) { records(filter: $f) { totalCount } }",
            "query($f: RecordFilter) { recordGroups(filter: $f, by: [SITE_CODE]) { count } }",
        )
    ]
    export = await mutate(await world.client("manager"), "createExport", {"format": "CSV", "filter": asked})

    assert [answer.codes for answer in answers] == [["FORBIDDEN"]] * 3
    assert "person-" not in "".join(answer.text for answer in answers)
    (error,) = export.data["createExport"]["errors"]
    takes = {"createdById": "membership:read", "deviceId": "device:read"}[of]
    assert (error["code"], error["permission"]) == ("FORBIDDEN", takes)
    (denied,) = await world.entries(since=since, kinds=["ATTEMPT"])
    assert (denied["action"], denied["outcome"], denied["error_code"]) == ("export.create", "DENIED", "FORBIDDEN")


async def test_records_of_a_device_are_found_by_who_may_see_devices(world: World) -> None:
    owner, stage = await world.client("owner"), await prepare(world)
    made = await mutate(
        owner, "createRecord", {"projectId": stage.project, **RECORD, "deviceId": stage.device}, "record { id }"
    )

    found = await owner.run(
        "query($f: RecordFilter) { records(filter: $f) { nodes { id } } }", {"f": {"deviceId": {"eq": stage.device}}}
    )

    assert found.data["records"]["nodes"] == [made.data["createRecord"]["record"]]


TRAIL = """
query Trail($filter: AuditEntryFilter) {
  auditEntries(first: 100, filter: $filter) { nodes { user { id } changes { entity columns { column before after } } } }
}
"""


async def test_the_trail_names_nobody_to_who_may_not_see_people_and_devices(world: World) -> None:
    stage, collector = await prepare(world), await world.client("collector")
    given = {"projectId": stage.project, **RECORD}
    assert (await mutate(collector, "createRecord", given)).data["createRecord"]["errors"] == []
    person = str(await world.member_id("collector"))
    reads = {P.AUDIT_READ, P.RECORD_READ}
    blind = await make_program(world, reads)
    seeing = await make_program(world, {*reads, P.MEMBERSHIP_READ, P.DEVICE_READ})
    of_records = {"entity": {"eq": "record"}, "kind": {"eq": "CHANGE"}}

    hidden, shown = [await one.client.run(TRAIL, {"filter": of_records}) for one in (blind, seeing)]

    assert person in shown.text
    assert person not in hidden.text
    naming = {"created_by_id", "contributor_ids", "reviewed_by_id", "device_id"}
    told = {
        column["column"]: (column["before"], column["after"])
        for node in hidden.body["data"]["auditEntries"]["nodes"]
        for change in node["changes"]
        if change["entity"] == "record"
        for column in change["columns"]
    }
    assert {name: told[name] for name in naming & set(told)} == dict.fromkeys(naming & set(told), (None, None))
    assert told["site_code"] != (None, None)
    assert {error["extensions"]["permission"] for error in hidden.errors} >= {"membership:read"}


@pytest.mark.parametrize(
    ("field", "given", "takes"),
    [
        ("userId", "User", P.MEMBERSHIP_READ),
        ("serviceAccountId", "ServiceAccount", P.SERVICE_ACCOUNT_READ),
        ("deviceId", "Device", P.DEVICE_READ),
    ],
)
async def test_nobody_asks_the_trail_by_whom_they_may_not_see(world: World, field: str, given: str, takes: P) -> None:
    blind = await make_program(world, {P.AUDIT_READ})
    seeing = await make_program(world, {P.AUDIT_READ, takes})
    asked = {"filter": {field: {"eq": f"{given}:{new_id()}"}}}

    refused, answered = [await one.client.run(TRAIL, asked) for one in (blind, seeing)]

    (error,) = refused.errors
    assert (error["extensions"]["code"], error["extensions"]["permission"]) == ("FORBIDDEN", str(takes))
    assert answered.data["auditEntries"]["nodes"] == []


async def test_nobody_takes_away_what_results_say_that_they_may_not_read(world: World) -> None:
    owner, stage = await world.client("owner"), await prepare(world)
    blind = await make_program(world, {P.RECORD_READ, P.RECORD_UPDATE})
    plain: dict[str, Any] = {"characteristic": "pH", "value": 7.0}
    given: dict[str, Any]
    records = []
    for comment in ("By hand.", None):
        given = {"projectId": stage.project, **RECORD, "measurements": [{**plain, "comment": comment}, plain]}
        made = await mutate(owner, "createRecord", given, "record { id }")
        records.append(made.data["createRecord"]["record"]["id"])
    before = await world.fingerprint()
    since = await world.now()

    for stand in ([], [plain], [{**plain, "value": 8.0}, plain]):
        given = {"id": records[0], "expectedVersion": 1, "measurements": stand}
        (error,) = (await mutate(blind.client, "updateRecord", given)).data["updateRecord"]["errors"]
        assert (error["code"], error["field"]) == ("FORBIDDEN", ["input", "measurements"])
        assert error["permission"] == "record:read_confidential"

    assert await world.fingerprint() == before
    denied = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in denied] == [("record.update", "DENIED")] * 3
    given = {"id": records[1], "expectedVersion": 1, "measurements": [{**plain, "value": 8.0}]}
    assert (await mutate(blind.client, "updateRecord", given)).data["updateRecord"]["errors"] == []
    given = {"id": records[0], "expectedVersion": 1, "measurements": []}
    assert (await mutate(owner, "updateRecord", given)).data["updateRecord"]["errors"] == []


async def test_an_archived_projects_records_move_no_more(world: World) -> None:
    stage, owner = await prepare(world), await world.client("owner")
    collector, reviewer = await world.client("collector"), await world.client("reviewer")
    await mutate(owner, "archiveProject", {"id": stage.project, "expectedVersion": 1, "reason": "Done."})

    answers = {
        "submitRecord": await mutate(collector, "submitRecord", {"id": stage.draft, "expectedVersion": 1}),
        "approveRecord": await mutate(reviewer, "approveRecord", {"id": stage.submitted, "expectedVersion": 2}),
        "updateProject": await mutate(owner, "updateProject", {"id": stage.project, "expectedVersion": 2, "name": "X"}),
    }

    for name, answer in answers.items():
        assert [error["code"] for error in answer.data[name]["errors"]] == ["CONFLICT"], name


async def test_a_blocked_device_is_named_on_no_new_record(world: World) -> None:
    stage = await prepare(world)
    admin = await world.client("admin")

    answer = await mutate(
        admin, "createRecord", {"projectId": stage.project, **RECORD, "deviceId": stage.blocked_device}
    )

    assert [(error["code"], error["field"]) for error in answer.data["createRecord"]["errors"]] == [
        ("CONFLICT", ["input", "deviceId"])
    ]


@pytest.mark.parametrize("name", ["createProject", "registerDevice", "createRecord"])
async def test_tries_of_one_id_at_the_same_time_make_one_row(world: World, name: str) -> None:
    stage, owner = await prepare(world), await world.client("owner")
    given: dict[str, Any] = {
        "createProject": {"code": "ONCE", "name": "Once"},
        "registerDevice": {"userId": stage.person, "platform": "IOS", "model": "iPhone"},
        "createRecord": {"projectId": stage.project, **RECORD},
    }[name]
    row_id = str(new_id())

    answers = await asyncio.gather(*(mutate(owner, name, {**given, "id": row_id}) for _ in range(5)))

    assert all(answer.data[name]["errors"] == [] for answer in answers)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"query": "{ viewer { role } }", "variables": {"a": ' + b"9" * 5000 + b"}}", 400),
        (b'{"query": "query A { viewer { role } }", "operationName": "\\ud800"}', 400),
        (b'{"query": "{ projects(idd: 1) { totalCount } }"}', 200),
        (b'{"query": "fragment A on Projec { id } { viewer { role } }"}', 200),
    ],
)
async def test_malformed_bytes_break_nothing_and_are_told_nothing(world: World, content: bytes, status: int) -> None:
    answer = await (await world.client("manager")).post(content)

    assert answer.status == status
    assert set(answer.codes) == {"INVALID_INPUT"}
    assert "Did you mean" not in answer.text


async def test_an_account_is_changed_under_its_own_tenants_trail_alone(world: World) -> None:
    service = await connect(world.service)
    victim = await world.value("select user_id from membership where id = $1", await world.member_id("manager"))
    try:
        for organization in (new_id(), await world.organization_id("suncoast")):
            async with service.transaction():
                for name, value in (("organization_id", organization), ("user_id", victim)):
                    await service.execute("select set_config($1, $2, true)", f"fieldward.{name}", str(value))
                await insert_entry(service, organization)
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with service.transaction():
                        await service.execute("update user_account set password_hash = 'pwned' where id = $1", victim)
    finally:
        await service.close()


async def test_the_service_can_make_no_temporary_thing(world: World) -> None:
    service = await connect(world.service)
    try:
        for statement in ("create temp table t (i int)", "create domain pg_temp.uuid as pg_catalog.uuid"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.PostgresError)):
                await service.execute(statement)
    finally:
        await service.close()
