"""Alert rules, held to series: Prometheus' own tool says when each of these would wake somebody."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import needs

ALERTS = Path(__file__).resolve().parents[2] / "deploy" / "prometheus" / "alerts.yml"
LONG_MIN = 30
NOT_YET_MIN = 5

pytestmark = needs("promtool")


def rule(alert: str) -> dict[str, Any]:
    """Return a rule by its alert."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    (found,) = [one for group in groups for one in group["rules"] if one.get("alert") == alert]
    return dict(found)


def held(tmp_path: Path, alert: str, series: Mapping[str, str], *expected: tuple[int, list[dict[str, str]]]) -> None:
    """Demand that at each of some minutes just these alerts are there, by their labels.

    series: of each the values, a minute apart, as promtool writes them: first, step and how many more.
    """
    declared = rule(alert)
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "alert_rule_test": [
                {
                    "eval_time": f"{minute}m",
                    "alertname": alert,
                    "exp_alerts": [
                        {"exp_labels": {**declared["labels"], **labels}, "exp_annotations": declared["annotations"]}
                        for labels in alerts
                    ],
                }
                for minute, alerts in expected
            ],
        }
    ]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))

    done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("first_call", "last_success", "is_told"),
    [
        pytest.param("30+0x60", "0+0x60", True, id="it hangs in its first call"),
        pytest.param("30+0x60", "90+0x60", True, id="it ended once, and not again"),
        pytest.param("30+0x60", "30+60x60", False, id="it ends each time"),
        pytest.param("0+0x60", "0+0x60", False, id="no process calls it"),
    ],
)
def test_a_job_that_does_not_end_is_told_beyond_its_time(
    tmp_path: Path, first_call: str, last_success: str, is_told: bool
) -> None:
    # Prometheus calls its own label so, and ours otherwise.
    labels = {"job": "fieldward", "background_job": "seal_trail", "instance": "one"}
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
    series = {
        f"fieldward_job_first_call_timestamp_seconds{{{shown}}}": first_call,
        f"fieldward_job_last_success_timestamp_seconds{{{shown}}}": last_success,
        f"fieldward_job_interval_seconds{{{shown}}}": "60+0x60",
    }

    held(
        tmp_path,
        "FieldwardJobStandsStill",
        series,
        (NOT_YET_MIN, []),
        (10, []),
        (LONG_MIN, [labels] if is_told else []),
    )


@pytest.mark.parametrize(
    ("severities", "is_told"),
    [(["LOW"], False), (["MEDIUM"], False), (["HIGH"], True), (["CRITICAL"], True), (["HIGH", "CRITICAL"], True)],
)
def test_an_open_incident_is_told_from_high_on(tmp_path: Path, severities: list[str], is_told: bool) -> None:
    """Of a rule that became graver there are incidents of both severities. The alert's own says that somebody wakes."""
    name = "fieldward_incidents_open"
    series = {f'{name}{{rule="failed_decryption",severity="{severity}"}}': "1+0x60" for severity in severities}

    held(tmp_path, "FieldwardIncidentOpen", series, (NOT_YET_MIN, [{"rule": "failed_decryption"}] if is_told else []))
