"""Real Chromium, and what went on in each page of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, CDPSession, ConsoleMessage, Page, Request, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error("policy violation", event.violatedDirective, event.blockedURI))
"""
PASSKEYS = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
"""A machine that keeps passkeys, and opens them for whoever is there (WebDriver, "virtual authenticator")."""


@dataclass
class Browsed:
    """A page of the browser, and what went on in it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def sign_in(self, email: str, password: str) -> None:
        """Sign in where GraphiQL is served."""
        await self.page.get_by_label("Email").fill(email)
        await self.page.get_by_label("Password").fill(password)
        await self.page.keyboard.press("Enter")

    async def keep_passkeys(self) -> "Passkeys":
        """Let this browser keep passkeys."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("WebAuthn.enable")
        added = await session.send("WebAuthn.addVirtualAuthenticator", {"options": PASSKEYS})
        return Passkeys(session, added["authenticatorId"])


@dataclass
class Passkeys:
    """Where a browser keeps its passkeys."""

    session: CDPSession
    id: str

    async def lock(self, *, locked: bool) -> None:
        """Say whether who is there can't unlock them."""
        given = {"authenticatorId": self.id, "isUserVerified": not locked}
        await self.session.send("WebAuthn.setUserVerified", given)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium."""
    _require_chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        await browser.close()


async def browse(browser: Browser) -> Browsed:
    """Return a fresh page, with cookies of its own, that notes each error and each host that is asked."""
    page = await browser.new_page()
    watched = Browsed(page)

    def note_message(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            watched.complaints.append(message.text)

    def note_request(request: Request) -> None:
        if not request.url.startswith("data:"):
            watched.hosts.add(urlsplit(request.url).netloc)

    page.on("console", note_message)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", note_request)
    await page.add_init_script(REPORT_VIOLATIONS)
    return watched


def _require_chromium() -> None:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing. Run: apt-get install --yes --no-install-recommends chromium")
