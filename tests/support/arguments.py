"""Values for a field's arguments, drawn from bytes: right by type, and mostly about things that are there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from graphql import (
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLScalarType,
    is_list_type,
    is_non_null_type,
)
from strawberry.utils.str_converters import to_snake_case

from models.inventory import Entity, entity_of
from schema.filter import FILTERS

UNKNOWN: Final = "0195515a-0000-7000-8000-00000000beef"
"""A UUIDv7 that nothing has."""

FRESH: Final = "0195515a-0000-7000-8000-0000000001{:02x}"
"""UUIDv7s that clients choose for what they make."""

T = TypeVar("T")


class Tape:
    """Numbers out of bytes. Where the bytes have run out, each choice is the first."""

    def __init__(self, content: bytes) -> None:
        self._left = iter(content)

    def number(self, low: int, high: int) -> int:
        """Return the next number; the lowest where the bytes have run out."""
        return low + next(self._left, 0) * (high - low + 1) // 256 if high > low else low

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[self.number(0, len(options) - 1)]

    def early(self, options: Sequence[T]) -> T:
        """Return one of the options, mostly of the first third."""
        return self.pick(options[: (len(options) + 2) // 3] if self.happens(80) else options)

    def happens(self, percent: int) -> bool:
        """Return True so often."""
        return self.number(1, 100) > 100 - percent

    def some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """Return some of the options, each once, in any order."""
        count = self.number(min(least, len(options)), min(most, len(options)))
        left = list(options)
        return [left.pop(self.number(0, len(left) - 1)) for _ in range(count)]


class Name(str):
    """A value of an enum: written without quotes."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Values:
    """What arguments are drawn from: real values, of rows and columns that the viewer reads and of those it does not.

    ids: global ids by GraphQL type. columns: by table and column. texts: anything textual, secrets included. seen: how
    many rows the viewer sees, by GraphQL type.
    """

    ids: Mapping[str, Sequence[str]]
    columns: Mapping[tuple[str, str], Sequence[Any]]
    texts: Sequence[str]
    seen: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a value is about: an argument's name and, inside a filter or a mutation's input, the column.

    returned: the GraphQL type that an `id` names.
    """

    name: str
    entity: Entity | None
    column: str | None
    returned: str

    def inside(self, name: str, declared: GraphQLInputField, entity: Entity | None) -> "Subject":
        """Return the subject of an input's field. An operator such as `eq` is about what it stands under."""
        definition = declared.extensions.get("strawberry-definition")
        column = getattr(definition, "python_name", None) or to_snake_case(name)
        if entity is not None and column in entity.columns:
            return Subject(name, entity, column, self.returned)
        return Subject(self.name if self.column else name, entity, self.column, self.returned)


class Arguments:
    """Draws values from one tape.

    seen_first: rather name what the viewer sees, since a change of anything else ends at once.
    """

    def __init__(self, tape: Tape, values: Values, *, seen_first: bool) -> None:
        self._tape = tape
        self._values = values
        self._choose = tape.early if seen_first else tape.pick

    def value(self, type_: Any, subject: Subject) -> Any:
        """Return a value of the type as JSON holds it, seldom null."""
        if not is_non_null_type(type_) and self._tape.happens(4):
            return None
        return self._present(type_, subject)

    def _present(self, type_: Any, subject: Subject) -> Any:
        if is_non_null_type(type_):
            return self._present(type_.of_type, subject)
        if is_list_type(type_):
            return [self._present(type_.of_type, subject) for _ in range(self._tape.number(0, 3))]
        if isinstance(type_, GraphQLEnumType):
            return Name(self._tape.pick(list(type_.values)))
        if isinstance(type_, GraphQLInputObjectType):
            return self._input(type_, subject)
        assert isinstance(type_, GraphQLScalarType)
        return self._scalar(type_.name, subject)

    def _input(self, type_: GraphQLInputObjectType, subject: Subject) -> dict[str, Any]:
        """Return an input with what is demanded and a little more; mostly with a reason, where one is taken."""
        wanted = [
            name
            for name, one in type_.fields.items()
            if is_non_null_type(one.type) or (name == "reason" and self._tape.happens(70))
        ]
        model = FILTERS.get(type_.name)
        entity = entity_of(model) if model is not None else subject.entity
        others = [name for name in type_.fields if name not in wanted]
        if model is not None:
            # Links twice, since they lead to what is not seen; seldom two conditions, since two seldom meet.
            others += [name for name in others if name.endswith("Id")]
            # And oftener what is found by a value that may not be read.
            others += [name for name in others if is_searched(entity_of(model), name)] * 3
        chosen = self._tape.some(others, 0 if wanted else 1, 2 if self._tape.happens(25) else 1)
        return {
            name: self._field(name, type_.fields[name], subject.inside(name, type_.fields[name], entity))
            for name in dict.fromkeys((*wanted, *chosen))
        }

    def _field(self, name: str, declared: GraphQLInputField, subject: Subject) -> Any:
        if name == "id" and str(declared.type) == "ID":
            # The id of what is to be made. A taken one is told, whoever took it: docs/security.md.
            return FRESH.format(self._tape.number(0, 255))
        if name.endswith("Version"):
            return self._tape.pick([1, 1, 1, 2, 3])
        return self.value(declared.type, subject)

    def _scalar(self, name: str, subject: Subject) -> Any:
        stored = self._values.columns.get((subject.entity.name, subject.column or "")) if subject.entity else None
        if name in {"ID", "UUID"}:
            return self._id(subject, stored)
        if name == "Boolean":
            return self._tape.happens(50)
        if stored and self._tape.happens(85):
            value = self._choose(stored)
            whole = subject.entity is not None and is_searched(subject.entity, subject.column or "")
            if name == "String" and not whole and self._tape.happens(20):
                return str(value)[: self._tape.number(0, 3)]
            return value
        if name == "Int":
            return self._tape.number(0, 30)
        if name == "Float":
            return float(self._tape.number(-200, 200))
        if name == "Date":
            return f"20{self._tape.number(10, 30)}-0{self._tape.number(1, 9)}-15"
        if name == "DateTime":
            return f"20{self._tape.number(10, 30)}-0{self._tape.number(1, 9)}-15T12:00:00Z"
        return self._tape.pick(self._values.texts)

    def _id(self, subject: Subject, stored: Sequence[Any] | None) -> str:
        if self._tape.happens(3):
            return self._tape.pick([f"Nothing:{UNKNOWN}", "Record:", "", f"Record:{UNKNOWN}", UNKNOWN])
        ids = self._values.ids
        named = subject.name[:1].upper() + subject.name[1:].removesuffix("Id")
        options = ids.get(named) or stored or ids.get(subject.returned) or ids[self._tape.pick(sorted(ids))]
        return str(self._choose(options))


def is_searched(entity: Entity, name: str) -> bool:
    """Return whether the column of a field is found by a blind index."""
    column = entity.columns.get(to_snake_case(name))
    return column is not None and column.search is not None


def literal(value: Any) -> str:
    """Write a value as GraphQL does."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {literal(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return json.dumps(value if isinstance(value, bool | int | float | str | None) else str(value))
