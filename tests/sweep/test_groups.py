"""Every key, bucket and measure of the groups, as every principal, against a count of the rows that they may read."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

import pytest
from graphql import GraphQLField

from tests.sweep.conftest import Tally
from tests.sweep.contract import Contract, enum_of, row_type
from tests.sweep.facts import Facts, Row, literal
from tests.sweep.page import FieldRow
from tests.sweep.principal import Principal
from tests.sweep.stage import INSIDE, Cast

LEAST = 120
AT_ONCE = 18

BUCKETS: Final[Mapping[str, Callable[[datetime], datetime]]] = {
    "HOUR": lambda at: at.replace(minute=0, second=0, microsecond=0),
    "DAY": lambda at: at.replace(hour=0, minute=0, second=0, microsecond=0),
    "WEEK": lambda at: BUCKETS["DAY"](at) - timedelta(days=at.weekday()),
    "MONTH": lambda at: BUCKETS["DAY"](at).replace(day=1),
    "QUARTER": lambda at: BUCKETS["DAY"](at).replace(day=1, month=at.month - (at.month - 1) % 3),
    "YEAR": lambda at: BUCKETS["DAY"](at).replace(day=1, month=1),
}


def _percentile(share: Fraction) -> Callable[[Sequence[Any]], Any]:
    def of(values: Sequence[Any]) -> Any:
        place = share * (len(values) - 1)
        low = math.floor(place)
        high = min(low + 1, len(values) - 1)
        return values[low] + (values[high] - values[low]) * float(place - low)

    return of


MEASURES: Final[Mapping[str, Callable[[Sequence[Any]], Any]]] = {
    "Count": len,
    "Min": lambda values: values[0],
    "Max": lambda values: values[-1],
    "Sum": math.fsum,
    "Avg": lambda values: math.fsum(values) / len(values),
    "P05": _percentile(Fraction(1, 20)),
    "P10": _percentile(Fraction(1, 10)),
    "P25": _percentile(Fraction(1, 4)),
    "Median": _percentile(Fraction(1, 2)),
    "P75": _percentile(Fraction(3, 4)),
    "P90": _percentile(Fraction(9, 10)),
    "P95": _percentile(Fraction(19, 20)),
}
"""What is computed of sorted values, by the end of the field's name; one that is not here is a failure."""


@dataclass(frozen=True, slots=True)
class Question:
    """One list of groups: by which keys, in which spans of time, with which measures."""

    root: str
    type_name: str
    keys: tuple[str, ...]
    bucket: str | None
    measures: tuple[str, ...]

    @property
    def text(self) -> str:
        """The question in GraphQL."""
        arguments = [f"by: [{' '.join(self.keys)}]"] + ([f"bucket: {self.bucket}"] if self.bucket else [])
        return f"{self.root}({', '.join(arguments)}) {{ {' '.join([*self.shown, *self.measures])} }}"

    @property
    def shown(self) -> list[str]:
        """The fields that show the keys."""
        return [_field_of(key) for key in self.keys]


@pytest.mark.parametrize("key", INSIDE)
def test_every_group_counts_the_rows_that_may_be_read(
    cast: Cast, contract: Contract, facts: Facts, tally: Tally, key: str
) -> None:
    who = cast.principals[key]
    questions = [one for name, field in contract.query.items() for one in _questions(contract, name, field)]
    batches = [questions[start : start + AT_ONCE] for start in range(0, len(questions), AT_ONCE)]
    queries = ["{ " + " ".join(f"g{i}: {one.text}" for i, one in enumerate(batch)) + " }" for batch in batches]

    findings = []
    for batch, reply in zip(batches, who.caller.run_all(queries), strict=True):
        assert not reply.errors, reply.errors[:2]
        for index, one in enumerate(batch):
            for measure in one.measures:
                tally.note("groups", key, f"{one.type_name}.{measure}", f"{one.keys} {one.bucket}")
            wanted = _expected(facts, who, one)
            got = {
                tuple(group[name] for name in one.shown): [group[name] for name in one.measures]
                for group in reply.data[f"g{index}"]
            }
            if got.keys() != wanted.keys():
                findings.append(f"{key} {one.text}: expected the groups {sorted(map(str, wanted))}, got {got}"[:600])
                continue
            for group, values in wanted.items():
                for name, value, told in zip(one.measures, values, got[group], strict=True):
                    if not _is_same(told, value):
                        findings.append(f"{key} {one.text} {group} {name}: expected {value!r}, got {told!r}")

    assert not findings, f"{len(findings)} groups differ from the rows:\n" + "\n".join(findings[:20])
    assert tally.of("groups", key) >= LEAST


def _questions(contract: Contract, name: str, field: GraphQLField) -> Iterator[Question]:
    """Yield every key alone and beside the unit, in every span of time, with all measures that go with it."""
    if not name.endswith("Groups"):
        return
    type_name = row_type(field)
    keys, buckets = enum_of(field.args["by"]), enum_of(field.args["bucket"])
    shown = {_field_of(key) for key in keys}
    measures = [one for one in contract.leaves(type_name) if one not in shown]
    for chosen in [(), *((key,) for key in keys), ("PROJECT", keys[-1])]:
        within = chosen if "UNIT" not in keys or "UNIT" in chosen else (*chosen, "UNIT")
        for bucket in buckets if "COLLECTED_AT" in chosen else (None,):
            yield Question(name, type_name, chosen, bucket, tuple(one for one in measures if one == "count"))
            yield Question(name, type_name, within, bucket, tuple(measures))


def _expected(facts: Facts, who: Principal, one: Question) -> dict[tuple[Any, ...], list[Any]]:
    """Return the groups of the rows of which somebody may read every column that is touched."""
    target = one.type_name.removesuffix("Group")
    touched = [_said_of(facts, target, key) for key in one.keys]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in facts.visible(who, target):
        record = row if target == "Record" else facts.rows["Record"][row["record_id"]]
        of = {"Record": record, target: row}
        if any("g" not in facts.letters(who, said, of[said.type_name]) for said in touched):
            continue
        if any("a" not in facts.letters(who, said, row) for said in _computed(facts, target, one.measures)):
            continue
        place = tuple(
            _shown(of[said.type_name], said, key, one.bucket) for key, said in zip(one.keys, touched, strict=True)
        )
        groups.setdefault(place, []).append(row)
    if not one.keys:
        groups.setdefault((), [])
    return {place: [_measured(rows, name) for name in one.measures] for place, rows in groups.items()}


def _said_of(facts: Facts, target: str, key: str) -> FieldRow:
    """Return what the page says of the column of a key: the rows' own, or their record's."""
    name = _field_of(key).removesuffix("Id")
    fields = facts.page.fields
    return fields[target][name] if name in fields[target] else fields["Record"][name]


def _computed(facts: Facts, target: str, measures: Sequence[str]) -> Iterator[FieldRow]:
    for measure in measures:
        if measure != "count":
            yield facts.page.fields[target][_split(measure)[0]]


def _split(measure: str) -> tuple[str, str]:
    """Return the field that a measure is computed of, and the name of what is computed."""
    end = next((one for one in MEASURES if measure.endswith(one)), None)
    assert end is not None, f"say in MEASURES what {measure} computes"
    return measure.removesuffix(end), end


def _shown(row: Row, said: FieldRow, key: str, bucket: str | None) -> Any:
    if key == "PROJECT":
        return f"Project:{row['project_id']}"
    value = row["".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in said.field)]
    if isinstance(value, datetime) and bucket is not None:
        return _moment(BUCKETS[bucket](value.astimezone(UTC)))
    return value


def _measured(rows: Sequence[Row], measure: str) -> Any:
    if measure == "count":
        return len(rows)
    field, end = _split(measure)
    column = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in field)
    values = sorted(row[column] for row in rows if row[column] is not None)
    if not values:
        return 0 if end == "Count" else None
    value = MEASURES[end](values)
    return _moment(value) if isinstance(value, datetime) else value


def _moment(value: datetime) -> str:
    return literal(value).strip('"')


def _is_same(told: Any, value: Any) -> bool:
    if isinstance(value, str) and isinstance(told, str) and value != told:
        return datetime.fromisoformat(told) == datetime.fromisoformat(value)
    if isinstance(value, float) and isinstance(told, int | float):
        return math.isclose(told, value, rel_tol=1e-9, abs_tol=1e-12)
    return bool(told == value)


def _field_of(key: str) -> str:
    """Return the field that shows a key: the same name, and of a project its id."""
    first, *rest = key.lower().split("_")
    name = first + "".join(map(str.title, rest))
    return f"{name}Id" if key == "PROJECT" else name
