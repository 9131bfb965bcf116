"""The page of one's own account as a person sees it, and the server behind it with its mail."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.header import decode_header, make_header
from pathlib import Path
from typing import Final

import httpx
import pyotp
import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.alarm_servers import Mailbox
from tests.support.chromium import Browsed
from tests.support.server import Server, free_port, start_demo
from tests.support.world import SIGN_IN, Client

QR_IS_DRAWN: Final = "() => document.getElementById('totp-qr').naturalWidth > 0"


@dataclass
class AccountServer:
    """A demo that mails to a mailbox. `url` has a host's name, without which a browser knows no passkeys."""

    server: Server
    mailbox: Mailbox
    url: str

    @property
    def sign_ins(self) -> Mapping[str, tuple[str, str]]:
        """Of each role the address and the password."""
        return self.server.sign_ins

    async def client(self, http: httpx.AsyncClient, role: str) -> Client:
        """Return a client of the API that is signed in as somebody."""
        email, password = self.sign_ins[role]
        answer = await Client(http).run(SIGN_IN, {"input": {"email": email, "password": password}})
        return Client(http, answer.data["signIn"]["accessToken"], password=password)

    async def link_mailed_to(self, email: str, kind: str) -> str:
        """Return the newest link of a kind in the mails to an address, once there is one."""
        pattern = re.compile(rf"{re.escape(self.url)}/account#{kind}=[\w.~-]+")
        for _ in range(300):
            for recipients, message in zip(
                reversed(self.mailbox.recipients), reversed(self.mailbox.messages), strict=True
            ):
                text = message.get_payload(decode=True)
                found = pattern.search(text.decode()) if isinstance(text, bytes) else None
                if email in recipients and found is not None:
                    return found[0]
            await asyncio.sleep(0.1)
        pytest.fail(f"No link {kind} was mailed to {email}; what was: {self.subjects_to(email)}")

    def subjects_to(self, email: str) -> list[str]:
        """Return the subjects of the mails to an address, in their order."""
        return [
            str(make_header(decode_header(message["subject"])))
            for recipients, message in zip(self.mailbox.recipients, self.mailbox.messages, strict=True)
            if email in recipients
        ]


@dataclass
class AccountPage:
    """The page, in one browser."""

    browsed: Browsed
    url: str

    @property
    def page(self) -> Page:
        """The browser's page."""
        return self.browsed.page

    def view(self, name: str) -> Locator:
        """Return a part of the page by its id."""
        return self.page.locator(f"#{name}")

    async def open(self, fragment: str = "") -> None:
        """Go to the page, anew."""
        await self.page.goto("about:blank")
        await self.page.goto(f"{self.url}/account{fragment}")

    async def give(self, view: str, **fields: str) -> None:
        """Fill fields of a view, by the name that they are sent under, and send them by the keyboard."""
        for name, value in fields.items():
            await self.view(view).locator(f"input[name={name}]:visible").fill(value)
        await self.page.keyboard.press("Enter")

    async def sign_in(self, email: str, password: str) -> None:
        """Open the page and sign in by password; a second step may follow."""
        await self.open()
        await self.give("sign-in", email=email, password=password)

    async def press(self, name: str) -> None:
        """Press the button of this name that is shown."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def expect_account(self) -> None:
        """Wait until somebody is signed in."""
        await expect(self.page.get_by_role("heading", name="Your account")).to_be_visible()

    async def expect_sign_in(self, notice: str = "") -> None:
        """Wait until the sign-in is shown, and why."""
        await expect(self.view("sign-in")).to_be_visible()
        await expect(self.view("sign-in").locator(".notice")).to_contain_text(notice)

    async def expect_said(self, view: str, name: str, text: str | re.Pattern[str] = re.compile(".")) -> None:
        """Wait until something is said against a field, beside it and for who hears the page."""
        field = self.view(view).locator(f"input[name={name}]")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await expect(field).to_be_focused()
        place = (await field.get_attribute("aria-describedby") or "").split()[0]
        await expect(self.view(place)).to_have_text(text)

    async def sign_out(self) -> None:
        """Sign out."""
        await self.press("Sign out")
        await self.expect_sign_in("You have signed out.")


@contextmanager
def own_demo(**settings: str) -> Iterator[AccountServer]:
    """Run a demo for one test alone, which sends no mail."""
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    port = free_port()
    server = start_demo(directory / "demo", port, **settings)
    try:
        yield AccountServer(server, Mailbox(free_port()), f"http://localhost:{port}")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


async def add_app(account: AccountPage) -> tuple[pyotp.TOTP, str, list[str]]:
    """Add an authenticator app, and return it with the code that was given and the recovery codes that were shown."""
    await account.press("Add an authenticator app")
    await expect(account.view("totp-dialog")).to_be_visible()
    totp = pyotp.TOTP((await account.view("totp-secret").inner_text()).replace(" ", ""))
    assert await account.page.evaluate(QR_IS_DRAWN)
    used = totp.now()
    await account.give("totp-dialog", code=used)
    await expect(account.view("codes-dialog")).to_be_visible()
    codes = await account.view("codes-list").locator("code").all_inner_texts()
    await account.press("I have kept them")
    await expect(account.view("codes-list")).to_be_empty()
    return totp, used, codes
