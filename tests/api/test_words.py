"""Searching the words of plain texts: who finds what, how words are asked for, and that nothing sealed is searched."""

from typing import Any, Final

import pytest

from auth.permission import Permission as P
from models.condition import Words
from models.inventory import entities, entity_of
from models.listing import matching
from models.membership import Membership
from models.statement import Statement
from resolvers.account import member_viewer
from schema.filter import LONGEST_SEARCH
from tests.support.access import person_with
from tests.support.mutation import mutate
from tests.support.world import World

FIND: Final = "query($search: String) { records(search: $search, first: 100) { totalCount nodes { siteCode } } }"
FIND_SITES: Final = "query($search: String) { sites(search: $search, first: 100) { totalCount nodes { code } } }"


@pytest.fixture
async def named(world: World) -> World:
    """Records with names to be found, in two projects of an organization and in another organization."""
    for who, code, site, name, comment in (
        ("owner", "CANAL", "W-1", "Weir at the Old Mill, port bank", "heron"),
        ("owner", "CANAL", "W-2", "Old sluice", None),
        ("owner", "PARKS", "W-3", "Upper WEIR", None),
        ("other-owner", "LAKES", "W-4", "Weir of the lake", None),
    ):
        given = {
            "projectId": f"Project:{await world.project_id(code)}",
            "siteCode": site,
            "siteName": name,
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
            "method": "Bucket, rinsed twice",
            "comment": comment,
            "collector": "Heron Smith",
            "measurements": [{"characteristic": "pH", "value": 7.0}],
        }
        payload = (await mutate(await world.client(who), "createRecord", given, "record { id }")).data["createRecord"]
        assert payload["errors"] == [], payload
    return world


async def sites(world: World, who: str, search: str | None) -> list[str]:
    """Return the site codes that somebody finds, which are counted as many."""
    page = (await (await world.client(who)).run(FIND, {"search": search})).data["records"]
    found = sorted({node["siteCode"] for node in page["nodes"]})
    assert len(page["nodes"]) == min(page["totalCount"], 100)
    return found


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("weir", ["W-1", "W-3"]),
        ("WEIR old", ["W-1"]),
        ('"port bank"', ["W-1"]),
        ('"bank port"', []),
        ("sluice or upper", ["W-2", "W-3"]),
        ("weir -upper", ["W-1"]),
        ("W-2", ["W-2"]),
        ("02306774", ["USGS-02306774"]),
        ("usgs-02306774", ["USGS-02306774"]),
        ("02306774 -usgs", []),
        ("rinsed bucket", ["W-1", "W-2", "W-3"]),
        ("wei", []),
        ("'; drop table record; --", []),
        ("!!! & | ( :*", []),
        ("heron", []),
        ("smith", []),
    ],
)
async def test_words_phrases_either_and_without_are_found(named: World, search: str, found: list[str]) -> None:
    assert await sites(named, "owner", search) == found


@pytest.mark.parametrize(
    ("who", "found"),
    [
        ("admin", ["W-1", "W-3"]),
        ("manager", ["W-1"]),
        ("viewer", ["W-1"]),
        ("member", []),
        ("other-owner", ["W-4"]),
    ],
)
async def test_only_what_is_seen_is_found(named: World, who: str, found: list[str]) -> None:
    assert await sites(named, who, "weir") == found


async def test_nobody_finds_anything_without_signing_in(named: World) -> None:
    answer = await named.anonymous.run(FIND, {"search": "weir"})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert not (answer.body["data"] or {}).get("records")


@pytest.mark.parametrize("blank", [None, "", "  \t"])
async def test_a_blank_search_asks_for_nothing(named: World, blank: str | None) -> None:
    client = await named.client("owner")

    searched = await client.run(FIND, {"search": blank})

    assert searched.data == (await client.run("{ records(first: 100) { totalCount nodes { siteCode } } }")).data


async def test_a_search_narrows_beside_a_filter_in_an_order_and_of_one_project(named: World) -> None:
    client = await named.client("owner")
    query = """
    {
      records(
        search: "weir or sluice"
        filter: {not: {siteCode: {eq: "W-1"}}}
        orderBy: {field: SITE_CODE, direction: DESC}
      ) { nodes { siteCode } }
      projects(search: "parks or canal", orderBy: {field: CODE}) {
        nodes { code records(search: "weir") { totalCount nodes { siteCode } } }
      }
      recordGroups(search: "weir", by: [SITE_CODE]) { siteCode count }
    }
    """
    await named.sql("alter table project disable trigger user")
    await named.sql("update project set name = 'Canal survey' where code = 'CANAL'")
    await named.sql("update project set description = 'Ponds of all parks' where code = 'PARKS'")

    data = (await client.run(query)).data

    assert [one["siteCode"] for one in data["records"]["nodes"]] == ["W-3", "W-2"]
    assert [(one["code"], one["records"]["totalCount"]) for one in data["projects"]["nodes"]] == [
        ("CANAL", 1),
        ("PARKS", 1),
    ]
    assert data["recordGroups"] == [{"siteCode": "W-1", "count": 1}, {"siteCode": "W-3", "count": 1}]


@pytest.mark.parametrize("query", [FIND, FIND_SITES], ids=["records", "sites"])
@pytest.mark.parametrize("search", ["x" * (LONGEST_SEARCH + 1), "a\x00b"])
async def test_a_search_that_is_too_long_or_not_storable_is_refused(world: World, search: str, query: str) -> None:
    answer = await (await world.client("owner")).run(query, {"search": search})

    assert answer.codes == ["INVALID_INPUT"]
    assert search not in answer.text


@pytest.mark.parametrize("entity", entities(), ids=lambda one: one.name)
def test_the_words_of_what_is_encrypted_or_a_person_s_are_never_searched(entity: Any) -> None:
    for column in entity.word_columns:
        assert not column.is_sealed
        assert not column.is_logged
        assert column.is_in_api


async def test_a_table_without_words_is_not_searched(world: World) -> None:
    await world.client("owner")
    viewer = await member_viewer("clearwater", email="owner@clearwater.example")

    with pytest.raises(LookupError, match="no column whose words are searched"):
        matching(Statement(), viewer, entity_of(Membership), [Words("weir")], alias="t")


# ---------------------------------------------------------------- sites


@pytest.fixture
async def places(world: World) -> World:
    """Sites with words to be found, in two projects of an organization and in another organization."""
    for who, project, code, name, kind, description in (
        ("owner", "CANAL", "P-1", "Weir at the Old Mill", "River/Stream", "Ask for the key at the gate."),
        ("owner", "CANAL", "P-2", "Old sluice", "Canal Drainage", None),
        ("owner", "PARKS", "P-3", "Upper WEIR", None, "Behind the boathouse."),
        ("other-owner", "LAKES", "P-4", "Weir of the lake", "Lake", "Ask for the key."),
    ):
        given = {
            "projectId": f"Project:{await world.project_id(project)}",
            "code": code,
            "name": name,
            "kind": kind,
            "description": description,
            "latitude": 51.47873,
            "longitude": -0.29561,
        }
        payload = (await mutate(await world.client(who), "createSite", given, "site { id }")).data["createSite"]
        assert payload["errors"] == [], payload
    return world


async def codes(world: World, who: str, search: str | None) -> list[str]:
    """Return the codes of the sites that somebody finds, which are counted as many."""
    page = (await (await world.client(who)).run(FIND_SITES, {"search": search})).data["sites"]
    assert len(page["nodes"]) == page["totalCount"]
    return sorted(node["code"] for node in page["nodes"])


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("weir", ["P-1", "P-3"]),
        ("WEIR old", ["P-1"]),
        ("boathouse", ["P-3"]),
        ('"for the key"', ["P-1"]),
        ('"the key for"', []),
        ("stream", ["P-1"]),
        ("river/stream", ["P-1"]),
        ("sluice drainage", ["P-2"]),
        ("sluice or gate", ["P-1", "P-2"]),
        ("weir -upper", ["P-1"]),
        ("P-2", ["P-2"]),
        ("2 -p", []),
        ("boat", []),
        ("51.47873", []),
        ("'; drop table site; --", []),
        ("!!! & | ( :*", []),
    ],
)
async def test_sites_are_found_by_the_words_of_their_plain_texts(places: World, search: str, found: list[str]) -> None:
    assert await codes(places, "owner", search) == found


@pytest.mark.parametrize(
    ("who", "found"),
    [
        ("admin", ["P-1", "P-3"]),
        ("manager", ["P-1"]),
        ("viewer", ["P-1"]),
        ("member", []),
        ("other-owner", ["P-4"]),
    ],
)
async def test_only_sites_that_are_seen_are_found(places: World, who: str, found: list[str]) -> None:
    assert await codes(places, who, "weir") == found


async def test_who_may_read_a_project_and_not_its_sites_finds_none(places: World) -> None:
    await person_with(places, "member", (P.PROJECT_READ, P.RECORD_READ), level="PROJECT")
    below = (
        "query($search: String) { projects { nodes { code sites(search: $search) { totalCount nodes { code } } } } }"
    )

    answer = await (await places.client("member")).run(below, {"search": "weir"})

    assert await codes(places, "member", "weir") == []
    assert answer.data["projects"]["nodes"] == [{"code": "CANAL", "sites": {"totalCount": 0, "nodes": []}}]


async def test_nobody_finds_sites_without_signing_in(places: World) -> None:
    answer = await places.anonymous.run(FIND_SITES, {"search": "weir"})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert "P-1" not in answer.text


@pytest.mark.parametrize("blank", [None, "", "  \t"])
async def test_a_blank_search_of_sites_asks_for_nothing(places: World, blank: str | None) -> None:
    assert await codes(places, "owner", blank) == ["P-1", "P-2", "P-3"]


async def test_a_search_of_sites_narrows_beside_a_filter_in_an_order_and_of_one_project(places: World) -> None:
    client = await places.client("owner")
    query = """
    {
      sites(
        search: "weir or sluice"
        filter: {not: {code: {eq: "P-1"}}}
        orderBy: {field: CODE, direction: DESC}
      ) { nodes { code } }
      projects(filter: {code: {in: ["CANAL", "PARKS"]}}, orderBy: {field: CODE}) {
        nodes { code sites(search: "weir or drainage", first: 1) { totalCount nodes { code } } }
      }
    }
    """

    data = (await client.run(query)).data

    assert [one["code"] for one in data["sites"]["nodes"]] == ["P-3", "P-2"]
    assert data["projects"]["nodes"] == [
        {"code": "CANAL", "sites": {"totalCount": 2, "nodes": [{"code": "P-1"}]}},
        {"code": "PARKS", "sites": {"totalCount": 1, "nodes": [{"code": "P-3"}]}},
    ]
