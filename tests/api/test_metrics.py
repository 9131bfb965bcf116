"""What a collector is told, and who is told that there is anything."""

from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from fieldward.database import Databases
from fieldward.web.app import build_app
from fieldward.web.metrics import exposed
from models.outside.place import FilePlace
from resolvers.incident_metric import figures
from resolvers.publication import HeadPublishing
from resolvers.trail_sealing import seal_everything
from schema.api import Api
from tests.conftest import Template
from tests.support.incident import SEALER, an_incident, judge_trails, refuse, seal_trails
from tests.support.sealing import always
from tests.support.world import World

TOKEN = "a token for the collector"


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
    assert "fieldward_publication_lag_seconds" in exposed(done).decode()
