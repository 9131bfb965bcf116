"""The world of the tests: a copy of a database in which the demo was loaded, and clients of its people."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from auth.principal import Channel, Origin
from fieldward.demo.people import PEOPLE
from fieldward.embedded import Endpoint
from models.base import new_id
from models.inventory import entities
from models.transaction import Tenant
from resolvers.account import member_viewer
from resolvers.read import Reader
from resolvers.services import Services
from resolvers.trail import Actor
from schema.api import Api
from schema.context import RequestContext

SIGN_IN = """
mutation SignIn($input: SignInInput!) {
  signIn(input: $input) {
    accessToken accessTokenExpiresAt refreshToken errors { code message field }
  }
}
"""


@dataclass(slots=True)
class Answer:
    """What a server answered: the body as parsed, and as it came."""

    status: int
    text: str
    body: dict[str, Any]
    headers: httpx.Headers

    @property
    def data(self) -> Any:
        """The answer's data; fails where there were errors."""
        assert "errors" not in self.body, self.body["errors"]
        return self.body["data"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The answer's errors."""
        found: list[dict[str, Any]] = self.body.get("errors", [])
        return found

    @property
    def codes(self) -> list[str]:
        """The errors' codes."""
        return [error["extensions"]["code"] for error in self.errors]


class Client:
    """A client of the API, signed in or not. `password` is that of who is signed in, by which they sign."""

    def __init__(self, http: httpx.AsyncClient, token: str | None = None, *, password: str = "") -> None:
        self.http = http
        self.token = token
        self.password = password

    async def run(self, query: str, variables: dict[str, Any] | None = None, **more: Any) -> Answer:
        """Run an operation."""
        return await self.post(json_body({"query": query, "variables": variables or {}, **more}))

    async def post(self, content: bytes, **headers: str) -> Answer:
        """Send a body as it is."""
        sent = {"content-type": "application/json", **headers}
        if self.token:
            sent["authorization"] = f"Bearer {self.token}"
        response = await self.http.post("/graphql", content=content, headers=sent)
        return Answer(response.status_code, response.text, response.json(), response.headers)


@dataclass
class World:
    """Everything a test needs to act as somebody and to look behind the API.

    keeps_connection: whether the superuser's connection is kept for the next statement, until `close`.
    """

    http: httpx.AsyncClient
    api: Api
    services: Services
    passwords: dict[str, str]
    superuser: Endpoint
    service: Endpoint
    owner: Endpoint
    keystore: Endpoint
    keeps_connection: bool = False
    _clients: dict[str, Client] = field(default_factory=dict)
    _kept: list[asyncpg.Connection] = field(default_factory=list)

    @property
    def anonymous(self) -> Client:
        """A client that is not signed in."""
        return Client(self.http)

    def password(self, key: str) -> str:
        """Return the password of a person of the demo."""
        return self.passwords[self.email(key)]

    def email(self, key: str) -> str:
        """Return the address of a person of the demo."""
        return next(one.email for one in PEOPLE if one.key == key)

    async def sign_in(self, key: str, **more: Any) -> Answer:
        """Sign a person of the demo in and return what was answered."""
        return await self.anonymous.run(SIGN_IN, {"input": {**self.credentials(key), **more}})

    def credentials(self, key: str) -> dict[str, str]:
        """Return the address and the password of a person of the demo."""
        return {"email": self.email(key), "password": self.password(key)}

    async def client(self, key: str) -> Client:
        """Return a client signed in as a person of the demo."""
        if key not in self._clients:
            payload = (await self.sign_in(key)).data["signIn"]
            assert payload["errors"] == [], payload
            self._clients[key] = Client(self.http, payload["accessToken"], password=self.password(key))
        return self._clients[key]

    async def inside(self, key: str, query: str, variables: dict[str, Any] | None = None) -> RequestContext:
        """Run an operation in this process and return its context, which counts statements and decisions."""
        person = next(one for one in PEOPLE if one.key == key)
        viewer = await member_viewer(person.organization, email=person.email)
        origin = Origin(channel=Channel.API, request_id=new_id())
        tenant = Tenant(organization_id=viewer.organization_id, user_id=viewer.user_id)
        actor = Actor(viewer.organization_id, origin, viewer)
        context = RequestContext(self.services, actor, Reader(tenant))
        result = await self.api.execute(query, variables, context)
        assert not result.errors, result.errors
        return context

    async def sql(self, text: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run a statement as the superuser, who sees everything."""
        async with self._looking() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(text, *arguments)
            return rows

    async def value(self, text: str, *arguments: Any) -> Any:
        """Return the one value of a statement run as the superuser."""
        rows = await self.sql(text, *arguments)
        return rows[0][0]

    async def organization_id(self, slug: str) -> UUID:
        """Return an organization's id."""
        found: UUID = await self.value("select id from organization where slug = $1", slug)
        return found

    async def project_id(self, code: str) -> UUID:
        """Return a project's id."""
        found: UUID = await self.value("select id from project where code = $1", code)
        return found

    async def member_id(self, key: str) -> UUID:
        """Return the membership's id of a person of the demo."""
        answer = await (await self.client(key)).run("{ viewer { user { id } } }")
        return UUID(answer.data["viewer"]["user"]["id"].removeprefix("User:"))

    async def entries(self, *, since: Any, kinds: Sequence[str] = ("CHANGE", "ATTEMPT")) -> list[asyncpg.Record]:
        """Return the audit entries written after a moment, in their order."""
        return await self.sql(
            "select * from audit_entry where at > $1 and kind = any($2) order by at, id", since, list(kinds)
        )

    async def fingerprint(self) -> dict[str, str]:
        """Return a digest of each audited table's content, to see whether anything changed."""
        names = [entity.name for entity in entities() if entity.model.is_audited]
        digests = (f"(select md5(string_agg(t::text, '' order by t::text)) from {name} t)" for name in names)
        (row,) = await self.sql(f"select {', '.join(digests)}")
        return dict(zip(names, row, strict=True))

    async def now(self) -> Any:
        """Return the database's time."""
        return await self.value("select clock_timestamp()")

    async def close(self) -> None:
        """Close the connection that is kept."""
        while self._kept:
            await self._kept.pop().close()

    @asynccontextmanager
    async def _looking(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection of the superuser: the one that is kept, or where that is in use, or gone, another."""
        connection = self._kept.pop() if self._kept else None
        if connection is None or connection.is_closed():
            connection = await connect(self.superuser, statement_cache_size=0)
        try:
            yield connection
            if self.keeps_connection and not self._kept:
                # Nothing of what was set is there for the next statement.
                await connection.reset()
                self._kept.append(connection)
        finally:
            if connection not in self._kept:
                await connection.close()


async def connect(endpoint: Endpoint, **more: Any) -> asyncpg.Connection:
    """Return a connection as the endpoint's role. more: arguments of asyncpg's."""
    parameters: dict[str, Any] = {**endpoint.dsn_parameters(), **more}
    return await asyncpg.connect(**parameters)


def json_body(body: dict[str, Any]) -> bytes:
    """Return a JSON body; Python's writer, so that tests can send what strict writers refuse."""
    return json.dumps(body, default=str).encode("utf-8", "surrogatepass")
