"""Who may look as another, and as whom: everything else is refused, and leaves an entry."""

from uuid import uuid4

import pytest

from tests.support.scene import Looking, as_superuser, create_role, set_scene
from tests.support.world import Client, World, json_body

ASK = "{ viewer { role } records(first: 100) { nodes { id comment } } }"


@pytest.mark.parametrize("who", ["auditor", "manager", "viewer", "member"])
async def test_who_may_not_look_is_refused_and_leaves_an_entry(world: World, who: str) -> None:
    client = Looking(await world.client(who), f"User:{await world.member_id('owner')}")
    since = await world.now()

    answer = await client.run(ASK)

    assert answer.status == 403
    assert answer.codes == ["FORBIDDEN"]
    assert "data" not in answer.body
    entries = await world.entries(since=since, kinds=["CHANGE", "ATTEMPT", "READ"])
    assert [(one["kind"], one["action"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "access.run_as", "DENIED", "FORBIDDEN")
    ]
    assert entries[0]["membership_id"] == await world.member_id(who)


async def test_a_program_looks_as_nobody(world: World) -> None:
    scene = await set_scene(world)

    for who in scene.programs:
        answer = await Looking(await scene.client(world, who), "MEMBER").run(ASK)
        assert (answer.status, answer.codes) == (403, ["FORBIDDEN"])


async def test_nobody_looks_without_signing_in(world: World) -> None:
    since = await world.now()

    answer = await Looking(world.anonymous, "OWNER").run("{ viewer { role } records { totalCount } }")
    refused = await Looking(Client(world.http, "none.at.all"), "OWNER").run("{ records { totalCount } }")

    assert answer.body["data"] == {"viewer": None, "records": None}
    assert refused.body["data"] == {"records": None}
    assert set(refused.codes) == {"UNAUTHENTICATED"}
    assert [one["action"] for one in await world.entries(since=since) if one["action"] == "access.run_as"] == []


@pytest.mark.parametrize("form", ["User:{}", "VIEWER@Project:{}", "CustomRole:{}", "CustomRole:{}@Project:{project}"])
async def test_what_is_another_tenants_is_not_told_from_what_is_not(world: World, form: str) -> None:
    other = await world.client("other-owner")
    theirs = {
        "User": await world.member_id("other-owner"),
        "VIEWER@Project": await world.project_id("LAKES"),
        "CustomRole": (await create_role(other, "Theirs", "PROJECT", ["RECORD_READ"])).partition(":")[2],
    }
    owner, project = await world.client("owner"), await world.project_id("CANAL")
    since = await world.now()

    foreign = await Looking(owner, form.format(theirs[form.partition(":")[0]], project=project)).run(ASK)
    unused = await Looking(owner, form.format(uuid4(), project=project)).run(ASK)

    assert foreign.codes == ["NOT_FOUND"]
    assert foreign.status == unused.status == 400
    assert foreign.body == unused.body
    entries = await world.entries(since=since, kinds=["CHANGE", "ATTEMPT", "READ"])
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "DENIED", "NOT_FOUND")
    ] * 2


ID = "018f0000-0000-7000-8000-000000000000"
JUNK = {
    "nothing": b"",
    "blank": b"   ",
    "a word": b"yourself",
    "a lower case role": b"auditor",
    "a project's role without its project": b"VIEWER",
    "an organization's role in a project": b"AUDITOR@Project:%p",
    "two projects": b"VIEWER@Project:%p@Project:%p",
    "a project that is none": b"VIEWER@Project:1",
    "a bare project": b"VIEWER@%p",
    "a project by another name": b"VIEWER@Record:%p",
    "a person in a project": b"User:%b@Project:%p",
    "a person that is none": b"User:1",
    "a person with braces": b"User:{%b}",
    "a person with nine thousand hyphens": b"User:" + b"-" * 9000 + ID.replace("-", "").encode(),
    "a person by another notation": b"User:urn:uuid:%b",
    "a program": b"ServiceAccount:%b",
    "ten thousand bytes": b"A" * 10_240,
    "not ASCII": "User:é".encode(),
    "not even Latin": "User:河".encode(),
    "bytes of nothing": b"\xff\xfe\xc0",
    "a statement": b"OWNER'; drop table record; --",
}


@pytest.mark.parametrize("name", JUNK)
async def test_what_names_nobody_is_refused(world: World, capfd: pytest.CaptureFixture[str], name: str) -> None:
    admin, someone = await world.client("admin"), str(await world.member_id("viewer")).encode()
    project = str(await world.project_id("CANAL")).encode()
    before, since = await world.fingerprint(), await world.now()
    capfd.readouterr()

    response = await world.http.post(
        "/graphql",
        content=json_body({"query": ASK}),
        headers=[
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {admin.token}".encode()),
            (b"fieldward-run-as", JUNK[name].replace(b"%b", someone).replace(b"%p", project)),
        ],
    )

    assert response.status_code == 400
    assert [one["extensions"]["code"] for one in response.json()["errors"]] == ["INVALID_INPUT"]
    assert "data" not in response.json()
    assert "Traceback" not in response.text
    printed = "".join(capfd.readouterr())
    assert "Traceback" not in printed
    assert "unexpected_error" not in printed
    entries = await world.entries(since=since, kinds=["CHANGE", "ATTEMPT", "READ"])
    assert [(one["kind"], one["outcome"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "FAILED", "INVALID_INPUT")
    ]
    assert await world.fingerprint() == before


@pytest.mark.parametrize(("role", "where"), [("technician", "nowhere"), ("registrar", "in a project")])
async def test_a_role_of_the_organizations_own_is_looked_as_at_its_level(world: World, role: str, where: str) -> None:
    scene = await set_scene(world)
    role_id = scene.technician if role == "technician" else scene.registrar
    acting_as = role_id if where == "nowhere" else f"{role_id}@{scene.stage.project}"

    answer = await (Looking(await world.client("owner"), acting_as)).run(ASK)

    assert (answer.status, answer.codes) == (400, ["INVALID_INPUT"])


async def test_a_person_is_named_in_the_trail_in_one_way(world: World) -> None:
    member_id = await world.member_id("viewer")
    since = await world.now()

    answer = await (Looking(await world.client("admin"), f" User:{str(member_id).upper()} ")).run("{ viewer { role } }")

    assert answer.body["extensions"]["runAs"]["as"] == f"User:{member_id}"
    assert [one["acting_as"] for one in await world.entries(since=since, kinds=["READ"])] == [f"User:{member_id}"]


@pytest.mark.parametrize("table", ["membership", "user_account"])
async def test_somebody_suspended_sees_nothing_and_is_not_looked_as(world: World, table: str) -> None:
    member_id = await world.member_id("viewer")
    key = "id = $1" if table == "membership" else "id = (select user_id from membership m where m.id = $1)"
    await as_superuser(world, table, f"set status = 'SUSPENDED' where {key}", member_id)

    answer = await (Looking(await world.client("owner"), f"User:{member_id}")).run(ASK)

    assert (answer.status, answer.codes) == (400, ["CONFLICT"])
    assert "suspended" in answer.errors[0]["message"]
