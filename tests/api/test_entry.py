"""How and when an entry says that something was done: the trace of its request, and the device's clock beside ours."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from schema.api import build_api
from tests.support.mutation import Stage, mutate, prepare, takes
from tests.support.world import Answer, Client, World

TRACE = "0af7651916cd43dd8448eb211c80319c"
GOOD = f"00-{TRACE}-b7ad6b7169203331-01"
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When it was done, by the clock of a device that had no network then."""

# By mutation of a record: who does it, and its input without the time.
CASES: dict[str, tuple[str, Callable[[Stage], dict[str, Any]]]] = {
    "createRecord": (
        "collector",
        lambda stage: {
            "projectId": stage.project,
            "siteCode": "W-9",
            "collectedAt": "2026-01-02T03:04:05Z",
            "medium": "WATER",
        },
    ),
    "updateRecord": ("collector", lambda stage: {"id": stage.draft, "expectedVersion": 1, "siteCode": "W-10"}),
    "submitRecord": ("collector", lambda stage: {"id": stage.draft, "expectedVersion": 1}),
    "approveRecord": ("reviewer", lambda stage: {"id": stage.submitted, "expectedVersion": 2}),
    "rejectRecord": ("reviewer", lambda stage: {"id": stage.submitted, "expectedVersion": 2, "reason": "Odd."}),
    "deleteRecord": ("manager", lambda stage: {"id": stage.draft, "expectedVersion": 1, "reason": "Twice."}),
}


class Traced(Client):
    """A client whose requests are part of a trace. `traces`: the headers that it sends."""

    def __init__(self, client: Client, *traces: str) -> None:
        super().__init__(client.http, client.token, password=client.password)
        self.traces = traces

    async def post(self, content: bytes, **headers: str) -> Answer:
        """Send a body, with each of the traces in a header of its own."""
        sent = [("content-type", "application/json"), ("authorization", f"Bearer {self.token}"), *headers.items()]
        sent += [("traceparent", one) for one in self.traces]
        response = await self.http.post("/graphql", content=content, headers=sent)
        return Answer(response.status_code, response.text, response.json(), response.headers)


async def test_what_is_done_tried_and_read_in_a_trace_says_which(world: World) -> None:
    stage = await prepare(world)
    collector, auditor = Traced(await world.client("collector"), GOOD), await world.client("auditor")
    since = await world.now()

    await mutate(collector, "updateRecord", {"id": stage.draft, "expectedVersion": 1, "siteCode": "W-2"})
    await mutate(collector, "deleteRecord", {"id": stage.draft, "expectedVersion": 2, "reason": "Twice."})
    await collector.run("query($id: ID!) { record(id: $id) { comment } }", {"id": stage.draft})

    entries = await world.entries(since=since, kinds=["CHANGE", "ATTEMPT", "READ"])
    assert {one["kind"] for one in entries} == {"CHANGE", "ATTEMPT", "READ"}
    assert {one["trace_id"] for one in entries} == {TRACE}
    shown = await auditor.run(
        '{ auditEntries(first: 1, filter: {action: {eq: "record.update"}}) { nodes { traceId } } }'
    )
    assert shown.data["auditEntries"]["nodes"] == [{"traceId": TRACE}]


@pytest.mark.parametrize(
    "traces",
    [[], [""], ["no trace"], [GOOD.upper()], [f"{GOOD}; zqk"], [GOOD, GOOD], [GOOD, GOOD.replace("0af", "1af")]],
)
async def test_what_is_no_trace_is_dropped_and_the_request_is_served(world: World, traces: list[str]) -> None:
    stage = await prepare(world)
    since = await world.now()

    answer = await mutate(
        Traced(await world.client("collector"), *traces),
        "updateRecord",
        {"id": stage.draft, "expectedVersion": 1, "siteCode": "W-2"},
    )

    assert answer.data["updateRecord"]["errors"] == []
    assert [one["trace_id"] for one in await world.entries(since=since)] == [None]


def test_every_mutation_of_records_takes_the_devices_time() -> None:
    core = build_api()._schema
    assert core.mutation_type is not None
    assert {name for name in core.mutation_type.fields if takes(name, "doneAt")} == set(CASES)
    assert set(CASES) == {name for name in core.mutation_type.fields if name.endswith("Record")}


@pytest.mark.parametrize("name", CASES)
async def test_what_is_sent_late_keeps_the_devices_time_beside_ours(world: World, name: str) -> None:
    who, given = CASES[name]
    stage, client = await prepare(world), await world.client(who)
    since = await world.now()

    answer = await mutate(client, name, {**given(stage), "doneAt": THEN.isoformat()})

    assert answer.data[name]["errors"] == []
    (entry,) = await world.entries(since=since)
    assert (entry["kind"], entry["device_at"]) == ("CHANGE", THEN)
    assert since < entry["at"] < await world.now()


async def test_both_times_are_shown_to_the_auditor_and_ours_says_the_order(world: World) -> None:
    stage, collector, auditor = await prepare(world), await world.client("collector"), await world.client("auditor")
    for version, done_at in ((1, THEN), (2, THEN - timedelta(days=1)), (3, None)):
        given = {"id": stage.draft, "expectedVersion": version, "siteCode": f"W-{version}"}
        sent = {**given, "doneAt": done_at.isoformat()} if done_at is not None else given
        assert (await mutate(collector, "updateRecord", sent)).data["updateRecord"]["errors"] == []

    answer = await auditor.run(
        '{ auditEntries(first: 3, filter: {action: {eq: "record.update"}}) { nodes { at deviceAt } } }'
    )

    nodes = answer.data["auditEntries"]["nodes"]
    assert [one["deviceAt"] for one in nodes] == [None, (THEN - timedelta(days=1)).isoformat(), THEN.isoformat()]
    assert [one["at"] for one in nodes] == sorted((one["at"] for one in nodes), reverse=True)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "said",
    [
        lambda now: now + timedelta(days=1, minutes=1),
        lambda _: datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        lambda _: datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        lambda _: datetime(1, 1, 2, tzinfo=UTC),
    ],
    ids=["more than a day ahead", "the end of time", "before any device", "the beginning of time"],
)
async def test_a_time_that_no_clock_shows_is_refused(
    world: World, name: str, said: Callable[[datetime], datetime]
) -> None:
    who, given = CASES[name]
    stage, client = await prepare(world), await world.client(who)
    since, before = await world.now(), await world.fingerprint()
    wrong = said(since)

    answer = await mutate(client, name, {**given(stage), "doneAt": wrong.isoformat()})

    assert [(one["code"], one["field"]) for one in answer.data[name]["errors"]] == [
        ("INVALID_INPUT", ["input", "doneAt"])
    ]
    assert await world.fingerprint() == before
    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"], one["device_at"]) for one in entries] == [("ATTEMPT", "FAILED", None)]


async def test_what_was_refused_keeps_the_devices_time_too(world: World) -> None:
    stage, viewer = await prepare(world), await world.client("viewer")
    since = await world.now()

    await mutate(viewer, "submitRecord", {"id": stage.draft, "expectedVersion": 1, "doneAt": THEN.isoformat()})

    entries = await world.entries(since=since)
    assert [(one["kind"], one["outcome"], one["device_at"]) for one in entries] == [("ATTEMPT", "DENIED", THEN)]


@pytest.mark.parametrize("wrong", ["zqk", "2026-01-02T03:04:05", 5, {"at": "zqk"}])
async def test_what_is_no_time_is_refused_without_being_quoted(world: World, wrong: Any) -> None:
    stage, client = await prepare(world), await world.client("collector")

    answer = await mutate(client, "submitRecord", {"id": stage.draft, "expectedVersion": 1, "doneAt": wrong})

    assert answer.codes == ["INVALID_INPUT"]
    assert answer.errors[0]["extensions"]["field"] == ["input", "doneAt"]
    assert "zqk" not in answer.text


@pytest.mark.parametrize(
    "said", [lambda now: now + timedelta(hours=23), lambda _: datetime(2000, 1, 1, tzinfo=UTC)], ids=["ahead", "behind"]
)
async def test_a_clock_may_be_wrong_by_a_day_or_reset(world: World, said: Callable[[datetime], datetime]) -> None:
    stage, client = await prepare(world), await world.client("collector")
    since = await world.now()
    done_at = said(since)

    answer = await mutate(
        client, "submitRecord", {"id": stage.draft, "expectedVersion": 1, "doneAt": done_at.isoformat()}
    )

    assert answer.data["submitRecord"]["errors"] == []
    assert [one["device_at"] for one in await world.entries(since=since)] == [done_at]


async def test_a_record_keeps_when_it_was_collected_and_when_it_was_received(world: World) -> None:
    stage, client = await prepare(world), await world.client("collector")
    times = "record { id collectedAt receivedAt createdAt }"
    given = {**CASES["createRecord"][1](stage), "doneAt": THEN.isoformat()}
    since = await world.now()

    made = (await mutate(client, "createRecord", given, times)).data["createRecord"]["record"]
    at = (await world.entries(since=since))[0]["at"]
    moved = {"id": made["id"], "expectedVersion": 1, "collectedAt": "2026-01-01T00:00:00Z"}
    after = (await mutate(client, "updateRecord", moved, times)).data["updateRecord"]["record"]

    assert (made["collectedAt"], made["receivedAt"], made["createdAt"]) == (
        THEN.isoformat(),
        at.isoformat(),
        at.isoformat(),
    )
    assert after == {**made, "collectedAt": "2026-01-01T00:00:00+00:00"}
    changed = await world.value(
        "select columns -> 'collected_at' ->> 0 from change where entity_id = $1 and operation = 'UPDATE'",
        UUID(made["id"].partition(":")[2]),
    )
    assert datetime.fromisoformat(changed) == THEN
