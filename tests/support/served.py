"""A real server process over a copy of the run's database, and a client that speaks HTTP to it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import jwt

from fieldward.embedded import Endpoint
from tests.support.server import ROOT, UNLIMITED, free_port
from tests.support.world import SIGN_IN

FRESH_S = 200
"""Seconds that an access token is used for; it lives five minutes."""
REFRESH = """
mutation($token: String!) {
  refreshSession(input: {refreshToken: $token}) { accessToken refreshToken errors { code } }
}
"""


def url_of(endpoint: Endpoint) -> str:
    """Return the endpoint as a database URL."""
    credentials = f"{quote(endpoint.user)}:{quote(endpoint.password, safe='')}"
    return f"postgres://{credentials}@/{endpoint.database}?host={quote(endpoint.host)}"


@contextmanager
def serving(
    main: Endpoint,
    keystore: Endpoint,
    directory: Path,
    log: Path,
    *,
    mail_port: int | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[str]:
    """Run `fieldward serve` over these databases, and yield where it listens.

    mail_port: where on this machine mail is taken; by default nobody does, and what is sent waits.
    settings: what is set otherwise than for the sweep, by its name in the environment.
    """
    port = free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
    environment = {
        "FIELDWARD_PORT": str(port),
        "FIELDWARD_DATA_DIRECTORY": str(directory),
        "FIELDWARD_DATABASE_URL": url_of(main),
        "FIELDWARD_KEYSTORE_URL": url_of(keystore),
        "FIELDWARD_PASSWORD_COST": "test",
        "FIELDWARD_POOL_SIZE": "4",
        # Everybody's calls come from one network, as fast as they are answered.
        **UNLIMITED,
        # A sweep takes longer than a sign-in is fresh.
        "FIELDWARD_FRESH_SIGN_IN_MIN": "1440",
        "FIELDWARD_SMTP_HOST": "127.0.0.1",
        "FIELDWARD_SMTP_PORT": str(mail_port or free_port()),
        "FIELDWARD_SMTP_SECURITY": "none",
        "FIELDWARD_SMTP_FROM": "fieldward@fieldward.example",
        "FIELDWARD_PUBLIC_URL": f"http://127.0.0.1:{port}",
        **settings,
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldward", "serve"],
            cwd=ROOT,
            env={**own, **environment},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(60)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"{url}/health/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log.read_text()}")


@dataclass(slots=True)
class Reply:
    """What the server answered to one operation."""

    text: str
    body: dict[str, Any]

    @property
    def data(self) -> Any:
        """The data, whatever errors there are beside it."""
        return self.body.get("data")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors."""
        found: list[dict[str, Any]] = self.body.get("errors", [])
        return found


@dataclass
class Caller:
    """Somebody who calls the API: with a program's token, as a person who signs in, or as nobody.

    A person's sign-in is refreshed when it is time to, and is another one only where it was ended.

    sign: makes a token anew, for who can't sign in any more; none where that is not needed.
    """

    http: httpx.Client
    token: str | None = None
    sign_in: Mapping[str, str] | None = None
    sign: Callable[[], str] | None = field(default=None, repr=False)
    _refresh_token: str | None = field(default=None, repr=False)
    _since: float = field(default=-FRESH_S, repr=False)

    @property
    def password(self) -> str:
        """What they sign with: a person's password; of a program and of nobody, none."""
        return self.sign_in["password"] if self.sign_in is not None else ""

    def run(self, query: str, variables: Mapping[str, Any] | None = None) -> Reply:
        """Run an operation."""
        self.freshen()
        return self._post(query, variables)

    def run_all(self, queries: Sequence[str], variables: Sequence[Mapping[str, Any]] = ()) -> Iterator[Reply]:
        """Yield the answers to operations, in their order: while one is looked at, the next are on their way.

        variables: of each operation; of none, where there are none.
        """
        self.freshen()
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(self._post, queries, variables or [{}] * len(queries))

    @property
    def session_id(self) -> UUID | None:
        """The sign-in that the token is of; of a program and of nobody, none."""
        if self.sign_in is None or self.token is None:
            return None
        said = jwt.decode(self.token, options={"verify_signature": False})
        return UUID(said["sid"])

    def freshen(self) -> None:
        """Have a token that is good for a while."""
        if self.sign is not None and time.monotonic() - self._since > FRESH_S:
            self.token, self._since = self.sign(), time.monotonic()
        if self.sign_in is not None and time.monotonic() - self._since > FRESH_S:
            self.token, self._since = None, time.monotonic()
            payload = self._refreshed()
            if payload is None:
                reply = self._post(SIGN_IN, {"input": self.sign_in})
                payload = (reply.data or {}).get("signIn")
                assert payload is not None, reply.text
            assert payload["errors"] == [], payload
            self.token, self._refresh_token = payload["accessToken"], payload["refreshToken"]

    def _refreshed(self) -> dict[str, Any] | None:
        """Return new tokens of the sign-in that there is; None where there is none, or it was ended."""
        if self._refresh_token is None:
            return None
        payload: dict[str, Any] | None = self._post(REFRESH, {"token": self._refresh_token}).data["refreshSession"]
        return payload

    def _post(self, query: str, variables: Mapping[str, Any] | None = None) -> Reply:
        headers = {"content-type": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        content = json.dumps({"query": query, "variables": variables or {}}, default=str)
        response = self.http.post("/graphql", content=content, headers=headers)
        return Reply(response.text, response.json())
