"""How much an operation may ask for: each limit by the text that is one beyond it, enforced and only measured."""

import json
from typing import Any

import pytest
import structlog
from graphql import OperationDefinitionNode, parse
from starlette.types import ASGIApp
from structlog.processors import JSONRenderer
from structlog.testing import CapturingLogger

import schema.api
import schema.operation
from fieldward.database import Databases
from fieldward.settings import Settings
from fieldward.web.app import build_app
from schema.api import Api
from schema.connection import DEFAULT_PAGE
from schema.limits import WORTH_OF_COUNT, WORTH_OF_FEED, require_affordable
from schema.operation import LARGEST_KEPT
from schema.text import extent_of
from tests.conftest import Template
from tests.support.raw_request import Sent, answered, given
from tests.support.world import World, json_body

NESTED = "query($n: Int) { projects(first: $n) { nodes { records(first: $n) { nodes { id } } } } }"


def repeated(form: str, count: int) -> str:
    """Return a form so many times, each with its number."""
    return " ".join(form.format(number) for number in range(count))


BEYOND: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "tokens": ("{ " + "__typename " * 4000 + "}", {}, "tokens", 4000),
    "brackets": ("{ node(id: " + "[" * 60 + "]" * 60 + ") { id } }", {}, "levels of brackets", 60),
    "definitions": (
        "{ ...F0 } " + repeated("fragment F{0} on Query {{ __typename }}", 200),
        {},
        "operations and fragments",
        200,
    ),
    "depth": ("{ " + "records { nodes { project { " * 5 + "id" + " } } }" * 5 + " }", {}, "levels of fields", 15),
    "fields by fragments": (
        "{ ...A } fragment A on Query { ...B ...B ...B ...B } fragment B on Query { ...C ...C ...C ...C }"
        " fragment C on Query { viewer { " + "role " * 150 + "} }",
        {},
        "fields",
        2000,
    ),
    "aliases": ("{ viewer { " + repeated("a{0}: role", 101) + " } }", {}, "aliases", 100),
    "aliases by fragments": (
        "{ viewer { ...A ...A } } fragment A on Viewer { " + repeated("a{0}: role", 51) + " }",
        {},
        "aliases",
        100,
    ),
    "roots": ("{ " + "__typename " * 101 + "}", {}, "fields of its own", 100),
    "directives": ("{ viewer { role " + "@include(if: true) " * 201 + "} }", {}, "directives", 200),
    "values of a list": (
        "{ records(filter: {siteCode: {in: [" + '"a" ' * 1001 + "]}}) { nodes { id } } }",
        {},
        "",
        1000,
    ),
    "rows by a variable": (NESTED, {"n": 400}, "rows", 100_000),
    "rows in the text": (NESTED.replace("$n", "400", 3).replace("query(400: Int)", "query"), {}, "rows", 100_000),
    "values": (
        "{ projects(first: 50) { nodes { records(first: 1000) { nodes { " + "id " * 41 + "} } } } }",
        {},
        "values",
        2_000_000,
    ),
}


@pytest.fixture(scope="module")
def enforcing(template: Template, api: Api) -> ASGIApp:
    """The application as it is."""
    return build_app(template.settings, Databases(main={}, keystore={}), api=api)


@pytest.fixture(scope="module")
def measuring(template: Template, api: Api) -> ASGIApp:
    """The application that measures alone."""
    settings = template.settings.model_copy(update={"limits": "measure"})
    return build_app(settings, Databases(main={}, keystore={}), api=api)


async def asked(app: ASGIApp, text: str, variables: dict[str, Any] | None = None) -> Sent:
    """Ask an operation without a sign-in."""
    return await answered(app, given({"query": text, "variables": variables or {}}))


@pytest.mark.parametrize("name", BEYOND)
async def test_one_beyond_a_limit_is_refused_with_the_limit(world: World, name: str) -> None:
    text, variables, of, allowed = BEYOND[name]

    (error,) = (await (await world.client("viewer")).run(text, variables)).errors

    assert error["extensions"]["code"] == "TOO_COMPLEX"
    assert error["extensions"]["limit"] == {"of": of or "values in one list", "allowed": allowed}


async def test_who_is_not_signed_in_sends_less(world: World, enforcing: ASGIApp) -> None:
    listed = "{{ records(filter: {{siteCode: {{in: [{}]}}}}) {{ nodes {{ id }} }} }}"
    other = extent_of(listed.format("")).tokens
    at, beyond = (listed.format('"a" ' * (count - other)) for count in (1000, 1001))

    within, (refused,) = await asked(enforcing, at), (await asked(enforcing, beyond)).errors

    assert b'"UNAUTHENTICATED"' in within.body
    assert refused["extensions"]["code"] == "TOO_COMPLEX"
    assert refused["extensions"]["limit"] == {"of": "tokens", "allowed": 1000}
    assert (await (await world.client("viewer")).run(beyond)).errors == []


async def test_what_is_at_a_limit_is_run(enforcing: ASGIApp) -> None:
    for text in (
        "{ viewer { " + repeated("a{0}: role", 100) + " } }",
        "{ " + "__typename " * 100 + "}",
    ):
        assert b'"errors"' not in (await asked(enforcing, text)).body


async def test_what_is_only_measured_is_run_and_noted(measuring: ASGIApp, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{ viewer { " + repeated("a{0}: role", 101) + " } }"
    sink = CapturingLogger()
    monkeypatch.setattr(schema.api, "log", structlog.wrap_logger(sink, processors=[JSONRenderer()]))

    sent = await asked(measuring, text)

    assert sent.body == b'{"data":{"viewer":null}}'
    ((written,),) = (call.args for call in sink.calls)
    line = json.loads(written)
    assert line["event"] == "limits_exceeded"
    assert line["exceeded"] == {"aliases": 100}
    assert (line["aliases"], line["requested"], line["allowed"]) == (101, 1, 100_000)
    assert len(line["operation"]) == 64
    assert "role" not in str(line)


@pytest.mark.parametrize("name", ["tokens", "brackets", "definitions"])
async def test_what_protects_the_server_is_enforced_either_way(measuring: ASGIApp, name: str) -> None:
    text, variables, _, _ = BEYOND[name]

    (error,) = (await asked(measuring, text, variables)).errors

    assert error["extensions"]["code"] == "TOO_COMPLEX"


async def test_a_fragment_bomb_is_not_counted_to_its_end(measuring: ASGIApp) -> None:
    bomb = "{ ...F0 } " + " ".join(f"fragment F{one} on Query {{ ...F{one + 1} ...F{one + 1} }}" for one in range(60))
    bomb += " fragment F60 on Query { __typename }"

    (error,) = (await asked(measuring, bomb)).errors

    assert error["extensions"] == {"code": "TOO_COMPLEX", "limit": {"of": "fields", "allowed": 20_000}}


async def test_sign_ins_come_alone_even_where_limits_are_measured(measuring: ASGIApp) -> None:
    one = 'signIn(input: {email: "a@b.example", password: "x"}) { errors { code } }'

    (error,) = (await asked(measuring, f"mutation {{ a: {one} b: {one} }}")).errors

    assert error["extensions"]["code"] == "TOO_COMPLEX"


async def test_more_large_operations_than_may_wait_are_put_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await world.client("viewer")
    large = "{ viewer { role } } #" + "x" * LARGEST_KEPT
    monkeypatch.setattr(world.api.operations._large, "_most", 0)

    put_off = await client.run(large)
    small = await client.run("{ viewer { role } }")
    monkeypatch.undo()
    taken = await client.run(large)

    assert [one["extensions"] for one in put_off.errors] == [{"code": "RATE_LIMITED", "retryAfter": 1}]
    assert small.data["viewer"]["role"] == taken.data["viewer"]["role"] == "MEMBER"


async def test_what_was_measured_once_is_measured_again_where_sizes_differ(world: World) -> None:
    client = await world.client("viewer")

    answers = [await client.run(NESTED, {"n": n}, extensions={"cost": True}) for n in (10, 20, 10, 400)]

    costs = [one.body["extensions"]["cost"]["requested"] for one in answers[:3]]
    assert costs == [110, 420, 110]
    assert answers[3].codes == ["TOO_COMPLEX"]


COSTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "a page of one": ("{ records(first: 1) { nodes { id } } }", {}, 1),
    "a page of none": ("{ records(first: 0) { nodes { id } } }", {}, 1),
    "a number": ("{ records(first: 20) { totalCount nodes { id } } }", {}, 20 + 500),
    "numbers in a page": (
        "{ projects(first: 50) { nodes { records(first: 1) { totalCount } } } }",
        {},
        100 + 500 + 980,
    ),
    "a search": ('{ records(first: 20, search: "zz") { nodes { id } } }', {}, 20 + 5000),
    "a search by a variable": ("query($s: String) { records(search: $s) { nodes { id } } }", {"s": "zz"}, 50 + 5000),
    "a search by default": (
        'query($s: String = "zz") { records { nodes { id } } p: projects(search: $s) { nodes { id } } }',
        {},
        100 + 5000,
    ),
    "no search": ("query($s: String) { records(search: $s) { nodes { id } } }", {"s": None}, 50),
    "searches in a page": (
        "query($s: String) { projects(first: 3) { nodes { records(first: 1, search: $s) { totalCount } } } }",
        {"s": "zz"},
        6 + (500 + 40) + (5000 + 40),
    ),
    "a search of sites": ('{ sites(first: 20, search: "zz") { nodes { id } } }', {}, 20 + 5000),
    "searches of sites in a page": (
        "query($s: String) { projects(first: 3) { nodes { sites(first: 1, search: $s) { nodes { id } } } } }",
        {"s": "zz"},
        6 + (5000 + 40),
    ),
    "a number that is left out": (
        "query($n: Boolean!) { records(first: 20) { totalCount @include(if: $n) nodes { id } } }",
        {"n": False},
        20,
    ),
    "a number that is not": (
        "query($n: Boolean!) { records(first: 20) { totalCount @include(if: $n) nodes { id } } }",
        {"n": True},
        20 + 500,
    ),
    "a number that is left out by default": (
        "query($n: Boolean! = true) { records(first: 20) { totalCount @skip(if: $n) nodes { id } } }",
        {},
        20,
    ),
    "what is skipped in the text": (
        "{ records(first: 20) { nodes { id } } ... @skip(if: true) { projects(first: 900) { nodes { id } } } }",
        {},
        20,
    ),
    "a fragment that is left out": (
        "query($n: Boolean!) { records(first: 20) { nodes { id } } ...P @include(if: $n) }"
        " fragment P on Query { projects(first: 900) { nodes { id } } }",
        {"n": False},
        20,
    ),
    # They are read with their records, shown or not.
    "measurements that are left out": (
        "query($n: Boolean!) { records(first: 20) { nodes { id measurements @include(if: $n) { value } } } }",
        {"n": False},
        20 + 400,
    ),
    "measurements in what is left out": (
        "query($n: Boolean!) { records(first: 20) { nodes { id ...M @include(if: $n) } } }"
        " fragment M on Record { ... { measurements { value } } }",
        {"n": False},
        20 + 400,
    ),
    "nodes that are left out": (
        "query($n: Boolean!) { records(first: 20) { totalCount nodes @include(if: $n) { measurements { value } } } }",
        {"n": False},
        20 + 500 + 400,
    ),
    "a page in a page that is left out": (
        "query($n: Boolean!) { projects(first: 20) { nodes { id records(first: 9) @include(if: $n) { nodes {"
        " measurements { value } } } } } }",
        {"n": False},
        20,
    ),
    "included and skipped": (
        "query($n: Boolean!) { records(first: 20) { nodes { id } totalCount @include(if: $n) @skip(if: $n) } }",
        {"n": True},
        20,
    ),
    "a look at what changed": ("{ changes(first: 0) { cursor } }", {}, 501),
    "a look at what changed, with its page": ("{ changes { changes { id } } }", {}, 550),
    "two looks at what changed, in fragments": (
        "{ ...A ... on Query { b: changes(first: 10) { cursor } } }"
        " fragment A on Query { changes(first: 10) { cursor } }",
        {},
        1020,
    ),
    "a look at what changed that is skipped": (
        "query($n: Boolean!) { viewer { role } changes @include(if: $n) { cursor } }",
        {"n": False},
        1,
    ),
    # What an entry of the trail changed is a list like any other.
    "what entries changed": ("{ auditEntries(first: 2) { nodes { changes { entity } } } }", {}, 42),
    "what retention deletes": ("{ retentionPreview(kind: RECORD, days: 365) { due byProject { rows } } }", {}, 5000),
}


@pytest.mark.parametrize("name", COSTS)
async def test_what_reads_every_row_costs_for_that(world: World, name: str) -> None:
    text, variables, cost = COSTS[name]

    answer = await (await world.client("owner")).run(text, variables, extensions={"cost": True})

    assert answer.errors == []
    assert answer.body["extensions"]["cost"]["requested"] == cost


@pytest.mark.parametrize("asked_of_each", ["totalCount", "nodes {{ id }}"])
async def test_many_that_read_every_row_are_refused_together(world: World, asked_of_each: str) -> None:
    each = f'a{{0}}: records(first: 1, search: "zz") {{{{ {asked_of_each} }}}}'

    (error,) = (await (await world.client("owner")).run(f"{{ {repeated(each, 100)} }}")).errors

    assert error["extensions"]["limit"] == {"of": "rows", "allowed": 100_000}


def test_what_changed_costs_a_subscription_as_it_does_a_query() -> None:
    costs = []
    for kind in ("query", "subscription"):
        document = parse(f"{kind} {{ changes {{ cursor changes {{ id }} }} }}")
        [operation] = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
        costs.append(require_affordable(document, operation, {}).requested)

    assert costs == [WORTH_OF_FEED + DEFAULT_PAGE] * 2


async def test_whether_words_are_searched_is_looked_at_each_time(world: World) -> None:
    client = await world.client("owner")
    text = "query Searched($s: String) { records(first: 10, search: $s) { nodes { id } } }"

    answers = [await client.run(text, {"s": one}, extensions={"cost": True}) for one in ("weir", None, "canal")]

    assert [one.body["extensions"]["cost"]["requested"] for one in answers] == [5010, 10, 5010]


def test_a_page_with_its_number_or_of_changes_for_each_request_stays_within_the_quota() -> None:
    quota = {name: one.default for name, one in Settings.model_fields.items() if name.startswith("rate_limit_")}

    for worth in (WORTH_OF_COUNT, WORTH_OF_FEED):
        assert quota["rate_limit_requests"] * (worth + DEFAULT_PAGE) < quota["rate_limit_cost"]


async def test_what_variables_leave_out_is_measured_again_where_they_differ(world: World) -> None:
    client = await world.client("viewer")
    query = "query($n: Boolean!) { records(first: 20) { totalCount @include(if: $n) nodes { id } } }"

    answers = [await client.run(query, {"n": n}, extensions={"cost": True}) for n in (True, False, True)]

    assert [one.body["extensions"]["cost"]["requested"] for one in answers] == [520, 20, 520]


async def test_what_is_beyond_a_limit_is_refused_where_it_is_run_alone(world: World) -> None:
    client = await world.client("viewer")
    wide = "projects(first: 1000) { nodes { records(first: 1000) { nodes { id } } } }"
    query = f"query($n: Boolean!) {{ viewer {{ role }} ... @include(if: $n) {{ {wide} }} }}"

    assert (await client.run(query, {"n": False})).errors == []
    assert (await client.run(query, {"n": True})).codes == ["TOO_COMPLEX"]
    # What can't be said yes or no to leaves nothing out.
    assert (await client.run(query, {"n": "no"})).body.get("data") is None


async def test_lists_that_are_read_though_left_out_are_refused_where_they_are_too_much(world: World) -> None:
    client = await world.client("viewer")
    query = (
        "{ projects(first: 50) { nodes { records(first: 1000) { nodes {"
        " id measurements @include(if: false) { value } } } } } }"
    )

    assert (await client.run(query)).codes == ["TOO_COMPLEX"]


@pytest.mark.parametrize("place", ["records(first: {0})", "a: records(last: -{0})", "nodes(ids: {0})"])
async def test_a_number_of_thousands_of_digits_is_refused_like_any_other(world: World, place: str) -> None:
    text = f"{{ {place.format('9' * 5000)} {{ __typename }} }}"

    for client in (world.anonymous, await world.client("viewer")):
        answer = await client.run(text)

        assert answer.status in (200, 400), answer.text
        assert set(answer.codes) <= {"INVALID_INPUT", "TOO_COMPLEX", "UNAUTHENTICATED"}


async def test_operations_of_a_document_may_have_variables_of_one_name_and_of_other_types(world: World) -> None:
    client = await world.client("viewer")
    text = (
        "query A($x: Boolean!) { viewer { role @include(if: $x) } }"
        " query B($x: RecordFilter) { records(filter: $x, first: 3) { nodes { id } } }"
        " query C($x: Int) { records(first: $x) { nodes { id } } }"
        " query D($x: [ID!]!) { nodes(ids: $x) { __typename } }"
    )
    answers = [
        await client.post(json_body({"query": text, "operationName": name, "variables": {"x": value}}))
        for name, value in (("A", True), ("B", {"siteCode": {"eq": "A"}}), ("C", 2), ("D", ["Record:1"]), ("A", False))
    ]

    assert [one.status for one in answers] == [200] * 5
    assert [one.body.get("data") is not None for one in answers] == [True, True, True, False, True]


async def test_what_is_no_size_leaves_no_measure_behind_for_what_is_left_out(world: World) -> None:
    client = await world.client("viewer")
    text = "query($n: Int = 900) { projects(first: $n) { nodes { records(first: $n) { nodes { id } } } } }"

    assert (await client.run(text, {"n": {"a": 1}})).codes != []
    assert (await client.run(text, {"n": [1]})).codes != []
    assert (await client.run(text, {"n": "1"})).codes != []
    assert (await client.run(text)).codes == ["TOO_COMPLEX"]
