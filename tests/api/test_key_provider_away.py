"""A key provider that is away: what is in memory serves on, and what needs another key is said to be unavailable."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from fieldward.cli.environment import operator
from fieldward.container import build_services
from fieldward.database import Databases
from fieldward.demo.people import PEOPLE
from fieldward.settings import Settings
from fieldward.web.app import build_app
from resolvers.key_rotation import rewrap_data_keys
from tests.conftest import Template
from tests.support.key_servers import new_vault_key, transit_server
from tests.support.transit_server import SERVICE_TOKEN
from tests.support.world import SIGN_IN, Client, World

SEALED = "{ records(first: 1000) { nodes { siteCode comment } } }"
PLAIN = "{ organization { name } }"
CREATE = "mutation ($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys go to another provider."""
    return own_keystore


@asynccontextmanager
async def process(world: World, settings: Settings, token: str | None) -> AsyncIterator[Client]:
    """Yield a client of a process that has just started: it has no key in memory."""
    reached = Databases({**world.service.dsn_parameters()}, {**world.keystore.dsn_parameters()})
    app = build_app(settings, reached, api=world.api)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test") as http:
        yield Client(http, token)


async def test_warm_keys_serve_and_cold_ones_are_unavailable(world: World, template: Template, tmp_path: Path) -> None:
    token = (await world.client("manager")).token
    expected = (await (await world.client("manager")).run(SEALED)).data
    new = {
        "projectId": f"Project:{await world.project_id('CANAL')}",
        "siteCode": "AWAY-1",
        "collectedAt": "2026-01-05T10:00:00Z",
        "medium": "WATER",
        "comment": "Sealed under a key that nobody can have now",
    }
    async with AsyncExitStack() as stack:
        with transit_server(tmp_path / "log") as url:
            settings = template.settings.model_copy(
                update={
                    "key_provider": "vault-transit",
                    "vault_url": url,
                    "vault_token": SecretStr(SERVICE_TOKEN),
                    "vault_key": new_vault_key(url),
                }
            )
            built = build_services(settings)
            with built.keyring.activate():
                assert await rewrap_data_keys(built.keyring, built.keystore, operator()) > 10
            warm = await stack.enter_async_context(process(world, settings, token))
            assert (await warm.run(SEALED)).data == expected

        # Vault has ended.
        assert (await warm.run(SEALED)).data == expected
        cold = await stack.enter_async_context(process(world, settings, token))
        before = await world.fingerprint()
        # It can't even tell who asks: the keys of access tokens are wrapped as all are.
        for query, variables in ((PLAIN, {}), (SEALED, {}), (CREATE, {"input": new})):
            answer = await cold.run(query, variables)
            assert answer.codes == ["UNAVAILABLE"]
            assert answer.body.get("data") is None
        person = next(one for one in PEOPLE if one.key == "manager")
        given = {"email": person.email, "password": world.password("manager")}
        refused = await Client(cold.http).run(SIGN_IN, {"input": given})
        assert refused.codes == ["UNAVAILABLE"]
        assert refused.body["data"] == {"signIn": None}
        assert (await cold.http.get("/.well-known/jwks.json")).status_code == 503
        assert await world.fingerprint() == before
