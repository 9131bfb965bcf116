"""Whole operations, drawn from the schema itself: whatever is added to it is asked for without anyone remembering.

Every choice is Hypothesis's, so that an operation that breaks a law is cut down to the least that breaks it. Most
operations are valid and affordable; a few are wrong on purpose, since messages speak too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
)
from hypothesis import strategies as st
from strawberry.utils.str_converters import to_snake_case

from models.inventory import entity_of
from schema.field import TYPES, ColumnField
from schema.mutation import mutation_of
from schema.selection import ROW_FIELDS
from schema.wiring import declaration_of
from tests.support.arguments import Arguments, Subject, Tape, Values, literal

PAGED: Final = frozenset({"first", "last", "after", "before"})
DEEPEST: Final = 6
"""Levels below a root field."""
MOST_ROWS: Final = 4000
"""Rows that one field is asked for, all its parents together, as `schema/limits.py` reckons."""
MOST_ALIASES: Final = 60


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


PARTS: Final = st.lists(st.binary(min_size=100, max_size=1000), min_size=1, max_size=3)
"""Bytes for each root field. Drawn choice by choice, most of Hypothesis's examples would be variations of a few; as
bytes each is new, and they shrink all the same: towards zeros, which choose the least."""


def queries(schema: GraphQLSchema, values: Values, *, seen_first: bool = False) -> st.SearchStrategy[Operation]:
    """Return the strategy of the schema's queries.

    seen_first: rather ask for what the viewer sees, and narrow it less: for who wants answers with rows in them, and
        not to learn what is hidden.
    """
    assert schema.query_type is not None
    root, names = schema.query_type, list(schema.query_type.fields)
    return PARTS.map(lambda parts: _Writer(schema, values, seen_first=seen_first).write("query", root, names, parts))


def mutations(schema: GraphQLSchema, values: Values) -> st.SearchStrategy[Operation]:
    """Return the strategy of the schema's mutations, without those that begin a session."""
    assert schema.mutation_type is not None
    root = schema.mutation_type
    names = [
        name
        for name, one in root.fields.items()
        if (said := mutation_of(one)) is not None and not said.notes_itself and one.args
    ]
    return PARTS.map(lambda parts: _Writer(schema, values).write("mutation", root, names, parts))


class _Writer:
    """Writes one operation."""

    def __init__(self, schema: GraphQLSchema, values: Values, *, seen_first: bool = False) -> None:
        self._schema = schema
        self._values = values
        self._seen_first = seen_first
        self._tape = Tape(b"")
        self._aliases = 0
        self._declared: dict[str, str] = {}
        self._variables: dict[str, Any] = {}
        self._cursors: dict[str, tuple[tuple[str, ...], str]] = {}
        self._fragments: dict[str, str] = {}
        self._fragment_types: dict[str, str] = {}

    def write(self, kind: str, root: GraphQLObjectType, names: Sequence[str], parts: Sequence[bytes]) -> Operation:
        """Write an operation with a root field for each of the parts."""
        weighted = [name for name in names for _ in range(self._weight(root.fields[name]))]
        fields = []
        for part in parts:
            self._tape = Tape(part)
            fields.append(self._field(root, self._tape.pick(weighted), depth=DEEPEST, rows=1, path=()))
        body = " ".join(fields)
        if self._tape.happens(2):
            body += self._tape.pick([" nothing", f" {names[0]}(first: true) {{ id }}", " node { id }", " __typename"])
        declared = ", ".join(f"${name}: {type_}" for name, type_ in self._declared.items())
        text = f"{kind} Drawn{f'({declared})' if declared else ''} {{ {body} }}"
        for name, fragment in self._fragments.items():
            text += f"\nfragment {name} on {self._fragment_types[name]} {fragment}"
        return Operation(text, self._variables, self._cursors)

    def _weight(self, declared: GraphQLField) -> int:
        """Return how often a root field is chosen: more often where there is more to see, and to hide."""
        named = get_named_type(declared.type)
        if declared.args.keys() >= PAGED:
            rows = get_named_type(named.fields["nodes"].type) if isinstance(named, GraphQLObjectType) else named
            seen = self._values.seen.get(rows.name, 0)
            return (12 if seen else 1) if self._seen_first else (6 if seen > 1 else 2)
        said = mutation_of(declared)
        if said is not None and said.subject is not None:
            return 4 if self._values.seen.get(said.subject, 0) > 1 else 1
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
        if declared.args or alone or (may_rename and self._tape.happens(5)):
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
            f"{one}: {self._argument(one, argument, declared)}"
            for one, argument in declared.args.items()
            if one not in PAGED
            and (is_required_argument(argument) or self._tape.happens(25 if self._seen_first else 55))
        ]
        arguments = f"({', '.join(given)})" if given else ""
        selection = "" if is_leaf_type(named) else f" {self._selection(named, depth - 1, rows, below, extra=extra)}"
        directive = self._directive() if self._tape.happens(4) else ""
        return f"{prefix}{name}{arguments}{directive}{selection}"

    def _page(self, rows: int, path: tuple[str, ...] | None) -> tuple[int, list[str], str]:
        """Return a page's greatest size, its arguments, and what else to select so that the next page can be asked."""
        affordable = [one for one in (2, 1, 3, 5, 8, 20, 50, 1000) if rows * one <= MOST_ROWS] or [1]
        size = self._tape.pick(affordable)
        backwards = self._tape.happens(30)
        given = [f"{'last' if backwards else 'first'}: {self._literal_or_variable('Int', size)}"]
        bound = "before" if backwards else "after"
        if path is not None and self._tape.happens(30):
            name = f"c{len(self._cursors) + 1}"
            self._declared[name] = "String"
            self._cursors[name] = (path, name)
            given.append(f"{bound}: ${name}")
            return size, given, f"{name}: pageInfo {{ {'startCursor' if backwards else 'endCursor'} }} "
        if self._tape.happens(2):
            text = self._tape.pick([*sorted(f"${one}" for one in self._cursors), '"nonsense"'])
            given.append(f"{bound}: {text}")
        return size, given, ""

    def _directive(self) -> str:
        word, value = self._tape.pick(["include", "skip"]), self._tape.pick([True, False])
        return f" @{word}(if: {self._literal_or_variable('Boolean!', value)})"

    def _selection(
        self, of: Any, depth: int, rows: int, path: tuple[str, ...] | None, *, alone: bool = False, extra: str = ""
    ) -> str:
        if isinstance(of, GraphQLInterfaceType):
            kinds = self._tape.some(self._schema.get_possible_types(of), 1, 3)
            parts = [f"... on {one.name} {self._selection(one, depth, rows, path, alone=True)}" for one in kinds]
            return f"{{ __typename id {' '.join(parts)} }}"
        assert isinstance(of, GraphQLObjectType)
        names = self._tape.some(_weighted_leaves(of), 1, 6)
        branches = [name for name, one in of.fields.items() if not is_leaf_type(get_named_type(one.type))]
        if rows * 20 > MOST_ROWS:
            branches = [name for name in branches if not _multiplies(of.fields[name])]
        if depth > 0 and branches:
            least = 1 if ROW_FIELDS.intersection(branches) or not names else 0
            names += self._tape.some(_rows_first(branches), least, 2)
        if "errors" in of.fields:
            extra += "errors { code message field permission } "
        fields = [
            self._field(of, name, depth=depth, rows=rows, path=path, alone=alone) for name in dict.fromkeys(names)
        ]
        if not fields:
            fields = ["__typename"]
        elif not alone and self._tape.happens(15):
            fields.append(self._spread(of, depth, rows))
        return f"{{ {extra}{' '.join(fields)} }}"

    def _spread(self, of: GraphQLObjectType, depth: int, rows: int) -> str:
        """Write a part of a selection as a fragment: on the type, on its interface, or named and perhaps met before."""
        known = [name for name, type_name in self._fragment_types.items() if type_name == of.name]
        if known and self._tape.happens(50):
            return f"...{self._tape.pick(known)}"
        if of.interfaces and self._tape.happens(25):
            return f"... on {self._tape.pick(of.interfaces).name} {{ __typename id }}"
        selection = self._selection(of, min(depth, 2), rows, None)
        if self._tape.happens(40):
            return f"... on {of.name}{self._directive() if self._tape.happens(20) else ''} {selection}"
        name = f"F{len(self._fragments) + 1}"
        self._fragments[name], self._fragment_types[name] = selection, of.name
        return f"...{name}"

    def _argument(self, name: str, argument: GraphQLArgument, of: GraphQLField) -> str:
        said = mutation_of(of)
        entity = entity_of(said.entity) if said is not None and said.entity is not None else None
        returned = said.subject if said is not None and said.subject else get_named_type(of.type).name
        value = Arguments(self._tape, self._values, seen_first=self._seen_first or said is not None).value(
            argument.type, Subject(name, entity, None, returned)
        )
        return self._written(argument.type, value)

    def _written(self, type_: Any, value: Any) -> str:
        """Write a value as a variable, or as a literal in which there may be variables."""
        of = _nullable(type_)
        if not isinstance(value, Mapping) or not isinstance(of, GraphQLInputObjectType) or self._tape.happens(25):
            return self._literal_or_variable(str(type_), value)
        parts = [
            f"{name}: {self._written(of.fields[name].type, one) if name in of.fields else literal(one)}"
            for name, one in value.items()
        ]
        return f"{{{', '.join(parts)}}}"

    def _literal_or_variable(self, type_: str, value: Any) -> str:
        if not self._tape.happens(25):
            return literal(value)
        name = f"v{len(self._variables) + 1}"
        self._declared[name] = type_
        self._variables[name] = value
        return f"${name}"


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
