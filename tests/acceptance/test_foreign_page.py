"""Pages of other origins in real Chromium: those that are named ask by a token, and no other reads anything."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from playwright.async_api import Error, Page

from tests.support.chromium import browse, chromium
from tests.support.installation import Served, installed
from tests.support.key_servers import answering_server

PAGE = b"<!doctype html><title>A dashboard</title>"
HTML = {"content-type": "text/html"}
ME = "{ viewer { user { name } } }"
ASK = """async ([url, token, credentials]) => {
    const answer = await fetch(url, {
        method: "POST",
        credentials,
        headers: {"authorization": `Bearer ${token}`, "content-type": "application/json", "idempotency-key": "k-1"},
        body: JSON.stringify({query: "{ viewer { user { name } } }"}),
    });
    return [answer.status, await answer.json(), answer.headers.get("x-request-id")];
}"""
LISTEN = """([url, token]) => new Promise((resolve) => {
    const socket = new WebSocket(url, "graphql-transport-ws");
    socket.onopen = () => socket.send(JSON.stringify({
        type: "connection_init", payload: token && {Authorization: `Bearer ${token}`},
    }));
    socket.onmessage = (message) => { resolve(JSON.parse(message.data).type); socket.close(); };
    socket.onclose = (event) => resolve(event.code);
})"""


@pytest.fixture(scope="module")
def named() -> Iterator[str]:
    """The origin of a page that operators let in."""
    with answering_server(200, PAGE, HTML) as url:
        yield url


@pytest.fixture(scope="module")
def unnamed() -> Iterator[str]:
    """The origin of another page."""
    with answering_server(200, PAGE, HTML) as url:
        yield url


@pytest.fixture(scope="module")
def served(named: str) -> Iterator[Served]:
    """A server that lets one of them in."""
    with (
        installed() as made,
        made.served(settings={"FIELDWARD_ALLOWED_ORIGINS": f"https://other.example, {named}"}) as running,
    ):
        yield running


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A fresh page."""
    async with chromium() as browser:
        yield (await browse(browser)).page


async def test_a_page_that_is_named_asks_by_a_token_and_no_other_does(
    served: Served, named: str, unnamed: str, page: Page
) -> None:
    token = str(served.signed_in().token)
    url = str(served.http.base_url.join("/graphql"))
    live = url.replace("http", "ws")

    await page.goto(named)
    status, body, request_id = await page.evaluate(ASK, [url, token, "omit"])
    assert (status, body["data"]["viewer"]["user"]["name"], len(request_id)) == (200, "Olive", 36)
    assert await page.evaluate(LISTEN, [live, token]) == "connection_ack"
    assert await page.evaluate(LISTEN, [live, None]) == 4403
    # By a cookie no other page asks.
    with pytest.raises(Error, match="Failed to fetch"):
        await page.evaluate(ASK, [url, token, "include"])

    await page.goto(unnamed)
    with pytest.raises(Error, match="Failed to fetch"):
        await page.evaluate(ASK, [url, token, "omit"])
    assert await page.evaluate(LISTEN, [live, token]) == 1006


def _preflight(served: Served, path: str, origin: str, **more: str) -> httpx.Response:
    asked = {"origin": origin, "access-control-request-method": "POST", **more}
    return served.http.request("OPTIONS", path, headers=asked)


@pytest.mark.parametrize("path", ["/graphql", "/imports/x/content", "/exports/x/y", "/oauth/token"])
def test_browsers_are_told_what_a_page_may_ask(served: Served, named: str, path: str) -> None:
    told = _preflight(served, path, named, **{"access-control-request-headers": "authorization, content-type"})

    assert told.status_code == 200
    assert told.headers["access-control-allow-origin"] == named
    assert "access-control-allow-credentials" not in told.headers
    assert "origin" in told.headers["vary"].lower()
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/graphql", "http://127.0.0.1:1"),
        ("/graphql", "null"),
        ("/graphql", "https://other.example.evil.example"),
        ("/graphql", "https://OTHER.example"),
        ("/account", "https://other.example"),
        ("/graphiql", "https://other.example"),
        ("/health/ready", "https://other.example"),
    ],
)
def test_others_are_not(served: Served, path: str, origin: str) -> None:
    for told in (_preflight(served, path, origin), served.http.get(path, headers={"origin": origin})):
        assert "access-control-allow-origin" not in told.headers


def test_what_is_refused_can_be_read_as_well(served: Served, named: str) -> None:
    told = served.http.post("/graphql", json={"query": "{"}, headers={"origin": named})

    assert told.status_code in {200, 400}
    assert told.headers["access-control-allow-origin"] == named
    assert "retry-after" in told.headers["access-control-expose-headers"]
