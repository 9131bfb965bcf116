"""graphql-transport-ws to the letter, who may open a connection, and how much one may hold."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest
import websockets

from auth.token import AccessClaims, issue_access_token
from fieldward.web.live import LARGEST_MESSAGE, MOST_OF_ONE
from schema.cookie import SESSION
from schema.live_connection import LONGEST_FIRST, MOST_OPERATIONS
from tests.conftest import Template
from tests.support.access import behind_the_triggers
from tests.support.browser import Browser
from tests.support.feed import a_record, told
from tests.support.live import FOLLOW, LiveClient, connecting, two_servers
from tests.support.world import World

ME = "{ viewer { user { name } } }"


@pytest.fixture
async def url(world: World, template: Template, tmp_path: Path) -> AsyncIterator[str]:
    """Where a server listens."""
    async with two_servers(world, template, tmp_path) as urls:
        yield urls[0]


@pytest.fixture
async def live(world: World, url: str) -> AsyncIterator[LiveClient]:
    """The manager's connection."""
    async with connecting(url) as client:
        await client.init((await world.client("manager")).token)
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


async def test_a_connection_is_opened_once_and_first(world: World, url: str, live: LiveClient) -> None:
    await live.send({"type": "connection_init"})
    assert await live.closed() == (4429, "Too many initialisation requests")

    async with connecting(url) as client:
        await client.send({"type": "ping"})
        assert await client.hear() == {"type": "pong"}
        await client.subscribe()
        assert await client.closed() == (4401, "Unauthorized")


async def test_who_says_nothing_is_not_waited_for(url: str) -> None:
    async with connecting(url) as client:
        assert await client.closed(longest_s=8) == (4408, "Connection initialisation timeout")


async def test_pings_are_answered_and_pongs_are_not(live: LiveClient) -> None:
    await live.send({"type": "pong", "payload": {"a": 1}})
    await live.send({"type": "ping", "payload": {"a": 1}})
    assert await live.hear() == {"type": "pong"}
    assert await live.hears_nothing(for_s=0.3)


async def test_an_id_stands_for_one_operation_until_that_has_ended(world: World, live: LiveClient) -> None:
    await live.follow(id="a")
    await live.follow(id="b")
    await live.send({"type": "complete", "id": "a"})
    await live.send({"type": "complete", "id": "never was"})
    made = await a_record(await world.client("manager"), f"Project:{await world.project_id('CANAL')}")
    assert told((await live.page(id="b"))["changes"]) == [("CREATED", made)]
    assert await live.hears_nothing(for_s=0.3)

    await live.follow(id="a")
    await live.subscribe(id="a")
    assert await live.closed() == (4409, "Subscriber for a already exists")


async def test_queries_and_mutations_are_answered_as_over_http(world: World, live: LiveClient) -> None:
    await live.subscribe(ME, id="q")
    assert (await live.hear())["payload"] == {"data": {"viewer": {"user": {"name": "Mara Mann"}}}}
    assert await live.hear() == {"id": "q", "type": "complete"}

    given = {"projectId": f"Project:{await world.project_id('CANAL')}", "siteCode": "L", "medium": "WATER"}
    create = (
        "mutation($input: CreateRecordInput!) { createRecord(input: $input) { record { siteCode } errors { code } } }"
    )
    since = await world.now()
    await live.subscribe(create, id="q", input={**given, "collectedAt": "2026-01-02T03:04:05Z"})
    assert (await live.hear())["payload"]["data"]["createRecord"] == {"record": {"siteCode": "L"}, "errors": []}
    assert await live.hear() == {"id": "q", "type": "complete"}
    (entry,) = await world.entries(since=since)
    assert (entry["action"], entry["channel"]) == ("record.create", "API")
    assert entry["membership_id"] == await world.member_id("manager")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"query": "{ nothing }"}, "INVALID_INPUT"),
        ({"query": "{"}, "INVALID_INPUT"),
        ({"query": ""}, "INVALID_INPUT"),
        ({"query": 7}, "INVALID_INPUT"),
        ({}, "INVALID_INPUT"),
        (None, "INVALID_INPUT"),
        ({"query": ME, "operationName": "Other"}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"after": "no cursor"}}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"after": 7}}, "INVALID_INPUT"),
        ({"query": FOLLOW, "variables": {"project": "Record:x"}}, "INVALID_INPUT"),
        ({"query": "subscription { changes { cursor } more: changes { cursor } }"}, "INVALID_INPUT"),
        ({"query": "subscription { " + "a { " * 2000 + "b" + " }" * 2001}, "INVALID_INPUT"),
        (
            {"query": "subscription { changes { %s } }" % " ".join(f"a{n}: cursor" for n in range(101))},
            "TOO_COMPLEX",
        ),
    ],
)
async def test_what_can_not_be_run_is_an_error_of_its_own(live: LiveClient, payload: Any, code: str) -> None:
    await live.send({"type": "subscribe", "id": "1", "payload": payload})

    said = await live.hear()
    assert (said["id"], said["type"]) == ("1", "error")
    assert [one["extensions"]["code"] for one in said["payload"]] == [code]
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


async def test_one_holds_so_many_connections_and_no_more(world: World, url: str) -> None:
    token = (await world.client("manager")).token
    async with AsyncExitStack() as stack:
        for _ in range(MOST_OF_ONE):
            await (await stack.enter_async_context(connecting(url))).init(token)
        async with connecting(url) as client:
            await client.send({"type": "connection_init", "payload": {"Authorization": f"Bearer {token}"}})
            assert (await client.closed())[0] == 1013
        async with connecting(url) as client:
            await client.init((await world.client("viewer")).token)
    async with connecting(url) as client:
        await client.init(token)


async def test_a_message_has_a_size_that_one_may_have(url: str, live: LiveClient) -> None:
    await live.send({"type": "ping", "payload": {"a": "x" * (LARGEST_MESSAGE + 1)}})
    assert (await live.closed())[0] == 1009

    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": {"a": "x" * (LONGEST_FIRST + 1)}})
        assert (await client.closed())[0] == 4400


# ------------------------------------------------------------------ who opens a connection


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
async def test_a_token_is_taken_from_the_payload_or_the_handshake(world: World, url: str, name: str) -> None:
    token = f"Bearer {(await world.client('manager')).token}"
    async with connecting(url) as client:
        await client.send({"type": "connection_init", "payload": {name: token}})
        assert await client.hear() == {"type": "connection_ack"}
    async with connecting(url, Authorization=token) as client:
        await client.init(None)
        await client.subscribe(ME)
        assert (await client.hear())["payload"]["data"]["viewer"]["user"]["name"] == "Mara Mann"


async def test_nobody_looks_as_another_over_a_connection(world: World, url: str) -> None:
    token = (await world.client("owner")).token
    for headers, more in (({"Fieldward_Run_As": "role:VIEWER"}, {}), ({}, {"Fieldward-Run-As": "role:VIEWER"})):
        async with connecting(url, **headers) as client:
            payload = {"Authorization": f"Bearer {token}", **more}
            await client.send({"type": "connection_init", "payload": payload})
            assert (await client.closed())[0] == 4403


async def test_a_page_of_ours_is_let_in_by_its_cookie_and_any_other_is_not(world: World, url: str) -> None:
    browser = Browser(world.http)
    await browser.sign_in(world, "manager")
    cookie = f"{SESSION}={browser.session}"
    async with connecting(url, origin=url, Cookie=cookie) as client:
        await client.init(None)
        await client.follow()
        made = await a_record(await world.client("manager"), f"Project:{await world.project_id('CANAL')}")
        assert told((await client.page())["changes"]) == [("CREATED", made)]
        await client.subscribe(ME, id="q")
        assert (await client.hear())["payload"]["data"]["viewer"]["user"]["name"] == "Mara Mann"

    async with connecting(url, Cookie=cookie) as client:
        await client.send({"type": "connection_init"})
        assert (await client.closed())[0] == 4403
    since = await world.now()
    for origin in ("https://evil.example", url.replace("http", "https"), f"{url}0", "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connecting(url, origin=origin, Cookie=cookie):
                pass
        assert refused.value.response.status_code == 403
    attempts = await world.entries(since=since, kinds=["ATTEMPT"])
    assert {one["error_code"] for one in attempts} == {"CROSS_SITE"}
    assert len(attempts) == 4


async def test_another_site_opens_nothing_by_a_token_either(world: World, url: str) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with connecting(url, origin="https://evil.example"):
            pass


async def test_no_other_address_takes_connections(url: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with connecting(f"{url}/other"):
            pass
    assert refused.value.response.status_code == 403


async def test_a_connection_ends_with_its_access_token_and_nothing_is_missed(world: World, url: str) -> None:
    manager, policy = await world.client("manager"), world.services.sessions
    assert manager.token is not None
    said = jwt.decode(manager.token, options={"verify_signature": False})
    short = issue_access_token(
        await world.services.signing_keys.signer(),
        AccessClaims(UUID(said["sub"]), UUID(said["sid"]), UUID(said["org"])),
        now=datetime.now(UTC),
        issuer=policy.issuer,
        audience=policy.audience,
        lifetime_s=2,
    )
    async with connecting(url) as client:
        await client.init(short)
        after = await client.follow()
        code, reason = await client.closed()
        assert code == 4403
        assert "expired" in reason
    made = await a_record(manager, f"Project:{await world.project_id('CANAL')}")
    async with connecting(url) as client:
        await client.init(manager.token)
        await client.subscribe(after=after)
        assert told((await client.page())["changes"]) == [("CREATED", made)]


async def test_what_is_revoked_is_refused_at_the_next_operation(world: World, url: str) -> None:
    payload = (await world.sign_in("collector")).data["signIn"]
    async with connecting(url) as client:
        await client.init(payload["accessToken"])
        await client.subscribe(ME)
        assert (await client.hear())["type"] == "next"
        assert (await client.hear())["type"] == "complete"
        await client.subscribe("mutation { signOut { errors { code } } }", id="out")
        assert (await client.hear())["payload"]["data"]["signOut"]["errors"] == []
        since = await world.now()
        await client.subscribe(ME, id="2")
        assert (await client.closed())[0] == 4403
        assert "Cleo" not in str(client.heard[-1])
    (attempt,) = await world.entries(since=since, kinds=["ATTEMPT"])
    assert (attempt["action"], attempt["outcome"]) == ("session.authenticate", "DENIED")


async def test_who_has_to_add_a_second_factor_first_follows_nothing(world: World, live: LiveClient) -> None:
    after = await live.follow()
    await behind_the_triggers(world, "organization", "demands_second_factor = true", "slug = 'clearwater'")
    await a_record(await world.client("other-owner"), f"Project:{await world.project_id('LAKES')}")

    await live.subscribe(id="2", after=after)
    said = await live.hear()
    assert (said["id"], said["type"]) == ("2", "error")
    assert [one["extensions"]["code"] for one in said["payload"]] == ["FORBIDDEN"]
