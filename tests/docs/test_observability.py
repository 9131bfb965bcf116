"""Alert rules, dashboards and the page about them, held to what `/metrics` tells."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from fieldward.database import Databases
from fieldward.web.app import build_app
from models.incident import IncidentSeverity
from schema.api import Api
from tests.conftest import Template
from tests.support.programs import needs
from tests.support.promql import ITS_LABELS, OF_PROMETHEUS, asked_in, grouped_in, values_in
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
EXAMPLE = ALERTS.with_name("prometheus.example.yml")
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
PAGE = (ROOT / "docs" / "observability.md").read_text()
TOKEN = "a token for the collector"
Told = dict[str, dict[str, set[str]]]
# What these are of says nothing of the service's own.
UNLISTED = re.compile(r"(process|python)_.*|fieldward_.*_created")


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression, with where it stands."""
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"].replace("$instance", ".*")


@pytest.fixture
async def told(world: World, template: Template, api: Api) -> Told:
    """The labels of each sample, with their values, that a process tells of itself, and whose heads are published."""
    reached = Databases(main=world.service.dsn_parameters(), keystore=world.keystore.dsn_parameters())
    changed = {"metrics_token": SecretStr(TOKEN), "audit_publish_url": "file:///nowhere"}
    app = build_app(template.settings.model_copy(update=changed), reached, api=api, has_background=False)
    await world.sql(
        "insert into alarm_delivery (id, organization_id, created_at, incident_id, channel, state, count, attempts,"
        " next_attempt_at) select gen_random_uuid(), organization_id, now(), id, 'EMAIL', 'DELIVERED', 1, 2, now()"
        " from incident limit 1"
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fieldward.test") as client:
        await client.get("/nothing")
        answer = await client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    found: Told = {}
    for family in text_string_to_metric_families(answer.text):
        # Of some there is nothing yet, and their names are known all the same.
        for name in (family.name, f"{family.name}_total") if family.type == "counter" else (family.name,):
            found.setdefault(name, {})
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


async def test_every_metric_that_a_rule_or_a_dashboard_asks_for_is_told(told: Told) -> None:
    asked = [(place, name, labels) for place, text in expressions() for name, labels in asked_in(text)]

    assert len(asked) > 60
    assert {(place, name) for place, name, _ in asked if name not in told.keys() | OF_PROMETHEUS} == set()
    for place, name, labels in asked:
        # The channel and state of alarms are labels of what there is only where one was sent.
        known = told.get(name, {}).keys() | ITS_LABELS
        assert not told.get(name) or labels <= known, (place, name, labels - known)


async def test_every_value_that_is_compared_with_is_told(told: Told) -> None:
    (job,) = yaml.safe_load(EXAMPLE.read_text())["scrape_configs"]
    compared = [(place, *one) for place, text in expressions() for one in values_in(text)]
    ours = [one for one in compared if one[2] not in ITS_LABELS]

    assert len(ours) > 6
    for place, name, label, value in ours:
        assert value in told[name].get(label, ()), (place, name, label, value)
    assert told["fieldward_requests_total"]["status"] <= {"2xx", "3xx", "4xx", "5xx"}
    assert "`status` is `2xx` to `5xx`" in " ".join(PAGE.split())
    assert {value for _, _, label, value in compared if label == "job"} == {job["job_name"]}


def test_an_incident_wakes_somebody_from_high_on() -> None:
    """Severities stand in their order, and a rule may get a graver one."""
    severities = [*IncidentSeverity]
    grave = severities[severities.index(IncidentSeverity.HIGH) :]
    (rule,) = [one for one in rules() if one["alert"] == "FieldwardIncidentOpen"]

    assert [value for _, _, value in values_in(rule["expr"])] == grave
    assert rule["labels"]["severity"] == "page"


async def test_what_is_grouped_by_is_a_label_of_what_is_asked_for(told: Told) -> None:
    for place, text in expressions():
        labels = set().union(*(told.get(name, {}) for name, _ in asked_in(text)))
        if all(told.get(name) for name, _ in asked_in(text)):
            assert grouped_in(text) <= labels | ITS_LABELS, (place, grouped_in(text) - labels)


async def test_the_page_lists_every_metric_of_the_service(told: Told) -> None:
    listed = set(re.findall(r"^\| `(fieldward_\w+)`", PAGE, re.MULTILINE))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in told if not UNLISTED.fullmatch(name)}
    totals = {name for name in families if name.endswith("_total")}

    assert listed == families - {name.removesuffix("_total") for name in totals}


def test_every_alert_leads_to_what_to_do_about_it() -> None:
    headings = {line.lower().strip("# ").strip() for line in PAGE.splitlines() if line.startswith("#")}
    severities = {rule["labels"]["severity"] for rule in rules()}

    assert severities == {"page", "ticket"}
    for rule in rules():
        assert re.fullmatch(r"Fieldward[A-Z]\w+", rule["alert"])
        page, _, anchor = re.findall(r"docs/[\w.#/-]+", rule["annotations"]["description"])[0].partition("#")
        assert (ROOT / page).exists()
        assert not anchor or anchor == rule["alert"].lower()
        assert not anchor or anchor in headings, rule["alert"]


async def test_the_example_asks_as_production_answers(template: Template, api: Api) -> None:
    (job,) = yaml.safe_load(EXAMPLE.read_text())["scrape_configs"]
    changed = {"metrics_token": SecretStr(TOKEN), "mode": "production"}
    reached = Databases(main={}, keystore={})
    app = build_app(template.settings.model_copy(update=changed), reached, api=api, has_background=False)
    statuses = {}
    for scheme in ("http", job["scheme"]):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"{scheme}://fieldward.test") as one:
            answer = await one.get(
                job.get("metrics_path", "/metrics"),
                headers={"authorization": f"{job['authorization'].get('type', 'Bearer')} {TOKEN}"},
            )
            statuses[scheme] = answer.status_code

    assert statuses == {"http": 400, "https": 200}
    assert job["tls_config"]["server_name"]
    assert not job["tls_config"].get("insecure_skip_verify")
    assert [(EXAMPLE.parent / name).exists() for name in yaml.safe_load(EXAMPLE.read_text())["rule_files"]] == [True]


@needs("promtool")
@pytest.mark.parametrize(
    "command", [("rules", str(ALERTS)), ("config", "--syntax-only", str(EXAMPLE))], ids=lambda command: command[0]
)
def test_prometheus_itself_takes_the_files(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", "check", *command], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('sum by (kind) (rate(a_total{b="c{d}", e!="f"}[5m])) > 0.01 * b', {"a_total": {"b", "e"}, "b": set()}),
        ('time() - x{y=~"z"} > 600 and on (p) q offset 5m', {"x": {"y"}, "q": set()}),
        ("histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m])))", {"h_bucket": set()}),
    ],
)
def test_names_are_found_in_expressions(expression: str, metrics: dict[str, set[str]]) -> None:
    assert {name: set(labels) for name, labels in asked_in(expression)} == metrics


def test_values_are_found_in_expressions() -> None:
    found = values_in('sum(a{b="c{d}", e=~"f|g"}) / h{i!="j",k=~".*"} > l + m{}')

    assert [*found] == [("a", "b", "c{d}"), ("a", "e", "f"), ("a", "e", "g"), ("h", "i", "j")]
    with pytest.raises(ValueError, match="alternatives"):
        list(values_in('a{b=~"c.+"}'))
