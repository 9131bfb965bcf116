"""What is no operation, or more than is read: refused in one form, whoever sends it, and nothing of it is left."""

from dataclasses import replace

import pytest
from starlette.types import ASGIApp

from schema.transport import MOST_VALUES
from tests.support.raw_request import (
    ASKED,
    JSON,
    OWN,
    VIEWER,
    Request,
    answered,
    given,
    open_transactions,
    typed,
)
from tests.support.world import World

ASKED_IN = b"query=%7Bviewer%7Brole%7D%7D"
TWO = "query A { viewer { role } } query B { __typename }"

NO_JSON = "The request's body is no JSON that can be read."
NO_OBJECT = "Expected the request's body to be a JSON object."
NO_TYPE = "Unsupported content type"
NO_QUERY = "No GraphQL query found in the request"
NO_BATCH = "Expected one operation: batches are not taken. Send them side by side."
NO_ENCODING = "Expected a body that is not compressed."
NO_ID = "Expected documentId to be sha256: and 64 hexadecimal digits."
NO_HASH = "Expected persistedQuery to have the version 1, and a sha256Hash of 64 digits."
NOT_NAMED = "The text is not the document that is named: its SHA-256 is another."
NOT_ONE = "Expected operationName: the text has 2 operations."
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
    "two operations and no name": (given({"query": TWO}), 400, NOT_ONE),
    "two operations and an empty name": (given({"query": TWO, "operationName": ""}), 400, NOT_ONE),
    "GET of two operations and an empty name": (
        Request((b"",), (), "GET", query_string=b"operationName=&query=query+A%7B__typename%7Dquery+B%7B__typename%7D"),
        400,
        NOT_ONE,
    ),
    "GET with a cookie": (Request((b"",), ((b"cookie", b"x=y"),), "GET", query_string=ASKED_IN), 405, NO_COOKIE),
    "GET of nothing": (Request((b"",), (), "GET"), 400, NO_QUERY),
    "GET with a body": (Request(method="GET"), 400, NO_QUERY),
    "GET of two queries": (Request((b"",), (), "GET", query_string=ASKED_IN + b"&" + ASKED_IN), 400, TWICE),
    "GET of broken UTF-8": (Request((b"",), (), "GET", query_string=b"query=%ff"), 400, NO_ADDRESS),
    "GET with variables that are no JSON": (
        Request((b"",), (), "GET", query_string=ASKED_IN + b"&variables=%7B"),
        400,
        "The parameter variables is no JSON that can be read.",
    ),
    "GET with extensions that are no JSON": (
        Request((b"",), (), "GET", query_string=ASKED_IN + b"&extensions=x"),
        400,
        "The parameter extensions is no JSON that can be read.",
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


async def test_who_was_looked_up_for_nothing_is_left_behind(world: World, app: ASGIApp) -> None:
    token = (b"authorization", f"Bearer {(await world.client('manager')).token}".encode())

    for request, _, message in REFUSED.values():
        sent = await answered(app, replace(request, headers=(*request.headers, token)))
        assert sent.errors[0]["message"] == message
        assert await open_transactions(world) == 0


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
