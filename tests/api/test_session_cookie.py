"""Sign-ins that a browser holds by cookie, and what other sites can't make it do."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from auth.action import Action
from auth.opaque_token import CookieToken
from auth.principal import Channel, Origin
from fieldward.web.limits import ANONYMOUS_LIMIT
from models.base import new_id
from resolvers.change import Intent, commit_change
from resolvers.session_cookie import authenticate_cookie, renew_cookie
from resolvers.trail import Actor
from schema.cookie import SESSION
from tests.support.browser import OWN_PAGE, Browser
from tests.support.world import SIGN_IN, Answer, Client, World, json_body

ME = "{ viewer { role } }"
SIGN_OUT = "mutation { signOut { errors { code } } }"
NEW_PROJECT = 'mutation { createProject(input: {code: "STOLEN", name: "x"}) { project { id } errors { code } } }'
CROSS_SITE: dict[str, dict[str, str]] = {
    "without our header": {"fieldward-csrf": ""},
    "with another value of it": {"fieldward-csrf": "true"},
    "from another site's page": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "from another origin of the same site": {"origin": "http://127.0.0.1:9000"},
    "from the same host by another scheme": {"origin": "https://127.0.0.1:8000"},
    "from a sandboxed frame": {"origin": "null"},
    "as the browser says, from another site": {"origin": "", "sec-fetch-site": "cross-site"},
    "as the browser says, from the same site": {"sec-fetch-site": "same-site"},
    "from a host that was led here": {"host": "evil.example", "origin": "http://evil.example"},
}
"""Headers in the place of those of a page of ours."""


async def test_a_browser_signs_in_by_a_cookie_that_no_script_and_no_other_host_gets(world: World) -> None:
    browser = Browser(world.http)

    answer = await browser.sign_in(world, "manager")

    assert answer.data["signIn"] == {
        "accessToken": None,
        "accessTokenExpiresAt": None,
        "refreshToken": None,
        "errors": [],
    }
    line = next(one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{SESSION}="))
    assert line == f"{SESSION}={browser.session}; Path=/; Secure; HttpOnly; SameSite=Strict"
    assert browser.session is not None
    assert browser.session.startswith("fwb_")
    assert (await browser.run(ME)).data == {"viewer": {"role": "MEMBER"}}


async def test_what_a_cookie_holds_is_in_no_table(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    assert browser.client is not None
    token = CookieToken.parse(browser.session)

    for table in await world.sql("select tablename from pg_tables where schemaname = 'public'"):
        dump = await world.value(f"select coalesce(string_agg(t::text, ''), '') from {table['tablename']} t")
        assert browser.session not in dump
        assert token.secret.hex() not in dump
        assert browser.client not in dump
    assert await world.value("select cookie_digest from session where id = $1", token.session_id) == token.digest()


@pytest.mark.parametrize("how", CROSS_SITE)
async def test_what_another_site_has_a_browser_send_does_nothing(world: World, how: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "owner")
    owner = await world.member_id("owner")
    since, before = await world.now(), await world.fingerprint()

    answer = await browser.send(json_body({"query": NEW_PROJECT}), **{**OWN_PAGE, **CROSS_SITE[how]})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body["data"] == {"createProject": None}
    assert "set-cookie" not in answer.headers
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"], one["error_code"], one["membership_id"]) for one in entries] == [
        ("session.authenticate", "DENIED", "CROSS_SITE", owner),
        ("project.create", "DENIED", "CROSS_SITE", None),
    ]
    assert (await browser.run(ME)).data == {"viewer": {"role": "OWNER"}}


@pytest.mark.parametrize("how", CROSS_SITE)
async def test_another_site_reads_nothing_by_a_browsers_cookie(world: World, how: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "owner")

    query = json_body({"query": "{ viewer { role } projects { nodes { code } } }"})
    answer = await browser.send(query, **{**OWN_PAGE, **CROSS_SITE[how]})

    assert answer.codes == ["UNAUTHENTICATED", "UNAUTHENTICATED"]
    assert answer.body["data"] == {"viewer": None, "projects": None}


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
async def test_a_form_of_another_site_becomes_no_operation(world: World, content_type: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "owner")
    before = await world.fingerprint()

    answer = await browser.send(
        json_body({"query": NEW_PROJECT}),
        **{"content-type": content_type, "host": "127.0.0.1:8000", "origin": "https://evil.example"},
    )

    assert answer.status == 415
    assert await world.fingerprint() == before


async def test_a_link_becomes_no_operation(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "owner")

    answer = await world.http.get(
        "/graphql", params={"query": ME}, headers={**OWN_PAGE, "cookie": f"{SESSION}={browser.session}"}
    )

    assert answer.status_code == 405


@pytest.mark.parametrize("how", CROSS_SITE)
async def test_another_site_signs_nobody_in(world: World, how: str) -> None:
    """Or somebody would work in an account that is another's, and think that it is theirs."""
    browser = Browser(world.http)
    given = {"email": world.email("manager"), "password": world.password("manager"), "delivery": "COOKIE"}
    since = await world.now()

    body = json_body({"query": SIGN_IN, "variables": {"input": given}})
    answer = await browser.send(body, **{**OWN_PAGE, **CROSS_SITE[how]})

    assert answer.codes == ["UNAUTHENTICATED"]
    assert browser.cookies == {}
    assert await world.value("select count(*) from session where created_at > $1", since) == 0
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["error_code"]) for one in entries] == [
        ("ATTEMPT", "session.sign_in", "CROSS_SITE")
    ]


async def test_a_browser_that_says_nothing_of_origins_is_let_in_by_our_header(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")

    answer = await browser.send(json_body({"query": ME}), **{"fieldward-csrf": "1"})

    assert answer.data == {"viewer": {"role": "MEMBER"}}


async def test_a_new_sign_in_gives_a_new_secret_and_ends_the_one_before(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    planted = Browser(world.http, dict(browser.cookies))

    await browser.sign_in(world, "manager")

    assert browser.session != planted.session
    assert (await planted.run(ME)).codes == ["UNAUTHENTICATED"]
    assert (await browser.run(ME)).data == {"viewer": {"role": "MEMBER"}}


async def test_a_secret_that_somebody_planted_is_not_the_one_that_is_signed_in_with(world: World) -> None:
    someone = CookieToken.new(await world.organization_id("clearwater"), (await world.member_id("manager")))
    browser = Browser(world.http, {SESSION: someone.encode()})

    await browser.sign_in(world, "manager")

    assert browser.session != someone.encode()
    assert (await Browser(world.http, {SESSION: someone.encode()}).run(ME)).codes == ["UNAUTHENTICATED"]


async def test_a_new_proof_of_who_it_is_gives_a_new_secret(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    origin = Origin(Channel.API, new_id())
    token = CookieToken.parse(browser.session)
    viewer = await authenticate_cookie(world.services, origin, token, is_own_page=True)
    actor = Actor(viewer.organization_id, origin, viewer)

    renewed = await commit_change(Intent(Action.SESSION_REAUTHENTICATE, actor, entity="session"), renew_cookie)

    assert renewed is not None
    assert CookieToken.parse(renewed).session_id == token.session_id
    assert (await Browser(world.http, {SESSION: renewed}).run(ME)).data == {"viewer": {"role": "MEMBER"}}
    assert (await browser.run(ME)).codes == ["UNAUTHENTICATED"]


async def test_a_cookie_that_was_stolen_is_worth_nothing_after_signing_out(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    thief = Browser(world.http, dict(browser.cookies))
    assert (await thief.run(ME)).data == {"viewer": {"role": "MEMBER"}}

    signed_out = await browser.run(SIGN_OUT)

    assert signed_out.data["signOut"]["errors"] == []
    assert browser.session is None
    since = await world.now()
    await _is_refused(world, thief, since)


ENDS = {
    "a password that was changed": "update user_account set sessions_valid_from = clock_timestamp()"
    " where id = (select user_id from session where id = $1)",
    "the time without use": "update session set idle_expires_at = clock_timestamp() - interval '1 second'"
    " where id = $1",
    "the time in all": "update session set expires_at = clock_timestamp() - interval '1 second' where id = $1",
    "an administrator": "update session set revoked_at = clock_timestamp() where id = $1",
}


@pytest.mark.parametrize("by", ENDS)
async def test_a_cookie_is_worth_nothing_after_its_session_was_ended(world: World, by: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    await _tamper(world, ENDS[by], CookieToken.parse(browser.session).session_id)
    since = await world.now()

    await _is_refused(world, browser, since)
    assert browser.session is None


async def test_using_it_puts_the_idle_end_off_once_in_minutes(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    session = CookieToken.parse(browser.session).session_id
    since = await world.now()
    await browser.run(ME)
    assert await world.entries(since=since) == []
    passed = "update session set idle_expires_at = idle_expires_at - interval '6 minutes' where id = $1"
    await _tamper(world, passed, session)
    due = await world.value("select idle_expires_at from session where id = $1", session)

    answers = await asyncio.gather(*(browser.run(ME) for _ in range(6)))

    assert all(answer.data for answer in answers)
    entries = await world.entries(since=since)
    assert [(one["kind"], one["action"], one["session_id"]) for one in entries] == [
        ("CHANGE", "session.refresh", session)
    ]
    row = (await world.sql("select * from session where id = $1", session))[0]
    assert row["idle_expires_at"] > due + timedelta(minutes=5)
    assert row["refreshed_at"] > since
    assert row["idle_expires_at"] < row["expires_at"]


async def test_no_use_puts_off_the_end_of_the_time_in_all(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    session = CookieToken.parse(browser.session).session_id
    end = await world.value("select expires_at from session where id = $1", session)
    passed = "update session set idle_expires_at = idle_expires_at - interval '30 minutes' where id = $1"
    await _tamper(world, passed, session)

    await browser.run(ME)

    assert await world.value("select expires_at from session where id = $1", session) == end


async def test_where_nothing_can_be_written_the_cookie_still_reads(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    session = CookieToken.parse(browser.session).session_id
    passed = "update session set idle_expires_at = idle_expires_at - interval '30 minutes' where id = $1"
    await _tamper(world, passed, session)
    due = await world.value("select idle_expires_at from session where id = $1", session)
    await world.sql("revoke insert on audit_entry from fieldward_service")

    answer = await browser.run(ME)

    assert answer.data == {"viewer": {"role": "MEMBER"}}
    assert await world.value("select idle_expires_at from session where id = $1", session) == due


@pytest.mark.parametrize("header", ["Bearer none.at.all", "Basic eDp5", "Bearer"])
async def test_beside_an_authorization_header_a_cookie_counts_for_nothing(world: World, header: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")

    answer = await browser.run("{ viewer { role } projects { nodes { code } } }", authorization=header)

    assert "UNAUTHENTICATED" in answer.codes
    assert answer.body["data"]["projects"] is None


async def test_the_authorization_header_says_who_asks_where_a_cookie_says_another(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    owner: Client = await world.client("owner")

    answer = await browser.run(ME, authorization=f"Bearer {owner.token}")

    assert answer.data == {"viewer": {"role": "OWNER"}}


@pytest.mark.parametrize("change", ["another secret", "another session", "another organization", "two of them"])
async def test_a_cookie_that_was_made_up_is_nobodys(world: World, change: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    good = CookieToken.parse(browser.session)
    other = await world.organization_id("suncoast")
    made = {
        "another secret": CookieToken.new(good.organization_id, good.session_id).encode(),
        "another session": CookieToken(good.organization_id, other, good.secret).encode(),
        "another organization": CookieToken(other, good.session_id, good.secret).encode(),
        "two of them": f"{good.encode()}; {SESSION}={good.encode()}",
    }

    answer = await Browser(world.http, {SESSION: made[change]}).run("{ projects { nodes { code } } }")

    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body["data"] == {"projects": None}


async def test_the_secret_of_a_cookie_refreshes_nothing_and_is_no_access_token(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    as_refresh = "fwr_" + browser.session.removeprefix("fwb_")
    refresh = "mutation($t: String!) { refreshSession(input: {refreshToken: $t}) { accessToken } }"

    for text in (browser.session, as_refresh):
        assert (await world.anonymous.run(refresh, {"t": text})).codes == ["UNAUTHENTICATED"]
        assert (await Client(world.http, text).run(ME)).codes == ["UNAUTHENTICATED"]


async def test_a_device_keeps_no_cookie(world: World) -> None:
    browser = Browser(world.http)
    since = await world.now()

    answer = await browser.sign_in(world, "manager", deviceId=f"Device:{await world.member_id('manager')}")

    assert [(one["code"], one["field"]) for one in answer.data["signIn"]["errors"]] == [
        ("INVALID_INPUT", ["input", "delivery"])
    ]
    assert browser.session is None
    assert [one["kind"] for one in await world.entries(since=since)].count("ATTEMPT") == 1


async def test_who_is_signed_in_by_cookie_may_send_a_large_body_and_who_says_so_may_not(world: World) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    assert browser.session is not None
    good = CookieToken.parse(browser.session)
    forged = Browser(world.http, {SESSION: CookieToken.new(good.organization_id, good.session_id).encode()})
    body = json_body({"query": ME, "extensions": {"x": "y" * ANONYMOUS_LIMIT}})

    assert (await browser.send(body, **OWN_PAGE)).data == {"viewer": {"role": "MEMBER"}}
    refused = await forged.send(body, **OWN_PAGE)

    assert refused.status == 413


async def _is_refused(world: World, browser: Browser, since: Any) -> None:
    answer: Answer = await browser.run("{ projects { nodes { code } } }")
    assert answer.codes == ["UNAUTHENTICATED"]
    assert answer.body["data"] == {"projects": None}
    entries = await world.entries(since=since)
    assert [(one["action"], one["outcome"]) for one in entries] == [("session.authenticate", "DENIED")]


async def _tamper(world: World, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    for table in ("session", "user_account"):
        await world.sql(f"alter table {table} disable trigger all")
    found = await world.sql(statement, *arguments)
    for table in ("session", "user_account"):
        await world.sql(f"alter table {table} enable trigger all")
    return found
