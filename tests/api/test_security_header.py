"""The headers of every answer of every route: what is not named here is found by walking what the application has."""

import re
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr
from starlette.routing import Route

from fieldward.database import Databases
from fieldward.settings import Settings
from fieldward.web.app import build_app
from fieldward.web.request import Frame
from tests.conftest import Template
from tests.support.world import World

METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE")
BEYOND = ("/graphql", "/nothing/here", "/graphql/", "/.git/config", "/%2e%2e/etc/passwd", "/graphiql/static/x/y")
"""Addresses that no route of the application below has."""
OURS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
YEAR_S = 31_536_000


def frame(world: World, settings: Settings) -> Frame:
    """Return the application over the world's databases."""
    reached = Databases(main={**world.service.dsn_parameters()}, keystore={**world.keystore.dsn_parameters()})
    app = build_app(settings, reached, api=world.api)
    assert isinstance(app, Frame)
    return app


def addresses(app: Frame) -> Iterator[str]:
    """Yield an address of each route, and those that none has."""
    others = getattr(app._others, "routes", ())
    assert len(others) > 12
    for route in others:
        assert isinstance(route, Route), "a route of another kind has to be walked, too"
        yield re.sub(r"\{\w+\}", "x", route.path)
    # Files are found by the digest in the pages.
    yield from BEYOND


@pytest.fixture(params=["development", "production"])
def settings(request: pytest.FixtureRequest, template: Template) -> Settings:
    """The world's settings in each mode, with every route that there can be."""
    return template.settings.model_copy(
        update={"mode": request.param, "metrics_token": SecretStr("t" * 32), "audit_publish_url": "file:///tmp/x"}
    )


async def test_every_answer_of_every_route_has_the_headers(world: World, settings: Settings) -> None:
    app = frame(world, settings)
    scheme = "https" if settings.is_production else "http"
    seen: set[int] = set()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://fieldward.test") as http:
        walked = [*addresses(app)]
        pages = [(await http.get(page)).text for page in ("/graphiql", "/account")]
        walked += [found for page in pages for found in re.findall(r'"(/\w+/static/\w+/[\w.]+)"', page)]
        for address in walked:
            for method in METHODS:
                answer = await http.request(method, address, headers={"origin": "https://elsewhere.example"})
                seen.add(answer.status_code)
                _hold(answer, is_production=settings.is_production)

    assert {200, 307, 400, 401, 404, 405} <= seen
    assert 500 not in seen


async def test_what_breaks_and_what_is_not_taken_has_them_too(world: World, settings: Settings) -> None:
    app = frame(world, settings.model_copy(update={"requests_at_once": 1}))
    scheme = "https" if settings.is_production else "http"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://fieldward.test") as http:
        broken = await http.post("/graphql", content=b"{", headers={"content-type": "application/json"})
        large = await http.post("/graphql", content=b"x" * 70_000, headers={"content-type": "application/json"})
        form = await http.post("/graphql", data={"query": "{ a }"})
        with app._endpoint._admission:  # type: ignore[attr-defined]
            full = await http.post("/graphql", json={"query": "{ __typename }"})

    assert [one.status_code for one in (broken, large, form, full)] == [400, 413, 415, 503]
    assert 1 <= int(full.headers["retry-after"]) <= 3
    assert full.json()["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
    for answer in (broken, large, form, full):
        _hold(answer, is_production=settings.is_production)


async def test_in_production_what_did_not_come_by_tls_is_refused_unread(world: World, template: Template) -> None:
    settings = template.settings.model_copy(update={"mode": "production", "trusted_proxies": "127.0.0.1"})
    app = frame(world, settings)
    token = (await world.client("owner")).token
    body = {"query": "{ viewer { user { name } } }"}
    signed_in = {"authorization": f"Bearer {token}"}

    async def asked(
        client: str, *said: tuple[str, str], scheme: str = "http", path: str = "/graphql"
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(client, 1234))
        async with httpx.AsyncClient(transport=transport, base_url=f"{scheme}://fieldward.test") as http:
            headers = [*signed_in.items(), *said]
            if path != "/graphql":
                return await http.get(path, headers=headers)
            return await http.post(path, json=body, headers=headers)

    by_proxy = await asked("127.0.0.1", ("x-forwarded-proto", "https"))
    assert by_proxy.status_code == 200
    assert by_proxy.json()["data"]["viewer"]["user"]["name"]
    assert (await asked("192.0.2.7", scheme="https")).status_code == 200
    refused = [
        await asked("127.0.0.1"),
        await asked("127.0.0.1", ("x-forwarded-proto", "http")),
        await asked("127.0.0.1", ("x-forwarded-proto", "https, http")),
        await asked("127.0.0.1", ("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")),
        await asked("127.0.0.1", ("x-forwarded-proto", "")),
        await asked("127.0.0.1", ("forwarded", "proto=https")),
        await asked("192.0.2.7", ("x-forwarded-proto", "https")),
        await asked("192.0.2.7", ("x-forwarded-proto", "https"), ("x-forwarded-for", "127.0.0.1")),
    ]
    paths = ("/graphiql", "/", "/oauth/token", "/.well-known/jwks.json", "/nothing", "/healthy", "/x/health/live")
    refused += [await asked("127.0.0.1", path=path) for path in paths]
    for answer in refused:
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
        assert "location" not in answer.headers
        _hold(answer, is_production=True)
    # The machine's own watch asks in the clear, and is told nothing else than whether the service is up.
    assert (await asked("192.0.2.7", path="/health/live")).json() == {"status": "ok"}


def _hold(answer: httpx.Response, *, is_production: bool) -> None:
    said = f"{answer.request.method} {answer.request.url}: {answer.status_code}"
    headers = answer.headers
    for name, value in OURS.items():
        assert headers.get_list(name) == [value], (said, name)
    (policy,) = headers.get_list("content-security-policy")
    directives = {name: rest for name, _, rest in (one.strip().partition(" ") for one in policy.split(";"))}
    assert directives["default-src"] == "'none'", said
    assert directives["base-uri"] == "'none'", said
    assert directives["frame-ancestors"] == "'none'", said
    assert "unsafe" not in policy
    assert len(headers.get_list("cross-origin-resource-policy")) == 1, said
    assert "camera=()" in headers["permissions-policy"], said
    assert len(headers.get_list("cache-control")) == 1, said
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"]), said
    assert not [name for name in headers if name.startswith("access-control-")], said
    assert "server" not in headers
    assert "x-powered-by" not in headers
    if is_production:
        found = re.fullmatch(r"max-age=(\d+); includeSubDomains", headers["strict-transport-security"])
        assert found is not None
        assert int(found[1]) >= YEAR_S, said
    else:
        # Over plain HTTP it says nothing, and a browser that believed it could not come back.
        assert "strict-transport-security" not in headers, said
