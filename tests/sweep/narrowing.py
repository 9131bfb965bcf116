"""Every way in which a list is narrowed: which field, which operator, which value, and the rows that it must leave."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from graphql import GraphQLEnumType, GraphQLField, GraphQLInputObjectType, get_named_type

from tests.sweep.contract import Contract, filters_of, row_type
from tests.sweep.facts import GROWING, Facts, Row, column_of, literal
from tests.sweep.page import FieldRow
from tests.sweep.principal import DEMANDED, Principal

MATCHES: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda value, wanted: bool(value == wanted),
    "in": lambda value, wanted: value in wanted,
    "ne": lambda value, wanted: bool(value != wanted),
    "notIn": lambda value, wanted: value not in wanted,
    "isNull": lambda value, wanted: (value is None) is wanted,
    "gt": lambda value, wanted: value is not None and value > wanted,
    "gte": lambda value, wanted: value is not None and value >= wanted,
    "lt": lambda value, wanted: value is not None and value < wanted,
    "lte": lambda value, wanted: value is not None and value <= wanted,
    "has": lambda value, wanted: wanted in value,
    "startsWith": lambda value, wanted: value is not None and value.startswith(wanted),
    "endsWith": lambda value, wanted: value is not None and value.endswith(wanted),
    "contains": lambda value, wanted: value is not None and wanted in value,
}
"""What each operator means; an operator that the contract has and this has not is a failure."""
BESIDE: Final = frozenset({"ignoreCase"})
"""What stands among the operators and says how the others compare: held to in tests/api/test_filter.py."""
BLANKS: Final = {("Record", "collector"): " ", ("Device", "serialNumber"): "", ("Invitation", "email"): ""}
"""The encrypted fields that are searched, whatever the case: what is left of the blanks inside a value."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """One way to narrow a list. `is_refused`: as a whole, for want of a permission in the organization."""

    argument: str
    type_name: str
    said: FieldRow
    column: str
    operator: str
    wanted: Any
    text: str
    is_refused: bool

    @property
    def name(self) -> str:
        """The argument, as a path."""
        return f"{self.argument}.{self.said.field}.{self.operator}"

    def leaves(self, facts: Facts, who: Principal, row: Row) -> bool:
        """Return whether the page lets somebody find the row by this."""
        # An id is found by whoever sees the row: the page has no letter for it.
        letter = "r" if self.said.field == "id" else "f"
        value = touched_by(facts, row) if self.operator == "has" else value_of(facts, self.said, self.column, row)
        return letter in facts.letters(who, self.said, row) and MATCHES[self.operator](value, self.wanted)


def touched_by(facts: Facts, entry: Row) -> frozenset[UUID]:
    """Return what an entry is about: the rows that it names or changed, and of measurements their records."""
    about = set(entry["entity_ids"] or ())
    for change in facts.rows["Change"].values():
        if change["entry_id"] == entry["id"]:
            about |= {change["entity_id"], change["part_of_id"]} - {None}
    measurements = facts.rows["Measurement"]
    return frozenset(about | {measurements[one]["record_id"] for one in about if one in measurements})


def value_of(facts: Facts, said: FieldRow, column: str, row: Row) -> Any:
    """Return what a row is compared by: what is stored, or of an encrypted field what its owner reads, folded."""
    blanks = BLANKS.get((said.type_name, said.field))
    if blanks is None:
        assert not isinstance(row[column], bytes), f"say in BLANKS how {said.type_name}.{said.field} is compared"
        return row[column]
    shown = facts.values[said.type_name][row["id"]][said.field]
    return None if shown is None else blanks.join(shown.casefold().split())


def narrowings(facts: Facts, who: Principal, contract: Contract, target: str, field: GraphQLField) -> list[Narrowing]:
    """Return every way in which the list can be narrowed, with values of rows that are shown and of rows that are not.

    target: the type of the rows. An argument other than `filter` narrows by the rows that these belong to.
    """
    found = []
    for argument, given in filters_of(field).items():
        type_name = target if argument == "filter" else argument.title()
        for name, one in given.fields.items():
            operators = get_named_type(one.type)
            assert isinstance(operators, GraphQLInputObjectType)
            if operators is given:
                # And, or and not: held to in tests/api/test_filter.py.
                continue
            said = _said_of(facts, type_name, name)
            column = column_of(said.type_name, said.field, _columns(facts, said.type_name))
            for operator, takes in operators.fields.items():
                if operator in BESIDE:
                    continue
                for wanted in _values(facts, who, said, column, operator):
                    written = _written(contract, said, takes.type, wanted)
                    if (said.type_name, said.field) in BLANKS:
                        # Asked for otherwise than it was written: what is equal is said by the column.
                        is_text = isinstance(wanted, str | list)
                        written = written.upper().replace(" ", "  ") if is_text else written
                    narrowed = f"{name}: {{{operator}: {written}}}"
                    if type_name in GROWING:
                        narrowed = _until(facts, GROWING[type_name][0], name, operator, written)
                    text = f"{argument}: {{{narrowed}}}"
                    refused = _is_refused(facts, who, said)
                    found.append(Narrowing(argument, type_name, said, column, operator, wanted, text, refused))
    return found


def _until(facts: Facts, when: str, name: str, operator: str, written: str) -> str:
    """Return the filter of what grows while questions are asked, cut where the facts end. when: its filter by time."""
    if name != when:
        return f"{name}: {{{operator}: {written}}}, {when}: {{lt: {literal(facts.trail_until)}}}"
    end = "" if operator == "lt" else f", lt: {literal(facts.trail_until)}"
    return f"{when}: {{{operator}: {written}{end}}}"


def _said_of(facts: Facts, type_name: str, name: str) -> FieldRow:
    """Return what the page says of the field that a filter is on."""
    fields = facts.page.fields[type_name]
    if type_name == "Measurement" and name == "projectId":
        fields = facts.page.fields["Record"]
    said = fields.get(name) or fields.get(name.removesuffix("Id"))
    assert said is not None, f"{type_name} is filtered by {name}, of which the page has no row"
    return said


def _columns(facts: Facts, type_name: str) -> Sequence[str]:
    return list(next(iter(facts.rows[type_name].values())))


def _is_refused(facts: Facts, who: Principal, said: FieldRow) -> bool:
    demanded = DEMANDED.get((said.type_name, said.field))
    if demanded is None:
        return False
    if who.has_the_page_s_roles:
        return "f" not in who.letters(facts.page, said, None)
    return demanded not in who.held(None)


def _values(facts: Facts, who: Principal, said: FieldRow, column: str, operator: str) -> Iterator[Any]:
    """Yield values to narrow by: of a row that is shown, of one that is not, and that there is none."""
    type_name = said.type_name
    if operator == "has":
        records = {one for row in facts.rows[type_name].values() for one in touched_by(facts, row)} & facts.rows[
            "Record"
        ].keys()
        assert records, "no entry is about a record: there is nothing to try"
        yield from sorted(records)[:3]
        return
    rows = [
        (row, value)
        for row in facts.rows[type_name].values()
        if (value := value_of(facts, said, column, row)) is not None
    ]
    shown = sorted({value for row, value in rows if facts.sees(who, type_name, row)}, key=str)
    hidden = sorted({value for _, value in rows} - set(shown), key=str)
    values = [*shown[len(shown) // 2 :][:1], *hidden[:1]]
    assert values, f"no row of {type_name} has a {column}: there is nothing to try"
    if operator == "isNull":
        yield from (True, False)
        return
    if operator in {"in", "notIn"}:
        yield values
        return
    if operator in {"eq", "ne"}:
        yield None
    for value in values:
        yield _part(operator, value)


def _part(operator: str, value: Any) -> Any:
    """Return what of a value is asked for by an operator."""
    if operator == "startsWith":
        return value[: max(1, len(value) // 2)]
    if operator == "endsWith":
        return value[len(value) // 2 :]
    return value[len(value) // 3 : 2 * len(value) // 3 + 1] if operator == "contains" else value


def _written(contract: Contract, said: FieldRow, takes: Any, wanted: Any) -> str:
    """Return the value as the operator's type is written: an enum's name bare, a row by its global id."""
    named = get_named_type(takes)
    if isinstance(wanted, list):
        return f"[{', '.join(_written(contract, said, takes, one) for one in wanted)}]"
    if wanted is None:
        return "null"
    if isinstance(wanted, bool):
        return "true" if wanted else "false"
    if isinstance(named, GraphQLEnumType):
        return str(wanted)
    if isinstance(wanted, float):
        return repr(wanted)
    if isinstance(wanted, UUID) and named.name == "UUID":
        return literal(str(wanted))
    if isinstance(wanted, UUID) and said.field == "entityIds":
        return literal(f"Record:{wanted}")
    if isinstance(wanted, UUID):
        target = said.type_name if said.field == "id" else row_type(contract.type(said.type_name).fields[said.field])
        return literal(f"{target}:{wanted}")
    return literal(wanted if isinstance(wanted, datetime) else str(wanted))
