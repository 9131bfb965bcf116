"""The page of one's own account in real Chromium, over a real server: signing in, factors, sessions, the password."""

import asyncio
import re
from typing import Final

import pyotp
import pytest
from playwright.async_api import Browser, expect

from schema.cookie import SESSION
from tests.support.account_page import AccountPage, AccountServer, add_app, own_demo
from tests.support.chromium import Browsed, browse

WIDTHS: Final = "() => [document.documentElement.scrollWidth, innerWidth]"
IN_REACH: Final = "() => ({ local: {...localStorage}, session: {...sessionStorage}, cookie: document.cookie })"
NEW_PASSWORD: Final = "nine wet herons by the weir"


DEMAND_A_FACTOR: Final = """
async () => {
  const query = `mutation { setSignInPolicy(input: { demandsSecondFactor: true, reason: "By the insurance" }) {
    errors { code message } } }`;
  const headers = { 'content-type': 'application/json', 'fieldward-csrf': '1' };
  const answer = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query }) });
  return (await answer.json()).data.setSignInPolicy.errors;
}
"""


@pytest.fixture
def account(account_server: AccountServer, browsed: Browsed) -> AccountPage:
    """The page, open to nobody yet."""
    return AccountPage(browsed, account_server.url)


async def another(browser: Browser, server: AccountServer) -> AccountPage:
    """Return the page in another browser, as it were: with cookies of its own."""
    return AccountPage(await browse(browser), server.url)


async def code_after(totp: pyotp.TOTP, used: str) -> str:
    """Return a code of the app that is not the one that was used, once it shows one."""
    for _ in range(320):
        if totp.now() != used:
            return totp.now()
        await asyncio.sleep(0.1)
    pytest.fail("The app showed the same code for half a minute.")


async def test_a_person_signs_in_and_out_with_the_keyboard_alone(
    account: AccountPage, account_server: AccountServer
) -> None:
    page = account.page
    email, password = account_server.sign_ins["auditor"]
    await account.open()
    await expect(account.view("email")).to_be_focused()

    await page.keyboard.type(email)
    await page.keyboard.press("Tab")
    await page.keyboard.type(password)
    await page.keyboard.press("Enter")

    await account.expect_account()
    await expect(page.get_by_role("heading", name="Your account")).to_be_focused()
    await expect(account.view("viewer-name")).to_have_text("Aude Audran")
    assert await page.evaluate(IN_REACH) == {"local": {}, "session": {}, "cookie": ""}
    cookies = await page.context.cookies()
    assert SESSION in {cookie["name"] for cookie in cookies}
    for cookie in cookies:
        assert cookie["name"].startswith("__Host-")
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    await page.reload()
    await account.expect_account()

    await page.keyboard.press("Shift+Tab")
    await expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    await page.keyboard.press("Enter")

    await account.expect_sign_in("You have signed out.")
    assert "Aude" not in await page.content()
    assert SESSION not in {cookie["name"] for cookie in await page.context.cookies()}
    await page.reload()
    await account.expect_sign_in()
    assert account.browsed.hosts == {account_server.url.removeprefix("http://")}
    assert account.browsed.complaints == []


async def test_a_wrong_password_is_said_and_opens_nothing(account: AccountPage, account_server: AccountServer) -> None:
    email, password = account_server.sign_ins["auditor"]

    await account.sign_in(email, f"not {password}")

    await expect(account.view("sign-in").get_by_role("alert")).not_to_be_empty()
    await expect(account.view("password")).to_be_focused()
    await expect(account.view("account")).to_be_hidden()
    assert await account.page.context.cookies() == []


async def test_what_is_missing_is_said_beside_its_field_before_anything_is_sent(account: AccountPage) -> None:
    await account.open()

    await account.give("sign-in", email="nobody@clearwater.example")

    await account.expect_said("sign-in", "password", "Fill this in.")


async def test_an_app_and_recovery_codes_are_asked_for_after_the_password_and_work_once(
    account: AccountPage, account_server: AccountServer
) -> None:
    sign_in = account_server.sign_ins["viewer"]
    await account.sign_in(*sign_in)
    await account.expect_account()
    await account.press("Add an authenticator app")
    await expect(account.view("totp-dialog")).to_be_visible()
    await account.give("totp-dialog", code="000000")
    await account.expect_said("totp-dialog", "code")
    await account.press("Cancel")

    totp, used, codes = await add_app(account)

    assert len(codes) == len(set(codes)) >= 8
    assert codes[0] not in await account.page.content()
    assert totp.secret not in (await account.page.content()).replace(" ", "")
    await expect(account.view("authenticators-list")).to_contain_text("Authenticator app")
    await account.sign_out()
    await account.sign_in(*sign_in)
    await expect(account.view("totp")).to_be_focused()
    await expect(account.view("account")).to_be_hidden()
    await account.give("second-factor", totp=used)
    await expect(account.view("second-factor").locator(":is(.alert, .field-error):not(:empty)")).to_be_visible()
    await account.press("Use a recovery code")
    await account.give("second-factor", recoveryCode=codes[0])
    await account.expect_account()
    await expect(account.view("codes-left")).to_have_text(f"{len(codes) - 1} recovery codes are left.")

    await account.sign_out()
    await account.page.goto(f"{account.url}/graphiql")
    await account.browsed.sign_in(*sign_in)
    await expect(account.page.get_by_role("alert")).to_contain_text("You have a second factor.")
    await expect(account.view("workspace")).to_be_hidden()
    await account.sign_in(*sign_in)
    await account.press("Use a recovery code")
    await account.give("second-factor", recoveryCode=codes[0])
    await expect(account.view("second-factor").locator(":is(.alert, .field-error):not(:empty)")).to_be_visible()
    await account.press("Use your authenticator app")
    await account.give("second-factor", totp=await code_after(totp, used))
    await account.expect_account()
    await account.page.goto(f"{account.url}/graphiql")
    await expect(account.view("workspace")).to_be_visible()
    assert account.browsed.complaints == []


async def test_a_passkey_is_a_second_factor_and_signs_in_alone(
    account: AccountPage, account_server: AccountServer
) -> None:
    passkeys = await account.browsed.keep_passkeys()
    sign_in = account_server.sign_ins["collector"]
    await account.sign_in(*sign_in)
    await account.expect_account()

    await account.press("Add a passkey")
    await account.give("passkey-dialog", name="Field phone")
    await expect(account.view("codes-dialog")).to_be_visible()
    await account.press("I have kept them")
    await expect(account.view("authenticators-list")).to_contain_text("Field phone")
    await account.sign_out()

    await account.sign_in(*sign_in)
    await expect(account.view("second-factor")).to_be_visible()
    await expect(account.view("account")).to_be_hidden()
    await account.press("Use your passkey")
    await account.expect_account()
    await account.sign_out()

    await account.press("Sign in with a passkey")
    await account.expect_account()
    await expect(account.view("viewer-name")).not_to_have_text("Signed in")
    await account.sign_out()

    await passkeys.lock(locked=True)
    await account.press("Sign in with a passkey")
    await expect(account.view("sign-in").get_by_role("alert")).not_to_be_empty()
    await expect(account.view("account")).to_be_hidden()
    await passkeys.lock(locked=False)
    await account.press("Sign in with a passkey")
    await account.expect_account()

    await account.press("Remove Field phone")
    await expect(account.view("authenticators-list")).not_to_contain_text("Field phone")
    await account.sign_out()
    await account.press("Sign in with a passkey")
    await expect(account.view("sign-in").get_by_role("alert")).not_to_be_empty()
    await expect(account.view("account")).to_be_hidden()
    assert account.browsed.complaints == []


async def test_sessions_are_listed_renamed_and_ended(
    account: AccountPage, account_server: AccountServer, browser: Browser
) -> None:
    sign_in = account_server.sign_ins["reviewer"]
    other = await another(browser, account_server)
    await other.sign_in(*sign_in)
    await other.expect_account()
    await account.sign_in(*sign_in)
    await account.expect_account()
    lines = account.view("sessions-list").locator("li")
    await expect(lines).to_have_count(2)
    await expect(lines.first).to_contain_text("This session")

    await lines.last.get_by_role("button", name="Rename").click()
    await account.give("rename-dialog", name="The laptop at home")
    await expect(lines.last).to_contain_text("The laptop at home")
    await account.press("End The laptop at home")

    await expect(lines).to_have_count(1)
    await other.press("Add an authenticator app")
    await other.expect_sign_in("session has ended")
    await account.page.reload()
    await account.expect_account()
    assert account.browsed.complaints == []


async def test_after_a_new_factor_the_other_sessions_can_be_ended(
    account: AccountPage, account_server: AccountServer, browser: Browser
) -> None:
    sign_in = account_server.sign_ins["admin"]
    other = await another(browser, account_server)
    await other.sign_in(*sign_in)
    await other.expect_account()
    await account.sign_in(*sign_in)
    await account.expect_account()

    await add_app(account)
    await account.view("factors-changed-end").click()

    await expect(account.view("factors-changed")).to_be_hidden()
    await expect(account.view("sessions-list").locator("li")).to_have_count(1)
    await other.page.reload()
    await other.expect_sign_in()


async def test_a_changed_password_ends_the_other_sessions_and_is_told_by_mail(
    account: AccountPage, account_server: AccountServer, browser: Browser
) -> None:
    email, password = account_server.sign_ins["manager"]
    other = await another(browser, account_server)
    await other.sign_in(email, password)
    await other.expect_account()
    await account.sign_in(email, password)
    await account.expect_account()

    await account.give("change-form", currentPassword=password, newPassword="too short")
    await account.expect_said("change-form", "newPassword")
    await account.give("change-form", currentPassword=f"not {password}", newPassword=NEW_PASSWORD)
    await account.expect_said("change-form", "currentPassword")
    await account.give("change-form", currentPassword=password, newPassword=NEW_PASSWORD)

    await expect(account.view("password-changed")).to_be_visible()
    await expect(account.view("new-password")).to_have_value("")
    await other.page.reload()
    await other.expect_sign_in()
    await other.give("sign-in", email=email, password=password)
    await expect(other.view("sign-in").get_by_role("alert")).not_to_be_empty()
    await other.give("sign-in", password=NEW_PASSWORD)
    await other.expect_account()
    for _ in range(300):
        if account_server.subjects_to(email):
            break
        await asyncio.sleep(0.1)
    assert account_server.subjects_to(email)
    assert account.browsed.complaints == []


async def test_a_sensitive_act_asks_who_it_is_and_goes_on_by_itself(browser: Browser) -> None:
    with own_demo(FIELDWARD_FRESH_SIGN_IN_MIN="0.05") as server:
        account = await another(browser, server)
        email, password = server.sign_ins["viewer"]
        await account.sign_in(email, password)
        await account.expect_account()
        await asyncio.sleep(3.5)

        await account.press("Add an authenticator app")
        await expect(account.view("step-up")).to_be_visible()
        await account.give("step-up", password=f"not {password}")
        await expect(account.view("step-up").locator(":is(.alert, .field-error):not(:empty)")).to_be_visible()
        await account.give("step-up", password=password)

        await expect(account.view("totp-dialog")).to_be_visible()
        await expect(account.view("step-up")).to_be_hidden()
        await account.page.keyboard.press("Escape")
        await asyncio.sleep(3.5)
        await account.press("Add an authenticator app")
        await expect(account.view("step-up")).to_be_visible()
        await account.page.keyboard.press("Escape")
        await expect(account.view("authenticators-form").get_by_role("alert")).not_to_be_empty()
        await expect(account.view("totp-dialog")).to_be_hidden()
        assert account.browsed.complaints == []


async def test_who_has_to_add_a_second_factor_is_told_so_and_goes_on_when_they_have(browser: Browser) -> None:
    with own_demo() as server:
        owner = await another(browser, server)
        await owner.sign_in(*server.sign_ins["owner"])
        await owner.expect_account()
        await add_app(owner)
        assert await owner.page.evaluate(DEMAND_A_FACTOR) == []
        account = await another(browser, server)

        await account.sign_in(*server.sign_ins["viewer"])
        await account.expect_account()
        await expect(account.view("must-enrol")).to_be_visible()
        await add_app(account)

        await expect(account.view("must-enrol")).to_be_hidden()
        await expect(account.view("sessions-list").locator("li")).to_have_count(1)
        assert account.browsed.complaints == []


async def test_the_page_fits_a_narrow_screen(account: AccountPage, account_server: AccountServer) -> None:
    await account.page.set_viewport_size({"width": 320, "height": 640})
    for fragment in ("", "#forgotten", "#reset=a", "#invitation=a", "#enrol=a"):
        await account.open(fragment)
        await expect(account.page.locator("main > section:visible")).to_have_count(1)
        assert await account.page.evaluate(WIDTHS) == [320, 320], fragment

    await account.sign_in(*account_server.sign_ins["auditor"])
    await account.expect_account()

    assert await account.page.evaluate(WIDTHS) == [320, 320]
    for button in await account.page.get_by_role("button").all():
        assert re.search(r"\w", await button.inner_text())
