"""Why somebody may or may not: the explanation is what that somebody really gets, and tells nothing else."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from graphql import GraphQLObjectType, get_named_type, is_leaf_type, is_required_argument

from schema.api import Api
from tests.support.mutation import Stage, mutate, prepare
from tests.support.world import Answer, Client, World

DECISION = """
query($principal: ID!, $on: ID!, $field: String, $permission: Permission) {
  accessDecision(principal: $principal, on: $on, field: $field, permission: $permission) {
    allowed permission scope otherwise reasons { source gives says role customRoleId expiresAt }
  }
}
"""
SOON = (datetime.now(UTC) + timedelta(days=30)).isoformat()
PRINCIPALS = (
    "owner",
    "admin",
    "auditor",
    "manager",
    "reviewer",
    "collector",
    "viewer",
    "member",
    "program",
    "wide program",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """The demo with roles of the organization's own, a grant that has expired, and two programs.

    The viewer was a manager in the second project, the member is a technician in the first and, in the organization,
    keeps the register; the programs may read comments, one in the first project alone.
    """

    stage: Stage
    technician: str
    registrar: str
    programs: dict[str, tuple[str, str]]
    objects: tuple[str, ...]

    async def client(self, world: World, who: str) -> Client:
        """Return the client of a person or program."""
        return Client(world.http, self.programs[who][1]) if who in self.programs else await world.client(who)

    async def principal(self, world: World, who: str) -> str:
        """Return the global id of a person or program."""
        return self.programs[who][0] if who in self.programs else f"User:{await world.member_id(who)}"


async def set_scene(world: World) -> Scene:
    """Make the scene."""
    stage, owner = await prepare(world), await world.client("owner")
    parks = f"Project:{await world.project_id('PARKS')}"
    technician = await _role(owner, "Technician", "PROJECT", ["PROJECT_READ", "RECORD_READ", "RECORD_CREATE"])
    registrar = await _role(owner, "Registrar", "ORGANIZATION", ["DEVICE_READ", "MEMBERSHIP_READ"])
    in_first = {"userId": stage.person, "projectId": stage.project, "customRoleId": technician, "expiresAt": SOON}
    await _done(owner, "assignProjectRole", in_first)
    await _done(owner, "assignOrganizationRole", {"userId": stage.person, "customRoleId": registrar})
    in_second = {"userId": stage.viewer, "projectId": parks, "role": "MANAGER", "expiresAt": SOON}
    await _done(owner, "assignProjectRole", in_second)
    await _as_superuser(
        world, "project_membership", "set expires_at = now() where role = 'MANAGER' and expires_at > now()"
    )
    programs = {
        "program": await _program(owner, [stage.project]),
        "wide program": await _program(owner, None),
    }
    return Scene(stage, technician, registrar, programs, await _objects(owner, stage, parks))


async def ask(
    client: Client, principal: str, on: str, field: str | None = None, permission: str | None = None
) -> Answer:
    """Ask for a decision."""
    return await client.run(DECISION, {"principal": principal, "on": on, "field": field, "permission": permission})


async def reasons_of(world: World, scene: Scene, who: str, on: str, field: str) -> tuple[bool, list[tuple[str, bool]]]:
    """Return whether they may, and what has a say, as an auditor is told."""
    answer = await ask(await world.client("auditor"), await scene.principal(world, who), on, field)
    found = answer.data["accessDecision"]
    return found["allowed"], [(one["source"], one["gives"]) for one in found["reasons"]]


@pytest.mark.parametrize("who", PRINCIPALS)
async def test_what_is_said_of_a_field_is_what_they_get(world: World, api: Api, who: str) -> None:
    scene = await set_scene(world)
    client, owner = await scene.client(world, who), await world.client("owner")
    principal = await scene.principal(world, who)
    checked, allowed = 0, 0

    for on in scene.objects:
        selections = _selections(api, on.partition(":")[0])
        decisions = " ".join(
            f'{name}: accessDecision(principal: "{principal}", on: "{on}", field: "{name}") {{ allowed otherwise }}'
            for name in selections
        )
        said = (await owner.run(f"{{ {decisions} }}")).data
        readable = await _readable(client, on, selections)
        for name in selections:
            if readable[name] is not None:
                checked += 1
                allowed += said[name]["allowed"]
                assert said[name]["allowed"] == readable[name], (who, on, name)

    assert checked > 150
    assert allowed > 0


async def test_a_project_role_that_lacks_the_permission(world: World) -> None:
    scene = await set_scene(world)
    auditor = await world.client("auditor")

    answer = await ask(auditor, scene.stage.viewer, scene.stage.draft, "comment")

    assert answer.data["accessDecision"] == {
        "allowed": False,
        "permission": "record:read_confidential",
        "scope": scene.stage.project,
        "otherwise": "NULL_AND_ERROR",
        "reasons": [
            _reason("STANDING", True, "Person and membership are active."),
            _reason(
                "ORGANIZATION_ROLE",
                False,
                "Role MEMBER in the organization does not have record:read_confidential.",
                role="MEMBER",
            ),
            _reason(
                "PROJECT_ROLE",
                False,
                "Role VIEWER in this project does not have record:read_confidential.",
                role="VIEWER",
            ),
            _reason("VISIBILITY", True, "They see the object, by record:read."),
        ],
    }


async def test_a_role_in_the_organization_that_has_it(world: World) -> None:
    scene = await set_scene(world)

    found = await reasons_of(world, scene, "auditor", scene.stage.draft, "comment")

    assert found == (True, [("STANDING", True), ("ORGANIZATION_ROLE", True), ("VISIBILITY", True)])


async def test_a_pseudonym_in_the_place_of_a_name_is_said(world: World) -> None:
    scene = await set_scene(world)
    auditor = await world.client("auditor")

    denied = (await ask(auditor, scene.stage.viewer, scene.stage.draft, "collector")).data["accessDecision"]
    allowed = (await ask(auditor, scene.stage.auditor, scene.stage.draft, "collector")).data["accessDecision"]

    assert (denied["allowed"], denied["otherwise"]) == (False, "PSEUDONYM")
    assert (allowed["allowed"], allowed["otherwise"]) == (True, None)


async def test_what_every_member_may_comes_of_the_membership(world: World) -> None:
    scene = await set_scene(world)
    organization = f"Organization:{await world.organization_id('clearwater')}"

    allowed, reasons = await reasons_of(world, scene, "viewer", organization, "name")

    assert allowed
    assert ("MEMBERSHIP", True) in reasons


async def test_a_role_of_the_organizations_own_is_named_and_until_when(world: World) -> None:
    scene = await set_scene(world)
    auditor = await world.client("auditor")

    answer = await ask(auditor, scene.stage.person, scene.stage.draft, "siteCode")

    by_source = {one["source"]: one for one in answer.data["accessDecision"]["reasons"]}
    assert answer.data["accessDecision"]["allowed"]
    assert by_source["PROJECT_ROLE"]["role"] == "Technician"
    assert by_source["PROJECT_ROLE"]["customRoleId"] == scene.technician
    assert datetime.fromisoformat(by_source["PROJECT_ROLE"]["expiresAt"]) == datetime.fromisoformat(SOON)
    assert by_source["ORGANIZATION_ROLE"]["customRoleId"] == scene.registrar
    assert not by_source["ORGANIZATION_ROLE"]["gives"]


async def test_a_grant_that_has_expired_gives_nothing_and_is_shown(world: World) -> None:
    scene = await set_scene(world)
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))
    auditor = await world.client("auditor")

    found = (await ask(auditor, scene.stage.viewer, f"Record:{record}", "comment")).data["accessDecision"]

    assert not found["allowed"]
    expired = next(one for one in found["reasons"] if one["source"] == "PROJECT_ROLE")
    assert (expired["role"], expired["gives"]) == ("MANAGER", False)
    assert expired["says"] == "Role MANAGER in this project has record:read_confidential, but has expired."
    assert datetime.fromisoformat(expired["expiresAt"]) <= datetime.now(UTC)
    assert ("VISIBILITY", False) in [(one["source"], one["gives"]) for one in found["reasons"]]


async def test_ones_own_device(world: World) -> None:
    scene = await set_scene(world)

    mine = await reasons_of(world, scene, "member", scene.stage.device, "serialNumber")
    theirs = await reasons_of(world, scene, "collector", scene.stage.device, "serialNumber")

    assert mine == (True, [("STANDING", True), ("ORGANIZATION_ROLE", False), ("OWN", True), ("VISIBILITY", True)])
    assert theirs == (False, [("STANDING", True), ("ORGANIZATION_ROLE", False), ("VISIBILITY", False)])


async def test_ones_own_gives_no_more_than_that(world: World) -> None:
    scene = await set_scene(world)
    auditor = await world.client("auditor")

    answer = await ask(auditor, scene.stage.person, scene.stage.device, permission="DEVICE_BLOCK")

    found = answer.data["accessDecision"]
    assert not found["allowed"]
    assert ("OWN", False) in [(one["source"], one["gives"]) for one in found["reasons"]]


async def test_an_object_that_they_do_not_see(world: World) -> None:
    scene = await set_scene(world)
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))

    allowed, reasons = await reasons_of(world, scene, "collector", f"Record:{record}", "comment")

    assert not allowed
    assert reasons == [("STANDING", True), ("ORGANIZATION_ROLE", False), ("VISIBILITY", False)]


async def test_a_program_is_cut_to_the_permissions_of_its_token(world: World) -> None:
    scene = await set_scene(world)

    named = await reasons_of(world, scene, "wide program", scene.stage.draft, "comment")
    left_out = await reasons_of(world, scene, "wide program", scene.stage.draft, "collector")

    assert named[0]
    assert not left_out[0]
    assert ("ORGANIZATION_ROLE", True) in left_out[1]
    assert ("TOKEN_SCOPE", False) in left_out[1]


async def test_a_program_is_cut_to_the_projects_of_its_token(world: World) -> None:
    scene = await set_scene(world)
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))

    inside = await reasons_of(world, scene, "program", scene.stage.draft, "comment")
    outside = await reasons_of(world, scene, "program", f"Record:{record}", "comment")

    assert inside[0]
    assert [one for one in inside[1] if one[0] == "TOKEN_SCOPE"] == [("TOKEN_SCOPE", True), ("TOKEN_SCOPE", True)]
    assert not outside[0]
    assert [one for one in outside[1] if one[0] == "TOKEN_SCOPE"] == [("TOKEN_SCOPE", True), ("TOKEN_SCOPE", False)]
    assert ("VISIBILITY", False) in outside[1]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("membership", "set status = 'SUSPENDED' where id = $1"),
        (
            "user_account",
            "set status = 'SUSPENDED' where id = (select user_id from membership where membership.id = $1)",
        ),
    ],
)
async def test_who_is_suspended_may_nothing_whatever_their_roles(world: World, table: str, change: str) -> None:
    scene = await set_scene(world)
    reviewer = await world.client("reviewer")
    member_id = await world.member_id("reviewer")
    await _as_superuser(world, table, change, member_id)

    answer = await ask(await world.client("auditor"), f"User:{member_id}", scene.stage.draft, "comment")

    found = answer.data["accessDecision"]
    assert (await reviewer.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    assert not found["allowed"]
    assert [(one["source"], one["gives"]) for one in found["reasons"]] == [
        ("STANDING", False),
        ("ORGANIZATION_ROLE", False),
        ("PROJECT_ROLE", True),
        ("VISIBILITY", True),
    ]


@pytest.mark.parametrize(
    ("column", "said"), [("revoked_at", "The token was revoked."), ("expires_at", "The token has expired.")]
)
async def test_a_token_that_is_no_good_may_nothing(world: World, column: str, said: str) -> None:
    scene = await set_scene(world)
    client = await scene.client(world, "program")
    row_id = scene.programs["program"][0].partition(":")[2]
    await _as_superuser(world, "service_account", f"set {column} = now() where id = $1::uuid", row_id)

    answer = await ask(await world.client("auditor"), scene.programs["program"][0], scene.stage.draft, "comment")

    found = answer.data["accessDecision"]
    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    assert not found["allowed"]
    assert [one["says"] for one in found["reasons"] if not one["gives"]] == [said]


async def test_a_program_of_somebody_suspended_may_nothing(world: World) -> None:
    scene = await set_scene(world)
    await _as_superuser(world, "membership", "set status = 'SUSPENDED' where id = $1", await world.member_id("owner"))

    allowed, reasons = await reasons_of(world, scene, "program", scene.stage.draft, "comment")

    assert not allowed
    assert reasons[0] == ("STANDING", False)


@pytest.mark.parametrize("who", ["manager", "reviewer", "collector", "viewer", "member", "program", "other-owner"])
async def test_who_may_not_ask_is_told_nothing(world: World, who: str) -> None:
    scene = await set_scene(world)
    client = await scene.client(world, who)

    answer = await ask(client, scene.stage.viewer, scene.stage.draft, "comment")

    assert answer.body["data"] == {"accessDecision": None}
    assert answer.codes == ["NOT_FOUND" if who == "other-owner" else "FORBIDDEN"]
    assert "VIEWER" not in answer.text


async def test_nobody_is_told_nothing(world: World) -> None:
    scene = await set_scene(world)

    answer = await ask(world.anonymous, scene.stage.viewer, scene.stage.draft, "comment")

    assert answer.body["data"] == {"accessDecision": None}
    assert answer.codes == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("kind", ["principal", "on"])
async def test_what_is_another_tenants_is_not_told_from_what_is_not(world: World, kind: str) -> None:
    scene = await set_scene(world)
    asked = {"principal": scene.stage.viewer, "on": scene.stage.draft, "field": "comment"}
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("LAKES"))
    foreign = {"principal": f"User:{await world.member_id('other-owner')}", "on": f"Record:{record}"}
    unused = {"principal": f"User:{uuid4()}", "on": f"Record:{uuid4()}"}
    client = await world.client("owner")

    theirs = await client.run(DECISION, {**asked, kind: foreign[kind]})
    nobodys = await client.run(DECISION, {**asked, kind: unused[kind]})

    assert theirs.codes == ["NOT_FOUND"]
    assert theirs.errors[0]["extensions"]["field"] == [kind]
    assert theirs.body == nobodys.body


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"field": "colour"}, "field"),
        ({"field": ""}, "field"),
        ({"field": "site_code"}, "field"),
        ({"field": "creationDigest"}, "field"),
        ({"field": "__typename"}, "field"),
        ({"field": None}, "field"),
        ({"permission": "RECORD_READ"}, "field"),
        ({"on": "Viewer:018f0000-0000-7000-8000-000000000000"}, "on"),
        ({"on": "Session:018f0000-0000-7000-8000-000000000000"}, "on"),
        ({"on": "Change:018f0000-0000-7000-8000-000000000000", "field": "operation"}, "on"),
        ({"on": "__Type:018f0000-0000-7000-8000-000000000000"}, "on"),
        ({"on": "Record:1"}, "on"),
        ({"on": "018f0000-0000-7000-8000-000000000000"}, "on"),
        ({"on": ""}, "on"),
        ({"principal": "Record:018f0000-0000-7000-8000-000000000000"}, "principal"),
        ({"principal": "viewer@clearwater.example"}, "principal"),
        ({"principal": ""}, "principal"),
    ],
)
async def test_what_can_not_be_asked_names_its_argument(world: World, changed: dict[str, Any], field: str) -> None:
    scene = await set_scene(world)
    asked = {"principal": scene.stage.viewer, "on": scene.stage.draft, "field": "comment"}

    answer = await (await world.client("admin")).run(DECISION, {**asked, **changed})

    assert answer.body["data"] == {"accessDecision": None}
    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == [field]


async def test_who_may_ask_and_see_little_is_explained_little(world: World) -> None:
    scene, owner = await set_scene(world), await world.client("owner")
    asks = await _role(owner, "Asks", "ORGANIZATION", ["ACCESS_READ"])
    collector = f"User:{await world.member_id('collector')}"
    await _done(owner, "assignOrganizationRole", {"userId": collector, "customRoleId": asks})
    client = await world.client("collector")
    record = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))

    mine = await ask(client, collector, scene.stage.draft, "comment")
    of_another = await ask(client, scene.stage.viewer, scene.stage.draft, "comment")
    unseen = await ask(client, collector, f"Record:{record}", "comment")

    assert mine.data["accessDecision"]["allowed"]
    assert (of_another.codes, of_another.errors[0]["extensions"]["field"]) == (["NOT_FOUND"], ["principal"])
    assert (unseen.codes, unseen.errors[0]["extensions"]["field"]) == (["NOT_FOUND"], ["on"])


async def test_an_explanation_holds_no_value_and_is_no_reading(world: World) -> None:
    scene = await set_scene(world)
    auditor, since = await world.client("auditor"), await world.now()
    before = await world.fingerprint()

    texts = [
        (await ask(auditor, scene.stage.auditor, scene.stage.draft, field)).text
        for field in ("comment", "collector", "siteCode")
    ]
    texts.append((await ask(auditor, scene.stage.auditor, scene.stage.person, "name")).text)

    for text in texts:
        for value in ("First thoughts.", "Cleo Cole", "W-1", "Mina Moss"):
            assert value not in text
    assert await world.entries(since=since, kinds=["READ"]) == []
    assert await world.fingerprint() == before


def _reason(source: str, gives: bool, says: str, **more: Any) -> dict[str, Any]:
    return {
        "source": source,
        "gives": gives,
        "says": says,
        "role": None,
        "customRoleId": None,
        "expiresAt": None,
    } | more


def _selections(api: Api, type_name: str) -> dict[str, str]:
    """Return how each field of the type is asked for that takes no argument."""
    parent = api._schema.type_map[type_name]
    assert isinstance(parent, GraphQLObjectType)
    return {
        name: name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"
        for name, field in parent.fields.items()
        if not any(is_required_argument(one) for one in field.args.values())
    }


async def _readable(client: Client, on: str, selections: dict[str, str]) -> dict[str, bool | None]:
    """Return which fields the client reads, by asking for them; None where a masked value is null and does not tell."""
    answer = await client.run(
        f'{{ node(id: "{on}") {{ ... on {on.partition(":")[0]} {{ {" ".join(selections.values())} }} }} }}'
    )
    node = answer.body["data"]["node"]
    if node is None:
        return dict.fromkeys(selections, False)
    assert set(answer.codes) <= {"FORBIDDEN"}
    refused = {error["path"][1] for error in answer.errors}
    found: dict[str, bool | None] = {}
    for name in selections:
        is_masked = isinstance(node[name], str) and node[name].startswith("person-")
        found[name] = None if name == "collector" and node[name] is None else name not in refused and not is_masked
    return found


async def _objects(owner: Client, stage: Stage, parks: str) -> tuple[str, ...]:
    query = """
    query($parks: ID!) {
      projects(first: 5) { nodes { members(first: 10) { nodes { id user { id } } } } }
      records(first: 1, filter: {projectId: {eq: $parks}}) { nodes { id measurements { id } } }
      devices(first: 10) { nodes { id } }
      auditEntries(first: 2) { nodes { id } }
      serviceAccounts { nodes { id } }
      organization { id }
      viewer { user { id } }
    }
    """
    data = (await owner.run(query, {"parks": parks})).data
    members = [one for project in data["projects"]["nodes"] for one in project["members"]["nodes"]]
    record = data["records"]["nodes"][0]
    return (
        stage.project,
        parks,
        stage.draft,
        stage.submitted,
        record["id"],
        record["measurements"][0]["id"],
        *(one["id"] for one in members if one["user"]["id"] in {stage.person, stage.viewer}),
        *(one["id"] for one in data["devices"]["nodes"]),
        *(one["id"] for one in data["auditEntries"]["nodes"]),
        data["serviceAccounts"]["nodes"][0]["id"],
        data["organization"]["id"],
        data["viewer"]["user"]["id"],
        stage.person,
        stage.role,
    )


async def _role(owner: Client, name: str, level: str, permissions: list[str]) -> str:
    made = await _done(owner, "createRole", {"name": name, "level": level, "permissions": permissions}, "role { id }")
    return str(made["role"]["id"])


async def _program(owner: Client, projects: list[str] | None) -> tuple[str, str]:
    given = {
        "name": "Reads",
        "permissions": ["PROJECT_READ", "RECORD_READ", "RECORD_READ_CONFIDENTIAL"],
        "projectIds": projects,
        "expiresAt": SOON,
    }
    made = await _done(owner, "createServiceAccount", given, "token serviceAccount { id }")
    return made["serviceAccount"]["id"], made["token"]


async def _done(client: Client, name: str, given: dict[str, Any], shown: str = "") -> Any:
    answer = await mutate(client, name, {**given, "reason": "Set up."}, shown)
    assert answer.data[name]["errors"] == [], answer.data
    return answer.data[name]


async def _as_superuser(world: World, table: str, change: str, *arguments: Any) -> None:
    await world.sql(f"alter table {table} disable trigger all")
    try:
        await world.sql(f"update {table} {change}", *arguments)
    finally:
        await world.sql(f"alter table {table} enable trigger all")
