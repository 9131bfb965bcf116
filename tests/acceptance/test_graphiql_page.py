"""The query page: what its files are served with, and a first query run in a real browser."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Page, Request, Response, expect
from starlette.applications import Starlette

from fieldward.web.pages import page_routes
from tests.support.chromium import Browsed
from tests.support.world import World

STORED = """
() => ({
  local: {...localStorage},
  session: {...sessionStorage},
  cookie: document.cookie,
  address: location.href,
})
"""

ANSWER = "() => document.querySelector('.graphiql-response .CodeMirror').CodeMirror.getValue()"
WRITE = "(text) => document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.setValue(text)"
WIDTHS = "() => [document.documentElement.scrollWidth, innerWidth]"
FIRST_RECORD = "query FirstLook { records(first: 9) { nodes { comment } } }"
BANNER = "You look as {} – read only. Each query is written to the audit trail."


class Server(Protocol):
    """The running server that the fixture `server` gives."""

    url: str
    sign_ins: Mapping[str, tuple[str, str]]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page's own routes."""
    transport = httpx.ASGITransport(
        Starlette(routes=page_routes(audience="fieldward-api", kept_inputs=["RecordFilter.siteCode"]))
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://fieldward.test") as client:
        yield client


async def test_the_root_leads_to_the_page(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")

    assert answer.is_redirect
    assert answer.headers["location"] == "/graphiql"


async def test_the_page_may_load_and_reach_nothing_but_its_own_server(http: httpx.AsyncClient) -> None:
    answer = await http.get("/graphiql")

    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_the_page_asks_for_nothing_of_the_machine_and_sets_no_cookie(http: httpx.AsyncClient) -> None:
    answer = await http.get("/graphiql")

    assert "geolocation=()" in answer.headers["permissions-policy"]
    assert "set-cookie" not in answer.headers


async def test_the_page_and_its_files_are_not_sniffed_framed_or_named_to_others(world: World) -> None:
    """As the whole service answers them: these headers are put on whatever is answered."""
    answer = await world.http.get("/graphiql")

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert "geolocation=()" in answer.headers["permissions-policy"]
    addresses = _addresses(answer.text)
    assert addresses
    for one in [answer, *[await world.http.get(address) for address in addresses]]:
        assert one.status_code == 200
        assert one.headers["x-content-type-options"] == "nosniff"
        assert one.headers["cross-origin-resource-policy"] == "same-origin"
        assert one.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_page_holds_no_inline_script_style_or_handler(http: httpx.AsyncClient) -> None:
    page = (await http.get("/graphiql")).text

    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert not re.search(r"\s(style|on\w+)=", page)
    assert "{{" not in page


async def test_the_files_of_the_page_are_kept_for_good_under_an_address_made_of_their_content(
    http: httpx.AsyncClient,
) -> None:
    addresses = _addresses((await http.get("/graphiql")).text)
    assert {address.rsplit("/", 1)[1] for address in addresses} == {
        "graphiql.js",
        "graphiql.css",
        "page.css",
        "icon.svg",
        "LICENSES.txt",
    }

    for address in addresses:
        answer = await http.get(address)

        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_file_is_the_same_zipped_and_plain(http: httpx.AsyncClient) -> None:
    for address in _addresses((await http.get("/graphiql")).text):
        plain = await http.get(address, headers={"accept-encoding": "identity"})
        async with http.stream("GET", address, headers={"accept-encoding": "gzip"}) as zipped:
            raw = b"".join([part async for part in zipped.aiter_raw()])

        assert "content-encoding" not in plain.headers
        assert zipped.headers["content-encoding"] == "gzip"
        assert plain.headers["vary"] == zipped.headers["vary"] == "Accept-Encoding"
        assert gzip.decompress(raw) == plain.content


@pytest.mark.parametrize(
    "path",
    [
        "/graphiql/static/0000000000000000/graphiql.js",
        "/graphiql/static/graphiql.js",
        "/graphiql/static/0000000000000000/../../graphiql.html",
        "/graphiql/static/0000000000000000/%2e%2e%2fgraphiql.html",
    ],
)
async def test_no_other_address_is_a_file(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_the_page_is_only_read(http: httpx.AsyncClient, method: str) -> None:
    for path in ("/", "/graphiql", *_addresses((await http.get("/graphiql")).text)):
        assert (await http.request(method, path)).status_code == 405


async def test_the_built_files_name_no_source_map_and_no_place_they_were_built_in(http: httpx.AsyncClient) -> None:
    for address in _addresses((await http.get("/graphiql")).text):
        text = (await http.get(address)).text

        for told in ("sourceMappingURL", "node_modules/", "file://", str(Path.cwd()), "/home/", "/root/"):
            assert told not in text, f"{address} names {told}"


async def test_a_manager_signs_in_runs_the_first_query_and_signs_out(server: Server, browsed: Browsed) -> None:
    page = browsed.page
    await page.goto(f"{server.url}/")
    await expect(page.get_by_label("Email")).to_be_focused()
    await expect(page.locator("#workspace")).to_be_hidden()

    await browsed.sign_in(*server.sign_ins["manager"])
    await page.get_by_role("button", name="Execute query").click()

    answer = page.locator(".graphiql-response")
    await expect(answer).to_contain_text('"siteCode"', timeout=20_000)
    await expect(page.locator("#viewer-name")).not_to_have_text("Signed in")
    await expect(page.locator("#run-as")).to_be_hidden()
    stored = await page.evaluate(STORED)
    assert stored == {"local": {}, "session": {}, "cookie": "", "address": f"{server.url}/graphiql"}
    held = {cookie["name"]: cookie for cookie in await page.context.cookies()}
    assert held.keys() == {"__Host-fieldward", "__Host-fieldward-client"}
    for cookie in held.values():
        assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
        assert (cookie["path"], cookie["domain"]) == ("/", urlsplit(server.url).hostname)
    assert held["__Host-fieldward"]["expires"] == -1

    await page.reload()
    await expect(page.get_by_role("button", name="Execute query")).to_be_visible()
    await expect(page.locator("#sign-in")).to_be_hidden()

    await page.get_by_role("button", name="Sign out").click()

    await expect(page.locator("#sign-in-notice")).to_have_text("You have signed out.")
    await expect(page.locator("#workspace")).to_be_hidden()
    assert "siteCode" not in await page.content()
    assert [cookie["name"] for cookie in await page.context.cookies()] == ["__Host-fieldward-client"]
    assert browsed.hosts == {urlsplit(server.url).netloc}
    assert browsed.complaints == []


async def test_a_wrong_password_is_said_and_opens_nothing(server: Server, browsed: Browsed) -> None:
    page = browsed.page
    email, password = server.sign_ins["manager"]
    await page.goto(f"{server.url}/graphiql")

    await browsed.sign_in(email, f"not {password}")

    await expect(page.get_by_role("alert")).not_to_be_empty()
    await expect(page.get_by_label("Password")).to_be_focused()
    await expect(page.locator("#workspace")).to_be_hidden()
    assert password not in await page.content()
    assert browsed.hosts == {urlsplit(server.url).netloc}
    assert browsed.complaints == []


async def test_a_sign_in_that_was_ended_elsewhere_closes_the_page_at_its_next_query(
    server: Server, browsed: Browsed
) -> None:
    page = browsed.page
    await page.goto(f"{server.url}/graphiql")
    await browsed.sign_in(*server.sign_ins["manager"])
    await page.get_by_role("button", name="Execute query").click()
    await expect(page.locator(".graphiql-response")).to_contain_text('"siteCode"', timeout=20_000)
    held = next(one for one in await page.context.cookies() if one["name"] == "__Host-fieldward")
    async with httpx.AsyncClient(base_url=server.url) as http:
        same = {"cookie": f"__Host-fieldward={held['value']}", "fieldward-csrf": "1"}
        ended = await http.post("/graphql", json={"query": "mutation { signOut { errors { code } } }"}, headers=same)
    assert ended.json() == {"data": {"signOut": {"errors": []}}}

    await page.get_by_role("button", name="Execute query").click()

    await expect(page.locator("#sign-in-notice")).to_have_text("Your session has ended. Sign in again.")
    await expect(page.locator("#workspace")).to_be_hidden()
    assert "siteCode" not in await page.content()


async def test_another_sites_page_gets_nothing_by_a_browsers_cookie(server: Server, browsed: Browsed) -> None:
    page = browsed.page
    await page.goto(f"{server.url}/graphiql")
    await browsed.sign_in(*server.sign_ins["manager"])
    await expect(page.get_by_role("button", name="Execute query")).to_be_visible()
    port = urlsplit(server.url).port
    sent: list[Request] = []
    # The same machine by another name is another site. Ours lets no page of its own reach anything: this is another's.
    await page.route("**/elsewhere", lambda route: route.fulfill(content_type="text/html", body="<p>Elsewhere</p>"))
    await page.goto(f"http://localhost:{port}/elsewhere")
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)

    for headers in ("{'content-type': 'text/plain'}", "{'content-type': 'application/json', 'fieldward-csrf': '1'}"):
        answered = await page.evaluate(
            f"""() => fetch('{server.url}/graphql', {{method: 'POST', credentials: 'include', headers: {headers},
              body: JSON.stringify({{query: '{{ viewer {{ role }} }}'}})}}).then((one) => one.text(), () => null)"""
        )
        assert answered is None
    assert sent
    for request in sent:
        assert "cookie" not in await request.all_headers()


async def test_an_admin_looks_as_a_viewer_and_back(server: Server, browsed: Browsed) -> None:
    page = browsed.page
    schemas: list[tuple[str | None, str]] = []
    banner, back = page.locator("#looking-text"), page.get_by_role("button", name="Back to yourself")

    async def note_schema(response: Response) -> None:
        if "IntrospectionQuery" in (response.request.post_data or ""):
            schemas.append((await response.request.header_value("fieldward-run-as"), await response.text()))

    page.on("response", note_schema)
    await page.goto(f"{server.url}/")
    await browsed.sign_in(*server.sign_ins["admin"])
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, '"role": "ADMIN"')
    first = await page.evaluate(ANSWER)
    assert '"comment": "' in first
    await expect(back).to_be_hidden()

    await page.get_by_role("button", name="Run as").click()
    await page.get_by_label("As whom").select_option(label="A role in a project")
    await page.get_by_label("Role").select_option("VIEWER")
    await page.get_by_label("Project").select_option(label="CANAL – Canal and river stations")
    await page.get_by_role("button", name="Choose").click()

    await expect(banner).to_have_text(BANNER.format("VIEWER in CANAL"))
    await expect(banner).to_be_visible()
    await expect(banner).to_have_role("status")
    await _answered(page, "", exactly=True)
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, "FORBIDDEN")
    seen = await page.evaluate(ANSWER)
    assert '"comment": null' in seen
    assert '"comment": "' not in seen
    assert '"readOnly": true' in seen

    await page.evaluate(WRITE, "mutation FirstLook { signOut { errors { code message } } }")
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, "nothing can be changed")
    await page.evaluate(WRITE, FIRST_RECORD)
    await back.click()

    await expect(back).to_be_hidden()
    await expect(banner).to_have_text("")
    await expect(page.get_by_role("button", name="Run as")).to_be_focused()
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, '"comment": "')
    assert "runAs" not in await page.evaluate(ANSWER)
    # The page asks for the schema anew beside all that, and what it was answered is read after it was shown.
    for _ in range(200):
        if len(schemas) >= 3:
            break
        await asyncio.sleep(0.1)
    assert [(said and said.partition("@")[0], "accessDecision" in text) for said, text in schemas] == [
        (None, True),
        ("VIEWER", False),
        (None, True),
    ]
    assert browsed.complaints == []


async def test_a_person_is_chosen_by_name_with_the_keyboard_on_a_narrow_screen(
    server: Server, browsed: Browsed
) -> None:
    page = browsed.page
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.goto(f"{server.url}/")
    await browsed.sign_in(*server.sign_ins["owner"])
    run_as, kind, person = page.locator("#run-as"), page.get_by_label("As whom"), page.get_by_label("Person")
    await expect(run_as).to_be_visible()

    await run_as.focus()
    await page.keyboard.press("Enter")
    await expect(kind).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#run-as-dialog")).to_be_hidden()
    await expect(run_as).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("End")
    await expect(person).to_be_enabled()
    names = await person.locator("option").all_text_contents()
    await page.keyboard.press("Tab")
    await expect(person).to_be_focused()
    await page.keyboard.type("Vito")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")

    await expect(page.locator("#looking-text")).to_have_text(BANNER.format("Vito Vance"))
    assert names == sorted(names)
    assert "Olive Owens" not in names
    assert await page.evaluate(WIDTHS) == [400, 400]
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, '"Vito Vance"')
    assert browsed.complaints == []


async def test_a_role_of_the_organizations_own_is_chosen_with_its_project(server: Server, browsed: Browsed) -> None:
    page = browsed.page
    await page.goto(f"{server.url}/")
    await browsed.sign_in(*server.sign_ins["owner"])

    await page.get_by_role("button", name="Run as").click()
    await page.get_by_label("As whom").select_option("own")
    await page.get_by_label("Role").select_option(label="Field technician (in a project)")
    await page.get_by_label("Project").select_option(label="PARKS – Park waters")
    await page.get_by_role("button", name="Choose").click()

    await expect(page.locator("#looking-text")).to_have_text(BANNER.format("Field technician in PARKS"))
    await page.get_by_role("button", name="Execute query").click()
    await _answered(page, '"PARKS"')
    assert '"CANAL"' not in await page.evaluate(ANSWER)
    await page.get_by_role("button", name="Run as").click()
    await page.get_by_label("As whom").select_option("organization")
    await page.get_by_label("Role").select_option("AUDITOR")
    await page.get_by_role("button", name="Choose").click()
    await expect(page.locator("#looking-text")).to_have_text(BANNER.format("AUDITOR in the organization"))
    await _answered(page, "", exactly=True)
    await page.get_by_role("button", name="Run as").click()
    await page.get_by_label("As whom").select_option("yourself")
    await page.get_by_role("button", name="Choose").click()
    await expect(page.locator("#looking-text")).to_have_text("")
    assert browsed.complaints == []


async def _answered(page: Page, text: str, *, exactly: bool = False) -> None:
    """Wait until the answer holds the text; the editor shows only the lines that fit."""
    shown = ""
    for _ in range(200):
        shown = await page.evaluate(ANSWER)
        if shown == text if exactly else text in shown:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"Expected {text!r} in the answer, got {shown[:2000]}")


def _addresses(page: str) -> set[str]:
    return set(re.findall(r'"(/graphiql/static/[^"]+)"', page))
