"""The examples of the query page: each role is offered those that it can run, and each of them runs on the demo."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import expect

from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.node import run_node
from tests.support.server import Server

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "fieldward" / "pages" / "build" / "src" / "examples.js"
PRINT: Final = "import(process.argv[1]).then(({ EXAMPLES }) => console.log(JSON.stringify(EXAMPLES)))"
ROLES: Final = ("owner", "admin", "auditor", "manager", "reviewer", "collector", "viewer", "member")


@pytest.fixture(scope="module")
def examples() -> list[dict[str, Any]]:
    """The examples as they are declared."""
    found: list[dict[str, Any]] = json.loads(run_node("-e", PRINT, EXAMPLES.as_uri()))
    return found


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_is_offered_the_examples_that_it_can_run_and_each_runs(
    role: str, server: Server, browsed: Browsed, examples: list[dict[str, Any]]
) -> None:
    graphiql = GraphiQL(browsed, server)
    await graphiql.sign_in(role)
    panel = await graphiql.show("Examples")

    await panel.get_by_role("button").first.wait_for()
    offered = await panel.locator(".panel-item-title").all_inner_texts()

    assert offered == [one["title"] for one in examples if role.upper() in one["roles"]]
    assert offered
    pushed = {one["title"] for one in examples if one["query"].startswith("subscription ")}
    for title in offered:
        await panel.get_by_role("button", name=title).click()
        await expect(graphiql.page.get_by_role("textbox", name="Query")).to_contain_text(title)
        answer = json.loads(await graphiql.run())

        assert "errors" not in answer, f"{title}: {answer['errors']}"
        assert not re.search(r'"errors": \[\{', json.dumps(answer)), f"{title}: {answer}"
        assert any(answer["data"].values()), f"{title}: {answer}"
        if title in pushed:
            await browsed.page.get_by_role("button", name="Stop query").click()
            await expect(graphiql.execute).to_be_visible()
    assert browsed.complaints == []


async def test_an_example_can_be_run_twice_and_does_no_harm(server: Server, browsed: Browsed) -> None:
    graphiql = GraphiQL(browsed, server)
    await graphiql.sign_in("collector")
    panel = await graphiql.show("Examples")
    await panel.get_by_role("button", name="Make a record").click()
    await expect(graphiql.page.get_by_role("textbox", name="Query")).to_contain_text("MakeARecord")

    first, again = json.loads(await graphiql.run()), json.loads(await graphiql.run())

    assert first["data"]["createRecord"]["record"]["siteCode"] == "TRY-01"
    assert again == first
