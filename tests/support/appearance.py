"""How a page looks and reads: for who can't see it or use a mouse, in the light and the dark, on a small screen."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

from tests.support.node import CLIENTS

AXE: Final = CLIENTS / "node_modules" / "axe-core" / "axe.min.js"
RUN: Final = "() => axe.run(document, { resultTypes: ['violations'] })"
WIDTHS: Final = "() => [document.documentElement.scrollWidth, innerWidth]"
LOOKS: Final = (("light", 1280, 800), ("dark", 1280, 800), ("light", 640, 400), ("light", 320, 640))
"""The second size is that of the first at twice its size, the third what WCAG 2.2 asks for (1.4.10)."""


@dataclass
class Appearance:
    """Looks at a page in its states, and leaves a picture of each.

    states: what was looked at.
    """

    page: Page
    folder: Path
    states: list[str] = field(default_factory=list)

    async def check(self, state: str) -> None:
        """Check the page as it is now, in each of its looks.

        Raises:
            AssertionError: axe-core finds something wrong, or the page is wider than the screen.
        """
        self.states.append(state)
        for scheme, width, height in LOOKS:
            await self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            await self.page.set_viewport_size({"width": width, "height": height})
            look = f"{state}-{scheme}-{width}".replace(" ", "-")
            await self.page.wait_for_timeout(150)  # What fades from one colour to another is between both.
            await self.page.screenshot(path=self.folder / f"{look}.png")
            assert await faults_of(self.page) == [], look
            shown, screen = await self.page.evaluate(WIDTHS)
            assert shown <= screen, look
        _, width, height = LOOKS[0]
        await self.page.set_viewport_size({"width": width, "height": height})


async def faults_of(page: Page) -> list[str]:
    """Return what is wrong with the page as it is now, by all rules of axe-core: which, and where."""
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text())
    found: dict[str, Any] = await page.evaluate(RUN)
    return [
        f"{fault['id']}: {fault['help']}: {node['target']} {node['html'][:200]} ({_why(node)})"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def _why(node: dict[str, Any]) -> str:
    return "; ".join(one["message"] for kind in ("any", "all", "none") for one in node[kind])
