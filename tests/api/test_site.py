"""Sites: who sees, makes, changes and deletes them, where they are, and how records lead to them."""

from typing import Any
from uuid import UUID

import pytest

from auth.permission import Permission as P
from models.base import new_id
from resolvers.location_rewrite import LocationRewrite
from tests.support.access import person_with
from tests.support.location import CELL, DIGITS, EXACT, declare, make_sensitive, rewrite, told_where
from tests.support.mutation import mutate
from tests.support.world import Client, World

SHOWN = """
  id code name kind latitude longitude locationIsCoarse exactLocation { latitude longitude } description version
  project { code } viewerCan { update delete readableFields }
"""
SITES = (
    "query($filter: SiteFilter, $orderBy: [SiteOrder!]) { sites(filter: $filter, orderBy: $orderBy)"
    " { totalCount nodes { code name } } }"
)
GIVEN = {"code": "WELL-1", "name": "Well at the gate", "kind": "Well", "description": "Ask for the key.", **EXACT}
REASON = "It was filled in."


async def create(world: World, who: str = "manager", *, project: str = "CANAL", **more: Any) -> dict[str, Any]:
    """Ask for a site, and return the payload."""
    given = {**GIVEN, "projectId": f"Project:{await world.project_id(project)}", **more}
    answer = await mutate(await world.client(who), "createSite", given, f"site {{ {SHOWN} }}")
    payload: dict[str, Any] = answer.data["createSite"]
    return payload


async def a_site(world: World, **more: Any) -> dict[str, Any]:
    """Make a site, and return it as its maker is shown it."""
    payload = await create(world, **more)
    assert payload["errors"] == [], payload
    site: dict[str, Any] = payload["site"]
    return site


async def ask(client: Client, site: str) -> Any:
    """Ask for a site."""
    return (await client.run(f"query($id: ID!) {{ site(id: $id) {{ {SHOWN} }} }}", {"id": site})).body["data"]["site"]


async def change(world: World, who: str, site: str, version: int = 1, **given: Any) -> Any:
    """Change a site, and return the payload."""
    given = {"id": site, "expectedVersion": version, **given}
    answer = await mutate(await world.client(who), "updateSite", given, f"site {{ {SHOWN} }}")
    return answer.body["data"]["updateSite"]


def codes(payload: Any) -> list[str]:
    """Return the codes of a payload's errors."""
    return [error["code"] for error in payload["errors"]]


async def test_a_site_is_made_read_changed_and_deleted_with_its_entries(world: World) -> None:
    made = await a_site(world)
    assert {name: made[name] for name in GIVEN} == GIVEN
    assert (made["version"], made["locationIsCoarse"], made["exactLocation"]) == (1, False, None)
    assert made["project"] == {"code": "CANAL"}

    changed = await change(world, "manager", made["id"], name="The well", description=None, latitude=51.5)
    assert changed["errors"] == []
    assert changed["site"]["name"] == "The well"
    assert (changed["site"]["description"], changed["site"]["latitude"], changed["site"]["version"]) == (None, 51.5, 2)
    assert codes(await change(world, "manager", made["id"], 1, name="Late")) == ["CONFLICT"]

    client = await world.client("manager")
    given = {"id": made["id"], "expectedVersion": 2, "reason": REASON}
    deleted = (await mutate(client, "deleteSite", given, "deletedId")).data["deleteSite"]
    assert deleted == {"deletedId": made["id"], "errors": []}
    assert await ask(client, made["id"]) is None
    told = await world.sql(
        "select e.action, c.operation from change c join audit_entry e on e.id = c.entry_id where c.entity_id = $1"
        " order by c.id",
        UUID(made["id"].partition(":")[2]),
    )
    assert [tuple(row) for row in told] == [
        ("site.create", "INSERT"),
        ("site.update", "UPDATE"),
        ("site.delete", "DELETE"),
    ]


@pytest.mark.parametrize(
    ("who", "may", "sees"),
    [
        ("owner", True, True),
        ("admin", True, True),
        ("manager", True, True),
        ("auditor", False, True),
        ("reviewer", False, True),
        ("collector", False, True),
        ("viewer", False, True),
        ("member", False, False),
        ("other-owner", False, False),
    ],
)
async def test_who_may_do_what_with_a_site(world: World, who: str, may: bool, sees: bool) -> None:
    site = await a_site(world)
    client = await world.client(who)
    entries = await world.value("select count(*) from audit_entry where kind = 'ATTEMPT' and action like 'site.%'")

    shown = await ask(client, site["id"])
    made = await create(world, who, code="WELL-2")
    changed = await change(world, who, site["id"], name="Mine")
    gone = (
        await mutate(client, "deleteSite", {"id": site["id"], "expectedVersion": 2, "reason": REASON}, "deletedId")
    ).data["deleteSite"]

    assert (shown is not None) is sees
    if sees:
        assert (shown["viewerCan"]["update"], shown["viewerCan"]["delete"]) == (may, may)
    refused = [] if may else ["FORBIDDEN"] if sees else ["NOT_FOUND"]
    assert [codes(one) for one in (made, changed, gone)] == [refused] * 3
    after = await world.value("select count(*) from audit_entry where kind = 'ATTEMPT' and action like 'site.%'")
    assert after - entries == (0 if may else 3)
    left = await world.value("select count(*) from site where code in ('WELL-1', 'WELL-2')")
    assert left == 1


async def test_who_is_not_signed_in_has_no_sites(world: World) -> None:
    site = await a_site(world)

    answers = [
        await world.anonymous.run(SITES),
        await world.anonymous.run("query($id: ID!) { site(id: $id) { code } }", {"id": site["id"]}),
    ]

    assert [answer.codes for answer in answers] == [["UNAUTHENTICATED"]] * 2
    assert not any("WELL-1" in answer.text for answer in answers)


async def test_sites_are_listed_filtered_and_ordered_where_they_are_seen(world: World) -> None:
    for code, name, kind in (("A-1", "Zulu", "Well"), ("A-2", "Yankee", "Lake"), ("B-1", "X-ray", None)):
        await a_site(world, code=code, name=name, kind=kind)
    await a_site(world, who="owner", project="PARKS", code="A-1", name="Other")
    owner, viewer = await world.client("owner"), await world.client("viewer")

    async def names(client: Client, **variables: Any) -> list[str]:
        page = (await client.run(SITES, variables)).data["sites"]
        assert page["totalCount"] == len(page["nodes"])
        return [node["name"] for node in page["nodes"]]

    assert await names(viewer) == ["Zulu", "Yankee", "X-ray"]
    assert sorted(await names(owner)) == ["Other", "X-ray", "Yankee", "Zulu"]
    assert await names(viewer, filter={"code": {"startsWith": "A-"}}) == ["Zulu", "Yankee"]
    assert await names(viewer, filter={"kind": {"eq": None}}) == ["X-ray"]
    assert await names(viewer, filter={"kind": {"in": ["Lake", "Spring"]}}) == ["Yankee"]
    ids = {
        node["name"]: node["id"] for node in (await owner.run("{ sites { nodes { id name } } }")).data["sites"]["nodes"]
    }
    assert await names(viewer, filter={"id": {"in": [ids["X-ray"], ids["Other"]]}}) == ["X-ray"]
    assert await names(viewer, filter={"id": {"notIn": [ids["X-ray"]]}}) == ["Zulu", "Yankee"]
    no_site = await viewer.run(SITES, {"filter": {"id": {"eq": f"Project:{await world.project_id('CANAL')}"}}})
    assert no_site.codes == ["INVALID_INPUT"]
    assert await names(viewer, orderBy={"field": "NAME", "direction": "DESC"}) == ["Zulu", "Yankee", "X-ray"]
    project = await viewer.run("{ projects { nodes { code sites(first: 2) { totalCount nodes { code } } } } }")
    assert project.data["projects"]["nodes"] == [
        {"code": "CANAL", "sites": {"totalCount": 3, "nodes": [{"code": "A-1"}, {"code": "A-2"}]}}
    ]


async def test_a_code_is_one_of_its_kind_in_its_project(world: World) -> None:
    await a_site(world)
    other = await a_site(world, code="WELL-2")

    assert codes(await create(world)) == ["CONFLICT"]
    assert codes(await change(world, "manager", other["id"], code="WELL-1")) == ["CONFLICT"]
    assert codes(await create(world, who="owner", project="PARKS")) == []


async def test_the_same_id_with_the_same_content_is_the_same_site(world: World) -> None:
    given = {"id": str(new_id())}
    first = await a_site(world, **given)

    assert (await a_site(world, **given))["id"] == first["id"]
    assert codes(await create(world, **given, name="Another")) == ["CONFLICT"]
    assert await world.value("select count(*) from site") == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"code": " "}, "code"),
        ({"name": ""}, "name"),
        ({"latitude": 90.5}, "latitude"),
        ({"longitude": -180.1}, "longitude"),
        ({"latitude": None}, "latitude"),
        ({"kind": "x" * 46}, "kind"),
        ({"description": "x" * 4001}, "description"),
        ({"id": "01890000-0000-4000-8000-000000000000"}, "id"),
    ],
)
async def test_what_does_not_fit_is_refused_with_its_field(world: World, given: dict[str, Any], field: str) -> None:
    payload = await create(world, **given)

    assert codes(payload) == ["INVALID_INPUT"]
    assert payload["errors"][0]["field"] == ["input", field]
    assert await world.value("select count(*) from site") == 0


async def test_an_archived_project_takes_no_changes_of_its_sites(world: World) -> None:
    site = await a_site(world)
    project = await world.project_id("CANAL")
    given = {"id": f"Project:{project}", "expectedVersion": 1, "reason": "Done."}
    await mutate(await world.client("owner"), "archiveProject", given, "project { id }")

    assert codes(await create(world, code="WELL-2")) == ["CONFLICT"]
    assert codes(await change(world, "manager", site["id"], name="New")) == ["CONFLICT"]


# ---------------------------------------------------------------- sensitive places


async def test_a_sensitive_site_is_shown_by_its_cell_and_exactly_to_who_reads_secrets(world: World) -> None:
    await make_sensitive(world)
    site = await a_site(world)

    assert {name: site[name] for name in CELL} == CELL
    assert (site["locationIsCoarse"], site["exactLocation"]) == (True, EXACT)
    assert await told_where(world, *DIGITS) == {}
    for who in ("owner", "auditor", "reviewer", "collector"):
        assert (await ask(await world.client(who), site["id"]))["exactLocation"] == EXACT
    query = "query($id: ID!) { site(id: $id) { latitude exactLocation { latitude } } }"
    answer = await (await world.client("viewer")).run(query, {"id": site["id"]})
    assert answer.codes == ["FORBIDDEN"]
    assert answer.errors[0]["extensions"]["permission"] == "site:read_confidential"
    assert answer.body["data"]["site"] == {"latitude": CELL["latitude"], "exactLocation": None}
    assert not any(digits in answer.text for digits in DIGITS)
    assert await world.value(
        "select count(*) from audit_entry where kind = 'READ' and entity = 'site' and $1 = any(entity_ids)",
        UUID(site["id"].partition(":")[2]),
    )


async def test_sites_are_rewritten_when_their_project_becomes_sensitive_and_back(world: World) -> None:
    sites = [await a_site(world, code=f"W-{number}") for number in range(5)]
    assert await declare(world) == []

    # Before they are rewritten, nobody is told where they are, nor finds them by it.
    viewer = await world.client("viewer")
    hidden = await ask(viewer, sites[0]["id"])
    assert (hidden["latitude"], hidden["longitude"]) == (None, None)
    found = await viewer.run(SITES, {"filter": {"latitude": {"gte": 51.4787, "lt": 51.4788}}})
    assert found.data["sites"] == {"totalCount": 0, "nodes": []}

    await rewrite(world, batch=2)
    shown = await ask(await world.client("collector"), sites[4]["id"])
    assert (shown["latitude"], shown["exactLocation"], shown["version"]) == (CELL["latitude"], EXACT, 1)
    assert await world.value("select bool_and(location_is_coarse) from site")
    assert not await world.value("select locations_rewriting from project where code = 'CANAL'")

    assert await declare(world, sensitive=False) == []
    await rewrite(world, batch=2)
    shown = await ask(viewer, sites[2]["id"])
    assert (shown["latitude"], shown["longitude"], shown["exactLocation"]) == (*EXACT.values(), None)


async def test_a_rewrite_that_was_interrupted_between_the_tables_goes_on(world: World) -> None:
    await a_site(world)
    await declare(world)
    organization = await world.organization_id("clearwater")
    await LocationRewrite(batch=10).step(organization)

    assert await world.value("select count(*) from site where location_is_coarse") == 0
    await rewrite(world)
    assert await world.value("select count(*) from site where location_is_coarse") == 1


async def test_only_who_reads_a_sensitive_place_replaces_it_or_takes_the_secret_away(world: World) -> None:
    site = await a_site(world)
    await make_sensitive(world)
    able = (P.PROJECT_READ, P.PROJECT_UPDATE, P.SITE_READ, P.SITE_UPDATE, P.RECORD_READ, P.RECORD_READ_CONFIDENTIAL)
    await person_with(world, "member", able, level="PROJECT")

    refused = await change(world, "member", site["id"], latitude=1.0)
    renamed = await change(world, "member", site["id"], name="Renamed")
    errors = await declare(world, sensitive=False, who="member")

    assert codes(refused) == ["FORBIDDEN"]
    assert refused["errors"][0]["field"] == ["input", "latitude"]
    assert codes(renamed) == []
    assert [error["code"] for error in errors] == ["FORBIDDEN"]
    moved = await change(world, "manager", site["id"], 2, latitude=51.55)
    assert moved["site"]["exactLocation"] == {"latitude": 51.55, "longitude": EXACT["longitude"]}
    assert moved["site"]["latitude"] == 51.55


async def test_the_trail_tells_a_sensitive_place_of_before_by_its_cell(world: World) -> None:
    site = await a_site(world)
    await make_sensitive(world)
    await person_with(world, "member", (P.PROJECT_READ, P.SITE_READ, P.AUDIT_READ), level="ORGANIZATION")
    query = """
      { auditEntries(filter: {action: {eq: "site.create"}}) { nodes { changes { columns { column after } } } } }
    """

    async def places(who: str) -> dict[str, Any]:
        answer = await (await world.client(who)).run(query)
        columns = answer.body["data"]["auditEntries"]["nodes"][0]["changes"][0]["columns"]
        return {one["column"]: one["after"] for one in columns if one["column"] in EXACT}

    assert await places("owner") == {name: str(value) for name, value in EXACT.items()}
    assert await places("member") == {name: str(value) for name, value in CELL.items()}
    assert site["version"] == 1


# ---------------------------------------------------------------- records at sites


async def test_records_lead_to_the_site_of_their_project_that_has_their_code(world: World) -> None:
    for project in ("CANAL", "PARKS"):
        code = await world.value(
            "select site_code from record r join project p on p.id = r.project_id where p.code = $1"
            " order by site_code limit 1",
            project,
        )
        await a_site(world, who="owner", project=project, code=code, name=f"{project} {code}")
    query = "{ records(first: 500) { nodes { siteCode project { code } site { code name project { code } } } } }"

    nodes = (await (await world.client("owner")).run(query)).data["records"]["nodes"]
    seen = (await (await world.client("viewer")).run(query)).data["records"]["nodes"]

    there = [node for node in nodes if node["site"] is not None]
    assert {node["project"]["code"] for node in there} == {"CANAL", "PARKS"}
    assert len(there) < len(nodes)
    for node in there:
        assert node["site"]["code"] == node["siteCode"]
        assert node["site"]["project"] == node["project"]
        assert node["site"]["name"] == f"{node['project']['code']} {node['siteCode']}"
    assert {node["site"]["name"].partition(" ")[0] for node in seen if node["site"]} == {"CANAL"}


async def test_sites_of_many_records_are_one_statement_more(world: World) -> None:
    await a_site(world)
    plain = await world.inside("owner", "{ records(first: 100) { nodes { siteCode } } }")
    with_site = await world.inside("owner", "{ records(first: 100) { nodes { siteCode site { name } } } }")

    assert with_site.reader.statements == plain.reader.statements + 1
