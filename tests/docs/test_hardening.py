"""What `docs/security/hardening.md` says, held to the code."""

import re
from pathlib import Path

import pytest

from fieldward.check.rule import RULES
from fieldward.check.setting import FEWEST_BITS
from fieldward.cli.checking import rule_table
from fieldward.settings import Settings
from fieldward.web.admission import Admission
from fieldward.web.header import security_headers
from fieldward.web.limits import BODY_TIMEOUT_S, MOST_HELD
from fieldward.web.protocol import ARRIVAL_S, MOST_CONNECTIONS
from models.waiting import CROWDED_AFTER_S

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "security" / "hardening.md").read_text()


def test_the_table_of_rules_is_that_of_the_code() -> None:
    between = re.search(r"<!-- rules: begin -->\n(.*?)\n<!-- rules: end -->", PAGE, re.DOTALL)

    assert between is not None
    assert between[1] == rule_table()


def test_every_rule_is_about_a_control_of_one_of_the_standards() -> None:
    assert [name for name, rule in RULES.items() if not rule.asvs and not rule.cis] == []
    assert 'where a standard has no such control, there is a "–"' in PAGE


def test_every_rule_is_provoked_in_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    # Those take libraries that no test installs.
    assert {name for name in RULES if f'"{name}"' not in tests} <= {"extension-reaches-out"}


def test_every_header_is_on_the_page() -> None:
    for name, _ in security_headers(is_production=True):
        assert f"`{name.decode().title()}`" in PAGE, name


@pytest.mark.parametrize(
    "said",
    [
        f"wider than /{FEWEST_BITS[4]}, or /{FEWEST_BITS[6]} of IPv6",
        f"{MOST_CONNECTIONS:,}",
        f"| {ARRIVAL_S:.0f} and {BODY_TIMEOUT_S} |",
        f"{MOST_HELD // 1024**2} MiB",
        f"{CROWDED_AFTER_S:.0f} second",
        *(f"FIELDWARD_{name.upper()}" for name in ("operation_timeout_s", "requests_at_once", "concurrency", "mode")),
    ],
)
def test_a_bound_is_on_the_page(said: str) -> None:
    assert said in PAGE
    assert Admission(Settings().requests_at_once).most == Settings().requests_at_once
