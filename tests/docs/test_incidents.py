"""What `docs/incidents.md` says of the rules, held to the code."""

from pathlib import Path

from fieldward.settings import Settings
from resolvers.incident_rule import DEFAULTS, RULES, Rule

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
PAGE = (DOCS / "incidents.md").read_text()


def rule_line(rule: Rule) -> str:
    """Return what the page says of a rule."""
    found_at = "each one"
    if rule.threshold is not None:
        setting = f"`FIELDWARD_INCIDENT_{rule.threshold.upper()}`"
        found_at = f"{setting}, {rule.limit(DEFAULTS):,}"
    if rule.window is not None:
        found_at += f" in {int(rule.window.total_seconds()) // 60} minutes"
    return f"| `{rule.name}` | {rule.severity} | {rule.looks_for} | {rule.whom} | {found_at} |"


def test_each_rule_is_on_the_page_as_it_is_declared() -> None:
    section = PAGE.partition("\n## Rules\n")[2].partition("\n## ")[0]

    assert [line for line in section.splitlines() if line.startswith("| `")] == [rule_line(one) for one in RULES]


def test_each_threshold_is_a_setting() -> None:
    named = {one.threshold for one in RULES if one.threshold is not None}

    assert {f"incident_{one}" for one in named} <= set(Settings.model_fields)
    assert Settings().thresholds == DEFAULTS
