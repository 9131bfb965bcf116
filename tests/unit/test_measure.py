"""The measures are declared once, and what they name is there."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from fieldward.cli.measure_page import measure_page
from fieldward.measure import MEASURES, Measure
from tests.docs.test_architecture import FUNCTION, names_in

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PROMISED: Final = frozenset(
    {
        *("encryption-in-transit", "encryption-at-rest", "pseudonymization", "least-privilege", "tenant-isolation"),
        *("termination", "passwords", "devices", "transaction-log", "incidents", "change-tracking", "hardening"),
        *("minimization", "quality", "retention", "accountability", "portability", "erasure", "failover", "restore"),
        "regular-testing",
    }
)
"""What an annex on security promises, by key."""


def test_every_promise_of_the_annex_is_a_measure_and_each_is_there_once() -> None:
    keys = [one.key for one in MEASURES]

    assert set(keys) == PROMISED
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.key)
def test_a_measure_says_what_makes_it_true_what_proves_it_and_what_the_operator_does(measure: Measure) -> None:
    named = FUNCTION.findall(measure.made_true)

    assert measure.promise.endswith(".")
    assert measure.operator.endswith(".")
    assert named, "no place in the code is named"
    for file, name in named:
        assert name in names_in(ROOT / file), f"{file}: {name}"
    for setting in re.findall(r"`FIELDWARD_(\w+)`", measure.operator + measure.made_true):
        assert f"| `FIELDWARD_{setting}` " in (ROOT / "README.md").read_text(), setting


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.key)
def test_what_proves_a_measure_is_a_file_with_tests_that_are_run(measure: Measure) -> None:
    assert measure.proved_by
    for place in measure.proved_by:
        tree = ast.parse((ROOT / place).read_text())
        tests = [
            one
            for one in ast.walk(tree)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_")
        ]
        assert tests, place


def test_the_page_is_what_is_declared() -> None:
    assert (ROOT / "docs" / "security" / "measures.md").read_text() == measure_page()
