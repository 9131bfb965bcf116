"""What a process does while as many requests are at work as may be: who comes is told to come again, unread."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.installation import SITES, Installation, Served, installed

AT_ONCE = 2
BODY = b'{"query": "{ viewer { role } }"}'
HEAD = b"POST /graphql HTTP/1.1\r\nhost: fieldward.test\r\ncontent-type: application/json\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
AGAIN = b"HTTP/1.1 503 Service Unavailable\r\n"
DEMANDED = (b"retry-after: ", b"content-security-policy: ", b"x-content-type-options: nosniff", b"x-request-id: ")
AT_ONCE_S = 1.5


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server that works on two requests at a time."""
    with installed() as made, made.served(settings={"FIELDWARD_REQUESTS_AT_ONCE": str(AT_ONCE)}) as running:
        yield running


@contextmanager
def records_locked(installation: Installation) -> Iterator[None]:
    """Have whatever reads records wait, while the block runs."""
    taken, release = threading.Event(), threading.Event()

    async def hold() -> None:
        superuser = await installation.superuser()
        async with superuser.transaction():
            await superuser.execute("lock table record in access exclusive mode")
            taken.set()
            await asyncio.to_thread(release.wait)
        await superuser.close()

    holding = threading.Thread(target=lambda: asyncio.run(hold()))
    holding.start()
    assert taken.wait(30)
    try:
        yield
    finally:
        release.set()
        holding.join()


@contextmanager
def all_places_taken(served: Served, token: str) -> Iterator[None]:
    """Have as many queries wait for a lock as may be at work, while the block runs."""
    statuses: list[int] = []

    def ask() -> None:
        headers = {"authorization": f"Bearer {token}"}
        address = served.http.base_url.join("/graphql")
        # Who looks whether all places are taken has one for a moment.
        while (answer := httpx.post(address, json={"query": SITES}, headers=headers, timeout=60)).status_code == 503:
            time.sleep(0.01)
        statuses.append(answer.status_code)

    asking = [threading.Thread(target=ask) for _ in range(AT_ONCE)]
    json = {"content-type": "application/json"}
    with records_locked(served.installation):
        for one in asking:
            one.start()
        end = time.monotonic() + 30
        while served.http.post("/graphql", content=BODY, headers=json).status_code != 503:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield
    for one in asking:
        one.join()
    # Whoever had a place was served.
    assert statuses == [200] * AT_ONCE


def connected(served: Served) -> socket.socket:
    """Return a connection to the server."""
    address = urlsplit(str(served.http.base_url))
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30)


def received(connection: socket.socket, count: int = 1) -> bytes:
    """Return so many answers, or what comes until the server closes the connection."""
    found = b""
    while found.count(b"HTTP/1.1 ") < count or not found.endswith(b"}"):
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            break
        if not piece:
            break
        found += piece
    return found


def test_who_comes_is_told_to_come_again_and_keeps_the_connection(served: Served) -> None:
    owner = served.signed_in()
    token = str(owner.token)
    with connected(served) as kept, connected(served) as piped, connected(served) as slow:
        # Whoever sends slowly has no place, and takes none from others.
        slow.sendall(WHOLE[:-5])
        with all_places_taken(served, token):
            began = time.monotonic()
            kept.sendall(WHOLE)
            told = received(kept)
            assert time.monotonic() - began < AT_ONCE_S
            assert told.startswith(AGAIN)
            assert all(one in told.lower() for one in DEMANDED), told
            assert b'"code":"UNAVAILABLE"' in told
            assert b"connection: close" not in told.lower()
            # Again and again, in pieces and at once, over the connections that there are.
            for piece in (WHOLE[:30], WHOLE[30:-3], WHOLE[-3:]):
                kept.sendall(piece)
                time.sleep(0.05)
            assert received(kept).startswith(AGAIN)
            piped.sendall(WHOLE * 3)
            assert received(piped, 3).count(AGAIN) == 3
            slow.sendall(WHOLE[-5:])
            assert received(slow).startswith(AGAIN)

            # What is too much to be waited for is not.
            for head in (
                HEAD + b"content-length: 1000000\r\n\r\n",
                HEAD + b"transfer-encoding: chunked\r\n\r\n",
                HEAD + b"content-length: 10\r\nexpect: 100-continue\r\n\r\n",
                b"PUT /imports/x/content HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n",
            ):
                with connected(served) as large:
                    large.sendall(head)
                    told = received(large)
                    assert told.startswith(AGAIN), head
                    assert b"connection: close" in told.lower()
            for path in ("/oauth/token", "/graphiql", "/exports/x/y"):
                assert served.http.get(path).status_code == 503
            # How the process is doing is told all the same.
            assert served.status("/health/live") == 200
            assert served.status("/health/ready") == 200

        for connection in (kept, piped, slow):
            connection.sendall(WHOLE)
            assert received(connection).startswith(b"HTTP/1.1 200 OK\r\n")
    assert served.logged("requests_turned_away")
    assert not served.logged("unexpected_error")


def test_a_connection_that_was_turned_away_and_then_served_is_not_closed_in_between(served: Served) -> None:
    owner = served.signed_in()
    token = str(owner.token)
    signed = b"authorization: Bearer " + token.encode() + b"\r\n"
    query = b'{"query": "%s"}' % SITES.replace('"', "'").encode()
    slow = HEAD + signed + b"content-length: %d\r\n\r\n" % len(query) + query
    with connected(served) as connection:
        with all_places_taken(served, token):
            connection.sendall(WHOLE)
            assert received(connection).startswith(AGAIN)
        with records_locked(served.installation):
            connection.sendall(slow)
            # Longer than a connection is kept for the next request.
            time.sleep(7)
        assert received(connection).startswith(b"HTTP/1.1 200 OK\r\n")
