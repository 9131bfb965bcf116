"""The explorer and the documentation of the query page: what they show, and what they make of the query."""

import json
from typing import Final

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.server import Server

FOCUS: Final = "() => document.activeElement.closest('label')?.innerText ?? document.activeElement.ariaLabel"


@pytest.fixture
async def graphiql(server: Server, browsed: Browsed) -> GraphiQL:
    """The page, signed in to as a manager."""
    made = GraphiQL(browsed, server)
    await made.sign_in("manager")
    return made


def field(panel: Locator, name: str) -> Locator:
    """Return the tick of the field that is first of that name."""
    return panel.get_by_role("checkbox", name=name, exact=True).first


async def squeezed(graphiql: GraphiQL) -> str:
    """Return the text of the query, on one line."""
    return " ".join((await graphiql.query()).split())


async def test_a_query_is_put_together_and_runs(graphiql: GraphiQL) -> None:
    await graphiql.write("")
    panel = await graphiql.show("Explorer")
    await panel.get_by_role("button", name="Add a query").click()
    await panel.get_by_label("Find in query MyQuery").fill("records")

    await field(panel, "records").check()
    assert await squeezed(graphiql) == "query MyQuery { records { nodes { id } } }"
    await field(panel, "totalCount").check()
    await field(panel, "siteCode").check()
    await field(panel, "id").uncheck()
    await field(panel, "first").check()
    await panel.get_by_role("textbox", name="first: Int").fill("2")
    await panel.get_by_role("textbox", name="first: Int").press("Enter")
    await panel.get_by_role("button", name="What is in filter").click()
    await panel.get_by_role("button", name="What is in status").click()
    await field(panel, "eq").check()
    await panel.get_by_role("combobox", name="eq").select_option("SUBMITTED")

    assert await squeezed(graphiql) == (
        "query MyQuery { records(first: 2, filter: {status: {eq: SUBMITTED}}) { nodes { siteCode } totalCount } }"
    )
    answer = json.loads(await graphiql.run())
    assert "errors" not in answer
    assert answer["data"]["records"]["totalCount"] >= 1
    await field(panel, "filter").uncheck()
    await field(panel, "siteCode").uncheck()
    assert await squeezed(graphiql) == "query MyQuery { records(first: 2) { totalCount } }"
    assert graphiql.browsed.complaints == []


async def test_a_value_that_begins_with_a_dollar_is_a_variable_of_the_right_type(graphiql: GraphiQL) -> None:
    await graphiql.write("{ record { id } }")
    panel = await graphiql.show("Explorer")
    await field(panel, "id (required)").check()
    await panel.get_by_role("textbox", name="id: ID!").fill("$which")
    await panel.get_by_role("textbox", name="id: ID!").press("Enter")
    assert await squeezed(graphiql) == "query ($which: ID!) { record(id: $which) { id } }"

    await panel.get_by_role("textbox", name="id: ID!").fill("Record:1")
    await panel.get_by_role("textbox", name="id: ID!").press("Enter")

    assert await squeezed(graphiql) == '{ record(id: "Record:1") { id } }'


async def test_a_value_that_does_not_fit_is_said_to_and_changes_nothing(graphiql: GraphiQL) -> None:
    await graphiql.write("{ records(first: 3) { totalCount } }")
    panel = await graphiql.show("Explorer")
    given = panel.get_by_role("textbox", name="first: Int")

    await given.fill("many")
    await given.press("Enter")

    await expect(given).to_have_attribute("aria-invalid", "true")
    assert await squeezed(graphiql) == "{ records(first: 3) { totalCount } }"


async def test_what_an_object_is_asked_for_by_its_type_goes_under_that_type(graphiql: GraphiQL) -> None:
    await graphiql.write('{ node(id: "Project:1") { id } }')
    panel = await graphiql.show("Explorer")

    await field(panel, "… on Project").check()
    await field(panel, "code").check()

    assert await squeezed(graphiql) == '{ node(id: "Project:1") { id ... on Project { id code } } }'


async def test_a_text_with_an_error_is_left_as_it_is(graphiql: GraphiQL) -> None:
    await graphiql.write("query { records( }")

    panel = await graphiql.show("Explorer")

    await expect(panel).to_contain_text("The text in the editor has an error.")
    await expect(panel.get_by_role("checkbox")).to_have_count(0)
    assert await graphiql.query() == "query { records( }"


async def test_of_several_operations_one_is_chosen_and_the_others_stay(graphiql: GraphiQL) -> None:
    await graphiql.write("query One { viewer { role } }\n\nfragment Name on User { name }")
    panel = await graphiql.show("Explorer")
    await panel.get_by_role("button", name="Add a mutation").click()
    await expect(panel.get_by_label("Operation")).to_have_value("1")
    await field(panel, "signOut").check()

    await panel.get_by_label("Operation").select_option("0")
    await field(panel, "projects").check()

    made = await squeezed(graphiql)
    assert "query One { viewer { role } projects { nodes { id } } }" in made
    assert "fragment Name on User { name }" in made
    assert "mutation MyMutation { signOut {" in made


async def test_the_keyboard_alone_puts_a_query_together_and_runs_it(graphiql: GraphiQL) -> None:
    page = graphiql.page
    await graphiql.write("{ viewer { role } }")
    await page.get_by_role("button", name="Show Explorer").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name="Explorer")).to_be_visible()
    await _tab_to(page, "organization")

    await page.keyboard.press("Space")
    await expect(page.get_by_role("textbox", name="Query")).to_contain_text("organization")
    assert await page.evaluate(FOCUS) == "organization"
    await _tab_to(page, "Query")
    await page.keyboard.press("Control+Enter")

    await expect(page.get_by_role("textbox", name="Answer")).to_contain_text('"organization"')
    # Tab leads out of each editor, as it does everywhere.
    for name in ("Execute query", "Variables", "Show editor tools", "Answer", "Sign out"):
        await _tab_to(page, name)
    await page.keyboard.press("Shift+Tab")
    assert graphiql.browsed.complaints == []


async def test_the_documentation_has_what_the_viewer_reaches_and_says_so(server: Server, browsed: Browsed) -> None:
    graphiql = GraphiQL(browsed, server)
    found: dict[str, tuple[int, int]] = {}

    for role in ("admin", "viewer"):
        await graphiql.sign_in(role)
        await graphiql.page.get_by_role("button", name="Show Documentation").click()
        docs = graphiql.page.locator(".graphiql-plugin")
        await expect(docs).to_contain_text("as much of the schema as your roles reach")
        await docs.get_by_role("link", name="Query", exact=True).click()
        await expect(docs.get_by_role("link", name="records", exact=True)).to_be_visible()
        hidden = [docs.get_by_role("link", name=name, exact=True) for name in ("auditEntries", "dataInventory")]
        found[role] = (await hidden[0].count(), await hidden[1].count())

    assert found == {"admin": (1, 1), "viewer": (0, 0)}
    assert browsed.complaints == []


async def _tab_to(page: Page, name: str) -> None:
    """Press Tab until what has this name is focused; all the way round at the most."""
    for _ in range(400):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("() => [document.activeElement.innerText, document.activeElement.ariaLabel]")
        if any(str(one).startswith(name) for one in (*focused, await page.evaluate(FOCUS))):
            return
    pytest.fail(f"Tab never leads to {name}.")
