"""What links lead to, in real Chromium: a reset, an invitation, and the enrolment of a device."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, Route, expect

from tests.support.account_page import AccountPage, AccountServer
from tests.support.chromium import Browsed, browse
from tests.support.world import Client

PASSWORD: Final = "forty otters under the old bridge"
KEPT_KEY: Final = """
() => new Promise((resolve, reject) => {
  const opening = indexedDB.open('fieldward');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const asked = opening.result.transaction('device').objectStore('device').get('this');
    asked.onsuccess = async () => {
      const { key } = asked.result;
      const exported = await crypto.subtle.exportKey('jwk', key.privateKey).then(() => true, () => false);
      resolve({ extractable: key.privateKey.extractable, exported, algorithm: key.privateKey.algorithm.namedCurve });
    };
  };
})
"""

INVITE: Final = """
mutation($input: InviteUserInput!) { inviteUser(input: $input) { errors { code message field } } }
"""
REGISTER: Final = """
mutation($input: RegisterDeviceInput!) {
  registerDevice(input: $input) { device { id version } errors { code message field } }
}
"""
START: Final = """
mutation($input: StartDeviceEnrolmentInput!) {
  startDeviceEnrolment(input: $input) { code uri qr expiresAt errors { code message field } }
}
"""
DEVICE: Final = "query($id: ID!) { device(id: $id) { version enrolledAt lastSeenAt } }"
BLOCK: Final = """
mutation($input: BlockDeviceInput!) { blockDevice(input: $input) { errors { code message field } } }
"""


@pytest.fixture
def account(account_server: AccountServer, browsed: Browsed) -> AccountPage:
    """The page, open to nobody yet."""
    return AccountPage(browsed, account_server.url)


async def done(client: Client, mutation: str, **given: Any) -> Any:
    """Run a mutation that goes well, and return what it answers."""
    (payload,) = (await client.run(mutation, {"input": given})).data.values()
    assert payload["errors"] == [], payload
    return payload


async def test_a_forgotten_password_is_set_anew_by_a_mailed_link_that_works_once(
    account: AccountPage, account_server: AccountServer, browser: Browser
) -> None:
    email, password = account_server.sign_ins["member"]
    other = AccountPage(await browse(browser), account_server.url)
    await other.sign_in(email, password)
    await other.expect_account()
    await account.open()
    await account.press("Forgotten your password?")
    await account.give("forgotten", email=email)
    await account.expect_sign_in("If there is an account with that address")

    link = await account_server.link_mailed_to(email, "reset")
    await account.page.goto("about:blank")
    await account.page.goto(link)

    await expect(account.view("reset-password")).to_be_focused()
    token = link.partition("=")[2]
    assert token not in account.page.url
    assert await account.page.evaluate("() => history.length > 0 && !location.hash") is True
    await account.give("reset", newPassword="clearwater member")
    await account.expect_said("reset", "newPassword")
    await account.give("reset", newPassword=PASSWORD)
    await account.expect_sign_in("Your password was set")
    await other.page.reload()
    await other.expect_sign_in()
    await account.give("sign-in", email=email, password=password)
    await expect(account.view("sign-in").get_by_role("alert")).not_to_be_empty()
    await account.give("sign-in", password=PASSWORD)
    await account.expect_account()

    await account.open(f"#reset={token}")
    await account.give("reset", newPassword=f"{PASSWORD} again")
    await expect(account.view("reset").get_by_role("alert")).not_to_be_empty()
    assert account.browsed.complaints == []


async def test_an_unknown_address_is_answered_as_a_known_one(
    account: AccountPage, account_server: AccountServer
) -> None:
    await account.open("#forgotten")

    await account.give("forgotten", email="nobody@clearwater.example")

    await account.expect_sign_in("If there is an account with that address")
    assert account_server.subjects_to("nobody@clearwater.example") == []


async def test_an_invited_person_accepts_and_signs_in(account: AccountPage, account_server: AccountServer) -> None:
    email = "ines@clearwater.example"
    async with httpx.AsyncClient(base_url=account_server.url) as http:
        owner = await account_server.client(http, "owner")
        await done(owner, INVITE, email=email, name="Ines Iver", role="MEMBER")
    link = await account_server.link_mailed_to(email, "invitation")

    await account.page.goto(link)
    await expect(account.view("invitation-password")).to_be_focused()
    assert link.partition("=")[2] not in account.page.url
    await account.give("invitation", password="fieldward")
    await account.expect_said("invitation", "password")
    await account.give("invitation", password=PASSWORD)

    await account.expect_sign_in("You are a member now")
    await account.give("sign-in", email=email, password=PASSWORD)
    await account.expect_account()
    await expect(account.view("viewer-name")).to_have_text("Ines Iver")
    await account.open(f"#invitation={link.partition('=')[2]}")
    await account.give("invitation", password=PASSWORD)
    await expect(account.view("invitation").get_by_role("alert")).not_to_be_empty()
    assert account.browsed.complaints == []


async def test_a_browser_is_enrolled_as_a_device_and_its_key_stays_in_it(
    account: AccountPage, account_server: AccountServer
) -> None:
    email, password = account_server.sign_ins["collector"]
    proofs: list[str] = []

    async def shorten(route: Route) -> None:
        """Have the page refresh its tokens at once: say that they end soon."""
        sent = json.loads(route.request.post_data or "{}")
        proofs.extend(filter(None, [sent["variables"].get("input", {}).get("deviceProof")]))
        response = await route.fetch()
        answer = await response.json()
        if "AccountSignIn(" in sent["query"] and answer.get("data"):
            answer["data"]["signIn"]["accessTokenExpiresAt"] = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        await route.fulfill(response=response, json=answer)

    await account.page.route("**/graphql", shorten)
    async with httpx.AsyncClient(base_url=account_server.url) as http:
        owner = await account_server.client(http, "owner")
        collector = await account_server.client(http, "collector")
        holder = (await collector.run("{ viewer { user { id } } }")).data["viewer"]["user"]["id"]
        registered = await done(owner, REGISTER, userId=holder, platform="WINDOWS", model="Field tablet")
        device = registered["device"]["id"]
        started = await done(owner, START, id=device)
        assert "<svg" in started["qr"]

        await account.open(f"?audience=fieldward-api#enrol={started['code']}")
        await expect(account.view("enrol-submit")).to_be_focused()
        assert started["code"] not in account.page.url
        await account.press("Enrol this device")
        await account.expect_sign_in("This device is enrolled. Sign in on it.")
        kept = await account.page.evaluate(KEPT_KEY)
        assert kept == {"extractable": False, "exported": False, "algorithm": "P-256"}
        await account.give("sign-in", email=email, password=password)
        await account.expect_account()

        await expect(account.view("sessions-list")).to_contain_text("This session")
        assert len(proofs) == len(set(proofs)) >= 2
        assert await account.page.context.cookies() == []
        shown = (await owner.run(DEVICE, {"id": device})).data["device"]
        assert shown["enrolledAt"] is not None
        assert shown["lastSeenAt"] is not None

        await done(owner, BLOCK, id=device, expectedVersion=shown["version"], reason="Left on the ferry")
        await account.press("Add an authenticator app")
        await account.expect_sign_in("This device is blocked.")

        await account.open(f"#enrol={started['code']}")
        await account.press("Enrol this device")
        await expect(account.view("enrol").locator(":is(.alert, .field-error):not(:empty)")).to_be_visible()
