"""The query page's history and storage in real Chromium: what is secret, personal or confidential is not in them."""

import json
from typing import Final

import pytest
from playwright.async_api import expect

from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.server import Server

STORED: Final = """
async () => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href,
  await indexedDB.databases(), await caches.keys(), history.state])
"""
SECRET: Final = "a-secret-that-nothing-keeps"
SIGN_IN: Final = """mutation Enter($input: SignInInput!) {
  signIn(input: $input) { errors { code } }
}"""
SEARCH: Final = """query Search($collector: String, $site: String) {
  records(filter: { collector: { eq: $collector }, siteCode: { eq: $site } }) { totalCount }
}"""
LITERAL: Final = """query Literal {
  # %s
  records(first: 3, filter: { siteCode: { eq: "CANAL-07" }, collector: { in: ["%s"] } }) { totalCount }
}"""
WHOLE: Final = """query Whole($filter: RecordFilter, $first: Int = 2) {
  records(filter: $filter, first: $first) { totalCount }
}"""
DEFAULT: Final = """query Default($collector: String = "%s") {
  records(filter: { collector: { eq: $collector } }) { totalCount }
}"""


@pytest.fixture
async def graphiql(server: Server, browsed: Browsed) -> GraphiQL:
    """The page, signed in to as a manager, with its schema."""
    made = GraphiQL(browsed, server)
    await made.sign_in("manager")
    # Nothing is kept before it is known what may be.
    await made.wait_for_schema()
    return made


@pytest.mark.parametrize(
    ("query", "variables", "kept_query", "kept_variables"),
    [
        (
            SIGN_IN,
            {"input": {"email": f"{SECRET}@example.org", "password": SECRET, "delivery": "TOKENS"}},
            "$input: SignInInput!",
            {"input": {"delivery": "TOKENS"}},
        ),
        (SEARCH, {"collector": SECRET, "site": "CANAL-07"}, "eq: $collector", {"site": "CANAL-07"}),
        (LITERAL % (SECRET, SECRET), {}, 'siteCode: {eq: "CANAL-07"}, collector: {in: [""]}', {}),
        (
            WHOLE,
            {"filter": {"siteCode": {"in": ["CANAL-07"]}, "collector": {"in": [SECRET]}, "status": {"eq": "DRAFT"}}},
            "$first: Int = 2",
            {"filter": {"siteCode": {"in": ["CANAL-07"]}, "status": {"eq": "DRAFT"}}},
        ),
        (DEFAULT % SECRET, {}, "$collector: String)", {}),
        (SEARCH, {"site": "CANAL-07", "unknown": SECRET}, "eq: $site", {"site": "CANAL-07"}),
    ],
    ids=["input", "filter by variable", "literal and comment", "filter whole", "default", "no variable of it"],
)
async def test_what_may_not_be_kept_is_left_out_of_the_history_and_the_rest_is_there(
    graphiql: GraphiQL, query: str, variables: dict[str, object], kept_query: str, kept_variables: dict[str, object]
) -> None:
    await graphiql.write(query, json.dumps(variables))
    await graphiql.run()
    await graphiql.write("{ viewer { role } }")
    panel = await graphiql.show("History")

    entry = panel.get_by_role("button").first
    await expect(entry).to_contain_text("some values left out")
    await entry.click()

    assert kept_query in " ".join((await graphiql.query()).split()).replace("{ ", "{").replace(" }", "}")
    assert json.loads(await graphiql.variables() or "{}") == kept_variables
    assert SECRET not in await graphiql.query() + await graphiql.variables() + await panel.inner_text()
    assert SECRET not in str(await graphiql.page.evaluate(STORED))
    assert graphiql.browsed.complaints == []


async def test_what_was_run_whole_comes_back_whole_and_is_cleared(graphiql: GraphiQL) -> None:
    query, variables = "query Newest($first: Int) { records(first: $first) { totalCount } }", {"first": 4}
    await graphiql.write(query, json.dumps(variables))
    await graphiql.run()
    await graphiql.run()
    panel = await graphiql.show("History")
    await expect(panel.get_by_role("listitem")).to_have_count(1)
    await expect(panel.get_by_role("listitem")).not_to_contain_text("left out")

    await panel.get_by_role("button", name="Newest").click()
    assert json.loads(await graphiql.variables()) == variables
    await panel.get_by_role("button", name="Clear the history").click()

    await expect(panel).to_contain_text("Nothing was run yet.")


async def test_a_text_that_is_no_query_is_not_kept(graphiql: GraphiQL) -> None:
    await graphiql.write(f'query Broken {{ records(filter: "{SECRET}" ')
    await graphiql.run()

    panel = await graphiql.show("History")

    await expect(panel).to_contain_text("Nothing was run yet.")


async def test_headers_are_not_kept_and_nothing_outlives_the_page(graphiql: GraphiQL) -> None:
    page = graphiql.page
    await page.get_by_role("button", name="Headers", exact=True).click()
    header = page.get_by_role("textbox", name="Headers")
    await header.click()
    await page.keyboard.insert_text(json.dumps({"X-Try": SECRET}))
    await graphiql.run()
    panel = await graphiql.show("History")
    await panel.get_by_role("button", name="FirstLook").click()

    assert SECRET not in await panel.inner_text()
    assert SECRET not in str(await page.evaluate(STORED))
    await page.reload()
    await expect(graphiql.execute).to_be_visible()
    panel = await graphiql.show("History")
    await expect(panel).to_contain_text("Nothing was run yet.")
    assert SECRET not in await page.content()
