"""A server process that is asked to end under load loses no request, and another one goes on where it was."""

import asyncio
import json
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import websockets

from tests.acceptance.test_http import received
from tests.conftest import Template
from tests.support.handed import Handed, handed, held_socket
from tests.support.live import FOLLOW, PROTOCOL, LiveClient
from tests.support.world import Client, World

QUERY = "{ projects(first: 2) { nodes { code records(first: 20) { nodes { siteCode comment } } } } }"
CREATE = "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code } } }"
HEAD = b"POST /graphql HTTP/1.1\r\nhost: fieldward.test\r\ncontent-type: application/json\r\n"
BODY = b'{"query": "{ viewer { role } }"}'
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
GET_READY = b"GET /health/ready HTTP/1.1\r\nhost: fieldward.test\r\n\r\n"


@dataclass
class Load:
    """What clients asked, one after the other, and what came of it."""

    url: str
    token: str
    project: str
    answered: int = 0
    created: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    is_over: bool = False

    async def ask(self, number: int, *, pause_s: float, keeps: bool, creates: bool) -> None:
        """Ask again and again, over one connection for as long as that is kept, or over a new one each time."""
        limits = httpx.Limits(max_keepalive_connections=1 if keeps else 0)
        headers = {"authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=self.url, timeout=150, limits=limits, headers=headers) as http:
            turn = 0
            while not self.is_over:
                turn += 1
                began = time.monotonic()
                try:
                    if creates:
                        await self._create(http, f"S-{number}-{turn}")
                    else:
                        answer = (await http.post("/graphql", json={"query": QUERY})).raise_for_status()
                        assert len(answer.json()["data"]["projects"]["nodes"]) == 1
                    self.answered += 1
                except (httpx.HTTPError, AssertionError, KeyError) as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                await asyncio.sleep(pause_s)

    async def _create(self, http: httpx.AsyncClient, code: str) -> None:
        given = {"projectId": self.project, "siteCode": code, "collectedAt": "2026-03-01T10:00:00Z", "medium": "WATER"}
        answer = await http.post("/graphql", json={"query": CREATE, "variables": {"input": given}})
        payload = answer.raise_for_status().json()["data"]["createRecord"]
        assert payload["errors"] == [], payload
        self.created.append(code)


async def _loaded(load: Load, during: "asyncio.Future[None] | asyncio.Task[None]") -> None:
    """Ask in every way until what happens meanwhile is over, and a while longer."""
    ways = [(0.0, True, False), (0.0, False, False), (0.0, True, True), (0.7, True, False), (2.2, True, True)]
    tasks = [
        asyncio.create_task(load.ask(number, pause_s=pause_s, keeps=keeps, creates=creates))
        for number, (pause_s, keeps, creates) in enumerate(ways * 2)
    ]
    try:
        await during
        # Who is there then has to answer all of them.
        enough = load.answered + 3 * len(tasks)
        async with asyncio.timeout(120):
            while True:
                await asyncio.sleep(0.1)
                if load.answered >= enough:
                    break
    finally:
        load.is_over = True
        await asyncio.gather(*tasks)


async def _load(world: World, held: socket.socket) -> Load:
    url = f"http://127.0.0.1:{held.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        anonymous = Client(http)
        given = world.credentials("manager")
        sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { accessToken } }"
        token = (await anonymous.run(sign_in, {"input": given})).data["signIn"]["accessToken"]
    return Load(url, token, f"Project:{await world.project_id('CANAL')}")


async def _require_nothing_lost(world: World, load: Load) -> None:
    assert load.failures == []
    assert load.answered > 30
    rows = await world.sql("select site_code from record where site_code like 'S-%'")
    assert sorted(row["site_code"] for row in rows) == sorted(load.created)
    assert len(load.created) > 4


@pytest.mark.parametrize("overlaps", [True, False], ids=["the next one beside it", "the next one after it"])
async def test_no_request_is_lost_where_a_process_gives_way_to_the_next_under_load(
    template: Template, world: World, tmp_path: Path, overlaps: bool
) -> None:
    with held_socket() as held, handed(template, world, tmp_path, held, "first") as first:
        await asyncio.to_thread(first.wait_until_ready)
        load = await _load(world, held)
        second: list[Handed] = []

        async def give_way() -> None:
            await asyncio.sleep(1)
            if overlaps:
                second.append(starting.__enter__())
                await asyncio.to_thread(second[0].wait_until_ready)
            first.terminate()
            code = await asyncio.to_thread(first.ended)
            assert code in {0, -signal.SIGTERM}, first.log.read_text()
            if not overlaps:
                second.append(starting.__enter__())
                await asyncio.to_thread(second[0].wait_until_ready)

        starting = handed(template, world, tmp_path, held, "second")
        try:
            await _loaded(load, asyncio.create_task(give_way()))
        finally:
            if second:
                starting.__exit__(None, None, None)
        await _require_nothing_lost(world, load)
        for one in (first, *second):
            said = [json.loads(line) for line in one.log.read_text().splitlines() if line.startswith("{")]
            assert [line for line in said if line["level"] == "error"] == []


async def test_what_is_being_answered_is_answered_and_what_is_idle_may_ask_once_more(
    template: Template, world: World, tmp_path: Path
) -> None:
    delay = {"FIELDWARD_SHUTDOWN_DELAY_S": "1.5"}
    with held_socket() as held, handed(template, world, tmp_path, held, "only", **delay) as only:
        await asyncio.to_thread(only.wait_until_ready)
        address = held.getsockname()
        with (
            socket.create_connection(address, timeout=20) as half,
            socket.create_connection(address, timeout=20) as idle,
            socket.create_connection(address, timeout=20) as late,
        ):
            idle.sendall(WHOLE)
            before = await asyncio.to_thread(received, idle, b"null}}")
            half.sendall(WHOLE[:-10])
            await asyncio.sleep(0.3)
            only.terminate()
            assert await asyncio.to_thread(only.told.recv, 100) == b"STOPPING=1"

            # While it says that it is not ready, it serves on, and says that each connection ends.
            late.sendall(GET_READY)
            not_ready = await asyncio.to_thread(received, late)
            with socket.create_connection(address, timeout=20) as fresh:
                fresh.sendall(WHOLE)
                answered = await asyncio.to_thread(received, fresh)
            await asyncio.sleep(2)
            half.sendall(WHOLE[-10:])
            finished = await asyncio.to_thread(received, half)
            idle.sendall(WHOLE)
            again = await asyncio.to_thread(received, idle)
        code = await asyncio.to_thread(only.ended)

    assert b"connection: close" not in before
    assert not_ready.startswith(b"HTTP/1.1 503 ")
    for one in (answered, finished, again):
        assert one.startswith(b"HTTP/1.1 200 OK\r\n"), one
        assert b"\r\nconnection: close\r\n" in one
        assert one.endswith(b'{"data":{"viewer":null}}')
    assert code in {0, -signal.SIGTERM}


async def test_who_follows_what_changes_is_told_to_come_again(template: Template, world: World, tmp_path: Path) -> None:
    with held_socket() as held, handed(template, world, tmp_path, held, "only") as only:
        await asyncio.to_thread(only.wait_until_ready)
        load = await _load(world, held)
        url = load.url.replace("http", "ws") + "/graphql"
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol(PROTOCOL)]) as connection:
            client = LiveClient(connection)
            await client.init(load.token)
            await client.subscribe(FOLLOW)
            await client.page()
            only.terminate()
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.hear()
        began = time.monotonic()
        code = await asyncio.to_thread(only.ended)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert time.monotonic() - began < 15
    assert code in {0, -signal.SIGTERM}


async def test_from_a_terminal_it_ends_at_once(template: Template, world: World, tmp_path: Path) -> None:
    with held_socket() as held, handed(template, world, tmp_path, held, "only") as only:
        await asyncio.to_thread(only.wait_until_ready)
        with socket.create_connection(held.getsockname(), timeout=20) as idle:
            idle.sendall(WHOLE)
            await asyncio.to_thread(received, idle, b"null}}")
            began = time.monotonic()
            only.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(received, idle) == b""
            await asyncio.to_thread(only.ended)
            assert time.monotonic() - began < 4
