"""Chromium, and server processes with a mailbox behind them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.conftest import Template
from tests.support.account_page import AccountServer
from tests.support.alarm_servers import mailbox
from tests.support.chromium import Browsed, browse, chromium
from tests.support.flow import Flow, flowing
from tests.support.server import free_port, start_demo
from tests.support.world import World


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A fresh Chromium."""
    async with chromium() as running:
        yield running


@pytest.fixture
async def browsed(browser: Browser) -> Browsed:
    """A page of it that notes each error and each host that is asked."""
    return await browse(browser)


@pytest.fixture(scope="session")
def account_server() -> Iterator[AccountServer]:
    """The demo as a process of its own, whose mails come to a mailbox."""
    # Not below pytest's own directories: another run may close those, and then the database's user is shut out.
    directory = Path(tempfile.mkdtemp(prefix="fw"))
    port = free_port()
    url = f"http://localhost:{port}"
    with mailbox(free_port(), None) as box:
        mail = {
            "FIELDWARD_PUBLIC_URL": url,
            "FIELDWARD_SMTP_HOST": "127.0.0.1",
            "FIELDWARD_SMTP_PORT": str(box.port),
            "FIELDWARD_SMTP_SECURITY": "none",
            "FIELDWARD_SMTP_FROM": "fieldward@clearwater.example",
        }
        started = start_demo(directory / "demo", port, **mail)
        try:
            yield AccountServer(started, box, url)
        finally:
            code = started.stop()
            shutil.rmtree(directory, ignore_errors=True)
    assert code == 0


@pytest.fixture
async def flow(template: Template, world: World, tmp_path: Path) -> AsyncIterator[Flow]:
    """A server process over this test's world, for which a sign-in is fresh as long as for any other."""
    async with flowing(template, world, tmp_path, FIELDWARD_FRESH_SIGN_IN_MIN="15") as running:
        yield running
