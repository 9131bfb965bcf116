"""GraphQL over HTTP as others understand it: the audits of npm graphql-http, against a real server."""

import gzip
import json
from collections import Counter

import httpx
import pytest

from tests.support.node import run_node
from tests.support.server import Server

AUDITS = 61
OWN = "application/graphql-response+json"
INTROSPECTION = "{ __schema { types { name description fields { name description } } } }"


def test_every_audit_of_graphql_http_is_kept(server: Server) -> None:
    lines = run_node("audits.mjs", f"{server.url}/graphql").splitlines()

    audits = [json.loads(line) for line in lines]
    assert [one for one in audits if one["status"] != "ok"] == []
    assert Counter(one["status"] for one in audits) == {"ok": AUDITS}
    assert len({one["id"] for one in audits}) == AUDITS


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "QUERY"])
def test_another_method_runs_nothing(server: Server, method: str) -> None:
    answer = httpx.request(method, f"{server.url}/graphql", params={"query": "{ __typename }"})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert "data" not in answer.text


@pytest.mark.parametrize("cookie", ["__Host-fieldward=x", "theme=dark", ""])
def test_no_link_makes_a_browser_run_an_operation_for_who_is_signed_in(server: Server, cookie: str) -> None:
    answer = httpx.get(f"{server.url}/graphql", params={"query": "{ __typename }"}, headers={"cookie": cookie})

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "data" not in answer.text


@pytest.mark.parametrize(
    ("accepted", "is_zipped"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.5, *;q=0.1", True),
        ("*", True),
        ("x-gzip", True),
        ("identity;q=0.5, gzip;q=1.0", True),
        ("GZIP ; Q=0.3", True),
        ("", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity;q=1", False),
        ("gzip;q=nonsense", False),
        ("agzip", False),
    ],
)
def test_an_answer_is_compressed_for_who_takes_that(server: Server, accepted: str, is_zipped: bool) -> None:
    request = {"json": {"query": INTROSPECTION}, "headers": {"accept-encoding": accepted}}
    plain = httpx.post(f"{server.url}/graphql", json=request["json"], headers={"accept-encoding": "identity"})

    with httpx.stream("POST", f"{server.url}/graphql", **request) as answer:  # type: ignore[arg-type]  # (httpx's own words)
        raw = b"".join(answer.iter_raw())

    assert answer.headers.get("content-encoding") == ("gzip" if is_zipped else None)
    assert int(answer.headers["content-length"]) == len(raw)
    assert "accept-encoding" in answer.headers["vary"]
    assert answer.headers["cache-control"] == "no-store"
    assert (gzip.decompress(raw) if is_zipped else raw) == plain.content
    assert (len(raw) < len(plain.content) / 2) is is_zipped


def test_the_same_answer_has_another_length_each_time(server: Server) -> None:
    asked = {"json": {"query": INTROSPECTION}, "headers": {"accept-encoding": "gzip"}}

    lengths = {
        httpx.post(f"{server.url}/graphql", **asked).headers["content-length"]  # type: ignore[arg-type]  # (as above)
        for _ in range(12)
    }

    assert len(lengths) > 1


def test_what_may_hold_a_secret_is_not_compressed(server: Server) -> None:
    email, password = server.sign_ins["owner"]
    document = (
        "mutation($input: SignInInput!) { "
        + " ".join(f"{name}: signIn(input: $input) {{ accessToken errors {{ message }} }}" for name in ("a",))
        + " }"
    )
    variables = {"input": {"email": email, "password": password, "delivery": "TOKENS"}}

    answer = httpx.post(
        f"{server.url}/graphql",
        json={"query": document, "variables": variables},
        headers={"accept-encoding": "gzip", "accept": OWN},
    )

    assert answer.json()["data"]["a"]["errors"] == []
    assert "content-encoding" not in answer.headers


def test_what_came_compressed_is_refused_with_what_is_taken(server: Server) -> None:
    body = gzip.compress(json.dumps({"query": "{ __typename }"}).encode())

    answer = httpx.post(
        f"{server.url}/graphql",
        content=body,
        headers={"content-type": "application/json", "content-encoding": "gzip"},
    )

    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert answer.json()["errors"][0]["extensions"]["code"] == "INVALID_INPUT"
