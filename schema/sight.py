"""The schema as one viewer is shown it: what some role of theirs could reach, and nothing that leads nowhere.

This hides no secret, since the SDL is public, and guards nothing, since each field has its guard. It makes tools that
read the schema honest: what GraphiQL offers, its viewer can ask for. Examples of objects and enums follow.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from graphql import (
    EnumValueNode,
    GraphQLArgument,
    GraphQLDefaultInput,
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)
from graphql.utilities.get_default_value_ast import get_default_value_ast

from auth.permission import Permission
from models.inventory import Entity, entity_of
from schema.aggregate import AGGREGATES
from schema.example import renew_examples
from schema.field import TYPES, LinkField, Otherwise, RootField, RowsField
from schema.filter import COMBINING, FILTERS, demanded_of
from schema.mutation import mutation_of
from schema.sweep import guard_of, ordered_entity, page_row
from schema.wiring import declaration_of, python_name

Fielded = GraphQLObjectType | GraphQLInterfaceType
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a viewer may do: `anywhere`, in some scope or other; `everywhere`, in the whole organization.

    own_alone: of `anywhere`, what they may do only with what is about themselves.
    """

    anywhere: frozenset[Permission]
    everywhere: frozenset[Permission]
    own_alone: frozenset[Permission] = frozenset()


def visible_schema(core: GraphQLSchema, reach: Reach | None) -> GraphQLSchema:
    """Return what of the schema is in reach, for showing alone: nothing in it resolves. None: nobody is signed in."""
    return _Copy(core, _Sight(core, reach)).schema


class _Sight:
    """Says what is in reach. A type that nothing can be had of is hidden, and what leads to it with it."""

    def __init__(self, core: GraphQLSchema, reach: Reach | None) -> None:
        self._core = core
        self._reach = reach
        self._anywhere = reach.anywhere if reach else frozenset()
        own = [one for one in core.type_map.values() if not one.name.startswith("__")]
        self._ordered = dict(_ordered_enums(own))
        self._nobody = _answers_of_public_roots(core) if reach is None else frozenset()
        self._hidden: set[str] = set()
        while more := [one.name for one in own if one.name not in self._hidden and self._is_empty(one)]:
            self._hidden.update(more)

    def shows(self, one: GraphQLNamedType) -> bool:
        """Whether the type is in reach."""
        return one.name not in self._hidden

    def fields(self, parent: Fielded) -> dict[str, GraphQLField]:
        """Return the fields of an object that are in reach: a field whose argument can't be given is not."""
        return {
            name: field
            for name, field in parent.fields.items()
            if self._shows_type_of(field)
            and self._shows_field(parent, name, field)
            and all(self._shows_type_of(one) for one in field.args.values() if is_required_argument(one))
        }

    def arguments(self, field: GraphQLField) -> dict[str, GraphQLArgument]:
        """Return the arguments of a field that can be given."""
        return {name: one for name, one in field.args.items() if self._shows_type_of(one)}

    def inputs(self, parent: GraphQLInputObjectType) -> dict[str, GraphQLInputField]:
        """Return the fields of an input that are in reach: of a filter, those on columns that may be read."""
        return {
            name: field
            for name, field in parent.fields.items()
            if self._shows_type_of(field) and self._shows_input(parent, field)
        }

    def values(self, parent: GraphQLEnumType) -> dict[str, GraphQLEnumValue]:
        """Return the values of an enum that are in reach: of an order, those on columns that may be read."""
        entity = self._ordered.get(parent.name)
        if entity is None:
            return parent.values
        return {name: value for name, value in parent.values.items() if self._reads(entity, stored(value))}

    def implementers(self, interface: GraphQLInterfaceType) -> list[Fielded]:
        """Return the types in reach that implement the interface."""
        found = self._core.get_implementations(interface)
        every: list[Fielded] = [*found.objects, *found.interfaces]
        return [one for one in every if self.shows(one)]

    def _is_empty(self, one: GraphQLNamedType) -> bool:
        if isinstance(one, GraphQLEnumType):
            return not self.values(one)
        if isinstance(one, GraphQLInputObjectType):
            must = (field for field in one.fields.values() if isinstance(field.type, GraphQLNonNull))
            # And, or and not of nothing are nothing.
            given = [field for field in self.inputs(one).values() if not _combines(one, field)]
            return not given or not all(self._shows_type_of(field) for field in must)
        if isinstance(one, GraphQLInterfaceType):
            return not self.fields(one) or not self.implementers(one)
        if not isinstance(one, GraphQLObjectType):
            return False
        declared, row = TYPES.get(one.name), page_row(one)
        groups = AGGREGATES.get(one.name)
        model = groups.model if groups else declared.model if declared else None
        if model is not None and not self._lists(model):
            return True
        shown = self.fields(one)
        if declared is not None and declared.is_around_rows:
            return not any(isinstance(get_named_type(field.type), GraphQLObjectType) for field in shown.values())
        return not shown or (row is not None and not self.shows(row))

    def _shows_type_of(self, part: GraphQLField | GraphQLArgument | GraphQLInputField) -> bool:
        return self.shows(get_named_type(part.type))

    def _shows_field(self, parent: Fielded, name: str, field: GraphQLField) -> bool:
        if isinstance(parent, GraphQLInterfaceType):
            return all(name in self.fields(one) for one in self.implementers(parent))
        if parent is self._core.mutation_type:
            return self._shows_mutation(field)
        said = declaration_of(field)
        if isinstance(said, RootField):
            if self._reach is None and not said.public:
                return False
            if said.takes is not None and (self._reach is None or said.takes not in self._reach.everywhere):
                return False
        if parent.name in self._nobody and (field.args or not is_leaf_type(get_named_type(field.type))):
            return False
        target = said.to if isinstance(said, LinkField) else said.of if isinstance(said, RowsField) else None
        if target is not None and not self._lists(target):
            return False
        guard = guard_of(parent.name, field)
        return guard is None or guard[1] is Otherwise.PSEUDONYM or guard[0] in self._anywhere

    def _shows_mutation(self, field: GraphQLField) -> bool:
        said = mutation_of(field)
        if said is None or said.is_public:
            return said is not None
        return self._reach is not None and (not said.takes or not self._anywhere.isdisjoint(said.takes))

    def _shows_input(self, parent: GraphQLInputObjectType, field: GraphQLInputField) -> bool:
        model = FILTERS.get(parent.name)
        if model is None or _combines(parent, field):
            return True
        if not self._lists(model):
            return False
        entity, name = entity_of(model), python_name(field)
        demanded = demanded_of(field, entity.columns[name])
        if demanded is not None and (self._reach is None or demanded not in self._reach.everywhere):
            return False
        return self._reads(entity, name)

    def _lists(self, model: Any) -> bool:
        entity = entity_of(model)
        if self._reach is None or entity.read not in self._anywhere:
            return False
        # Rows that are about nobody are nobody's own.
        has_own = entity.placement is not None and entity.placement.own_column is not None
        return has_own or entity.read not in self._reach.own_alone

    def _reads(self, entity: Entity, name: str) -> bool:
        guard = entity.columns[name].guard
        return guard is None or guard in self._anywhere


class _Copy:
    """Copies what is in reach and can be come by from the roots."""

    def __init__(self, core: GraphQLSchema, sight: _Sight) -> None:
        self._sight = sight
        self._types: dict[str, GraphQLNamedType] = {}
        reached: set[str] = set()
        self._reach(filter(None, (core.query_type, core.mutation_type, core.subscription_type)), reached)
        # In the order of the whole, so that who sees all of it sees it as it is.
        self._types = {name: self._copied(one) for name, one in core.type_map.items() if name in reached}
        self.schema = GraphQLSchema(
            query=self._root(core.query_type),
            mutation=self._root(core.mutation_type),
            subscription=self._root(core.subscription_type),
            types=list(self._types.values()),
            directives=core.directives,
            description=core.description,
        )
        renew_examples(self.schema)

    def _root(self, one: GraphQLObjectType | None) -> GraphQLObjectType | None:
        found = self._types.get(one.name) if one is not None else None
        return found if isinstance(found, GraphQLObjectType) else None

    def _reach(self, types: Iterable[GraphQLNamedType], reached: set[str]) -> None:
        waiting = [one for one in types if self._sight.shows(one)]
        while waiting:
            one = waiting.pop()
            if one.name not in reached:
                reached.add(one.name)
                waiting.extend(next_one for next_one in self._next(one) if self._sight.shows(next_one))

    def _next(self, one: GraphQLNamedType) -> Iterator[GraphQLNamedType]:
        if isinstance(one, GraphQLInputObjectType):
            yield from (get_named_type(field.type) for field in self._sight.inputs(one).values())
        elif isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
            yield from one.interfaces
            for field in self._sight.fields(one).values():
                yield get_named_type(field.type)
                yield from (get_named_type(argument.type) for argument in self._sight.arguments(field).values())
            if isinstance(one, GraphQLInterfaceType):
                yield from self._sight.implementers(one)

    def _copied(self, one: GraphQLNamedType) -> GraphQLNamedType:
        sight = self._sight
        if isinstance(one, GraphQLEnumType):
            values = sight.values(one)
            # Shared where nothing is hidden: it names no other type.
            return (
                one
                if len(values) == len(one.values)
                else GraphQLEnumType(one.name, values, description=one.description)
            )
        if isinstance(one, GraphQLInputObjectType):
            return GraphQLInputObjectType(
                one.name,
                lambda: {name: self._input(field) for name, field in sight.inputs(one).items()},
                description=one.description,
                is_one_of=one.is_one_of,
            )
        if isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
            make: type[Fielded] = GraphQLObjectType if isinstance(one, GraphQLObjectType) else GraphQLInterfaceType
            return make(
                one.name,
                lambda: {name: self._field(field) for name, field in sight.fields(one).items()},
                interfaces=lambda: [self._type(each) for each in one.interfaces if sight.shows(each)],
                description=one.description,
            )
        return one

    def _field(self, field: GraphQLField) -> GraphQLField:
        return GraphQLField(
            self._type(field.type),
            {name: self._argument(one) for name, one in self._sight.arguments(field).items()},
            description=field.description,
            deprecation_reason=field.deprecation_reason,
        )

    def _argument(self, one: GraphQLArgument) -> GraphQLArgument:
        return self._given(GraphQLArgument, one)

    def _input(self, one: GraphQLInputField) -> GraphQLInputField:
        return self._given(GraphQLInputField, one)

    def _given(self, make: Callable[..., V], one: GraphQLArgument | GraphQLInputField) -> V:
        literal = get_default_value_ast(one)
        shown, named = self._type(one.type), get_named_type(one.type)
        if isinstance(literal, EnumValueNode) and isinstance(named, GraphQLEnumType):
            # What falls back on a hidden value is to be given.
            literal = literal if literal.value in self._sight.values(named) else None
        return make(
            shown,
            default=GraphQLDefaultInput(literal=literal) if literal is not None else None,
            description=one.description,
            deprecation_reason=one.deprecation_reason,
        )

    def _type(self, one: Any) -> Any:
        if isinstance(one, GraphQLNonNull):
            return GraphQLNonNull(self._type(one.of_type))
        if isinstance(one, GraphQLList):
            return GraphQLList(self._type(one.of_type))
        return self._types[one.name]


def _combines(parent: GraphQLInputObjectType, field: GraphQLInputField) -> bool:
    """Return whether a field puts filters together, and names no column."""
    return parent.name in FILTERS and python_name(field) in COMBINING


def _answers_of_public_roots(core: GraphQLSchema) -> frozenset[str]:
    """Return the types that a public root answers with, which to nobody is null: a type that is shown needs a field."""
    fields: Mapping[str, GraphQLField] = core.query_type.fields if core.query_type else {}
    return frozenset(
        get_named_type(field.type).name
        for field in fields.values()
        if isinstance(said := declaration_of(field), RootField) and said.public
    )


def _ordered_enums(types: Iterable[GraphQLNamedType]) -> Iterator[tuple[str, Entity]]:
    """Yield the enums whose values are columns to order by, with their table."""
    for one in types:
        entity = ordered_entity(one) if isinstance(one, GraphQLInputObjectType) else None
        if entity is not None and isinstance(one, GraphQLInputObjectType):
            yield get_named_type(one.fields["field"].type).name, entity


def stored(value: GraphQLEnumValue) -> str:
    """Return the column that an order's value names."""
    return str(value.value.value if isinstance(value.value, Enum) else value.value)
