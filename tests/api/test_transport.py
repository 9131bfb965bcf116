"""How requests come in and answers go out, for every odd one that is an operation."""

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256

import pytest
from starlette.types import ASGIApp, Message

import fieldward.web.limits
from fieldward.web.header import NOTHING_OF_THE_MACHINE
from tests.support.raw_request import ASKED, OWN, VIEWER, Request, answered, given, put, typed
from tests.support.world import World

TWO = "query A { viewer { role } } query B { __typename }"
ASKED_IN = b"query=%7Bviewer%7Brole%7D%7D"
NO_NAME = "Expected operationName to be a name of at most 200 letters."


ANSWERED: dict[str, Request] = {
    "GET": Request((b"",), (), "GET", query_string=ASKED_IN),
    "GET with all there is": Request(
        (b"",), (), "GET", query_string=ASKED_IN + b"&variables=%7B%22a%22:1%7D&operationName=&extensions=null&x=y"
    ),
    "JSON": Request(),
    "JSON with a character set": typed("application/json; charset=utf-8"),
    "JSON with another": typed("application/json; charset=iso-8859-1"),
    "JSON with a parameter in quotes": typed('application/json; charset="utf-8"; a=b'),
    "JSON with blanks": typed("  application/json ; charset=utf-8 "),
    "JSON in other letters": typed("Application/JSON;CHARSET=UTF-8"),
    "JSON, then plain text": typed("application/json", "text/plain"),
    "pieces": Request((ASKED[:5], b"", ASKED[5:-1], ASKED[-1:])),
    "a byte order mark": given(b"\xef\xbb\xbf" + ASKED),
    "UTF-16": given(ASKED.decode().encode("utf-16")),
    "a line feed after it": given(ASKED + b"\r\n"),
    "an address with a query": Request(query_string=b"query=%7Bnope%7D"),
    "more than is known": given({"query": VIEWER, "id": 1, "batch": "x"}),
    "a name beside the text": given({"query": VIEWER, "documentId": "sha256:" + sha256(VIEWER.encode()).hexdigest()}),
    "a member twice": given(b'{"query": "{ nope }", "query": "{ viewer { role } }"}'),
    "variables null": given({"query": VIEWER, "variables": None}),
    "variables that are not declared": given({"query": VIEWER, "variables": {"x": 1}}),
    "variables that only Python reads": given({"query": VIEWER, "variables": {"x": float("nan"), "y": "\ud800"}}),
    "extensions null": given({"query": VIEWER, "extensions": None}),
    "extensions of others": given({"query": VIEWER, "extensions": {"clientLibrary": {"name": "x"}}}),
    "a trace for nobody": given({"query": VIEWER, "extensions": {"trace": True}}),
    "operationName null": given({"query": VIEWER, "operationName": None}),
    "operationName empty": given({"query": VIEWER, "operationName": ""}),
    "one of two operations": given({"query": TWO, "operationName": "A"}),
    "what is nested deeply": given(
        b'{"query": "{ viewer { role } }", "variables": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}"
    ),
    "a long text": given({"query": VIEWER + " " * 64_000}),
    "as much as is read": given({"query": VIEWER, "x": "y" * (65_536 - len(ASKED) - len(', "x": ""'))}),
    "a length at the limit": given(ASKED, (b"content-length", b"65536")),
    "other credentials": given(ASKED, (b"authorization", b"Basic eHg6eXk=")),
    "no token": given(ASKED, (b"authorization", b"Bearer ")),
    "credentials that are none": given(ASKED, (b"authorization", b"\xff\xfe")),
    "an encoding that is none": given(ASKED, (b"content-encoding", b"Identity")),
}


@pytest.mark.parametrize("name", ANSWERED)
async def test_what_is_an_operation_is_answered(app: ASGIApp, name: str) -> None:
    sent = await answered(app, ANSWERED[name])

    assert sent.status == 200
    assert sent.body == b'{"data":{"viewer":null}}'
    assert sent.media_type == "application/json"


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json;charset=utf-8", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("multipart/mixed;subscriptionSpec=1.0, application/json", "application/json"),
        ("\xff\xfe,,;;=", "application/json"),
        (OWN, OWN),
        (OWN.upper() + " ; charset=utf-8", OWN),
        (OWN + ';charset="UTF-8"', OWN),
        ("application/json, " + OWN, OWN),
        (OWN + ", */*", OWN),
        (f"text/html, {OWN};q=0.9, application/json;q=0.8", OWN),
        (f"{OWN};q=0.5, application/*;q=0.4", OWN),
        (f"application/json,{OWN};q=0.001", "application/json"),
        (f"{OWN};q=0.8, application/json;q=0.9", "application/json"),
        (f"{OWN};q=0.8, */*", "application/json"),
        (f"{OWN};charset=iso-8859-1, application/json;q=0.1", "application/json"),
        (OWN + "; Q=0.000, */*", "application/json"),
        (f"application/json;q=0, {OWN};q=0.1", OWN),
        ("application/json;q=0, */*", OWN),
        (f'text/plain;a="{OWN}", application/json', "application/json"),
        (f'text/plain;a=",{OWN},", application/json', "application/json"),
    ],
)
async def test_graphqls_own_media_type_is_spoken_to_who_names_it(
    app: ASGIApp, accept: str | None, media_type: str
) -> None:
    headers = [] if accept is None else [(b"accept", accept.encode("latin-1"))]

    right = await answered(app, given({"query": VIEWER}, *headers))
    denied = await answered(app, given({"query": "{ records { nodes { id } } }"}, *headers))
    never_ran = [
        await answered(app, given(body, *headers))
        for body in (
            {"query": "{"},
            {"query": "{ nope }"},
            {"query": "subscription { nope }"},
            {"query": "query($id: ID!) { record(id: $id) { id } }", "variables": {"id": {}}},
        )
    ]

    assert (right.status, right.body) == (200, b'{"data":{"viewer":null}}')
    assert denied.status == 200
    assert json.loads(denied.body)["data"] == {"records": None}
    for sent in never_ran:
        assert sent.status == (400 if media_type == OWN else 200)
        assert [error["extensions"]["code"] for error in sent.errors] == ["INVALID_INPUT"]
    assert {sent.media_type for sent in (right, denied, *never_ran)} == {media_type}


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "text/event-stream",
        "application/graphql+json",
        "text/*, image/*",
        "x" + OWN,
        OWN + "x",
        OWN + ";q=0",
        "*/*;q=0",
        "application/json;charset=iso-8859-1",
        "application/json;q=0, application/*;q=0",
    ],
)
async def test_who_takes_neither_media_type_is_told_so_and_nothing_is_run(app: ASGIApp, accept: str) -> None:
    sent = await answered(app, given({"query": "{ nope }"}, (b"accept", accept.encode())))

    message = "Answers are application/graphql-response+json or application/json, and neither is accepted."
    assert sent.errors == [{"message": message, "extensions": {"code": "INVALID_INPUT"}}]
    assert (sent.status, sent.media_type) == (406, "application/json")


async def test_what_is_accepted_in_two_headers_is_taken_together(app: ASGIApp) -> None:
    sent = await answered(app, given(ASKED, (b"accept", b"text/html"), (b"accept", OWN.encode())))

    assert (sent.status, sent.media_type) == (200, OWN)


async def test_half_a_surrogate_pair_in_an_error_is_escaped(app: ASGIApp) -> None:
    text = await answered(app, given(b'{"query": "{ viewer { role } } \\ud800"}'))
    name = await answered(app, given(b'{"query": "{ viewer { role } }", "operationName": "\\ud800"}'))

    assert text.errors[0]["extensions"] == {"code": "INVALID_INPUT"}
    assert name.errors[0]["message"] == NO_NAME


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldward.web.limits, "BODY_TIMEOUT_S", 0.05)

    async def forever() -> None:
        await asyncio.Event().wait()

    sent = await answered(app, Request(before_body=forever))

    message = "The request took too long to arrive."
    assert sent.errors == [{"message": message, "extensions": {"code": "INVALID_INPUT"}}]
    assert sent.status == 408


async def test_a_body_that_comes_slowly_is_waited_for_only_so_long(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fieldward.web.limits, "BODY_TIMEOUT_S", 0.2)
    late = iter([0.0, 0.0, 1.0])

    async def delayed() -> None:
        await asyncio.sleep(next(late))

    sent = await answered(app, Request((ASKED[:3], ASKED[3:5], ASKED[5:]), before_body=delayed))

    assert sent.status == 408


async def test_a_body_that_comes_late_is_taken(app: ASGIApp) -> None:
    async def delayed() -> None:
        await asyncio.sleep(0.02)

    sent = await answered(app, Request((ASKED[:3], ASKED[3:]), before_body=delayed))

    assert (sent.status, sent.body) == (200, b'{"data":{"viewer":null}}')


@pytest.mark.parametrize("body", [(), (None,), (ASKED[:5], None)])
async def test_a_client_that_has_gone_is_not_answered(app: ASGIApp, body: Sequence[bytes | None]) -> None:
    assert await put(app, Request(body)) is None


async def test_every_answer_carries_the_same_headers(app: ASGIApp) -> None:
    kept = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (
            b"content-security-policy",
            b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox",
        ),
        (b"permissions-policy", NOTHING_OF_THE_MACHINE.encode()),
        (b"cache-control", b"no-store"),
    ]
    seen: set[str] = set()

    for request in (
        Request(),
        given(ASKED, (b"accept", OWN.encode())),
        given(b""),
        given(b" " * 65_537),
        Request(method="PUT"),
        Request(path="/nope"),
        Request(method="GET", path="/health/live"),
        Request(path="/health/live"),
    ):
        sent = await answered(app, request)
        own = [one for one in sent.headers if one[0] not in {b"allow", b"vary"}]
        assert (b"vary" in dict(sent.headers)) is (request.path == "/graphql")
        assert [name for name, _ in own[:3]] == [b"content-length", b"content-type", b"x-request-id"]
        assert own[3:] == kept
        seen.add(sent.header("x-request-id"))

    assert len(seen) == 8


@pytest.mark.parametrize("path", ["/graphql/", "/graphql/x", "/GraphQL", "//graphql", "/graphql\n", "/nope", ""])
async def test_another_address_is_none(app: ASGIApp, path: str) -> None:
    sent = await answered(app, Request(path=path))

    assert sent.status == 404
    assert sent.errors == [{"message": "Not Found", "extensions": {"code": "NOT_FOUND"}}]


@pytest.mark.parametrize("path", ["/health/live/", "/health/ready/", "/graphiql/", "/health", "/health/"])
async def test_nobody_is_led_to_the_host_that_they_name(app: ASGIApp, path: str) -> None:
    sent = await answered(app, Request((b"",), ((b"host", b"elsewhere.example"),), "GET", path))

    assert sent.status == 404
    assert b"location" not in dict(sent.headers)


async def test_a_method_that_an_address_does_not_know_is_refused(app: ASGIApp) -> None:
    sent = await answered(app, Request(path="/graphiql"))

    assert sent.status == 405
    assert sent.errors == [{"message": "Method Not Allowed", "extensions": {"code": "INVALID_INPUT"}}]
    assert set(sent.header("allow").split(", ")) == {"GET", "HEAD"}


@pytest.mark.parametrize("offered", [["graphql-ws"], ["soap"], []])
async def test_a_websocket_of_another_protocol_is_closed(offered: list[str], app: ASGIApp) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {**Request().scope(), "type": "websocket", "subprotocols": offered}
    await app(scope, receive, send)

    accepted, closed = sent
    assert accepted["type"] == "websocket.accept"
    assert accepted["subprotocol"] == ("graphql-ws" if "graphql-ws" in offered else None)
    assert (b"x-content-type-options", b"nosniff") in accepted["headers"]
    assert (closed["type"], closed["code"]) == ("websocket.close", 4406)


async def test_a_subscription_is_not_answered_over_http(world: World) -> None:
    answer = await (await world.client("manager")).run("subscription { changes { cursor } }")

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.body["data"] == {"changes": None}
    assert "WebSocket" in answer.errors[0]["message"]
