"""What clients were promised: a change that breaks it fails, unless it is declared with a reason while it is one."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.node import run_node

SCHEMA: Final = Path(__file__).resolve().parents[2] / "schema"
CONTRACT: Final = (SCHEMA / "schema.graphql").read_text()
CHANGELOG: Final = (SCHEMA.parent / "CHANGELOG.md").read_text()
UNPROMISED: Final = (SCHEMA / "unpromised.txt").read_text().split()
MOST_UNPROMISED: Final = 100
"""Beyond that, the list is no list of what is being worked on: most of the API might break its clients unnoticed."""


def compared(tmp_path: Path, contract: str, declared: Sequence[dict[str, Any]] = ()) -> str:
    """Compare a contract with the committed one, with what is declared to break it; return what is told."""
    for name, text in (("promised", CONTRACT), ("contract", contract)):
        (tmp_path / f"{name}.graphql").write_text(text)
    (tmp_path / "declared.json").write_text(json.dumps(list(declared)))
    return run_node("contract.mjs", *(str(tmp_path / name) for name in NAMES))


NAMES: Final = ("promised.graphql", "contract.graphql", "declared.json")


def changed(pattern: str, replacement: str) -> str:
    """Return the contract with one thing changed."""
    text, count = re.subn(pattern, replacement, CONTRACT, count=1, flags=re.MULTILINE | re.DOTALL)
    assert count == 1
    return text


BREAKING: Final = {
    "FIELD_REMOVED Project.code": (r"(^type Project implements.*?)  code: String", r"\1  number: String"),
    "FIELD_TYPE_CHANGED Record.version": (r"(^type Record implements.*?)  version: Int!", r"\1  version: Int"),
    "ENUM_VALUE_REMOVED Medium.SOIL": (r"(^enum Medium .*?)  SOIL\n", r"\1  SOILS\n"),
    "INPUT_FIELD_TYPE_CHANGED TextFilter.startsWith": (r"  startsWith: String", "  startsWith: Int"),
    "GUARD_CHANGED Record.siteCode": (
        r"(^type Record implements.*?  siteCode: String @guard\(permission: )\"record:read\"",
        r'\1"record:read_personal"',
    ),
}


def test_the_committed_contract_breaks_nothing_that_is_not_declared() -> None:
    told = run_node(
        "contract.mjs", *(str(SCHEMA / one) for one in ("released.graphql", "schema.graphql", "breaking.json"))
    )

    for one in json.loads((SCHEMA / "breaking.json").read_text()):
        assert one["reason"] in told


def test_the_contract_as_promised_is_told_nothing_of(tmp_path: Path) -> None:
    assert compared(tmp_path, CONTRACT) == ""


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_clients_is_refused_unless_it_is_declared(tmp_path: Path, name: str) -> None:
    contract = changed(*BREAKING[name])
    kind, _, path = name.partition(" ")
    declared = {"type": kind, "path": path, "reason": "Nobody used it."}

    with pytest.raises(AssertionError, match=f"breaks clients and is not declared: {re.escape(name)}"):
        compared(tmp_path, contract)
    assert "Nobody used it." in compared(tmp_path, contract, [declared])
    with pytest.raises(AssertionError, match="declared without reason"):
        compared(tmp_path, contract, [{**declared, "reason": " "}])


def test_what_is_declared_and_breaks_nothing_is_refused(tmp_path: Path) -> None:
    stale = {"type": "FIELD_REMOVED", "path": "Project.code", "reason": "It went, and came back."}

    with pytest.raises(AssertionError, match=r"is declared and breaks nothing: FIELD_REMOVED Project\.code"):
        compared(tmp_path, CONTRACT, [stale])


def test_a_field_that_comes_with_its_guard_or_loses_one_breaks_nobody(tmp_path: Path) -> None:
    guarded = r'\1  weather: String @guard(permission: "record:read_confidential", otherwise: "NULL_AND_ERROR")\n'
    compared(tmp_path, changed(r"(^type Record implements[^\n]*\n)", guarded))
    compared(tmp_path, changed(r"(^type Record implements.*?  siteCode: String) @guard[^\n]*", r"\1"))


def test_what_clients_may_notice_is_told(tmp_path: Path) -> None:
    told = compared(tmp_path, changed(r"(^enum Medium .*?  SOIL\n)", r"\1  ROCK\n"))

    assert told == "may be noticed: Enum value 'ROCK' was added to enum 'Medium'\n"


def test_all_of_the_contract_is_promised_or_listed_as_not_promised_yet() -> None:
    run_node("added.mjs", *(str(SCHEMA / one) for one in ("released.graphql", "schema.graphql", "unpromised.txt")))

    assert len(UNPROMISED) <= MOST_UNPROMISED, "make promise: clients have come to rely on what was never promised"


def test_a_release_leaves_nothing_unpromised() -> None:
    first = re.split(r"^## ", CHANGELOG, flags=re.MULTILINE)[1]
    is_released = not first.startswith("[Unreleased]") or first.strip() == "[Unreleased]"

    assert not (is_released and UNPROMISED), "make promise: what is released is promised"


ADDED: Final = {
    "Weather": (r"^type Record implements", "type Weather {\n  wind: Float\n}\n\ntype Record implements"),
    "Record.weather": (r"(^type Record implements[^\n]*\n)", r"\1  weather: String\n"),
    "TextFilter.resembles": (r"(  startsWith: String)", r"\1\n  resembles: String"),
    "Medium.ROCK": (r"(^enum Medium .*?  SOIL\n)", r"\1  ROCK\n"),
    "Query.node(at:)": (r"(^type Query .*?^  node\()", r"\1at: Int, "),
}


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_and_not_listed_is_refused(tmp_path: Path, name: str) -> None:
    promised, contract, listed = (tmp_path / one for one in ("promised.graphql", "contract.graphql", "listed.txt"))
    promised.write_text(CONTRACT)
    contract.write_text(changed(*ADDED[name]))
    listed.write_text("")

    with pytest.raises(
        AssertionError, match=re.escape(f"is promised to nobody and not listed: {name}\nRun make schema")
    ):
        run_node("added.mjs", str(promised), str(contract), str(listed))
    listed.write_text(run_node("added.mjs", str(promised), str(contract)))
    assert run_node("added.mjs", str(promised), str(contract), str(listed)) == ""
    with pytest.raises(AssertionError, match=re.escape(f"is listed, and promised or not there: {name}")):
        run_node("added.mjs", str(promised), str(promised), str(listed))
