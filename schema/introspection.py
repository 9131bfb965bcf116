"""Introspection: each viewer is shown what some role of theirs could reach (`schema/sight.py`).

One schema executes for everyone, so that a dashboard's documents are valid for every role. An operation that asks for
the schema runs in an executor of its own (`schema/api.py: Api.execute` chooses), in which `__schema` and `__type`
answer with the viewer's part.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    OperationDefinitionNode,
    OperationType,
    get_argument_values,
    get_named_type,
    get_nullable_type,
    introspection_types,
    is_abstract_type,
    is_wrapping_type,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields
from graphql.pyutils import Path
from graphql.type.introspection import SchemaMetaFieldDef, TypeMetaFieldDef, TypeNameMetaFieldDef

from auth.principal import Viewer
from schema.context import RequestContext, ResolveInfo
from schema.execution import RowsExecutor
from schema.limits import TooComplexError
from schema.parsing import parsed
from schema.sight import Reach, visible_schema
from schema.text import extent_of

MOST_KEPT: Final = 64
"""Schemas in memory, one for each set of permissions: a MiB each, and 75 ms of a core to make another, as measured over
all permissions by tracemalloc and process time.
"""
ROOM: Final = 8
"""An answer about the schema has at most an eighth more fields than all of the schema takes, shown once
(`fields_of`): tools ask for a type by its name besides, and for little twice.
"""
MOST_TO_ASK: Final = 1_000
"""Tokens of a text that is looked at for whether it asks for the schema alone. Clients ask with some three hundred."""

_VISIBLE: Final = "visible"
_ASKS: Final = re.compile(r"__(?:schema|type)\b")
_ROOTS: Final = frozenset({"__schema", "__type", "__typename"})
_TYPES: Final = frozenset(introspection_types.values())
_METAS: Final = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}


def reach_of(viewer: Viewer) -> Reach:
    """Return what the viewer may do: in the organization, in any of their projects, with what is about themselves."""
    access = viewer.access
    by_roles = access.everywhere.union(*access.projects.values())
    return Reach(anywhere=access.reach, everywhere=access.everywhere, own_alone=access.reach - by_roles)


@dataclass(frozen=True, slots=True)
class Shown:
    """What all who reach the same are shown of the schema. most: how many fields an answer about it may have."""

    part: GraphQLSchema
    most: int


def publish_sights(core: GraphQLSchema) -> None:
    """Let the schema be shown: each part of it is made once for all who reach the same."""
    core.extensions[_VISIBLE] = lru_cache(MOST_KEPT)(partial(_shown, core))


def fields_of(part: GraphQLSchema) -> int:
    """Return how many fields an answer has that shows all of a schema once, with the `__typename` of each object.

    No tool's query for the whole schema is answered with more: all that there is of each type, field, argument, value
    and directive, and of what they lead to the name and the kind, down to the innermost.
    """
    roots = [one for one in (part.query_type, part.mutation_type, part.subscription_type) if one is not None]
    types = sum(_fields_of_type(part, one) for one in part.type_map.values())
    directives = sum(_size("__Directive") + _fields_of_inputs(one.args) for one in part.directives)
    return 1 + _size("__Schema") + sum(map(_fields_of_reference, roots)) + types + directives


def asks_for_schema(document: DocumentNode) -> bool:
    """Return whether anything in the document asks for the schema. May say so of a text in which that is mere words."""
    # A name can be written in one way only, wherever it stands.
    return document.loc is None or _ASKS.search(document.loc.source.body) is not None


def asks_for_schema_alone(text: str) -> bool:
    """Return whether a text's queries ask for the schema and for nothing else: what is public for whoever asks."""
    if _ASKS.search(text) is None:
        return False
    try:
        if extent_of(text).tokens > MOST_TO_ASK:
            return False
        document = parsed(text, MOST_TO_ASK)
    except (GraphQLError, TooComplexError, RecursionError):
        return False
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    return all(
        one.operation is OperationType.QUERY
        and all(isinstance(root, FieldNode) and root.name.value in _ROOTS for root in one.selection_set.selections)
        for one in operations
    )


class SchemaExecutor(RowsExecutor):
    """Runs an operation that asks for the schema: as any other, but what shows the schema shows the viewer's part.

    Whoever asks chooses it, by a mere word in a comment: so whatever is noted or refused where rows are completed is so
    here as well.

    reckoned: how many fields of the schema were counted (`reckon`); of too many, those until that was known.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._shown: Shown | None = None
        self.reckoned = 0

    def reckon(self) -> int:
        """Return how many fields of the schema the answer will have, each as often as it is shown. Nothing is run.

        Raises:
            TooComplexError: more than one answer may have. The rest was not counted.
        """
        query, context = self.schema.query_type, self.context_value
        if context.refusal is not None or query is None or self.operation.operation is not OperationType.QUERY:
            # Nothing of the schema is shown.
            return 0
        collected = collect_fields(
            self.schema, self.fragments, self.variable_values, query, self.operation, self.hide_suggestions
        )
        for details in collected.grouped_field_set.values():
            field = _METAS.get(details[0].node.name.value)
            if field is not None:
                self._reckon(field, details, _Met([(None, 1)], 1))
        return self.reckoned

    def build_resolve_info(
        self, field_def: GraphQLField, field_nodes: list[FieldNode], parent_type: GraphQLObjectType, path: Path
    ) -> ResolveInfo:
        """Return what a field resolves with: introspection's own fields read the schema from it, and nowhere else."""
        info: Any = super().build_resolve_info(field_def, field_nodes, parent_type, path)
        if parent_type in _TYPES or field_def is SchemaMetaFieldDef or field_def is TypeMetaFieldDef:
            return info._replace(schema=self._what_is_shown().part)
        return info

    def _reckon(self, field: GraphQLField, details: FieldDetailsList, met: "_Met") -> None:
        """Count a field of each object that is met, and all that is asked for below it.

        The way is graphql-core's own, but for the leaves, and an object that is met often on it is looked at once. No
        more objects are looked at than fields are counted.
        """
        shown = self._what_is_shown()
        self.reckoned += met.times
        if self.reckoned > shown.most:
            raise TooComplexError(
                f"The operation asks for more than {shown.most} fields of the schema. Ask for less at once.",
                limit="fields of the schema",
                most=shown.most,
            )
        target = get_named_type(field.type)
        if not isinstance(target, GraphQLObjectType):
            return
        given = get_argument_values(field, details[0].node, self.variable_values)
        beyond = met.beyond(field, given, shown)
        if beyond.times:
            for inner in self.collect_subfields(target, details).grouped_field_set.values():
                # What has no field of that name is asked for the name of its type.
                next_field = target.fields.get(inner[0].node.name.value, TypeNameMetaFieldDef)
                self._reckon(next_field, inner, beyond)

    def _what_is_shown(self) -> Shown:
        if self._shown is None:
            context: RequestContext = self.context_value
            if context.refusal is not None:
                # Who came with a token is not shown what anyone is, as if it were theirs.
                raise GraphQLError(context.refusal.message, original_error=context.refusal)
            viewer = context.actor.viewer
            shown: Callable[[Reach | None], Shown] = self.schema.extensions[_VISIBLE]
            self._shown = shown(reach_of(viewer) if viewer else None)
        return self._shown


@dataclass(frozen=True, slots=True)
class _Met:
    """Objects of introspection that an answer comes to at one place of its operation, each with how often.

    times: how often in all.
    """

    objects: Iterable[tuple[Any, int]]
    times: int

    def beyond(self, field: GraphQLField, given: dict[str, Any], shown: Shown) -> "_Met":
        """Return what the field leads to with these arguments."""
        info: Any = _Told(shown.part)
        resolve: Any = field.resolve
        is_list = isinstance(get_nullable_type(field.type), GraphQLList)
        objects: dict[int, Any] = {}
        counts: dict[int, int] = defaultdict(int)
        times = 0
        for one, count in self.objects:
            led = resolve(one, info, **given)
            for each in () if led is None else led if is_list else (led,):
                # A field, an argument or a value comes with its name, in a pair that is made for this time.
                key = id(each[1] if isinstance(each, tuple) else each)
                objects[key] = each
                counts[key] += count
                times += count
        return _Met([(each, counts[key]) for key, each in objects.items()], times)


@dataclass(frozen=True, slots=True)
class _Told:
    """What of a field's `info` introspection looks at."""

    schema: GraphQLSchema


def _shown(core: GraphQLSchema, reach: Reach | None) -> Shown:
    part = visible_schema(core, reach)
    whole = fields_of(part)
    return Shown(part, whole + whole // ROOM)


def _size(name: str) -> int:
    """Return how many fields an object of introspection has, its `__typename` among them."""
    of = introspection_types[name]
    assert isinstance(of, GraphQLObjectType)
    return len(of.fields) + 1


def _fields_of_type(part: GraphQLSchema, one: GraphQLNamedType) -> int:
    found = _size("__Type")
    if isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
        found += sum(map(_fields_of_field, one.fields.values()))
        found += sum(map(_fields_of_reference, one.interfaces))
    if is_abstract_type(one):
        found += sum(map(_fields_of_reference, part.get_possible_types(one)))
    if isinstance(one, GraphQLInputObjectType):
        found += _fields_of_inputs(one.fields)
    if isinstance(one, GraphQLEnumType):
        found += len(one.values) * _size("__EnumValue")
    return found


def _fields_of_field(one: GraphQLField) -> int:
    return _size("__Field") + _fields_of_reference(one.type) + _fields_of_inputs(one.args)


def _fields_of_inputs(given: Mapping[str, GraphQLArgument] | Mapping[str, GraphQLInputField]) -> int:
    return sum(_size("__InputValue") + _fields_of_reference(one.type) for one in given.values())


def _fields_of_reference(of: GraphQLType) -> int:
    """Return what it takes to name a type: `kind`, `name`, `ofType` and `__typename`, of what it wraps as well."""
    found = 4
    while is_wrapping_type(of):
        of, found = of.of_type, found + 4
    return found
