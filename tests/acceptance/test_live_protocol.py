"""graphql-transport-ws to the letter, who may open a connection, and how much one may hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
import websockets

from fieldward.web.live import LARGEST_MESSAGE, MOST_OF_ONE, MOST_UNKNOWN
from schema.live_connection import LONGEST_FIRST, MOST_OPERATIONS, MOST_TASKS
from tests.support.feed import a_record, told
from tests.support.live import FOLLOW, Demo, LiveClient, connecting
from tests.support.server import Server
from tests.support.world import json_body

ALIASES = " ".join(f"a{place}: cursor" for place in range(101))
REAUTHENTICATE = '{ reauthenticate(input: {password: "x"}) { errors { code } } }'
CREATE = """
mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code detail } } }
"""
ME = "{ viewer { user { name } } }"


@pytest.fixture
async def demo(server: Server) -> AsyncIterator[Demo]:
    """The demo's people."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        yield Demo(server, http)


@pytest.fixture
def url(server: Server) -> str:
    """Where the demo listens."""
    return server.url


@pytest.fixture
async def live(demo: Demo, url: str) -> AsyncIterator[LiveClient]:
    """The manager's connection."""
    async with connecting(url) as client:
        await client.init((await demo.client("manager")).token)
        yield client


@pytest.mark.parametrize("protocol", ["graphql-ws", None])
async def test_another_protocol_is_off(url: str, protocol: str | None) -> None:
    async with connecting(url, protocol=protocol) as client:
        assert await client.closed() == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize(
    "message",
    [
        "no JSON",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": "start", "id": "1"}',
        '{"type": "subscribe"}',
        '{"type": "subscribe", "id": ""}',
        '{"type": "subscribe", "id": 7, "payload": {"query": "{ viewer { role } }"}}',
        '{"type": "complete"}',
        "[" * 5000,
    ],
)
async def test_what_is_no_message_ends_the_connection(live: LiveClient, message: str) -> None:
    await live.send(message)

    assert (await live.closed())[0] == 4400


async def test_bytes_are_no_message(live: LiveClient) -> None:
    await live.socket.send(b'{"type": "ping"}')

    assert (await live.closed())[0] == 4400


async def test_a_connection_is_opened_once_and_first(demo: Demo, url: str, live: LiveClient) -> None:
    await live.send({"type": "connection_init"})
    assert await live.closed() == (4429, "Too many initialisation requests")

    async with connecting(url) as client:
        await client.send({"type": "ping"})
        assert await client.hear() == {"type": "pong"}
        await client.subscribe()
        assert await client.closed() == (4401, "Unauthorized")


async def test_who_says_nothing_is_not_waited_for(url: str) -> None:
    async with connecting(url) as client:
        assert await client.closed(longest_s=20) == (4408, "Connection initialisation timeout")


async def test_pings_are_answered_and_pongs_are_not(live: LiveClient) -> None:
    await live.send({"type": "pong", "payload": {"a": 1}})
    await live.send({"type": "ping", "payload": {"a": 1}})
    assert await live.hear() == {"type": "pong"}
    assert await live.hears_nothing(for_s=0.3)


async def test_an_id_stands_for_one_operation_until_that_has_ended(demo: Demo, live: LiveClient) -> None:
    await live.follow(id="a")
    await live.follow(id="b")
    await live.send({"type": "complete", "id": "a"})
    await live.send({"type": "complete", "id": "never was"})
    made = await a_record(await demo.client("manager"), await demo.project())
    assert told((await live.page(id="b"))["changes"]) == [("CREATED", made)]
    assert await live.hears_nothing(for_s=0.3)

    await live.follow(id="a")
    await live.subscribe(id="a")
    assert await live.closed() == (4409, "Subscriber for a already exists")


async def test_queries_and_mutations_are_answered_as_over_http(demo: Demo, live: LiveClient) -> None:
    await live.subscribe(ME, id="q")
    assert (await live.hear())["payload"] == {"data": {"viewer": {"user": {"name": "Mara Mann"}}}}
    assert await live.hear() == {"id": "q", "type": "complete"}

    given = {"projectId": await demo.project(), "siteCode": "L", "medium": "WATER"}
    create = (
        "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { siteCode } errors { code } } }"
    )
    await live.subscribe(create, id="q", input={**given, "collectedAt": "2026-01-02T03:04:05Z"})
    assert (await live.hear())["payload"]["data"]["createRecord"] == {"record": {"siteCode": "L"}, "errors": []}
    assert await live.hear() == {"id": "q", "type": "complete"}
    trail = '{ auditEntries(first: 1, filter: {action: {eq: "record.create"}}) { nodes { user { name } channel } } }'
    (entry,) = (await (await demo.client("owner")).run(trail)).data["auditEntries"]["nodes"]
    assert entry == {"user": {"name": "Mara Mann"}, "channel": "API"}


async def test_a_mutation_is_done_once_under_its_key_over_a_connection_and_over_http(
    demo: Demo, live: LiveClient
) -> None:
    manager = await demo.client("manager")
    given = {"projectId": await demo.project(), "siteCode": "ONCE", "medium": "WATER"}
    variables = {"input": {**given, "collectedAt": "2026-01-02T03:04:05Z"}}
    number = '{ records(filter: {siteCode: {eq: "ONCE"}}) { totalCount } }'

    async def answered(key: str, **more: Any) -> dict[str, Any]:
        payload = {"query": CREATE, "variables": {"input": {**variables["input"], **more}}}
        payload["extensions"] = {"idempotencyKey": key}
        await live.send({"type": "subscribe", "id": "once", "payload": payload})
        answer: dict[str, Any] = (await live.hear())["payload"]
        assert await live.hear() == {"id": "once", "type": "complete"}
        return answer

    first, again = await answered("one-key"), await answered('"one-key"')
    by_http = await manager.post(json_body({"query": CREATE, "variables": variables}), **{"idempotency-key": "one-key"})
    other = await answered("one-key", siteCode="OTHER")

    assert first["data"]["createRecord"]["errors"] == []
    assert "extensions" not in first
    assert again == {"data": first["data"], "extensions": {"idempotencyReplayed": True}}
    assert by_http.data == first["data"]
    assert by_http.headers["idempotency-replayed"] == "true"
    (error,) = other["data"]["createRecord"]["errors"]
    assert error == {"code": "CONFLICT", "detail": "IDEMPOTENCY_KEY_REUSED"}
    assert (await manager.run(number)).data["records"]["totalCount"] == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, 7, ["a"]])
async def test_what_is_no_key_is_refused_by_its_name(live: LiveClient, key: Any) -> None:
    payload = {"query": ME, "extensions": {"idempotencyKey": key}}
    await live.send({"type": "subscribe", "id": "1", "payload": payload})

    said = await live.hear()
    assert (said["id"], said["type"]) == ("1", "error")
    (error,) = said["payload"]
    assert error["message"].startswith("extensions.idempotencyKey: expected one string of 1 to 255")
    assert error["extensions"] == {"code": "INVALID_INPUT"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"query": "{ nothing }"}, "INVALID_INPUT"),
        ({"query": "mutation { ...Own } fragment Own on Mutation " + REAUTHENTICATE}, "INVALID_INPUT"),
        ({"query": "{"}, "INVALID_INPUT"),
        ({"query": ""}, "INVALID_INPUT"),
        ({"query": 7}, "INVALID_INPUT"),
        ({}, "INVALID_INPUT"),
        (None, "INVALID_INPUT"),
        ({"query": ME, "operationName": "Other"}, "INVALID_INPUT"),
        ({"query": "query A { viewer { role } } query B { __typename }", "operationName": ""}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"after": "no cursor"}}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"after": 7}}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"project": "Record:x"}}, "INVALID_INPUT"),
        ({"query": "subscription { changes { cursor } more: changes { cursor } }"}, "INVALID_INPUT"),
        ({"query": "subscription { " + "a { " * 2000 + "b" + " }" * 2001}, "TOO_COMPLEX"),
        (
            {"query": f"subscription {{ changes {{ {ALIASES} }} }}"},
            "TOO_COMPLEX",
        ),
    ],
)
async def test_what_can_not_be_run_is_an_error_of_its_own(live: LiveClient, payload: Any, code: str) -> None:
    await live.send({"type": "subscribe", "id": "1", "payload": payload})

    said = await live.hear()
    assert (said["id"], said["type"]) == ("1", "error")
    assert [one["extensions"]["code"] for one in said["payload"]] == [code]
    assert all(one["message"] for one in said["payload"])
    # The connection goes on, and so may the id.
    await live.subscribe(ME)
    assert (await live.hear())["type"] == "next"


async def test_a_connection_holds_so_many_operations_and_no_more(live: LiveClient) -> None:
    for place in range(MOST_OPERATIONS):
        await live.follow(id=str(place))
    await live.subscribe(id="more")
    said = await live.hear()
    assert (said["id"], said["type"]) == ("more", "error")
    assert said["payload"][0]["extensions"]["code"] == "RATE_LIMITED"

    await live.send({"type": "complete", "id": "0"})
    await live.follow(id="more")


async def test_one_holds_so_many_connections_and_no_more(demo: Demo, url: str) -> None:
    # Whose no other test here has: a connection counts until the server has noticed that it is gone.
    token = (await demo.client("reviewer")).token
    async with AsyncExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            await (await stack.enter_async_context(connecting(url))).init(token)
        async with connecting(url) as client:
            await client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
            assert (await client.closed())[0] == 1013
        async with connecting(url) as client:
            await client.init((await demo.client("viewer")).token)
    # They are counted until the server has noticed that they are gone.
    for _ in range(100):
        async with connecting(url) as client:
            with suppress(websockets.ConnectionClosed):
                await client.init(token)
                return
        await asyncio.sleep(0.05)
    pytest.fail("Nobody is let in again.")


async def test_a_message_has_a_size_that_one_may_have(url: str, live: LiveClient) -> None:
    await live.send({"type": "ping", "payload": {"a": "x" * (LARGEST_MESSAGE + 1)}})
    assert (await live.closed())[0] == 1009

    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": {"a": "x" * (LONGEST_FIRST + 1)}})
        assert (await client.closed())[0] == 4400


# ------------------------------------------------------------------ who opens a connection


async def test_who_does_not_say_who_they_are_takes_no_place_of_all_others(demo: Demo, url: str) -> None:
    token = (await demo.client("manager")).token
    async with AsyncExitStack() as stack:
        for _ in range(MOST_UNKNOWN - 1):
            await stack.enter_async_context(connecting(url))
        # Those who said it do not count.
        for _ in range(2):
            known = await stack.enter_async_context(connecting(url))
            await known.init(token)
        await stack.enter_async_context(connecting(url))
        one_more = await stack.enter_async_context(connecting(url))
        assert await one_more.closed() == (1013, "Too many connections from your network. Come again.")
    async with connecting(url) as again:
        await again.init(token)


async def test_what_is_completed_at_once_still_counts_while_it_runs(live: LiveClient) -> None:
    many = 10 * MOST_OPERATIONS
    for place in range(many):
        await live.send({"type": "subscribe", "id": str(place), "payload": {"query": ME}})
        await live.send({"type": "complete", "id": str(place)})
    await live.send({"type": "ping"})

    refused = 0
    while (said := await live.hear()) != {"type": "pong"}:
        if said["type"] == "error":
            assert said["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
            refused += 1
    assert refused >= many - 2 * MOST_TASKS


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"Authorization": ""},
        {"Authorization": 7},
        {"Authorization": "Basic eA=="},
        {"Authorization": "Bearer x"},
        {"Authorization": "Bearer fws_x"},
        {"authToken": "x"},
    ],
)
async def test_who_does_not_say_who_they_are_is_not_let_in(url: str, payload: Any) -> None:
    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": payload})

        code, reason = await client.closed()
        assert code == 4403
        assert reason
        assert client.heard == []


async def test_a_payload_that_is_none_is_no_message(url: str) -> None:
    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": "Bearer x"})

        assert (await client.closed())[0] == 4400


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_a_token_is_taken_from_the_payload_or_the_handshake(demo: Demo, url: str, name: str) -> None:
    token = f"Bearer {(await demo.client('manager')).token}"
    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": {name: token}})
        assert await client.hear() == {"type": "connection_ack"}
    async with connecting(url, Authorization=token) as client:
        await client.init(None)
        await client.subscribe(ME)
        assert (await client.hear())["payload"]["data"]["viewer"]["user"]["name"] == "Mara Mann"


async def test_nobody_looks_as_another_over_a_connection(demo: Demo, url: str) -> None:
    token = (await demo.client("owner")).token
    for headers, more in (({"Fieldward_Run_As": "role:VIEWER"}, {}), ({}, {"Fieldward-Run-As": "role:VIEWER"})):
        async with connecting(url, **headers) as client:
            payload = {"Authorization": f"Bearer {token}", **more}
            await client.send({"type": "connection_init", "payload": payload})
            assert (await client.closed())[0] == 4403


async def test_another_site_opens_nothing_by_a_token_either(url: str) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with connecting(url, origin="https://evil.example"):
            pass


async def test_no_other_address_takes_connections(url: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connecting(f"{url}/other"):
            pass
    assert refused.value.response.status_code == 403
