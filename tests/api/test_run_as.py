"""Looking as another: never more than both may see, nothing changed, and each request in the trail with both names."""

from typing import Any

import pytest
from graphql import build_client_schema, get_introspection_query, lexicographic_sort_schema, print_schema

from schema.api import Api
from tests.api.test_mutation_audit import CASES
from tests.support.mutation import mutate, prepare
from tests.support.scene import Looking, create_role, done, readable, selections, set_scene
from tests.support.world import SIGN_IN, World

INTROSPECTION = get_introspection_query()
LOOK = "{ viewer { role user { name } } records(first: 100) { nodes { id comment collector } } }"
EVERYTHING = """
query($until: DateTime) {
  viewer {
    role customRole { name } user { id name email } permissions
    projectRoles { role expiresAt customRole { name } project { code } }
  }
  organization { name slug viewerCan { readableFields } }
  projects(first: 50) {
    totalCount
    nodes {
      id code name description status viewerCan { readableFields }
      members(first: 50) { totalCount nodes { id role expiresAt user { id name } customRole { name } } }
    }
  }
  records(first: 200) {
    totalCount
    nodes {
      id siteCode siteName latitude longitude collectedAt receivedAt medium activityType method collector comment
      status reviewedAt reviewReason createdAt version viewerCan { readableFields }
      project { id code } device { id model } createdBy { id name } reviewedBy { id name }
      measurements { characteristic value unit comment sourceRow }
    }
  }
  recordGroups(by: [STATUS]) { count }
  devices(first: 50) { totalCount nodes { id model serialNumber blockReason user { id name } } }
  users(first: 50) { totalCount nodes { id name email role roleExpiresAt status customRole { name } } }
  roles(first: 50) { totalCount nodes { id name permissions } }
  serviceAccounts(first: 50) { totalCount nodes { id name permissions } }
  auditEntries(first: 200, filter: {at: {lt: $until}}) {
    totalCount nodes { id action user { name } ipAddress userAgent reason clientName }
  }
}
"""


async def looking(world: World, who: str, acting_as: str) -> Looking:
    """Return a client of somebody who looks as another."""
    return Looking(await world.client(who), acting_as)


async def test_an_owner_sees_what_a_role_in_a_project_sees(world: World) -> None:
    project = await world.project_id("CANAL")
    owner = await looking(world, "owner", f"VIEWER@Project:{project}")

    answer = await owner.run(LOOK)
    seen = await (await world.client("viewer")).run(LOOK)

    assert answer.body["data"]["records"] == seen.body["data"]["records"]
    assert answer.codes == ["FORBIDDEN"]
    assert all(one["comment"] is None for one in answer.body["data"]["records"]["nodes"])
    assert answer.body["data"]["viewer"] == {"role": "MEMBER", "user": {"name": "Olive Owens"}}
    assert answer.body["extensions"] == {"runAs": {"as": f"VIEWER@Project:{project}", "readOnly": True}}


@pytest.mark.parametrize("who", ["admin", "auditor", "manager", "reviewer", "collector", "viewer", "member"])
async def test_an_owner_sees_exactly_what_a_person_sees(world: World, who: str) -> None:
    scene = await set_scene(world)
    themselves = await scene.client(world, who)
    owner = await looking(world, "owner", await scene.principal(world, who))
    until = {"until": (await world.now()).isoformat()}

    answer = await owner.run(EVERYTHING, until)
    theirs = await themselves.run(EVERYTHING, until)

    assert answer.body["data"] == theirs.body["data"]
    assert answer.errors == theirs.errors
    assert theirs.body["data"]["viewer"]["user"]


@pytest.mark.parametrize(
    ("acting_as", "who"),
    [("AUDITOR", "auditor"), ("ADMIN", "admin"), ("MEMBER", "other-owner")],
)
async def test_a_role_in_the_organization_sees_what_who_has_it_sees(world: World, acting_as: str, who: str) -> None:
    until = {"until": (await world.now()).isoformat()}
    lists = ["records", "devices", "serviceAccounts", "auditEntries", "projects", "users"]

    answer = await (await looking(world, "owner", acting_as)).run(EVERYTHING, until)
    theirs = await (await world.client(who)).run(EVERYTHING, until)

    if acting_as == "MEMBER":
        assert [answer.body["data"][name]["totalCount"] for name in lists] == [0, 0, 0, 0, 0, 1]
    else:
        assert {name: answer.body["data"][name] for name in lists} == {
            name: theirs.body["data"][name] for name in lists
        }


@pytest.mark.parametrize("target", ["owner", "OWNER", "auditor", "AUDITOR", "manager", "member", "ADMIN"])
@pytest.mark.parametrize("who", ["admin", "collector"])
async def test_nobody_sees_more_than_both_may(world: World, api: Api, who: str, target: str) -> None:
    scene, owner = await set_scene(world), await world.client("owner")
    if who == "collector":
        looks = await create_role(owner, "Looks", "ORGANIZATION", ["ACCESS_READ", "ACCESS_RUN_AS", "MEMBERSHIP_READ"])
        person = await scene.principal(world, who)
        await done(owner, "assignOrganizationRole", {"userId": person, "customRoleId": looks})
    themselves = await world.client(who)
    acting_as = target if target.isupper() else await scene.principal(world, target)
    looks_as = Looking(themselves, acting_as)
    holds_it = await world.client(target.lower())
    shown = 0

    for on in scene.objects:
        fields = selections(api, on.partition(":")[0])
        both, mine, theirs = [await readable(one, on, fields) for one in (looks_as, themselves, holds_it)]
        for name in fields:
            shown += bool(both[name])
            if both[name] and not (target.isupper() and on.startswith(("Device", "User", "ProjectMember"))):
                assert theirs[name] is not False, (on, name)
            assert not both[name] or mine[name] is not False, (on, name)

    assert shown > 0


@pytest.mark.parametrize("acting_as", ["OWNER", "AUDITOR"])
async def test_an_admin_reads_no_address_of_the_trail_as_anybody(world: World, acting_as: str) -> None:
    query = "{ auditEntries(first: 5) { nodes { action ipAddress userAgent } } }"
    assert any(
        one["ipAddress"] for one in (await (await world.client("auditor")).run(query)).data["auditEntries"]["nodes"]
    )

    answer = await (await looking(world, "admin", acting_as)).run(query)

    nodes = answer.body["data"]["auditEntries"]["nodes"]
    assert nodes
    assert all(one["action"] and one["ipAddress"] is None and one["userAgent"] is None for one in nodes)
    assert answer.codes == ["FORBIDDEN", "FORBIDDEN"]


async def test_a_role_of_the_organizations_own_is_looked_as(world: World) -> None:
    scene = await set_scene(world)
    acting_as = f"{scene.technician}@{scene.stage.project}"
    parks = await world.value("select id from record where project_id = $1 limit 1", await world.project_id("PARKS"))

    in_project = await (await looking(world, "admin", acting_as)).run(
        """
        query($here: ID!, $there: ID!) {
          record(id: $here) { siteCode comment }
          there: record(id: $there) { siteCode }
        }
        """,
        {"here": scene.stage.draft, "there": str(parks)},
    )
    everywhere = await (await looking(world, "admin", scene.registrar)).run(
        "{ devices(first: 9) { nodes { model serialNumber } } users { totalCount } records { totalCount } }"
    )

    assert in_project.body["data"] == {"record": {"siteCode": "W-1", "comment": None}, "there": None}
    assert in_project.codes == ["FORBIDDEN"]
    devices = everywhere.body["data"]["devices"]["nodes"]
    assert len(devices) == 3
    assert all(one["model"] and one["serialNumber"] is None for one in devices)
    assert everywhere.body["data"]["users"]["totalCount"] > 5
    assert everywhere.body["data"]["records"]["totalCount"] == 0


@pytest.mark.parametrize("name", [*CASES, "signOut"])
async def test_nothing_is_changed_as_another(world: World, name: str) -> None:
    stage = await prepare(world)
    given = CASES[name][1](stage) if name in CASES else {}
    owner, manager = await world.client("owner"), await world.member_id("manager")
    before, since = await world.fingerprint(), await world.now()

    for acting_as in ("OWNER", f"User:{manager}"):
        answer = await mutate(Looking(owner, acting_as), name, given)
        assert [one["code"] for one in answer.data[name]["errors"]] == ["FORBIDDEN"], name

    assert await world.fingerprint() == before
    assert await world.entries(since=since, kinds=["CHANGE"]) == []


async def test_nobody_is_signed_in_or_refreshed_as_another(world: World) -> None:
    owner = await looking(world, "owner", "AUDITOR")
    email = "viewer@clearwater.example"
    tokens = (await world.sign_in("viewer")).data["signIn"]
    before, since = await world.fingerprint(), await world.now()

    signed_in = await owner.run(SIGN_IN, {"input": {"email": email, "password": world.passwords[email]}})
    refreshed = await mutate(owner, "refreshSession", {"refreshToken": tokens["refreshToken"]}, "accessToken")

    assert signed_in.data["signIn"]["accessToken"] is None
    assert [one["code"] for one in signed_in.data["signIn"]["errors"]] == ["FORBIDDEN"]
    assert refreshed.data["refreshSession"]["accessToken"] is None
    assert [one["code"] for one in refreshed.data["refreshSession"]["errors"]] == ["FORBIDDEN"]
    assert await world.fingerprint() == before
    assert await world.entries(since=since, kinds=["CHANGE"]) == []


async def test_each_request_is_an_entry_with_both_names(world: World) -> None:
    manager = await world.member_id("manager")
    owner, admin = await world.client("owner"), await looking(world, "admin", f"User:{manager}")
    since = await world.now()

    for _ in range(2):
        await admin.run("query Peek { viewer { role } }", operationName="Peek")

    entries = await world.entries(since=since, kinds=["READ"])
    assert [(one["action"], one["outcome"], one["acting_as"]) for one in entries] == [
        ("access.run_as", "DONE", f"User:{manager}")
    ] * 2
    assert {one["membership_id"] for one in entries} == {await world.member_id("admin")}
    assert [one["entity_ids"] for one in entries] == [[manager]] * 2
    assert all(one["session_id"] for one in entries)
    shown = await owner.run(
        '{ auditEntries(first: 2, filter: {action: {eq: "access.run_as"}}) { nodes { actingAs user { name } } } }'
    )
    assert shown.data["auditEntries"]["nodes"] == [{"actingAs": f"User:{manager}", "user": {"name": "Adam Adler"}}] * 2


async def test_what_is_read_as_another_is_read_by_the_person_who_looks(world: World) -> None:
    stage = await prepare(world)
    admin = await looking(world, "admin", f"COLLECTOR@{stage.project}")
    since = await world.now()

    answer = await admin.run("query($id: ID!) { record(id: $id) { comment } }", {"id": stage.draft})

    assert answer.data == {"record": {"comment": "First thoughts."}}
    run_as, read = await world.entries(since=since, kinds=["READ"])
    assert (run_as["action"], read["action"], read["field"]) == ("access.run_as", "field.read", "comment")
    assert read["membership_id"] == await world.member_id("admin")
    assert read["acting_as"] == f"COLLECTOR@{stage.project}"
    assert [f"Record:{one}" for one in read["entity_ids"]] == [stage.draft]


async def test_what_is_read_as_oneself_says_nothing_of_another(world: World) -> None:
    stage, admin = await prepare(world), await world.client("admin")
    since = await world.now()

    answer = await admin.run("query($id: ID!) { record(id: $id) { comment } }", {"id": stage.draft})

    assert "extensions" not in answer.body
    assert [one["acting_as"] for one in await world.entries(since=since, kinds=["READ"])] == [None]


@pytest.mark.parametrize("who", ["auditor", "manager", "viewer", "member"])
async def test_introspection_shows_what_it_shows_them(world: World, who: str) -> None:
    owner = await looking(world, "owner", f"User:{await world.member_id(who)}")

    shown = await owner.run(INTROSPECTION)
    theirs = await (await world.client(who)).run(INTROSPECTION)
    own = await (await world.client("owner")).run(INTROSPECTION)

    assert _printed(shown.data) == _printed(theirs.data)
    assert _printed(shown.data) != _printed(own.data)


async def test_a_cursor_of_ones_own_list_is_none_of_anothers(world: World) -> None:
    page = "query($after: String) { records(first: 3, after: $after) { nodes { id } pageInfo { endCursor } } }"
    owner = await world.client("owner")
    cursor = (await owner.run(page)).data["records"]["pageInfo"]["endCursor"]
    looks = await looking(world, "owner", f"User:{await world.member_id('viewer')}")
    theirs = (await looks.run(page)).data["records"]["pageInfo"]["endCursor"]

    forwards = await looks.run(page, {"after": cursor})
    backwards = await owner.run(page, {"after": theirs})

    assert forwards.codes == backwards.codes == ["INVALID_INPUT"]
    assert forwards.body["data"] == backwards.body["data"] == {"records": None}


async def test_a_cursor_leads_a_role_to_no_row_that_it_does_not_see(world: World) -> None:
    page = "query($after: String) { records(first: 50, after: $after) { nodes { id } pageInfo { endCursor } } }"
    cursor = (await (await world.client("owner")).run(page.replace("50", "3"))).data["records"]["pageInfo"]["endCursor"]
    looks = await looking(world, "owner", f"VIEWER@Project:{await world.project_id('PARKS')}")
    whole = [one["id"] for one in (await looks.run(page)).data["records"]["nodes"]]

    rest = [one["id"] for one in (await looks.run(page, {"after": cursor})).data["records"]["nodes"]]

    assert rest == whole[len(whole) - len(rest) :]


async def test_what_the_viewer_can_is_what_the_other_can_and_changes_nothing(world: World) -> None:
    query = """
    { viewer { runsAs: can(permission: ACCESS_RUN_AS) reads: can(permission: AUDIT_READ) }
      organization { viewerCan { createProject defineRole readableFields } } }
    """

    answer = await (await looking(world, "owner", "AUDITOR")).run(query)

    assert answer.data["viewer"] == {"runsAs": False, "reads": True}
    assert answer.data["organization"]["viewerCan"]["createProject"] is False
    assert answer.data["organization"]["viewerCan"]["defineRole"] is False
    assert "name" in answer.data["organization"]["viewerCan"]["readableFields"]


def _printed(data: Any) -> str:
    return print_schema(lexicographic_sort_schema(build_client_schema(data)))
