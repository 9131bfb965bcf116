"""GraphiQL as a person sees it, in one browser."""

import asyncio
from dataclasses import dataclass

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.chromium import Browsed
from tests.support.server import Server

_READ = "(kind) => document.querySelector(`${kind} .CodeMirror`).CodeMirror.getValue()"
_WRITE = "([kind, text]) => document.querySelector(`${kind} .CodeMirror`).CodeMirror.setValue(text)"
QUERY = ".graphiql-query-editor"
VARIABLES = ".graphiql-editor-tool .graphiql-editor:not(.hidden)"
ANSWER = ".graphiql-response"


@dataclass
class GraphiQL:
    """The page, of one server."""

    browsed: Browsed
    server: Server

    @property
    def page(self) -> Page:
        """The browser's page."""
        return self.browsed.page

    async def sign_in(self, role: str) -> None:
        """Go there, anew, sign in as who has the role, and wait for the editor."""
        await self.page.context.clear_cookies()
        await self.page.goto(f"{self.server.url}/graphiql")
        await self.browsed.sign_in(*self.server.sign_ins[role])
        await expect(self.execute).to_be_visible()

    async def wait_for_schema(self) -> None:
        """Wait until the page has the schema, by what it offers because of it."""
        panel = await self.show("Explorer")
        await expect(panel.get_by_role("checkbox").first).to_be_visible()
        await self.page.get_by_role("button", name="Hide Explorer").click()

    @property
    def execute(self) -> Locator:
        """The button that runs the query."""
        return self.page.get_by_role("button", name="Execute query")

    async def show(self, panel: str) -> Locator:
        """Open a panel and return it."""
        await self.page.get_by_role("button", name=f"Show {panel}").click()
        found = self.page.get_by_role("region", name=panel, exact=True)
        await expect(found).to_be_visible()
        return found

    async def write(self, query: str, variables: str = "") -> None:
        """Put a query into its editor, and variables into theirs."""
        await self.page.evaluate(_WRITE, [QUERY, query])
        await self.page.evaluate(_WRITE, [VARIABLES, variables])

    async def query(self) -> str:
        """Return the text of the query."""
        text: str = await self.page.evaluate(_READ, QUERY)
        return text

    async def variables(self) -> str:
        """Return the text of the variables."""
        text: str = await self.page.evaluate(_READ, VARIABLES)
        return text

    async def answer(self) -> str:
        """Return the text of the answer."""
        text: str = await self.page.evaluate(_READ, ANSWER)
        return text

    async def run(self) -> str:
        """Run what is written and return the answer."""
        await self.page.evaluate(_WRITE, [ANSWER, ""])
        await self.execute.click()
        for _ in range(200):
            if answer := await self.answer():
                return answer
            await asyncio.sleep(0.05)
        pytest.fail(f"No answer to {await self.query()}")
