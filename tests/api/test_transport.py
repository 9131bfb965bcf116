"""How requests come in and answers go out, for every odd one: what is no operation is refused in one form."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest
import structlog
from starlette.types import ASGIApp, Message, Scope
from structlog.processors import JSONRenderer
from structlog.testing import CapturingLogger

import fieldward.web.failure
import fieldward.web.limits
from fieldward.database import Databases
from fieldward.logs import describe_exception
from fieldward.web.app import build_app
from models.row import Row
from schema.api import Api
from schema.context import RequestContext
from schema.transport import MOST_VALUES
from tests.conftest import Template
from tests.support.world import World, connect, json_body

OWN = "application/graphql-response+json"
VIEWER = "{ viewer { role } }"
ASKED = json_body({"query": VIEWER})
ASKED_IN = b"query=%7Bviewer%7Brole%7D%7D"
TWO = "query A { viewer { role } } query B { __typename }"
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Sent:
    """What the application sent: status, headers in their order, and the body."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    @property
    def media_type(self) -> str:
        """The body's media type."""
        return self.header("content-type")

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The errors; fails where there is anything beside them."""
        shown = json.loads(self.body)
        assert list(shown) == ["errors"]
        errors: list[dict[str, Any]] = shown["errors"]
        return errors

    def header(self, name: str) -> str:
        """Return the one value of a header."""
        (value,) = (value for key, value in self.headers if key == name.encode())
        return value.decode()


@dataclass(frozen=True)
class Request:
    """A request as it is put to the application.

    body: in the pieces that it comes in. None stands for a client that goes away.
    """

    body: Sequence[bytes | None] = (ASKED,)
    headers: Sequence[tuple[bytes, bytes]] = (JSON,)
    method: str = "POST"
    path: str = "/graphql"
    query_string: bytes = b""
    before_body: Callable[[], Awaitable[None]] | None = None

    def scope(self) -> Scope:
        """Return what a server makes of it."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query_string,
            "root_path": "",
            "headers": list(self.headers),
            "client": ("127.0.0.1", 4711),
            "server": ("fieldward.test", 80),
            "state": {},
        }


def given(body: Any, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request with a JSON body."""
    return Request((body if isinstance(body, bytes) else json_body(body),), (JSON, *headers))


def typed(*content_types: str, body: bytes = ASKED) -> Request:
    """Return a request whose body is said to be of these types."""
    return Request((body,), [(b"content-type", one.encode("latin-1")) for one in content_types])


async def put(app: ASGIApp, request: Request) -> Sent | None:
    """Put a request to the application, and return what it sent; None where it sent nothing."""
    pieces = list(request.body)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        if request.before_body is not None:
            await request.before_body()
        if not pieces or pieces[0] is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(request.scope(), receive, send)
    if not sent:
        return None
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [one["type"] for one in rest] == ["http.response.body"] * len(rest)
    assert not rest[-1].get("more_body", False)
    return Sent(start["status"], list(start["headers"]), b"".join(one.get("body", b"") for one in rest))


async def answered(app: ASGIApp, request: Request) -> Sent:
    """Put a request that gets an answer."""
    sent = await put(app, request)
    assert sent is not None
    assert int(sent.header("content-length")) == len(sent.body)
    return sent


@pytest.fixture(scope="module")
def app(template: Template, api: Api) -> ASGIApp:
    """The application without its databases: what is asked of it here needs none."""
    return build_app(template.settings, Databases(main={}, keystore={}), api=api)


NO_JSON = "The request's body is no JSON that can be read."
NO_OBJECT = "Expected the request's body to be a JSON object."
NO_TYPE = "Unsupported content type"
NO_QUERY = "No GraphQL query found in the request"
NO_BATCH = "Expected one operation: batches are not taken. Send them side by side."
NO_ENCODING = "Expected a body that is not compressed."
NO_ID = "Expected documentId to be sha256: and 64 hexadecimal digits."
NO_HASH = "Expected persistedQuery to have the version 1, and a sha256Hash of 64 digits."
NOT_NAMED = "The text is not the document that is named: its SHA-256 is another."
NO_NAME = "Expected operationName to be a name of at most 200 letters."
NO_POST = "GraphQL is spoken here by POST, or by GET."
NO_COOKIE = "With a cookie, GraphQL is spoken here by POST alone."
NO_CHANGE = "Expected a query: anything else is sent by POST."
NO_ADDRESS = "The address has no query that can be read."
TWICE = "Expected each parameter once."
NOT_OF_TYPE = "The GraphQL operation's `{}` must be {} or null, if provided."
NO_TEXT = NOT_OF_TYPE.format("query", "a string")
NO_VARIABLES = NOT_OF_TYPE.format("variables", "an object")
NO_EXTENSIONS = NOT_OF_TYPE.format("extensions", "an object")
LIMIT = "Expected a request of at most 65536 bytes."


REFUSED: dict[str, tuple[Request, int, str]] = {
    "no content type": (Request(headers=()), 415, NO_TYPE),
    "an empty content type": (typed(""), 415, NO_TYPE),
    "a content type of semicolons": (typed(";;;"), 415, NO_TYPE),
    "a content type that is none": (typed("\xff\xfe"), 415, NO_TYPE),
    "a content type that nearly is": (typed("\xffapplication/json"), 415, NO_TYPE),
    "plain text": (typed("text/plain"), 415, NO_TYPE),
    "plain text with JSON as a parameter": (typed("text/plain; x=application/json"), 415, NO_TYPE),
    "plain text beside JSON": (typed("text/plain, application/json"), 415, NO_TYPE),
    "JSON beside plain text": (typed("application/json, text/plain"), 415, NO_TYPE),
    "plain text, then JSON": (typed("text/plain", "application/json"), 415, NO_TYPE),
    "a type that ends as JSON": (typed("text/application/json"), 415, NO_TYPE),
    "a type that begins as JSON": (typed("application/jsonx"), 415, NO_TYPE),
    "a patch": (typed("application/json-patch+json"), 415, NO_TYPE),
    "GraphQL's type of answers": (typed(OWN), 415, NO_TYPE),
    "another type of GraphQL": (typed("application/graphql+json"), 415, NO_TYPE),
    "the text alone": (typed("application/graphql", body=VIEWER.encode()), 415, NO_TYPE),
    "a form": (typed("application/x-www-form-urlencoded", body=b"query=%7Bviewer%7Brole%7D%7D"), 415, NO_TYPE),
    "a form of parts": (
        typed(
            "multipart/form-data; boundary=x",
            body=b'--x\r\ncontent-disposition: form-data; name="operations"\r\n\r\n{}\r\n--x--\r\n',
        ),
        415,
        NO_TYPE,
    ),
    "nothing": (given(b""), 400, NO_JSON),
    "an address with a query and no body": (
        Request((b"",), query_string=b"query=%7Bviewer%7Brole%7D%7D"),
        400,
        NO_JSON,
    ),
    "blanks": (given(b"  "), 400, NO_JSON),
    "half an object": (given(b"{"), 400, NO_JSON),
    "an object and more": (given(ASKED + b"x"), 400, NO_JSON),
    "broken UTF-8": (given(b'{"query": "\xff"}'), 400, NO_JSON),
    "Latin-1": (given('{"query": "{ viewer { role } } # ü"}'.encode("latin-1")), 400, NO_JSON),
    "what is nested too deeply": (
        given(b'{"query": "{ viewer { role } }", "variables": {"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}"),
        400,
        NO_JSON,
    ),
    "a number too long": (
        given(b'{"query": "{ viewer { role } }", "variables": {"a": ' + b"9" * 5_000 + b"}}"),
        400,
        NO_JSON,
    ),
    "something compressed": (
        Request((b"\x1f\x8b\x08\x00",), (JSON, (b"content-encoding", b"gzip"))),
        415,
        NO_ENCODING,
    ),
    "what is said to be compressed": (given(ASKED, (b"content-encoding", b"br")), 415, NO_ENCODING),
    "an empty list": (given([]), 400, NO_BATCH),
    "a batch": (given([{"query": VIEWER}, {"query": VIEWER}]), 400, NO_BATCH),
    "a number": (given(7), 400, NO_OBJECT),
    "null": (given(None), 400, NO_OBJECT),
    "true": (given(True), 400, NO_OBJECT),
    "a string": (given("x"), 400, NO_OBJECT),
    "no query": (given({}), 400, NO_QUERY),
    "no query, for GraphQL's own media type": (given({}, (b"accept", OWN.encode())), 400, NO_QUERY),
    "query null": (given({"query": None}), 400, NO_QUERY),
    "an empty query": (given({"query": ""}), 400, NO_QUERY),
    "a document's name that is none": (given({"documentId": "x"}), 400, NO_ID),
    "a document's name of another kind": (given({"documentId": "md5:" + "0" * 64}), 400, NO_ID),
    "a document's name that is a number": (given({"documentId": 7}), 400, NO_ID),
    "a text that is not what is named": (given({"query": VIEWER, "documentId": "0" * 64}), 400, NOT_NAMED),
    "a persisted query of another kind": (
        given({"extensions": {"persistedQuery": {"version": 2, "sha256Hash": "0" * 64}}}),
        400,
        NO_HASH,
    ),
    "a persisted query without a hash": (given({"extensions": {"persistedQuery": {"version": 1}}}), 400, NO_HASH),
    "a persisted query that is a text": (given({"extensions": {"persistedQuery": "x"}}), 400, NO_HASH),
    "a persisted text that is another": (
        given({"query": VIEWER, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}}),
        400,
        NOT_NAMED,
    ),
    "query a number": (given({"query": 7}), 400, NO_TEXT),
    "query false": (given({"query": False}), 400, NO_TEXT),
    "query a list": (given({"query": [VIEWER]}), 400, NO_TEXT),
    "query an object": (given({"query": {}}), 400, NO_TEXT),
    "variables a list": (given({"query": VIEWER, "variables": []}), 400, NO_VARIABLES),
    "variables a number": (given({"query": VIEWER, "variables": 7}), 400, NO_VARIABLES),
    "variables false": (given({"query": VIEWER, "variables": False}), 400, NO_VARIABLES),
    "variables a text": (given({"query": VIEWER, "variables": "{}"}), 400, NO_VARIABLES),
    "extensions a list": (given({"query": VIEWER, "extensions": []}), 400, NO_EXTENSIONS),
    "extensions a number": (given({"query": VIEWER, "extensions": 7}), 400, NO_EXTENSIONS),
    "extensions a text": (given({"query": VIEWER, "extensions": "x"}), 400, NO_EXTENSIONS),
    "operationName a number": (given({"query": VIEWER, "operationName": 7}), 400, NO_NAME),
    "operationName a list": (given({"query": VIEWER, "operationName": []}), 400, NO_NAME),
    "operationName too long": (given({"query": VIEWER, "operationName": "x" * 201}), 400, NO_NAME),
    "operationName of other letters": (given({"query": VIEWER, "operationName": "ü"}), 400, NO_NAME),
    "an unknown operation": (
        given({"query": VIEWER, "operationName": "X"}),
        400,
        'Unknown operation named "X".',
    ),
    "an unknown operation, for GraphQL's own media type": (
        given({"query": VIEWER, "operationName": "X"}, (b"accept", OWN.encode())),
        400,
        'Unknown operation named "X".',
    ),
    "an empty name": (given({"query": VIEWER, "operationName": ""}), 400, 'Unknown operation named "".'),
    "two operations and no name": (given({"query": TWO}), 400, "Can't get GraphQL operation type"),
    "GET with a cookie": (Request((b"",), ((b"cookie", b"x=y"),), "GET", query_string=ASKED_IN), 405, NO_COOKIE),
    "GET of nothing": (Request((b"",), (), "GET"), 400, NO_QUERY),
    "GET with a body": (Request(method="GET"), 400, NO_QUERY),
    "GET of two queries": (Request((b"",), (), "GET", query_string=ASKED_IN + b"&" + ASKED_IN), 400, TWICE),
    "GET of broken UTF-8": (Request((b"",), (), "GET", query_string=b"query=%ff"), 400, NO_ADDRESS),
    "GET with variables that are no JSON": (
        Request((b"",), (), "GET", query_string=ASKED_IN + b"&variables=%7B"),
        400,
        NO_JSON,
    ),
    "GET with a list of variables": (
        Request((b"",), (), "GET", query_string=ASKED_IN + b"&variables=%5B%5D"),
        400,
        NO_VARIABLES,
    ),
    "a mutation by GET": (
        Request((b"",), (), "GET", query_string=b"query=mutation%7BsignOut%7Berrors%7Bcode%7D%7D%7D"),
        405,
        NO_CHANGE,
    ),
    "one mutation of two operations by GET": (
        Request(
            (b"",),
            (),
            "GET",
            query_string=b"operationName=A&query=query+B%7B__typename%7D+mutation+A%7BsignOut%7Berrors%7Bcode%7D%7D%7D",
        ),
        405,
        NO_CHANGE,
    ),
    "HEAD": (Request((b"",), (), "HEAD"), 405, NO_POST),
    "OPTIONS": (Request((b"",), (), "OPTIONS"), 405, NO_POST),
    "PUT": (Request(method="PUT"), 405, NO_POST),
    "PATCH": (Request(method="PATCH"), 405, NO_POST),
    "DELETE": (Request(method="DELETE"), 405, NO_POST),
    "QUERY": (Request(method="QUERY"), 405, NO_POST),
    "PUT of more than is read": (Request((b" " * 70_000,), method="PUT"), 405, NO_POST),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_no_operation_is_refused_in_json_with_a_code(app: ASGIApp, name: str) -> None:
    request, status, message = REFUSED[name]

    sent = await answered(app, request)

    assert sent.errors == [{"message": message, "extensions": {"code": "INVALID_INPUT"}}]
    assert sent.status == status
    assert sent.media_type == "application/json"
    is_get = request.method == "GET"
    allowed = [value for key, value in sent.headers if key == b"allow"]
    assert allowed == ([b"POST" if is_get else b"GET, POST"] if status == 405 else [])


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


@pytest.mark.parametrize(
    "request_",
    [
        given(b" " * 65_537),
        Request((b" " * 40_000, b" " * 40_000, None)),
        given(ASKED, (b"content-length", b"65537")),
        given(ASKED, (b"content-length", b"9" * 5_000)),
        given(ASKED, (b"content-length", b"")),
        given(ASKED, (b"content-length", b"-1")),
        given(ASKED, (b"content-length", b"+5")),
        given(ASKED, (b"content-length", "²".encode("latin-1"))),
        given(b" " * 65_537, (b"authorization", b"Bearer x.y.z")),
    ],
)
async def test_more_than_is_read_is_refused(app: ASGIApp, request_: Request) -> None:
    sent = await answered(app, request_)

    assert sent.errors == [{"message": LIMIT, "extensions": {"code": "INVALID_INPUT", "field": ["body"]}}]
    assert (sent.status, sent.media_type) == (413, "application/json")


async def test_who_is_signed_in_may_bring_more_but_no_longer_text(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())

    data = await answered(app, Request((ASKED[:-1], b', "x": "', b"y" * 200_000, b'"}'), (JSON, token)))
    text = await answered(app, given({"query": VIEWER + " " * 65_536}, token))
    most = 16 * 1024 * 1024
    too_much = await answered(app, given(ASKED, token, (b"content-length", str(most + 1).encode())))

    assert (data.status, data.body) == (200, b'{"data":{"viewer":{"role":"MEMBER"}}}')
    assert text.status == 413
    assert text.errors[0]["message"] == "Expected an operation of at most 65536 characters."
    assert too_much.status == 413
    assert too_much.errors[0]["message"] == f"Expected a request of at most {most} bytes."


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1", b"NaN"])
async def test_a_body_of_more_values_than_are_made_at_once_is_not_parsed(
    world: World, app: ASGIApp, value: bytes
) -> None:
    token = (b"authorization", f"Bearer {(await world.client('viewer')).token}".encode())
    body = ASKED[:-1] + b', "variables": {"x": [' + (value + b",") * MOST_VALUES + value + b"]}}"

    sent = await answered(app, given(body, token))

    message = f"Expected a body of at most {MOST_VALUES} values."
    assert sent.errors == [{"message": message, "extensions": {"code": "INVALID_INPUT"}}]
    assert (sent.status, sent.media_type) == (413, "application/json")


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
    assert accepted == {"type": "websocket.accept", "subprotocol": "graphql-ws" if "graphql-ws" in offered else None}
    assert (closed["type"], closed["code"]) == ("websocket.close", 4406)


async def test_a_subscription_is_not_answered_over_http(world: World) -> None:
    answer = await (await world.client("manager")).run("subscription { changes { cursor } }")

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.body["data"] == {"changes": None}
    assert "WebSocket" in answer.errors[0]["message"]


async def test_nobody_is_looked_up_before_all_of_the_request_is_there(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    held, reached = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await held.wait()

    running = asyncio.create_task(put(app, Request((ASKED[:5], ASKED[5:]), (JSON, token), before_body=hold)))
    await reached.wait()
    await asyncio.sleep(0.05)
    assert await _open_transactions(world) == 0
    await world.sql("alter table session disable trigger all")
    await world.sql("update session set revoked_at = now() where revoked_at is null")
    held.set()
    sent = await running

    assert sent is not None
    assert json.loads(sent.body)["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}


async def test_who_was_looked_up_for_nothing_is_left_behind(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())

    for request, _, message in REFUSED.values():
        sent = await answered(app, replace(request, headers=(*request.headers, token)))
        assert sent.errors[0]["message"] == message
        assert await _open_transactions(world) == 0


async def test_a_request_that_is_broken_off_leaves_nothing_open(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    request = given({"query": "{ records { nodes { id } } }"}, token)
    connection = await connect(world.superuser)
    try:
        async with connection.transaction():
            await connection.execute("lock table record")
            running = asyncio.create_task(put(app, request))
            async with asyncio.timeout(5):
                while not await world.value("select count(*) from pg_locks where not granted"):
                    continue
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        await connection.close()

    assert await _open_transactions(world) == 0
    assert (await answered(app, request)).status == 200


async def test_what_was_read_waits_for_no_collector(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    texts = (
        "{ records(first: 20) { totalCount nodes { id comment collector device { model } measurements { value } } } }",
        "{ projects { nodes { code records(first: 2) { nodes { id project { name } } } } } }",
        f'mutation {{ createRecord(input: {{projectId: "{await world.project_id("CANAL")}", siteCode: "W-1",'
        ' collectedAt: "2026-01-02T03:04:05Z", medium: WATER}) { record { id } errors { code } } }',
    )

    for text in texts:
        assert "errors" not in json.loads((await answered(app, given({"query": text}, token))).body)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for text in texts:
            await answered(app, given({"query": text}, token))
        gc.collect()
        left = [one for one in gc.garbage if isinstance(one, RequestContext | Row)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()

    assert left == []


async def test_who_may_not_look_as_another_is_told_so(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())

    for body in (ASKED, b"{"):
        sent = await answered(app, given(body, token, (b"fieldward-run-as", b"role:VIEWER")))
        assert (sent.status, sent.media_type) == (403, "application/json")
        missing = {"code": "FORBIDDEN", "permission": "access:run_as", "scope": "ORGANIZATION"}
        assert [error["extensions"] for error in sent.errors] == [missing]
        assert await _open_transactions(world) == 0


async def test_what_nobody_expected_is_masked(world: World, app: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    sink = CapturingLogger()
    logger = structlog.wrap_logger(sink, processors=[describe_exception, JSONRenderer()])
    monkeypatch.setattr(fieldward.web.failure, "log", logger)
    await world.sql("alter table session rename to elsewhere")

    sent = await answered(app, given(ASKED, token))

    request_id = sent.header("x-request-id")
    assert sent.status == 500
    assert sent.errors == [
        {
            "message": "Something went wrong on the server. Ask its operator, naming the request id.",
            "extensions": {"code": "INTERNAL", "requestId": request_id},
        }
    ]
    ((line,),) = (call.args for call in sink.calls)
    logged = json.loads(line)
    assert logged["request_id"] == request_id
    assert logged["error"] == "asyncpg.exceptions.UndefinedTableError"
    assert "elsewhere" not in line
    assert await _open_transactions(world) == 0


async def test_a_database_that_is_away_is_said_to_be(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())
    name = await world.value("select current_database()")
    await world.sql(f"alter database {name} connection limit 0")
    await world.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await asyncio.sleep(0.1)  # Until the pools have noticed.

    sent = await answered(app, given(ASKED, token))

    assert (sent.status, sent.media_type) == (503, "application/json")
    assert [error["extensions"] for error in sent.errors] == [{"code": "UNAVAILABLE"}]


async def _open_transactions(world: World) -> int:
    """Return how many transactions the service has open and keeps open: nobody waits for those that are ending."""
    found = 0
    for _ in range(100):
        found = await world.value(
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null"
        )
        if not found:
            break
        await asyncio.sleep(0.02)
    return found
