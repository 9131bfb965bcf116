"""Somebody who calls the service over HTTP, signed in for as long as it takes, whatever becomes of the service."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import httpx
import orjson

from drills.error import DrillError
from drills.machine import Machine, Person

FRESH_S: Final = 200
"""Seconds that an access token is used for; it lives five minutes."""
TIMEOUT_S: Final = 30
SIGN_IN: Final = (
    "mutation SignIn($input: SignInInput!) { signIn(input: $input) { accessToken clientToken errors { message } } }"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. code: of the first error. is_replayed: it was done before, under the same key.

    detail: what the first error says beside its code.
    """

    request_id: UUID
    data: Any
    code: str | None
    is_replayed: bool = False
    detail: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the mutation named `done` was committed, whatever could be shown of it afterwards."""
        payload = (self.data or {}).get("done")
        return payload is not None and payload["errors"] == []


class Caller:
    """A person with a connection of their own."""

    def __init__(self, machine: Machine, person: Person) -> None:
        self._machine = machine
        self._person = person
        self._http = httpx.Client(timeout=TIMEOUT_S)
        self._token = ""
        self._client_token = ""
        self._signed_in_at = -float(FRESH_S)

    @property
    def password(self) -> str:
        """What the person signs in with, and signs records."""
        return self._person.password

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def token(self) -> str:
        """Return an access token that is good for a while.

        Raises:
            DrillError: the sign-in is refused, or not answered.
        """
        if time.monotonic() - self._signed_in_at >= FRESH_S:
            self.freshen()
        return self._token

    def forget(self) -> None:
        """Sign in anew the next time, whatever there is of the sign-in before."""
        self._signed_in_at = -float(FRESH_S)

    def freshen(self) -> None:
        """Sign in, unless that was a moment ago, and let go of a server that is gone.

        Raises:
            DrillError: the sign-in is refused, or not answered.
        """
        self.close()
        self._http = httpx.Client(timeout=TIMEOUT_S)
        if time.monotonic() - self._signed_in_at < FRESH_S:
            return
        self._token = ""
        given = {
            "email": self._person.email,
            "password": self._person.password,
            "organization": self._person.organization,
        }
        told = self._data(SIGN_IN, {"input": given})["signIn"]
        self._token, self._client_token = told["accessToken"], told["clientToken"]
        self._signed_in_at = time.monotonic()

    def data(self, query: str, variables: Mapping[str, Any] | None = None) -> Any:
        """Return the data of an operation, which is answered without errors.

        Raises:
            DrillError: it is not.
        """
        self.freshen()
        return self._data(query, variables or {})

    def ask(self, query: str, variables: Mapping[str, Any], *, key: str | None = None) -> Answer | None:
        """Return what is answered to an operation; None where nothing came back, or what is no answer.

        key: under which Idempotency-Key it is sent.
        """
        headers = {"content-type": "application/json"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        if self._client_token:
            # A client that is known is held up by nobody else's guesses.
            headers["fieldward-client"] = self._client_token
        if key is not None:
            headers["idempotency-key"] = key
        content = orjson.dumps({"query": query, "variables": variables})
        try:
            response = self._http.post(self._machine.url, content=content, headers=headers)
            body = orjson.loads(response.content)
            request_id = UUID(response.headers["x-request-id"])
        except (httpx.HTTPError, orjson.JSONDecodeError, KeyError):
            return None
        data = body.get("data")
        errors = [one["extensions"] for one in body.get("errors") or ()]
        errors += [one for payload in (data or {}).values() if payload for one in payload.get("errors") or ()]
        code = (errors[0].get("code") or str(errors[0])) if errors else None
        is_replayed = "idempotency-replayed" in response.headers
        return Answer(request_id, data, code, is_replayed, errors[0].get("detail") if errors else None)

    def _data(self, query: str, variables: Mapping[str, Any]) -> Any:
        answer = self.ask(query, variables)
        if answer is None or answer.code is not None:
            raise DrillError(f"{self._person.email} is not answered: {query.strip()[:60]} {answer and answer.code}")
        return answer.data
