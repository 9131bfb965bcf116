"""The review against ASVS: every requirement once, with evidence that is there; what is not kept is said."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from schema.api import build_api
from tests.docs.test_architecture import FUNCTION, names_in

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "security" / "asvs.md"

SECTIONS: Final = {
    "6.1": "122",
    "6.2": "111111112222",
    "6.3": "11223333",
    "6.4": "112233",
    "6.5": "22222333",
    "6.6": "2223",
    "6.7": "33",
    "6.8": "2222",
    "7.1": "222",
    "7.2": "1111",
    "7.3": "22",
    "7.4": "11222",
    "7.5": "223",
    "7.6": "22",
    "9.1": "111",
    "9.2": "1222",
}
"""The sections of the three chapters in ASVS 5.0.0: of each requirement, in its order, the level."""

STATES: Final = ("Kept", "Partly", "Gap", "Not applicable")
TEST = re.compile(r"`(tests/(?:\w+/)+test_\w+\.py)(?::|`)(?: (\w+)`)?")
PATH = re.compile(r"`((?:[\w-]+/)+[\w-]+\.\w+)[:`]")


@dataclass(frozen=True)
class Row:
    """A requirement, as the page tells of it."""

    number: str
    level: str
    asks: str
    state: str
    by_what: str
    proved_by: str


def rows() -> list[Row]:
    """Return the requirements of the page, in its order."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d", line)]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


ROWS = rows()


def test_every_requirement_is_on_the_page_once_with_its_level() -> None:
    demanded = [
        (f"{section}.{place}", level)
        for section, levels in SECTIONS.items()
        for place, level in enumerate(levels, start=1)
    ]

    assert [(row.number, row.level) for row in ROWS] == demanded


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_each_requirement_has_its_state_and_says_by_what(row: Row) -> None:
    assert row.state in STATES
    assert row.asks
    assert row.by_what


@pytest.mark.parametrize("row", [row for row in ROWS if row.state in {"Kept", "Partly"}], ids=lambda row: row.number)
def test_what_is_kept_names_a_test_that_is_there(row: Row) -> None:
    named = TEST.findall(row.proved_by)

    assert named
    for file, function in named:
        assert (ROOT / file).is_file(), file
        assert not function or function in names_in(ROOT / file), f"{file}: {function}"
        assert not function or function.startswith("test_")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_every_path_and_symbol_that_a_requirement_names_is_there(row: Row) -> None:
    for path in PATH.findall(row.by_what + row.proved_by):
        assert (ROOT / path).exists(), path
    for file, name in FUNCTION.findall(row.by_what):
        assert name in names_in(ROOT / file), f"{file}: {name}"


@pytest.mark.parametrize("state", STATES)
def test_the_page_counts_its_states_right(state: str) -> None:
    counted = re.search(rf"^\| {state} \| (\d+) \|$", PAGE.read_text(), re.MULTILINE)

    assert counted is not None
    assert int(counted[1]) == sum(row.state == state for row in ROWS)


def test_the_schema_has_no_hint_and_no_secret_question() -> None:
    assert not re.search(
        r"hint\b.*password|password\w*hint|secretQuestion|securityQuestion", build_api().as_str(), re.IGNORECASE
    )
