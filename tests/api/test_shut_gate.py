"""While the gate is shut nothing is served but what is nobody's, found by walking what the application has."""

import re
from collections.abc import Iterator
from uuid import uuid4

import httpx
from pydantic import SecretStr
from starlette.routing import Route

from fieldward.database import Databases
from fieldward.web.app import build_app
from fieldward.web.request import Frame
from tests.api.test_oauth import BRINGS, GRANT, basic, client_id, is_refusal
from tests.conftest import Template
from tests.support.access import make_program
from tests.support.world import World

TOKEN = "a token for the collector"
NAMED = {"log": "heads", "id": str(uuid4()), "export": str(uuid4()), "name": "records.csv"}
PASSING = re.compile(
    r"/|/(graphiql|account)(/static/.*)?|/health/live|/metrics|/\.well-known/.*|/audit/verifier-key",
)
"""What is answered all the same: pages, whether the process lives, its figures, and public keys."""


def asked(app: Frame) -> Iterator[tuple[str, str]]:
    """Yield each method and address that there is, and those of operations, which are no route."""
    for route in getattr(app._others, "routes", ()):
        assert isinstance(route, Route), "a route of another kind has to be walked, too"
        for method in sorted(route.methods or ()):
            yield method, re.sub(r"\{(\w+)\}", lambda found: NAMED.get(found[1], "x"), route.path)
    yield from (("POST", "/graphql"), ("GET", "/graphql"))


def served(world: World, template: Template, *, is_open: bool) -> Frame:
    """Return the application over the world's databases, whose gate is as it is said."""
    settings = template.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    reached = Databases(main=world.service.dsn_parameters(), keystore=world.keystore.dsn_parameters())
    app = build_app(settings, reached, api=world.api)
    assert isinstance(app, Frame)
    app._endpoint._gate._is_open = is_open  # type: ignore[attr-defined]
    return app


def client(app: Frame, **headers: str) -> httpx.AsyncClient:
    """Return a client of it."""
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://fieldward.test", headers=headers)


async def statuses(app: Frame) -> dict[tuple[str, str], int]:
    """Return what each method and address is answered with."""
    async with client(app, authorization=f"Bearer {TOKEN}") as http:
        return {one: (await http.request(*one)).status_code for one in asked(app)}


async def test_nothing_is_served_but_pages_public_keys_and_how_the_process_is(world: World, template: Template) -> None:
    opened = await statuses(served(world, template, is_open=True))
    shut = await statuses(served(world, template, is_open=False))

    assert 503 not in opened.values(), opened
    assert len(opened) > 30
    assert opened.keys() == shut.keys()
    for (method, path), status in shut.items():
        wanted = opened[method, path] if PASSING.fullmatch(path) else 503
        assert status == wanted, (method, path, status)
    assert shut["GET", "/metrics"] == shut["GET", "/.well-known/jwks.json"] == 200


async def test_no_program_gets_a_token(world: World, template: Template) -> None:
    program = await make_program(world, BRINGS)

    async with client(served(world, template, is_open=False)) as http:
        answer = await http.post("/oauth/token", data=GRANT, headers=basic(client_id(program), program.token))

    assert is_refusal(answer, "temporarily_unavailable", 503)
    assert int(answer.headers["retry-after"]) > 0
