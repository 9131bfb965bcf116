"""What exports are written as: cells that no spreadsheet runs, and conditions that are read back."""

import csv
import re
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from fieldward.cli.importing import _telling
from models.condition import And, Condition, Criterion, Not, Operator, Or, Words
from models.condition_text import conditions_of_text, request_of_text, text_of_conditions, text_of_request
from models.data_import import RowFate
from resolvers.export_csv import _written, guarded, unguarded
from resolvers.import_report import Fate


@given(st.text() | st.text("'=+-@1a\t"))
def test_a_guarded_text_comes_back_whatever_it_is(text: str) -> None:
    assert unguarded(guarded(text)) == text


@given(st.sampled_from("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"), st.text())
def test_what_begins_as_a_formula_does_not_any_more(first: str, rest: str) -> None:
    cell = guarded(first + rest)

    assert cell.startswith("'") or float(cell) is not None


@given(st.text("ab=+-@'\uff1d;\t\r\n \"", max_size=12))
def test_no_cell_begins_a_formula_wherever_a_program_parts_the_file(text: str) -> None:
    # Where lists are separated by semicolons, a cell begins behind each of them, whatever the quotes around it.
    cell = guarded(text)

    assert unguarded(cell) == text
    if text:
        assert all(part[:1] not in set("=+-@\uff1d") for part in re.split("[;\t\r\n]", cell))


@given(st.text("a=+-@'\uff1d;\t\r\n \"", max_size=12))
@example('x;"=HYPERLINK("http://evil.example")')
@example('x\t""=1+1')
@example('x\n"""\'=1')
def test_no_cell_is_a_formula_for_a_program_that_parts_the_written_file_elsewhere(text: str) -> None:
    """As such a program reads the file: quotes that a cell begins with are a part of it, and may be an empty one."""
    content = _written([["before", guarded(text), "behind"]]).decode()

    for separator in ";\t":
        for row in re.split("\r\n|\r|\n", content):
            for cell in next(csv.reader([row], delimiter=separator), []):
                assert cell[:1] not in set("=+-@\uff1d"), (separator, content)


def test_a_number_is_one_of_plain_digits() -> None:
    assert guarded("-\uff11") == "'-\uff11"


def test_a_column_that_a_file_names_is_no_formula_in_the_fates_of_its_rows(tmp_path: Path) -> None:
    with _telling(tmp_path / "fates.csv") as tell:
        tell([Fate(2, RowFate.REJECTED, "=HYPERLINK(A1)", "is no number"), Fate(3, RowFate.CREATED)])

    assert (tmp_path / "fates.csv").read_text() == (
        "line,fate,column,reason\n2,REJECTED,'=HYPERLINK(A1),is no number\n3,CREATED,,\n"
    )


def test_numbers_stay_as_they_are() -> None:
    for number in ("-5", "+5.5", "-.5", "1e5", "-1.5E-3"):
        assert guarded(number) == number
    for formula in ("-5+3", "+A1", "-", "+-5", "-5 ", "-1e"):
        assert guarded(formula) == f"'{formula}"


def test_conditions_are_read_back() -> None:
    conditions: list[Criterion] = [
        Condition("project_id", Operator.EQUALS, uuid4()),
        Condition("project_id", Operator.IN, [uuid4(), uuid4()]),
        Condition("site_code", Operator.STARTS_WITH, "W-"),
        Condition("device_id", Operator.EQUALS, None),
        Condition("collected_at", Operator.AT_LEAST, datetime(2026, 1, 2, 3, 4, 5, 678, UTC)),
        Condition("starts_on", Operator.LESS_THAN, date(2026, 1, 2)),
        Condition("collector", Operator.IN, [b"\x00" * 16, b"\xff" * 16]),
        Condition("latitude", Operator.LESS_THAN, 51.5),
        And((Or((Condition("site_code", Operator.EQUALS, "W-1"), Words("mill -weir"))), Not(And(())))),
    ]

    assert conditions_of_text(text_of_conditions(conditions)) == conditions
    assert request_of_text(text_of_request(conditions)) == (conditions, [])
    assert request_of_text(text_of_request(conditions, conditions[:2])) == (conditions, conditions[:2])
    assert request_of_text(text_of_request([], conditions)) == ([], conditions)
    assert request_of_text(text_of_request([])) == ([], [])
    assert request_of_text(text_of_conditions(conditions)) == (conditions, [])
