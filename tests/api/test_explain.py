"""Why somebody may or may not: the explanation is what that somebody really gets, and tells nothing else."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from schema.api import Api
from tests.support.scene import SOON, Scene, as_superuser, create_role, done, readable, selections, set_scene
from tests.support.world import Answer, Client, World

DECISION = """
query($principal: ID!, $on: ID!, $field: String, $permission: Permission) {
  accessDecision(principal: $principal, on: $on, field: $field, permission: $permission) {
    allowed permission scope otherwise reasons { source gives says role customRoleId expiresAt }
  }
}
"""
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
        fields = selections(api, on.partition(":")[0])
        decisions = " ".join(
            f'{name}: accessDecision(principal: "{principal}", on: "{on}", field: "{name}") {{ allowed otherwise }}'
            for name in fields
        )
        said = (await owner.run(f"{{ {decisions} }}")).data
        got = await readable(client, on, fields)
        for name in fields:
            if got[name] is not None:
                checked += 1
                allowed += said[name]["allowed"]
                assert said[name]["allowed"] == got[name], (who, on, name)

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
    await as_superuser(world, table, change, member_id)

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
    await as_superuser(world, "service_account", f"set {column} = now() where id = $1::uuid", row_id)

    answer = await ask(await world.client("auditor"), scene.programs["program"][0], scene.stage.draft, "comment")

    found = answer.data["accessDecision"]
    assert (await client.run("{ viewer { role } }")).codes == ["UNAUTHENTICATED"]
    assert not found["allowed"]
    assert [one["says"] for one in found["reasons"] if not one["gives"]] == [said]


async def test_a_program_of_somebody_suspended_may_nothing(world: World) -> None:
    scene = await set_scene(world)
    await as_superuser(world, "membership", "set status = 'SUSPENDED' where id = $1", await world.member_id("owner"))

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
        ({"on": "Challenge:018f0000-0000-7000-8000-000000000000"}, "on"),
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
    asks = await create_role(owner, "Asks", "ORGANIZATION", ["ACCESS_READ"])
    collector = f"User:{await world.member_id('collector')}"
    await done(owner, "assignOrganizationRole", {"userId": collector, "customRoleId": asks})
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
