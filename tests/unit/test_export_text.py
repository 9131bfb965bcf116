"""What exports are written as: cells that no spreadsheet runs, and conditions that are read back."""

from datetime import UTC, date, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from models.condition import And, Condition, Criterion, Not, Operator, Or, Words
from models.condition_text import conditions_of_text, text_of_conditions
from resolvers.export_csv import guarded, unguarded


@given(st.text() | st.text("'=+-@1a\t"))
def test_a_guarded_text_comes_back_whatever_it_is(text: str) -> None:
    assert unguarded(guarded(text)) == text


@given(st.sampled_from("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"), st.text())
def test_what_begins_as_a_formula_does_not_any_more(first: str, rest: str) -> None:
    cell = guarded(first + rest)

    assert cell.startswith("'") or float(cell) is not None


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
