"""What a collector is told, and who is told that there is anything."""

import asyncio
import time
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from structlog.testing import capture_logs

from fieldward.background import Background
from fieldward.database import Databases
from fieldward.metric.incident import incident_metrics
from fieldward.web.app import build_app
from fieldward.web.metrics import exposed
from models.outside.place import FilePlace
from models.pool import Purpose, pool_for
from models.transaction import Tenant
from resolvers.incident_metric import figures
from resolvers.process_metric import pool_figures
from resolvers.publication import HeadPublishing
from resolvers.trail_sealing import seal_everything
from schema.api import Api
from tests.conftest import Template
from tests.support.incident import SEALER, an_incident, judge_trails, refuse, seal_trails
from tests.support.sealing import always
from tests.support.world import Client, World

TOKEN = "a token for the collector"
NO_CODE = {"code": "", "name": "Secret"}


@pytest.fixture
async def collector(world: World, template: Template, api: Api) -> httpx.AsyncClient:
    """A client of an application with a token for metrics."""
    reached = Databases(main=world.service.dsn_parameters(), keystore=world.keystore.dsn_parameters())
    settings = template.settings.model_copy(update={"metrics_token": SecretStr(TOKEN)})
    app = build_app(settings, reached, api=api, has_background=False)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test")


async def _read(collector: httpx.AsyncClient) -> dict[str, dict[tuple[str, ...], float]]:
    answer = await collector.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(answer.text)
    }


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN, "Bearer é"]
)
async def test_without_the_token_there_is_no_such_address(collector: httpx.AsyncClient, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    answer, unknown = [await collector.get(path, headers=headers) for path in ("/metrics", "/nothing")]  # type: ignore[arg-type]

    assert (answer.status_code, answer.text) == (404, unknown.text)


async def test_where_no_token_is_set_there_is_no_such_address(world: World) -> None:
    answer = await world.http.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == 404


async def test_incidents_are_counted_over_all_organizations(world: World, collector: httpx.AsyncClient) -> None:
    label = ("denials_from_address", "MEDIUM")
    before = await _read(collector)
    assert before["fieldward_incidents_opened"][label] == 0
    await an_incident(world, "clearwater")
    await an_incident(world, "suncoast")
    await world.sql("alter table incident disable trigger all")
    await world.sql(
        "update incident set status = 'CLOSED', closed_at = now() where id = (select id from incident limit 1)"
    )
    await world.sql("alter table incident enable trigger all")

    told = await _read(collector)

    assert told["fieldward_incidents_opened"][label] == 2
    assert told["fieldward_incidents_open"][label] == 1


async def test_sealing_that_waits_and_alarms_that_fail_are_told(world: World, collector: httpx.AsyncClient) -> None:
    incident = await an_incident(world)
    organization = await world.organization_id("clearwater")
    await world.sql(
        "insert into alarm_delivery (id, organization_id, created_at, incident_id, channel, state, count, attempts,"
        " next_attempt_at) values (gen_random_uuid(), $1, now(), $2, 'WEBHOOK', 'PENDING', 1, 3, now()),"
        " (gen_random_uuid(), $1, now(), $2, 'EMAIL', 'DELIVERED', 1, 2, now())",
        organization,
        incident,
    )
    await seal_trails()
    sealed = await _read(collector)
    await refuse(organization)
    told = await _read(collector)

    assert sealed["fieldward_sealing_lag_seconds"][()] == 0
    assert told["fieldward_sealing_lag_seconds"][()] > 0
    assert told["fieldward_judging_lag_seconds"][()] > 0
    assert "fieldward_publication_lag_seconds" not in told
    assert told["fieldward_alarm_delivery_failures"] == {("email",): 1, ("webhook",): 3}
    assert told["fieldward_alarm_deliveries"][("webhook", "pending")] == 1


async def test_heads_that_wait_to_be_judged_and_published_are_told(world: World, tmp_path: Path) -> None:
    organization = await world.organization_id("clearwater")
    await refuse(organization)
    await seal_trails()
    await seal_everything(SEALER)
    waiting = await figures(is_published=True)
    await judge_trails()
    await HeadPublishing(always, FilePlace(tmp_path)).step()
    done = await figures(is_published=True)

    assert waiting.judging_lag_s > 0
    assert waiting.publication_lag_s is not None
    assert waiting.publication_lag_s > 0
    assert (done.judging_lag_s, done.publication_lag_s) == (0, 0)
    assert "fieldward_publication_lag_seconds" in exposed(incident_metrics(done)).decode()


async def test_requests_are_told_by_their_address_kind_and_status_and_by_nothing_that_a_client_names(
    world: World, collector: httpx.AsyncClient
) -> None:
    client = await world.client("manager")
    here = Client(collector, client.token)
    before = await _read(collector)
    await here.run("query Ada { viewer { role } }")
    await here.run("mutation { signOut { errors { code } } nothing }")
    await here.run("mutation($i: CreateProjectInput!) { createProject(input: $i) { errors { code } } }", {"i": NO_CODE})
    await here.post(b"no json")
    await collector.get("/ada@acme.example/secret?token=secret")
    await collector.get(f"/exports/{UUID(int=7)}/secret.csv")
    await collector.request("PURGE", "/graphql")
    answer = await collector.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})

    after = await _read(collector)
    grown = {
        labels: after["fieldward_requests"][labels] - before["fieldward_requests"].get(labels, 0)
        for labels in after["fieldward_requests"]
        if "/metrics" not in labels
    }
    assert {labels: count for labels, count in grown.items() if count} == {
        ("query", "/graphql", "2xx"): 1,
        ("mutation", "/graphql", "2xx"): 1,
        ("none", "/graphql", "2xx"): 1,
        ("none", "/graphql", "4xx"): 2,
        ("none", "unknown", "4xx"): 1,
        ("none", "/exports/{export}/{name}", "4xx"): 1,
    }
    codes = {code: count - before["fieldward_errors"][code] for code, count in after["fieldward_errors"].items()}
    assert (codes[("INVALID_INPUT",)], codes[("FORBIDDEN",)]) == (3, 1)
    assert codes[("INTERNAL",)] == 0
    for word in ("ada", "secret", str(UUID(int=7)), "PURGE", "csv"):
        assert word not in answer.text.lower()
    assert after["fieldward_statements"][()] > before["fieldward_statements"][()]
    assert after["fieldward_requests_in_progress"][()] == 1


async def test_a_thousand_different_requests_make_no_series(world: World, collector: httpx.AsyncClient) -> None:
    async def series() -> int:
        told = await _read(collector)
        return sum(len(samples) for name, samples in told.items() if name.startswith("fieldward_"))

    here = Client(collector, (await world.client("manager")).token)
    await collector.get("/one")
    await here.run("{ viewer { role } }")
    await here.run("{ nothing }")
    await series()
    before = await series()
    for number in range(100):
        await collector.request(f"METHOD{number}", f"/{number}/{number}?{number}")
        await here.run(f"query Q{number} {{ a{number}: viewer {{ role }} }}")
        await here.run(f"query Q{number} {{ a{number} }}")

    assert await series() == before


async def test_a_part_that_can_not_tell_holds_up_no_other(world: World, collector: httpx.AsyncClient) -> None:
    await world.sql("alter function fieldward_incidents() rename to gone")
    with capture_logs() as logged:
        told = await _read(collector)
    await world.sql("alter function gone() rename to fieldward_incidents")

    assert told["fieldward_part_up"][("incidents",)] == 0
    assert {value for labels, value in told["fieldward_part_up"].items() if labels != ("incidents",)} == {1}
    assert "fieldward_incidents_open" not in told
    assert told["fieldward_pool_size"][("reading",)] > 0
    assert [(one["event"], one["part"]) for one in logged] == [("metrics_incomplete", "incidents")]


async def test_who_waits_for_a_connection_is_counted(world: World, collector: httpx.AsyncClient) -> None:
    pool = pool_for(Purpose.READING)
    seats = [await pool.take(Tenant()) for _ in range(pool.largest)]
    waiting = asyncio.create_task(pool.take(Tenant()))
    await asyncio.sleep(0.05)
    full = {one.name: one for one in pool_figures()}["reading"]
    for seat in seats:
        pool.give_back(seat)
    pool.give_back(await waiting)

    after = {one.name: one for one in pool_figures()}["reading"]
    assert (full.in_use, full.queue) == (pool.largest, 1)
    assert (after.in_use, after.queue) == (0, 0)
    assert after.waited_s >= 0.05
    assert after.waits >= 1


async def test_jobs_are_told_by_when_they_ended_and_how_often_they_raised(world: World) -> None:
    async def failing() -> bool:
        raise ValueError("secret")

    async def working() -> bool:
        return False

    background = Background(world.services.keyring, {"fails": failing, "works": working}, every_s=60)
    with capture_logs():
        async with background.running():
            await asyncio.sleep(0.05)
    figured = {one.name: one for one in background.figures}
    never = Background(world.services.keyring, {"works": working}).figures

    assert [one.began_at for one in never] == [0]
    assert figured["fails"].failures == figured["fails"].runs >= 1
    assert figured["fails"].succeeded_at == 0
    assert 0 < figured["fails"].began_at <= time.time()
    assert figured["works"].failures == 0
    assert abs(figured["works"].succeeded_at - time.time()) < 60
