"""Subscriptions in the query page."""

import asyncio
from typing import Final

import httpx
import pytest
from playwright.async_api import WebSocket, expect

from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.server import Server
from tests.support.world import SIGN_IN, Client

WATCH: Final = "subscription Watch { changes(types: [RECORD]) { cursor changes { kind id } } }"
MAKE: Final = (
    "mutation Make($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
)


async def test_who_looks_as_another_gets_no_subscription_which_would_be_their_own(
    server: Server, browsed: Browsed
) -> None:
    graphiql, opened = GraphiQL(browsed, server), list[WebSocket]()
    browsed.page.on("websocket", lambda one: opened.append(one))
    await graphiql.sign_in("admin")
    await browsed.page.get_by_role("button", name="Run as").click()
    await browsed.page.get_by_label("As whom").select_option("person")
    await browsed.page.get_by_role("button", name="Choose").click()
    await expect(browsed.page.locator("#looking-text")).not_to_be_empty()
    await graphiql.write("subscription Watch { changes { cursor } }")

    answer = await graphiql.run()

    assert "While you look as another, there are no subscriptions." in answer
    assert opened == []
    assert browsed.complaints == []


async def test_a_subscription_shows_changes_until_it_is_stopped(server: Server, browsed: Browsed) -> None:
    graphiql = GraphiQL(browsed, server)
    await graphiql.sign_in("manager")
    await graphiql.write(WATCH)
    assert '"cursor"' in await graphiql.run()

    record_id = await _make_record(server)

    for _ in range(200):
        if record_id in await graphiql.answer():
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail(await graphiql.answer())
    await browsed.page.get_by_role("button", name="Stop query").click()
    await expect(graphiql.execute).to_be_visible()
    await browsed.page.get_by_role("button", name="Sign out").click()
    await expect(browsed.page.locator("#sign-in-notice")).to_have_text("You have signed out.")
    assert browsed.complaints == []


async def _make_record(server: Server) -> str:
    """Make a record as the manager, elsewhere, and return its id."""
    email, password = server.sign_ins["manager"]
    async with httpx.AsyncClient(base_url=server.url) as http:
        signed_in = await Client(http).run(SIGN_IN, {"input": {"email": email, "password": password}})
        client = Client(http, signed_in.data["signIn"]["accessToken"])
        projects = await client.run("{ projects(first: 1) { nodes { id } } }")
        given = {
            "projectId": projects.data["projects"]["nodes"][0]["id"],
            "siteCode": "LIVE-01",
            "collectedAt": "2026-01-01T00:00:00Z",
            "medium": "WATER",
        }
        made = await client.run(MAKE, {"input": given})
    record_id: str = made.data["createRecord"]["record"]["id"]
    return record_id
