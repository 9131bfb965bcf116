"""A client that holds its sign-in by cookie, as a browser does, and shows what a browser would of where it is."""

from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import httpx

from schema.cookie import CLIENT, SESSION
from tests.support.world import SIGN_IN, Answer, World, json_body

ORIGIN = "https://fieldward.example"
OWN_PAGE = {
    "host": "fieldward.example",
    "origin": ORIGIN,
    "sec-fetch-site": "same-origin",
    "fieldward-csrf": "1",
}
"""What a page of the server sends with its requests."""


@dataclass
class Browser:
    """Keeps the cookies that it is given, and sends them with each request, whoever makes it."""

    http: httpx.AsyncClient
    cookies: dict[str, str] = field(default_factory=dict)

    async def run(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> Answer:
        """Run an operation as a page of the server does; headers named here are sent instead, empty ones not at all."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(json_body({"query": query, "variables": variables or {}}), **{**OWN_PAGE, **sent})

    async def send(self, content: bytes, **headers: str) -> Answer:
        """Send a body with the cookies."""
        sent = {"content-type": "application/json", **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name: value for name, value in sent.items() if value}
        response = await self.http.post("/graphql", content=content, headers=sent)
        self._keep(response.headers)
        return Answer(response.status_code, response.text, response.json(), response.headers)

    async def sign_in(self, world: World, key: str, **more: Any) -> Answer:
        """Sign a person of the demo in by cookie and return what was answered."""
        given = {"email": world.email(key), "password": world.password(key), "delivery": "COOKIE", **more}
        return await self.run(SIGN_IN, {"input": given})

    @property
    def session(self) -> str | None:
        """What the session's cookie holds."""
        return self.cookies.get(SESSION)

    @property
    def client(self) -> str | None:
        """What the known client's cookie holds."""
        return self.cookies.get(CLIENT)

    def _keep(self, headers: httpx.Headers) -> None:
        for line in headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
