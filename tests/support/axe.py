"""What axe-core finds wrong with a page for who can't see it, or use a mouse."""

from typing import Any, Final

from playwright.async_api import Page

from tests.support.node import CLIENTS

AXE: Final = CLIENTS / "node_modules" / "axe-core" / "axe.min.js"
RUN: Final = "() => axe.run(document, { resultTypes: ['violations'] })"


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
