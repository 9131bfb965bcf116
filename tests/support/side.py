"""The application in this process over one database, driven from outside of any event loop.

Two of these can be open at once, which the `world` fixture can't: each has an event loop with a pool to read from, a
Tortoise context and an active keyring of its own. A property test needs that, since Hypothesis asks for its examples
from plain functions.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, Self, TypeVar

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send
from tortoise.context import TortoiseContext

from auth.token import AccessClaims, issue_access_token
from fieldward.cli.environment import embedded_databases
from fieldward.container import build_services
from fieldward.database import Databases, open_tenant_pools, pools
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from fieldward.web.app import build_app
from schema.api import Api
from tests.support.world import Answer, Client, World

T = TypeVar("T")


class Side:
    """One database with the application over it. A context manager."""

    def __init__(
        self, postgres: EmbeddedPostgres, settings: Settings, database: str, api: Api, passwords: dict[str, str]
    ) -> None:
        self._postgres = postgres
        self._settings = settings
        self._database = database
        self._api = api
        self._passwords = passwords
        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner()
        self.world: World
        self.statements = 0
        """How many statements the last operation read with."""

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self.run(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in this side's loop and context, to its end."""
        return self._runner.run(work)

    def ask(self, claims: AccessClaims | None, query: str, variables: dict[str, Any]) -> Answer:
        """Run an operation with a fresh token of the session, or without one."""
        return self.run(Client(self.world.http, self._token(claims)).run(query, variables))

    def _token(self, claims: AccessClaims | None) -> str | None:
        if claims is None:
            return None
        services = self.world.services
        policy = services.sessions
        return issue_access_token(
            self.run(services.signing_keys.signer()),
            claims,
            now=services.clock(),
            issuer=policy.issuer,
            audience=policy.audience,
            lifetime_s=int(policy.access_lifetime.total_seconds()),
        )

    async def _open(self) -> None:
        postgres, settings = self._postgres, self._settings
        service = postgres.service(self._database)
        embedded = embedded_databases(postgres, owner=False)
        reached = Databases(main={**service.dsn_parameters()}, keystore=embedded.keystore)
        context = await self._stack.enter_async_context(TortoiseContext())
        await context.init(config=pools(reached, settings))
        await self._stack.enter_async_context(open_tenant_pools(reached, settings))
        app = self._counting(build_app(settings, reached, api=self._api))
        http = await self._stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test")
        )
        services = build_services(settings)
        self._stack.enter_context(services.keyring.activate())
        self.world = World(
            http=http,
            api=self._api,
            services=services,
            passwords=self._passwords,
            superuser=postgres.superuser(self._database),
            service=service,
            owner=postgres.owner(self._database),
            keystore=postgres.service("fieldward_keys"),
        )

    def _counting(self, app: ASGIApp) -> ASGIApp:
        """Remember how many statements each request read with."""

        async def count(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            context = scope.get("fieldward.context")
            self.statements = context.reader.statements if context is not None else 0

        return count
