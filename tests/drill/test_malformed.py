"""A short round of the drill that asks what is wrong, and what its checks find."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from graphql import build_schema

from drills.error import DrillError
from drills.malformed import Asker, Malformed, Watch, malformed_under_watch
from drills.malformed_operation import Tried
from drills.malformed_variable import with_variables
from tests.support.server import ROOT

SEED = 3
REQUEST_ID = "01a21b50-51ca-7031-b2fe-abeea51cae7e"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_what_is_wrong_breaks_nothing_leaks_nothing_and_writes_nothing(directory: Path) -> None:
    found = malformed_under_watch(directory, 500, seed=SEED)

    assert found.asked >= 500
    assert found.broken > 200
    assert found.by_variables > 100
    assert found.live > 0
    assert found.codes["INVALID_INPUT"] > 200
    assert found.reached > found.reachable / 3
    assert found.written > 0
    assert found.opened > 0
    assert found.sealed > 0


def test_what_an_operation_gives_can_be_given_as_variables() -> None:
    contract = build_schema((ROOT / "schema" / "schema.graphql").read_text())
    text = (
        'mutation A { a: createProject(input: {code: 7, name: "N", odd: RED}) { project { record(id: "x") { id } } } }'
    )

    made, given = with_variables(contract, text)

    assert given == {"given0": {"code": 7, "name": "N", "odd": "RED"}}
    assert made.startswith("mutation A($given0: CreateProjectInput!) {")
    assert "createProject(input: $given0)" in made
    assert 'record(id: "x")' in made
    for other in ("{ viewer { role } }", "{ a(b: 1) }", "{ records(first: "):
        assert with_variables(contract, other) == (other, {})

    made, given = with_variables(contract, text, nulls=True)
    assert given == {"given0": None}
    assert made.startswith('mutation A($given0: CreateProjectInput = { code: 7, name: "N", odd: RED }) {')


def response(status: int, body: str) -> httpx.Response:
    """Return an answer of a server."""
    return httpx.Response(status, text=body, headers={"x-request-id": REQUEST_ID})


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (response(502, "{}"), "the server failed"),
        (response(200, '{"errors": [{"message": "Oh.", "extensions": {"code": "INTERNAL"}}]}'), "the server failed"),
        (response(200, '{"data": {"record": {"comment": "only-for-others"}}}'), "is in the answer"),
        (response(400, '{"errors": [{"message": "asyncpg.exceptions.DataError"}]}'), "is in the answer"),
        (response(200, "<html>"), "no JSON"),
    ],
    ids=["a failure", "a masked failure", "a leak", "an innard", "no answer"],
)
def test_the_drill_finds(answer: httpx.Response, found: str) -> None:
    watch = Watch(Malformed(SEED))

    with pytest.raises(DrillError, match=found):
        watch.look(Asker("somebody", None, ["only-for-others"]), "{ viewer { id } }", answer)


def test_an_answer_that_only_refuses_wrote_nothing() -> None:
    watch = Watch(Malformed(SEED))
    refused = '{"data": {"a": {"errors": [{"code": "CONFLICT"}]}, "b": null}, "errors": [{"message": "No."}]}'

    watch.look(Asker("somebody", None, []), "mutation { a { errors { code } } }", response(200, refused))
    watch.look(Asker("somebody", None, []), "mutation { a { ok } }", response(200, '{"data": {"a": {"ok": true}}}'))

    assert [str(one) for one in watch.refused] == [REQUEST_ID]
    assert watch.written == 1


def test_arguments_are_known_by_the_field_that_takes_them() -> None:
    tried = Tried(build_schema((ROOT / "schema" / "schema.graphql").read_text()))

    tried.note('{ records(first: 1, filter: {siteCode: {eq: "A"}}) { nodes { history(last: 1) { totalCount } } } }')

    assert tried.reached == {
        "Query.records(first)",
        "Query.records(filter)",
        "RecordFilter.siteCode",
        "TextFilter.eq",
        "Record.history(last)",
    }
    assert tried.reached <= tried.reachable
