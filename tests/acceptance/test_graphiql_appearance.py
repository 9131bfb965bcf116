"""The query page in all its states: by axe-core, in the light and the dark, on small screens and enlarged."""

from pathlib import Path

from playwright.async_api import expect

from tests.support.appearance import Appearance
from tests.support.chromium import Browsed
from tests.support.graphiql import GraphiQL
from tests.support.server import Server


async def test_who_signs_in_can_read_and_use_each_state(server: Server, browsed: Browsed, tmp_path: Path) -> None:
    page, look = browsed.page, Appearance(browsed.page, tmp_path)
    await page.goto(f"{server.url}/graphiql")
    await expect(page.get_by_label("Email")).to_be_focused()
    await look.check("sign-in")

    await browsed.sign_in("nobody@clearwater.example", "not the password")
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await look.check("sign-in refused")

    await browsed.sign_in(*server.sign_ins["viewer"])
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator("#sign-in-notice")).to_be_visible()
    await look.check("signed out")


async def test_the_workbench_can_be_read_and_used_in_each_state(
    server: Server, browsed: Browsed, tmp_path: Path
) -> None:
    page, look, graphiql = browsed.page, Appearance(browsed.page, tmp_path), GraphiQL(browsed, server)
    await graphiql.sign_in("admin")
    await graphiql.wait_for_schema()
    await graphiql.run()
    await look.check("answer")

    for panel in ("Explorer", "Examples", "History"):
        await graphiql.show(panel)
        await look.check(panel)
    await graphiql.write("query { records( ")
    await graphiql.show("Explorer")
    await look.check("Explorer without a query")
    await page.get_by_role("button", name="Show Documentation").click()
    await look.check("Documentation")
    await page.get_by_role("link", name="Query", exact=True).click()
    await look.check("Documentation of a type")
    await page.get_by_role("button", name="Hide Documentation").click()

    for button in ("Open short keys dialog", "Open settings dialog"):
        await page.get_by_role("button", name=button).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await look.check(button)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.get_by_role("button", name="New tab").click()
    await page.get_by_role("button", name="Show editor tools").click()
    await look.check("two tabs and variables")

    await page.get_by_role("button", name="Run as").click()
    await page.get_by_label("As whom").select_option("person")
    await expect(page.get_by_label("Person")).to_be_enabled()
    await look.check("Run as")
    await page.get_by_role("button", name="Choose").click()
    await expect(page.locator("#looking-text")).not_to_be_empty()
    await look.check("looking as another")
    assert browsed.complaints == []


async def test_a_chosen_theme_counts_against_the_systems(server: Server, browsed: Browsed) -> None:
    page, graphiql = browsed.page, GraphiQL(browsed, server)
    await page.emulate_media(color_scheme="light")
    await graphiql.sign_in("viewer")
    await page.get_by_role("button", name="Open settings dialog").click()

    backgrounds = []
    for theme in ("System", "Dark", "Light"):
        await page.get_by_role("dialog").get_by_role("button", name=theme, exact=True).click()
        backgrounds.append(await page.evaluate("() => getComputedStyle(document.body).backgroundColor"))

    assert backgrounds[0] == backgrounds[2] != backgrounds[1]
