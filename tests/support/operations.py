"""Whole operations, drawn from the schema itself: whatever is added to it is asked for without anyone remembering.

Every choice is Hypothesis's, so that an operation that breaks a law is cut down to the least that breaks it. Most
operations are valid and affordable; a few are wrong on purpose, since messages speak too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
)
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_snake_case

from models.inventory import Entity, entity_of
from schema.field import TYPES, ColumnField
from schema.filter import FILTERS
from schema.selection import ROW_FIELDS
from schema.wiring import declaration_of

PAGED: Final = frozenset({"first", "last", "after", "before"})
DEEPEST: Final = 6
"""Levels below a root field."""
MOST_ROWS: Final = 4000
"""Rows that one field is asked for, all its parents together, as `schema/limits.py` reckons."""
MOST_ALIASES: Final = 60
UNKNOWN: Final = "0195515a-0000-7000-8000-00000000beef"
"""A UUIDv7 that nothing has."""

T = TypeVar("T")


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
class Operation:
    """An operation. `cursors` names, by variable, the place in its own answer where the cursor of a next page is."""

    text: str
    variables: dict[str, Any]
    cursors: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        told = f"\nvariables: {json.dumps(self.variables, default=str)}" if self.variables else ""
        again = f"\nand again with {', '.join(self.cursors)} from the answer" if self.cursors else ""
        return f"{self.text}{told}{again}"


def operations(schema: GraphQLSchema, values: Values) -> st.SearchStrategy[Operation]:
    """Return the strategy of the schema's queries.

    Each root field is decoded from bytes of its own. Drawn choice by choice, most of Hypothesis's examples would be
    variations of a few; as bytes each is new, and they shrink all the same: towards zeros, which choose the least.
    """
    part = st.binary(min_size=100, max_size=1000)
    return st.lists(part, min_size=1, max_size=3).map(lambda parts: _Writer(schema, values).query(parts))


class _Writer:
    """Writes one operation."""

    def __init__(self, schema: GraphQLSchema, values: Values) -> None:
        self._schema = schema
        self._values = values
        self._tape = iter(b"")
        self._aliases = 0
        self._declared: dict[str, str] = {}
        self._variables: dict[str, Any] = {}
        self._cursors: dict[str, tuple[tuple[str, ...], str]] = {}
        self._fragments: dict[str, str] = {}
        self._fragment_types: dict[str, str] = {}

    # -- choices

    def _number(self, low: int, high: int) -> int:
        """Return the next number; the lowest where the bytes have run out."""
        return low + next(self._tape, 0) * (high - low + 1) // 256 if high > low else low

    def _pick(self, options: Sequence[T]) -> T:
        return options[self._number(0, len(options) - 1)]

    def _happens(self, percent: int) -> bool:
        return self._number(1, 100) > 100 - percent

    def _some(self, options: Sequence[T], least: int, most: int) -> list[T]:
        """Return some of the options, each once, in any order."""
        count = self._number(min(least, len(options)), min(most, len(options)))
        left = list(options)
        return [left.pop(self._number(0, len(left) - 1)) for _ in range(count)]

    # -- the operation

    def query(self, parts: Sequence[bytes]) -> Operation:
        """Write a query with a root field for each of the parts."""
        root = self._schema.query_type
        assert root is not None
        weighted = [name for name, one in root.fields.items() for _ in range(self._weight(one))]
        fields = []
        for part in parts:
            self._tape = iter(part)
            fields.append(self._field(root, self._pick(weighted), depth=DEEPEST, rows=1, path=()))
        body = " ".join(fields)
        if self._happens(3):
            body += self._pick([" nothing", " records(first: true) { nodes { id } }", " record { id }", " __typename"])
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._declared.items())
        text = f"query Drawn{f'({declared})' if declared else ''} {{ {body} }}"
        for name, fragment in self._fragments.items():
            text += f"\nfragment {name} on {self._fragment_types[name]} {fragment}"
        return Operation(text, self._variables, self._cursors)

    def _weight(self, declared: GraphQLField) -> int:
        """Return how often a root field is chosen: more often where there is more to see, and to hide."""
        named = get_named_type(declared.type)
        if declared.args.keys() >= PAGED:
            rows = get_named_type(named.fields["nodes"].type) if isinstance(named, GraphQLObjectType) else named
            return 6 if self._values.seen.get(rows.name, 0) > 1 else 2
        return 3 if isinstance(named, GraphQLInterfaceType) else 1

    def _alias(self) -> str:
        self._aliases += 1
        return f"a{self._aliases}"

    def _field(
        self, parent: Any, name: str, *, depth: int, rows: int, path: tuple[str, ...] | None, alone: bool = False
    ) -> str:
        """Write a field with arguments and selection.

        rows: how many parents there are, at the most. path: the keys that lead here in the answer; None in a
        fragment, which may be in many places. alone: other fields may have its name and another type.
        """
        declared: GraphQLField = parent.fields[name]
        key, prefix = name, ""
        may_rename = self._aliases < MOST_ALIASES and not name.lower().endswith("cursor")
        if declared.args or alone or (may_rename and self._happens(5)):
            key = self._alias()
            prefix = f"{key}: "
        below = None if path is None else (*path, key)
        given, extra = [], ""
        if declared.args.keys() >= PAGED:
            size, paging, extra = self._page(rows, below)
            given, rows = paging, rows * size
        elif is_list_type(_nullable(declared.type)) and name not in ROW_FIELDS:
            rows *= 20
        named = get_named_type(declared.type)
        given += [
            f"{one}: {self._argument(one, argument, named)}"
            for one, argument in declared.args.items()
            if one not in PAGED and (is_required_argument(argument) or self._happens(45))
        ]
        arguments = f"({', '.join(given)})" if given else ""
        selection = "" if is_leaf_type(named) else f" {self._selection(named, depth - 1, rows, below, extra=extra)}"
        directive = self._directive() if self._happens(4) else ""
        return f"{prefix}{name}{arguments}{directive}{selection}"

    def _page(self, rows: int, path: tuple[str, ...] | None) -> tuple[int, list[str], str]:
        """Return a page's greatest size, its arguments, and what else to select so that the next page can be asked."""
        affordable = [one for one in (2, 1, 3, 5, 8, 20, 50, 1000) if rows * one <= MOST_ROWS] or [1]
        size = self._pick(affordable)
        backwards = self._happens(30)
        given = [f"{'last' if backwards else 'first'}: {self._literal_or_variable('Int', size)}"]
        bound = "before" if backwards else "after"
        if path is not None and self._happens(30):
            name = f"c{len(self._cursors) + 1}"
            self._declared[name] = "String"
            self._cursors[name] = (path, name)
            given.append(f"{bound}: ${name}")
            return size, given, f"{name}: pageInfo {{ {'startCursor' if backwards else 'endCursor'} }} "
        if self._happens(2):
            text = self._pick([*sorted(f"${one}" for one in self._cursors), '"nonsense"'])
            given.append(f"{bound}: {text}")
        return size, given, ""

    def _directive(self) -> str:
        word, value = self._pick(["include", "skip"]), self._pick([True, False])
        return f" @{word}(if: {self._literal_or_variable('Boolean!', value)})"

    # -- selections

    def _selection(
        self, of: Any, depth: int, rows: int, path: tuple[str, ...] | None, *, alone: bool = False, extra: str = ""
    ) -> str:
        if isinstance(of, GraphQLInterfaceType):
            kinds = self._some(self._schema.get_possible_types(of), 1, 3)
            parts = [f"... on {one.name} {self._selection(one, depth, rows, path, alone=True)}" for one in kinds]
            return f"{{ __typename id {' '.join(parts)} }}"
        assert isinstance(of, GraphQLObjectType)
        names = self._some(_weighted_leaves(of), 1, 6)
        branches = [name for name, one in of.fields.items() if not is_leaf_type(get_named_type(one.type))]
        if rows * 20 > MOST_ROWS:
            branches = [name for name in branches if not _multiplies(of.fields[name])]
        if depth > 0 and branches:
            least = 1 if ROW_FIELDS.intersection(branches) or not names else 0
            names += self._some(_rows_first(branches), least, 2)
        fields = [
            self._field(of, name, depth=depth, rows=rows, path=path, alone=alone) for name in dict.fromkeys(names)
        ]
        if not fields:
            fields = ["__typename"]
        elif not alone and self._happens(15):
            fields.append(self._spread(of, depth, rows))
        return f"{{ {extra}{' '.join(fields)} }}"

    def _spread(self, of: GraphQLObjectType, depth: int, rows: int) -> str:
        """Write a part of a selection as a fragment: on the type, on its interface, or named and perhaps met before."""
        known = [name for name, type_name in self._fragment_types.items() if type_name == of.name]
        if known and self._happens(50):
            return f"...{self._pick(known)}"
        if of.interfaces and self._happens(25):
            return f"... on {self._pick(of.interfaces).name} {{ __typename id }}"
        selection = self._selection(of, min(depth, 2), rows, None)
        if self._happens(40):
            return f"... on {of.name}{self._directive() if self._happens(20) else ''} {selection}"
        name = f"F{len(self._fragments) + 1}"
        self._fragments[name], self._fragment_types[name] = selection, of.name
        return f"...{name}"

    # -- values

    def _argument(self, name: str, argument: GraphQLArgument, returned: Any) -> str:
        value = self._value(argument.type, _Subject(name, None, None, returned))
        return self._literal_or_variable(str(argument.type), value)

    def _literal_or_variable(self, type_: str, value: Any) -> str:
        if not self._happens(25):
            return _literal(value)
        name = f"v{len(self._variables) + 1}"
        self._declared[name] = type_
        self._variables[name] = value
        return f"${name}"

    def _value(self, type_: Any, subject: "_Subject") -> Any:
        if not is_non_null_type(type_) and self._happens(4):
            return None
        return self._present(type_, subject)

    def _present(self, type_: Any, subject: "_Subject") -> Any:
        if is_non_null_type(type_):
            return self._present(type_.of_type, subject)
        if is_list_type(type_):
            return [self._present(type_.of_type, subject) for _ in range(self._number(0, 3))]
        if isinstance(type_, GraphQLEnumType):
            return Name(self._pick(list(type_.values)))
        if isinstance(type_, GraphQLInputObjectType):
            return self._input(type_, subject)
        assert isinstance(type_, GraphQLScalarType)
        return self._scalar(type_.name, subject)

    def _input(self, type_: GraphQLInputObjectType, subject: "_Subject") -> dict[str, Any]:
        required = [name for name, one in type_.fields.items() if is_non_null_type(one.type)]
        chosen = self._some([name for name in type_.fields if name not in required], 0 if required else 1, 2)
        model = FILTERS.get(type_.name)
        entity = entity_of(model) if model is not None else subject.entity
        return {
            name: self._value(type_.fields[name].type, subject.inside(name, type_.fields[name], entity))
            for name in (*required, *chosen)
        }

    def _scalar(self, name: str, subject: "_Subject") -> Any:
        stored = self._values.columns.get((subject.entity.name, subject.column or "")) if subject.entity else None
        if name in {"ID", "UUID"}:
            return self._id(subject, stored)
        if name == "Boolean":
            return self._happens(50)
        if stored and self._happens(85):
            value = self._pick(stored)
            if name == "String" and self._happens(30):
                return str(value)[: self._number(0, 3)]
            return value
        if name == "Int":
            return self._number(0, 30)
        if name == "Float":
            return float(self._number(-200, 200))
        if name == "Date":
            return f"20{self._number(10, 30)}-0{self._number(1, 9)}-15"
        if name == "DateTime":
            return f"20{self._number(10, 30)}-0{self._number(1, 9)}-15T12:00:00Z"
        return self._pick(self._values.texts)

    def _id(self, subject: "_Subject", stored: Sequence[Any] | None) -> str:
        if stored and self._happens(90):
            return str(self._pick(stored))
        if self._happens(3):
            return self._pick([f"Nothing:{UNKNOWN}", "Record:", "", f"Record:{UNKNOWN}", UNKNOWN])
        named = subject.name[:1].upper() + subject.name[1:].removesuffix("Id")
        for type_name in (named, getattr(subject.returned, "name", "")):
            if type_name in self._values.ids:
                return self._pick(self._values.ids[type_name])
        type_name = self._pick(sorted(self._values.ids))
        return self._pick(self._values.ids[type_name])


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a value is about: an argument's name and, inside a filter, the column that is compared."""

    name: str
    entity: Entity | None
    column: str | None
    returned: Any

    def inside(self, name: str, declared: GraphQLInputField, entity: Entity | None) -> "_Subject":
        """Return the subject of an input's field. An operator such as `eq` is about what it stands under."""
        definition = declared.extensions.get("strawberry-definition")
        column = getattr(definition, "python_name", None) or to_snake_case(name)
        if entity is not None and column in entity.columns:
            return _Subject(name, entity, column, self.returned)
        return _Subject(self.name if self.column else name, entity, self.column, self.returned)


def _nullable(type_: Any) -> Any:
    return type_.of_type if is_non_null_type(type_) else type_


def _multiplies(declared: GraphQLField) -> bool:
    return declared.args.keys() >= PAGED or is_list_type(_nullable(declared.type))


def _rows_first(branches: Sequence[str]) -> list[str]:
    """Put what leads to rows first and more often: a page that shows none of them tells little."""
    found = [name for name in ("nodes", "edges", "node") if name in branches for _ in range(4)]
    return [*found, *(name for name in branches if name not in ROW_FIELDS)]


def _weighted_leaves(of: GraphQLObjectType) -> list[str]:
    """Return the leaves, the guarded ones several times: those whose guard is more than seeing the row."""
    declared = TYPES.get(of.name)
    entity = entity_of(declared.model) if declared is not None and declared.model is not None else None
    found = []
    for name, one in of.fields.items():
        if is_leaf_type(get_named_type(one.type)):
            said = declaration_of(one)
            column = (
                entity.columns.get(said.name or to_snake_case(name))
                if entity and isinstance(said, ColumnField)
                else None
            )
            found += [name] * (4 if column is not None and column.is_sealed else 1)
    return found


def _literal(value: Any) -> str:
    """Write a value as GraphQL does."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {_literal(one)}' for name, one in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    return json.dumps(value if isinstance(value, bool | int | float | str | None) else str(value))
