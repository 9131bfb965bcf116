"""Subscriptions in the query page."""

from playwright.async_api import WebSocket, expect

from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.server import Server


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
