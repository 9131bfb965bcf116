"""The page of one's own account in all its states: by axe-core, in the light and the dark, on small screens."""

import asyncio
from pathlib import Path

from playwright.async_api import expect

from tests.support.account_page import AccountPage, AccountServer, add_app, own_demo
from tests.support.appearance import Appearance
from tests.support.chromium import Browsed


async def test_what_a_link_opens_can_be_read_and_used(
    account_server: AccountServer, browsed: Browsed, tmp_path: Path
) -> None:
    account, look = AccountPage(browsed, account_server.url), Appearance(browsed.page, tmp_path)
    shown = browsed.page.locator("main > section:visible")
    for fragment in ("", "#forgotten", "#reset=a", "#invitation=a", "#enrol=a"):
        await account.open(fragment)
        await expect(shown).to_have_count(1)
        await look.check(f"opened {fragment[1:]}")
        await shown.locator("button[type=submit]").click()
        await expect(shown.locator(".field-error:not(:empty)").first).to_be_visible()
        await look.check(f"not filled in {fragment[1:]}")
    assert browsed.complaints == []


async def test_the_account_and_its_dialogs_can_be_read_and_used(browsed: Browsed, tmp_path: Path) -> None:
    with own_demo() as server:
        account, look = AccountPage(browsed, server.url), Appearance(browsed.page, tmp_path)
        await browsed.keep_passkeys()
        await account.sign_in("nobody@clearwater.example", "not the password")
        await expect(account.view("sign-in").get_by_role("alert")).not_to_be_empty()
        await look.check("sign-in refused")

        await account.sign_in(*server.sign_ins["viewer"])
        await account.expect_account()
        await look.check("account")
        await account.press("Add an authenticator app")
        await expect(account.view("totp-dialog")).to_be_visible()
        await look.check("authenticator app")
        await account.give("totp-dialog", code="000000")
        await account.expect_said("totp-dialog", "code")
        await look.check("authenticator app refused")
        await account.press("Cancel")
        await account.press("Add a passkey")
        await look.check("passkey")
        await account.give("passkey-dialog", name="Field phone")
        await expect(account.view("codes-dialog")).to_be_visible()
        await look.check("recovery codes")
        await account.press("I have kept them")
        await look.check("account with a factor")
        await account.page.get_by_role("button", name="Rename").last.click()
        await look.check("rename")
        await account.page.keyboard.press("Escape")
        await account.give("change-form", currentPassword="not the password", newPassword="short")
        await expect(account.view("change-form").locator(".field-error:not(:empty)").first).to_be_visible()
        await look.check("password refused")

        await account.sign_out()
        await look.check("signed out")
        await account.sign_in(*server.sign_ins["viewer"])
        await expect(account.view("second-factor")).to_be_visible()
        await look.check("second step")
        await account.press("Use a recovery code")
        await look.check("second step by code")
        assert browsed.complaints == []


async def test_what_is_asked_before_a_sensitive_act_can_be_read_and_used(browsed: Browsed, tmp_path: Path) -> None:
    with own_demo(FIELDWARD_FRESH_SIGN_IN_MIN="0.05") as server:
        account, look = AccountPage(browsed, server.url), Appearance(browsed.page, tmp_path)
        await account.sign_in(*server.sign_ins["viewer"])
        await account.expect_account()
        await add_app(account)
        await asyncio.sleep(3.5)

        await account.press("Add an authenticator app")
        await expect(account.view("step-up")).to_be_visible()

        await look.check("is it you")
        await account.press("Use a recovery code")
        await look.check("is it you by code")
        assert browsed.complaints == []
