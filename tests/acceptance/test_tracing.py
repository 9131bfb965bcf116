"""Traces of a real server process, as a collector gets them: what they tell, and that they tell nothing of anybody."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from models.tracing import ATTRIBUTES
from tests.conftest import Template
from tests.support.canary import Canaries, Scan, forms
from tests.support.flow import Flow, flowing
from tests.support.otlp import Collector, Span, collecting
from tests.support.server import free_port
from tests.support.world import World, json_body

SERVER, CLIENT = 2, 3
AT_ONCE: dict[str, Any] = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
PAGE = "{ projects(first: 2) { nodes { code records(first: 2) { nodes { siteCode comment } } } } viewer { role } }"
CREATE = """
mutation Creating($input: CreateRecordInput!) { createRecord(input: $input) { record { id } errors { code message } } }
"""
# Names of what is called by names of ours.
NAME = re.compile(
    r"(GET|POST|PUT|_OTHER) (/[\w/{}.-]*|unknown)|query|mutation|subscription|none"
    r"|(Query|Mutation)\.\w+|(select|insert|update|delete|with|begin|commit|rollback|other)( [a-z_]+)?"
)
NAMED = {"PUT unknown", "GET /exports/{export}/{name}", "mutation"}
"""Spans that must have come before a scan for canaries means anything."""


@asynccontextmanager
async def traced(
    template: Template, world: World, directory: Path, **settings: str
) -> AsyncIterator[tuple[Flow, Collector]]:
    """Run a server process whose traces go to a collector."""
    with collecting() as collector:
        wanted: dict[str, Any] = {"FIELDWARD_OTLP_ENDPOINT": collector.url, **AT_ONCE, **settings}
        async with flowing(template, world, directory, **wanted) as flow:
            yield flow, collector


def _traceparent(*, flags: str = "01") -> tuple[str, str, str]:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace_id}-{span_id}-{flags}", trace_id, span_id


def _ended(spans: list[Span]) -> list[Span]:
    return [one for one in spans if one.kind == SERVER]


async def test_a_query_is_one_trace_from_the_request_down_to_its_statements(
    template: Template, world: World, tmp_path: Path
) -> None:
    async with traced(template, world, tmp_path) as (flow, collector):
        client = await flow.world.client("manager")
        given, trace_id, span_id = _traceparent()
        answer = await client.post(json_body({"query": PAGE}), traceparent=given)
        assert answer.data["viewer"]
        collector.until(lambda _: _ended(collector.of_trace(trace_id)))

        spans = collector.of_trace(trace_id)
        by_id = {one.span_id: one for one in spans}
        [request] = _ended(spans)
        [operation] = [one for one in spans if one.name == "query"]
        roots = {one.name: one for one in spans if one.name.startswith("Query.")}
        statements = [one for one in spans if one.kind == CLIENT]
        assert (request.name, request.parent_id) == ("POST /graphql", span_id)
        assert request.said["http.response.status_code"] == 200
        assert request.said["fieldward.request.id"] == answer.headers["x-request-id"]
        assert operation.parent_id == request.span_id
        assert operation.said["fieldward.operation.kind"] == "query"
        assert operation.said["fieldward.operation.errors"] == 0
        assert operation.said["fieldward.operation.cost"] > 0
        assert roots.keys() == {"Query.projects", "Query.viewer"}
        assert {one.parent_id for one in roots.values()} == {operation.span_id}
        assert {one.name for one in statements} >= {"select project", "select record"}
        below = {by_id[one.parent_id].name for one in statements if one.name.startswith("select record")}
        assert below == {"Query.projects"}
        assert answer.headers["traceresponse"] == f"00-{trace_id}-{request.span_id}-01"
        assert collector.paths == {"/v1/traces"}
        assert {one["service.name"] for one in collector.resources} == {"fieldward"}


async def test_the_trail_says_in_which_trace_something_was_done(
    template: Template, world: World, tmp_path: Path
) -> None:
    async with traced(template, world, tmp_path) as (flow, collector):
        since = await world.now()
        client = await flow.world.client("manager")
        answer = await client.run("{ viewer { role } }")
        [entry] = [one for one in await world.entries(since=since) if one["action"] == "session.sign_in"]
        shown = answer.headers["traceresponse"].split("-")[1]

        # What was asked before, to see whether the server is there, has ended too.
        collector.until(lambda spans: {shown, entry["trace_id"]} <= {one.trace_id for one in _ended(spans)})
        assert shown != entry["trace_id"]


async def test_no_canary_is_in_a_trace(template: Template, world: World, tmp_path: Path) -> None:
    canaries = Canaries()
    word = canaries.plant
    project = f"Project:{await world.project_id('CANAL')}"
    async with traced(template, world, tmp_path) as (flow, collector):
        owner, anonymous = await flow.world.client("owner"), flow.world.anonymous
        given = {
            "projectId": project,
            "siteCode": word("a plain column"),
            "collectedAt": "2026-03-01T10:00:00Z",
            "medium": "WATER",
            "comment": word("an encrypted column"),
            "collector": word("a person"),
        }
        made = await owner.run(CREATE.replace("Creating", word("an operation's name")), {"input": given})
        record = made.data["createRecord"]["record"]["id"]
        await owner.run(CREATE, {"input": {**given, "siteCode": word("a code that is too long") * 20}})
        alias, text = word("an alias"), word("an argument in the text")
        await owner.run(f'{{ {alias}: records(search: "{text}") {{ nodes {{ comment }} }} }} # {word("a comment")}')
        await owner.run(f'{{ record(id: "{record}") {{ comment {word("a field")} }} }}')
        await owner.run(
            "query($c: String!) { records(filter: {collector: {eq: $c}}) { totalCount } }", {"c": word("x")}
        )
        await owner.run("{ record(id: $id) { comment } }", {"id": word("an id")})
        await owner.post(word("a body").encode(), **{"user-agent": word("an agent"), "cookie": f"x={word('a cookie')}"})
        await anonymous.run(
            "mutation($input: SignInInput!) { signIn(input: $input) { errors { code } } }",
            {"input": {"email": f"{word('address')}@x.example", "password": word("password")}},
        )
        for method in ("GET", "PUT", word("a method").upper()):
            await flow.world.http.request(method, f"/{word('an address')}/{method}?{word('a query')}={word('a value')}")
        await flow.world.http.get(
            f"/exports/{word('an export')}/{word('a file')}",
            headers={
                "traceparent": word("no trace"),
                "tracestate": f"x={word('a state')}",
                "baggage": f"{word('y')}=1",
            },
        )
        await world.sql("alter table record rename column comment to gone")
        broken = await owner.run(f'{{ record(id: "{record}") {{ comment }} }}', {"unused": word("of what fails")})
        await world.sql("alter table record rename column gone to comment")
        assert broken.codes == ["INTERNAL"]
        collector.until(lambda spans: {one.name for one in spans} >= NAMED)

    assert len(canaries.planted) > 25
    scan = Scan({"canary": forms(canaries.marker)}, canaries)
    for number, body in enumerate(collector.bodies):
        scan.content(f"traces {number}", body)
    assert not scan.hits, scan.hits[:5]
    email = world.email("owner").encode()
    assert email not in b"".join(collector.bodies)
    for span in collector.spans:
        assert span.said.keys() <= ATTRIBUTES.keys()
        assert span.events == 0
        assert NAME.fullmatch(span.name), span.name
    assert {one.said["error.type"] for one in collector.spans if one.failed} >= {"UndefinedColumnError"}


async def test_what_a_client_says_of_recording_makes_nobody_record_more(
    template: Template, world: World, tmp_path: Path
) -> None:
    async with traced(template, world, tmp_path, FIELDWARD_TRACE_SHARE="0") as (flow, collector):
        client = await flow.world.client("manager")
        given, trace_id, _ = _traceparent()
        answer = await client.post(json_body({"query": PAGE}), traceparent=given)

        assert answer.data["viewer"]
        assert answer.headers["traceresponse"].startswith(f"00-{trace_id}-")
        assert answer.headers["traceresponse"].endswith("-00")
    assert collector.spans == []


async def test_a_trace_that_its_caller_does_not_record_is_not_recorded_here(
    template: Template, world: World, tmp_path: Path
) -> None:
    async with traced(template, world, tmp_path) as (flow, collector):
        client = await flow.world.client("manager")
        given, trace_id, _ = _traceparent(flags="00")
        await client.post(json_body({"query": PAGE}), traceparent=given)
        after, recorded, _ = _traceparent()
        await client.post(json_body({"query": PAGE}), traceparent=after)
        collector.until(lambda _: _ended(collector.of_trace(recorded)))

    assert collector.of_trace(trace_id) == []


async def test_where_nobody_wants_traces_nothing_is_traced(template: Template, world: World, tmp_path: Path) -> None:
    with collecting() as collector:
        async with flowing(template, world, tmp_path, **AT_ONCE) as flow:
            answer = await (await flow.world.client("manager")).run(PAGE)
    assert "traceresponse" not in answer.headers
    assert collector.bodies == []


async def test_the_variables_of_opentelemetry_are_known(template: Template, world: World, tmp_path: Path) -> None:
    with collecting() as collector:
        standard: dict[str, Any] = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.name=test",
        }
        async with flowing(template, world, tmp_path, **(standard | AT_ONCE)) as flow:
            await (await flow.world.client("manager")).run(PAGE)
    # What was not sent yet is sent at the end.
    assert {one.name for one in _ended(collector.spans)} >= {"POST /graphql"}
    assert {one["deployment.name"] for one in collector.resources} == {"test"}


async def test_a_collector_that_is_away_delays_nobody_and_its_address_is_in_no_log(
    template: Template, world: World, tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with flowing(template, world, tmp_path, **{"FIELDWARD_OTLP_ENDPOINT": away, **AT_ONCE}) as flow:
        client = await flow.world.client("manager")
        for _ in range(5):
            assert (await client.run(PAGE)).data["viewer"]
    assert world.email("manager") not in (tmp_path / "server-0.log").read_text()
