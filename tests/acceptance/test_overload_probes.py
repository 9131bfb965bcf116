"""Requests that are made to keep a server busy are refused by a real one, each after a bounded amount of work.

How long a cheap query takes beside them is measured by `python -m bench overload`.
"""

import asyncio
import gc
import time
from contextlib import suppress
from typing import Any

import httpx
import orjson
import pytest

from bench.bomb import CHEAP, Bomb, bombs
from schema.api import Api
from schema.limits import MOST_TOKENS, TooComplexError
from schema.operation import InvalidOperationError
from schema.text import DEEPEST_NESTING, extent_of
from tests.support.server import Server
from tests.support.world import SIGN_IN

JSON = {"content-type": "application/json"}
BOMBS = bombs()
AS = {"TOO_COMPLEX", "INVALID_INPUT"}
LONGEST_S = 20
"""Far more than any takes: a bomb that goes off takes minutes, or all memory."""


@pytest.fixture
def signed_in(server: Server) -> dict[str, str]:
    """The headers of who is signed in."""
    email, password = server.sign_ins["viewer"]
    given = {"input": {"email": email, "password": password}}
    answer = httpx.post(f"{server.url}/graphql", json={"query": SIGN_IN, "variables": given}).json()
    return {**JSON, "authorization": f"Bearer {answer['data']['signIn']['accessToken']}"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_the_server_goes_on(server: Server, name: str) -> None:
    errors = refused(server, BOMBS[name], JSON)
    after = httpx.post(f"{server.url}/graphql", json=CHEAP, timeout=LONGEST_S)

    assert {one["extensions"]["code"] for one in errors} <= AS
    assert after.json() == {"data": {"viewer": None}}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_of_who_is_signed_in_comes_as_far_as_the_limit_that_it_is_about(
    server: Server, signed_in: dict[str, str], name: str
) -> None:
    bomb = BOMBS[name]

    (error, *_) = refused(server, bomb, signed_in)
    after = httpx.post(f"{server.url}/graphql", json=CHEAP, headers=signed_in, timeout=LONGEST_S)

    assert error["extensions"].get("limit", {}).get("of", "") == bomb.limit
    assert error["message"].startswith(bomb.message)
    assert bomb.limit or bomb.message
    assert after.json() == {"data": {"viewer": {"role": "MEMBER"}}}


def refused(server: Server, bomb: Bomb, headers: dict[str, str]) -> list[dict[str, Any]]:
    """Throw a bomb, and return the errors by which it is refused."""
    answer = httpx.post(f"{server.url}/graphql", content=bomb.body, headers=headers, timeout=LONGEST_S)
    said: dict[str, Any] = answer.json()
    assert said.get("data") is None
    assert answer.status_code in {200, 400, 413}
    # What is refused is told in few words, however large it was.
    assert len(answer.content) < 20_000
    errors: list[dict[str, Any]] = said["errors"]
    return errors


async def test_a_cheap_query_is_answered_while_many_bombs_are_on_their_way(server: Server) -> None:
    url, limits = f"{server.url}/graphql", httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        thrown = [asyncio.create_task(client.post(url, content=bomb.body, headers=JSON)) for bomb in BOMBS.values()]
        cheap = await client.post(url, json=CHEAP)
        answers = await asyncio.gather(*thrown)

    assert cheap.json() == {"data": {"viewer": None}}
    assert {one.status_code for one in answers} <= {200, 400, 413, 429}


def test_what_is_too_large_is_not_even_parsed() -> None:
    for text in ("{" + "a " * MOST_TOKENS + "}", "{a" * (DEEPEST_NESTING + 1), "[" * 60_000):
        with pytest.raises(TooComplexError):
            extent_of(text)


@pytest.mark.parametrize(
    ("text", "tokens", "nesting"),
    [
        ("{ viewer { role } }", 6, 2),
        ("", 0, 0),
        ("# {{{{\n{ a }", 3, 1),
        ('{ a(b: "{{{{\\"{{") }', 8, 2),
        ('{ a(b: """{{ " \\""" {{""") }', 8, 2),
        ('{ a(b: "unfinished {{\n) }', 8, 2),
        ("query A($b: Int = -1.5e3) @c { ...d }", 16, 1),
        ("}}}} {", 5, 0),
        (",,,\ufeff\t{a}", 3, 1),
    ],
)
def test_a_text_is_looked_at_as_it_will_be_parsed(text: str, tokens: int, nesting: int) -> None:
    assert extent_of(text) == (tokens, nesting)


def test_each_bomb_takes_a_bounded_amount_of_work(api: Api, request: pytest.FixtureRequest) -> None:
    """By the processor's time of this thread, which others on the machine do not lengthen as much as the clock's, and
    without going through all that other tests have left in memory.
    """
    gc.collect()
    gc.disable()
    request.addfinalizer(gc.enable)
    for name, bomb in BOMBS.items():
        said = orjson.loads(bomb.body) if "variable," not in name else CHEAP
        if not isinstance(said, dict):
            continue
        begun = time.thread_time()
        with suppress(TooComplexError, InvalidOperationError):
            prepared = api.operations.prepare(said["query"], keep=False)
            prepared.operation(said.get("operationName")).require_affordable({})
        assert time.thread_time() - begun < 1.0, name
