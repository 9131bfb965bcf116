"""Exports as WQX XML: valid, with the sites of their records, and masked as a query would be."""

from typing import Any, Final

import pytest
from lxml import etree

from auth.permission import Permission as P
from resolvers.wqx_xml import NAMESPACE
from tests.api.test_site import a_site
from tests.support.access import make_program, names, person_with, refusals
from tests.support.export import ask, exporting, look, make, take, work
from tests.support.location import EXACT, add_record, make_sensitive
from tests.support.mutation import mutate
from tests.support.world import Client, World
from tests.unit.test_wqx_xml import SCHEMA

RECORDS: Final = (
    "query($after: String) { records(first: 1000, after: $after) { nodes { id siteCode comment project { code } } } }"
)


def document_of(content: bytes) -> etree._Element:
    """Return the document, which is valid."""
    document = etree.fromstring(content, etree.XMLParser(resolve_entities=False))
    SCHEMA.assertValid(document)
    return document


def texts(document: etree._Element, path: str) -> list[str]:
    """Return the texts of the elements at a path of names."""
    steps = "/".join(f"w:{name}" for name in path.split("/"))
    return [str(one.text) for one in document.findall(f".//{steps}", {"w": NAMESPACE})]


async def records_of(client: Client) -> list[dict[str, Any]]:
    """Return the records that a query shows, whatever it denies."""
    nodes: list[dict[str, Any]] = (await client.run(RECORDS)).body["data"]["records"]["nodes"]
    return nodes


@pytest.mark.parametrize("who", ["owner", "manager", "collector", "reviewer", "viewer", "other-owner"])
async def test_the_file_is_valid_and_says_what_a_query_says_to_the_same_person(world: World, who: str) -> None:
    client = await world.client(who)
    shown = await records_of(client)

    made = await make(world, client, "WQX_XML", batch=17)

    document = document_of(made.content)
    assert made.shown["fileName"].endswith(".xml")
    assert made.shown["mediaType"] == "application/xml"
    named = texts(document, "ActivityDescription/ActivityIdentifier")
    assert sorted(f"Record:{one}" for one in named) == sorted(one["id"] for one in shown)
    assert set(texts(document, "Project/ProjectIdentifier")) == {one["project"]["code"] for one in shown}
    comments = {one["comment"] for one in shown if one["comment"]}
    told = " ".join(texts(document, "ActivityCommentText"))
    assert all(comment in told for comment in comments)
    assert len(texts(document, "Result/ResultDescription/CharacteristicName")) == made.shown["measurements"]


async def test_a_viewer_s_file_holds_no_secrets(world: World) -> None:
    comments = {one["comment"] for one in await records_of(await world.client("manager"))} - {None}
    assert comments

    made = await make(world, await world.client("viewer"), "WQX_XML")

    assert not any(comment.encode() in made.content for comment in comments)


async def test_a_method_has_the_parts_of_a_row_for_who_may_read_the_row_and_is_whole_for_others(world: World) -> None:
    viewer, manager = await world.client("viewer"), await world.client("manager")

    documents = [document_of((await make(world, one, "WQX_XML")).content) for one in (viewer, manager)]

    contexts = [set(texts(one, "ResultAnalyticalMethod/MethodIdentifierContext")) for one in documents]
    assert contexts[0] == {"clearwater"}
    assert {"APHA", "USEPA", "USGS"} <= contexts[1]
    told = [set(texts(one, "ResultAnalyticalMethod/MethodName")) for one in documents]
    assert "APHA 2510: Conductivity in Water" in told[0]
    assert "Conductivity in Water" in told[1]


async def test_a_file_with_parts_of_methods_is_not_given_out_once_rows_may_not_be_read(world: World) -> None:
    given = {P.RECORD_READ, P.RECORD_EXPORT}
    role = await person_with(world, "member", given | {P.RECORD_READ_CONFIDENTIAL}, level="PROJECT")
    client, owner = await world.client("member"), await world.client("owner")
    made = await make(world, client, "WQX_XML")
    assert b"<MethodIdentifierContext>APHA<" in made.content

    narrowed = {"id": role, "expectedVersion": 1, "permissions": names(given)}
    assert await refusals(owner, "updateRole", narrowed) == []

    answer = await take(client, made.shown["id"], made.shown["fileName"])
    assert answer.status_code == 403
    again = await make(world, client, "WQX_XML")
    assert set(texts(document_of(again.content), "ResultAnalyticalMethod/MethodIdentifierContext")) == {"clearwater"}


async def test_sites_are_named_before_activities_as_the_project_has_them(world: World) -> None:
    await add_record(world)
    await a_site(world, name="The well", description="Behind the mill")

    made = await make(world, await world.client("manager"), "WQX_XML", filter={"siteCode": {"startsWith": "WELL-"}})

    document = document_of(made.content)
    assert texts(document, "MonitoringLocationIdentity/MonitoringLocationIdentifier") == ["WELL-1"]
    assert texts(document, "MonitoringLocationIdentity/MonitoringLocationName") == ["The well"]
    assert texts(document, "ActivityDescription/MonitoringLocationIdentifier") == ["WELL-1"]
    assert texts(document, "Project/ProjectIdentifier") == ["CANAL"]


async def test_only_sites_of_records_with_such_a_measurement_are_named(world: World) -> None:
    await add_record(world)
    await add_record(world, siteCode="WELL-2", measurements=[{"characteristic": "pH", "value": 7.25}])
    manager, wells = await world.client("manager"), {"siteCode": {"startsWith": "WELL-"}}

    made = await make(world, manager, "WQX_XML", filter=wells, measurements={"value": {"eq": 7.25}})

    document = document_of(made.content)
    assert texts(document, "MonitoringLocationIdentity/MonitoringLocationIdentifier") == ["WELL-2"]
    assert texts(document, "ActivityDescription/MonitoringLocationIdentifier") == ["WELL-2"]


async def test_where_locations_are_sensitive_the_sites_of_a_file_have_no_exact_place(world: World) -> None:
    await add_record(world)
    await a_site(world)
    await make_sensitive(world)

    made = await make(world, await world.client("viewer"), "WQX_XML", filter={"siteCode": {"eq": "WELL-1"}})

    document = document_of(made.content)
    assert texts(document, "MonitoringLocationGeospatial/HorizontalAccuracyMeasure/MeasureValue") == ["5600"]
    assert not any(str(degrees).encode() in made.content for degrees in EXACT.values())


async def test_the_rights_to_sites_are_asked_for_when_the_file_is_taken(world: World) -> None:
    await add_record(world)
    client = await world.client("viewer")
    made = await make(world, client, "WQX_XML")
    used = await world.value("select used_rights from data_export")

    assert f"{await world.project_id('CANAL')} site:read" in used
    assert (await take(client, made.shown["id"], made.shown["fileName"])).status_code == 200


async def test_a_file_with_places_of_sites_is_not_given_out_once_they_are_sensitive(world: World) -> None:
    await add_record(world, latitude=None, longitude=None)
    await a_site(world)
    viewer, manager = await world.client("viewer"), await world.client("manager")
    made = [await make(world, one, "WQX_XML", filter={"siteCode": {"eq": "WELL-1"}}) for one in (viewer, manager)]
    assert str(EXACT["latitude"]).encode() in made[0].content

    await make_sensitive(world)

    answers = [
        await take(one, each.shown["id"], each.shown["fileName"])
        for one, each in zip((viewer, manager), made, strict=True)
    ]
    assert [answer.status_code for answer in answers] == [403, 200]


async def test_who_reads_no_projects_and_no_sites_has_them_by_their_records_alone(world: World) -> None:
    await add_record(world)
    await a_site(world, name="Kept from them")
    await person_with(world, "member", {P.RECORD_READ, P.RECORD_EXPORT}, level="PROJECT")
    client = await world.client("member")
    export_id = await ask(client, "WQX_XML", filter={"siteCode": {"eq": "WELL-1"}})
    await work(exporting(world))
    shown = await look(client, export_id)

    assert shown["status"] == "READY", shown
    content = (await take(client, export_id, shown["fileName"])).content
    document = document_of(content)
    assert b"Kept from them" not in content
    assert texts(document, "MonitoringLocationIdentity/MonitoringLocationName") == ["WELL-1"]


async def test_a_submission_says_whose_it_is_and_a_program_that_may_not_know_is_told(world: World) -> None:
    needed = {P.RECORD_READ, P.RECORD_EXPORT, P.PROJECT_READ, P.EXPORT_READ, P.EXPORT_READ_CONFIDENTIAL}
    unknowing, knowing = await make_program(world, needed), await make_program(world, needed | {P.ORGANIZATION_READ})

    answer = await mutate(unknowing.client, "createExport", {"format": "WQX_XML"}, "export { id }")
    (error,) = answer.data["createExport"]["errors"]
    shown = await make(world, knowing.client, "WQX_XML", filter={"siteCode": {"startsWith": "WELL-"}})

    assert (error["code"], error["permission"]) == ("FORBIDDEN", "organization:read")
    assert await world.value("select count(*) from data_export where format = 'WQX_XML'") == 1
    document = document_of(shown.content)
    assert texts(document, "OrganizationDescription/OrganizationFormalName") == ["Clearwater Consulting"]
    assert (await make(world, unknowing.client, "CSV")).content
