"""The keys of access tokens over HTTP: two real server processes, one rotation by command, tokens in flight."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldward.settings import Settings
from models.encryption.signing import PUBLISHED_S, VERIFIES_S
from tests.conftest import Template
from tests.support.server import (
    ROOT,
    Process,
    database_url,
    environment,
    own_data_directory,
    start_process,
    wait_until_ready,
)
from tests.support.world import Client, World, connect

PATIENCE_S: Final = 20.0
VIEWER: Final = "{ viewer { user { id } } }"


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose signing keys are replaced."""
    return own_keystore


class House:
    """Two server processes over one database and one keystore, and what an operator does beside them."""

    def __init__(self, world: World, template: Template, keystore: str, directory: Path, at: list[Process]) -> None:
        self._world = world
        self._superuser = template.postgres.superuser(keystore)
        self._directory = directory
        self.urls = [one.url for one in at]

    async def sign_in(self, http: httpx.AsyncClient) -> str:
        """Sign the manager in and return the access token."""
        there = replace(self._world, http=http, _clients={})
        payload = (await there.sign_in("manager")).data["signIn"]
        assert payload["errors"] == []
        token: str = payload["accessToken"]
        return token

    async def rotate(self, *more: str) -> dict[str, Any]:
        """Run `fieldward keys rotate --signing`."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "fieldward", "keys", "rotate", "--signing", "--json", *more],
            cwd=ROOT,
            env=environment(self._directory, **_urls(self._world)),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    async def pass_time(self, seconds: float) -> None:
        """Let the keys become older, and have the servers look."""
        superuser = await connect(self._superuser)
        rows = await superuser.fetch(
            "update wrapped_key set created_at = created_at - $1::float8 * interval '1 s',"
            " retired_at = retired_at - $1::float8 * interval '1 s' where purpose = 'SIGNING' returning id",
            seconds,
        )
        for row in rows:
            await superuser.execute("select pg_notify('fieldward_keys', $1)", f"retired {row['id']}")
        await superuser.close()


def _urls(world: World) -> dict[str, str]:
    return {
        "FIELDWARD_DATABASE_URL": database_url(world.service),
        "FIELDWARD_KEYSTORE_URL": database_url(world.keystore),
    }


@asynccontextmanager
async def two_processes(world: World, template: Template, keystore: str, tmp_path: Path) -> AsyncIterator[House]:
    """Two servers with data directories of their own, as on two machines."""
    settings: Settings = template.settings
    directories = [own_data_directory(settings.data_directory, tmp_path / str(n)) for n in range(2)]
    started: list[Process] = []
    try:
        for number, directory in enumerate(directories):
            started.append(start_process(directory, _urls(world), tmp_path / f"{number}.log"))
        for one in started:
            await asyncio.to_thread(wait_until_ready, one)
        yield House(world, template, keystore, directories[0], started)
    finally:
        for one in started:
            assert await asyncio.to_thread(one.stop) == 0


async def published(http: httpx.AsyncClient) -> set[str]:
    """Return the ids of the keys that a server publishes."""
    answer = await http.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=60"
    return {str(key.key_id) for key in jwt.PyJWKSet.from_dict(answer.json()).keys}


def key_of(token: str) -> str:
    """Return which key signed a token."""
    key_id: str = jwt.get_unverified_header(token)["kid"]
    return key_id


def reaching(url: str) -> httpx.AsyncClient:
    """Return a client that lets go of a connection before the server does, which is while a command runs."""
    return httpx.AsyncClient(base_url=url, limits=httpx.Limits(keepalive_expiry=1))


async def until(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    """Wait for what comes within seconds."""
    end = time.monotonic() + PATIENCE_S
    while not await holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.1)


async def works(http: httpx.AsyncClient, token: str) -> bool:
    """Return whether a server answers for a token; it is refused as not valid where it does not."""
    answer = await Client(http, token).run(VIEWER)
    assert set(answer.codes) <= {"UNAUTHENTICATED"}
    return bool(answer.body["data"]["viewer"])


async def test_a_key_is_replaced_while_tokens_are_in_flight_and_both_servers_know(
    world: World, template: Template, own_keystore: str, tmp_path: Path
) -> None:
    async with (
        two_processes(world, template, own_keystore, tmp_path) as house,
        reaching(house.urls[0]) as first,
        reaching(house.urls[1]) as second,
    ):
        both = (first, second)
        token = await house.sign_in(first)
        old = key_of(token)
        assert [await works(one, token) for one in both] == [True, True]
        assert await published(first) == await published(second) == {old}
        # Whoever has the published keys alone verifies a token.
        keys = jwt.PyJWKSet.from_dict((await second.get("/.well-known/jwks.json")).json())
        said = jwt.decode(token, keys[old].key, algorithms=["EdDSA"], audience="fieldward-api", issuer="fieldward")
        assert said["exp"] - said["iat"] == 300
        await house.pass_time(PUBLISHED_S)

        done = await house.rotate()

        assert done["replaced"] == 1
        (new,) = set(done["published"]) - {old}
        for one in both:
            await until(lambda at=one: _is(published(at), {old, new}))  # type: ignore[misc]
            assert key_of(await house.sign_in(one)) == old
            assert await works(one, token)

        await house.pass_time(PUBLISHED_S)
        for one in both:
            await until(lambda at=one: _signs(house, at, new))  # type: ignore[misc]
        newer = await house.sign_in(second)
        assert [await works(one, each) for one in both for each in (token, newer)] == [True] * 4

        await house.pass_time(VERIFIES_S - PUBLISHED_S)
        for one in both:
            await until(lambda at=one: _is(published(at), {new}))  # type: ignore[misc]
            assert await works(one, newer)
            assert not await works(one, token)


async def test_a_revoked_key_ends_every_token_within_seconds_and_sign_ins_go_on(
    world: World, template: Template, own_keystore: str, tmp_path: Path
) -> None:
    async with (
        two_processes(world, template, own_keystore, tmp_path) as house,
        reaching(house.urls[0]) as first,
        reaching(house.urls[1]) as second,
    ):
        token = await house.sign_in(first)
        assert [await works(one, token) for one in (first, second)] == [True, True]

        done = await house.rotate("--revoke")

        assert done["revoked"] == 1
        assert key_of(token) not in done["published"]
        for one in (first, second):
            await until(lambda at=one: _is(works(at, token), False))  # type: ignore[misc]
            assert await published(one) == set(done["published"])
        again = await house.sign_in(second)
        assert [await works(one, again) for one in (first, second)] == [True, True]
    rows = await world.sql("select action, outcome from audit_entry where action like 'key.%' order by at")
    assert [tuple(row) for row in rows[-2:]] == [("key.rotate", "DONE"), ("key.destroy", "DONE")]


async def test_tokens_of_unknown_keys_are_refused_and_cost_no_look_each(
    world: World, template: Template, own_keystore: str, tmp_path: Path
) -> None:
    async with (
        two_processes(world, template, own_keystore, tmp_path) as house,
        reaching(house.urls[0]) as http,
    ):
        good = await house.sign_in(http)
        header = {"typ": "at+jwt"}
        said = jwt.decode(good, options={"verify_signature": False})
        private = Ed25519PrivateKey.generate()
        forged = [
            jwt.encode(said, private, algorithm="EdDSA", headers={**header, "kid": f"{n:043}"}) for n in range(100)
        ]
        before = await _scans(world, template, own_keystore)

        began = time.monotonic()
        answered = await asyncio.gather(*(works(http, token) for token in forged))
        took_s = time.monotonic() - began

        assert not any(answered)
        assert await works(http, good)
        # Two for what the servers do by themselves each two seconds, whoever asks.
        assert await _scans(world, template, own_keystore) - before < 20 + 4 * took_s


async def _is(found: Coroutine[Any, Any, Any], wanted: object) -> bool:
    return bool(await found == wanted)


async def _signs(house: House, http: httpx.AsyncClient, key_id: str) -> bool:
    return key_of(await house.sign_in(http)) == key_id


async def _scans(world: World, template: Template, keystore: str) -> int:
    """Return how often the table of keys was looked through so far."""
    superuser = await connect(template.postgres.superuser(keystore))
    try:
        await superuser.execute("select pg_stat_force_next_flush()")
        found: int = await superuser.fetchval(
            "select seq_scan + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'wrapped_key'"
        )
        return found
    finally:
        await superuser.close()
