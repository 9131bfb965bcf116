"""A field's arguments, as its resolver takes them: what stands in the text is worked out once, the rest in each run.

The ordinary way walks the text, the types and strawberry's declarations for each field of each run. Here a field is
looked at once, and what is left to do is to put the variables in their places.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLScalarType,
    Undefined,
    get_nullable_type,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language import ObjectValueNode, ValueNode, VariableNode, Visitor, visit
from graphql.utilities.coerce_input_value import coerce_input_literal
from strawberry import Schema
from strawberry.types.arguments import StrawberryArgument, convert_argument, convert_arguments
from strawberry.types.base import StrawberryObjectDefinition, StrawberryOptional, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

_ABSENT = object()

Part = Callable[[Mapping[str, Any]], Any]
"""From the coerced variables to a value; `_ABSENT` where none is given."""


class Arguments:
    """The arguments of one field of one operation. Nothing of any request is in it."""

    def __init__(self, api: Schema, field: GraphQLField, declared: StrawberryField, node: FieldNode) -> None:
        self._field = field
        self._node = node
        self._convert = _Conversion(api)
        self._parts: list[tuple[str, Part]] = []
        self._in_full: list[StrawberryArgument] = []
        absent: dict[str, Any] = {}
        given = {one.name.value: one.value for one in node.arguments or ()}
        fixed = {}
        for argument in declared.arguments:
            name = api.config.name_converter.from_argument(argument)
            value = given.get(name)
            if value is None or not _has_variables(value):
                fixed[name] = argument
                continue
            core = field.args[name]
            part = self._convert.part(value, core.type, argument.type) if _is_absence(core.default_value) else None
            if part is None:
                self._in_full.append(argument)
                continue
            self._parts.append((argument.python_name, part))
            if core.default_value is None:
                absent[argument.python_name] = None
        known = GraphQLField(field.type, args={name: field.args[name] for name in fixed})
        written = FieldNode(
            name=node.name, arguments=tuple(one for one in node.arguments or () if one.name.value in fixed)
        )
        core_values = get_argument_values(known, written, VariableValues({}, {}), hide_suggestions=True)
        self._fixed = {**absent, **self._convert.arguments(core_values, fixed.values())}

    def of(self, values: VariableValues) -> dict[str, Any]:
        """Return the resolver's arguments by name, with the variables in their places."""
        made = dict(self._fixed)
        for name, part in self._parts:
            value = part(values.coerced)
            if value is not _ABSENT:
                made[name] = value
        if self._in_full:
            core_values = get_argument_values(self._field, self._node, values, hide_suggestions=True)
            made.update(self._convert.arguments(core_values, self._in_full))
        return made


class _Conversion:
    """From graphql-core's values to strawberry's, and the parts of what has variables in it."""

    def __init__(self, api: Schema) -> None:
        self._config = api.config
        self._scalars = api.schema_converter.scalar_registry

    def arguments(self, values: dict[str, Any], declared: Iterable[StrawberryArgument]) -> dict[str, Any]:
        return convert_arguments(values, list(declared), self._scalars, self._config)

    def part(self, node: ValueNode, core: Any, declared: Any) -> Part | None:
        """Return what makes the value of a node in which there are variables; None for what goes the full way."""
        if isinstance(node, VariableNode):
            return _variable(node, core)
        bare = get_nullable_type(core)
        definition = _input_of(declared)
        if (
            not isinstance(node, ObjectValueNode)
            or not isinstance(bare, GraphQLInputObjectType)
            or bare.is_one_of
            or definition is None
        ):
            return None
        return self._object(node, bare, definition)

    def _object(
        self, node: ObjectValueNode, core: GraphQLInputObjectType, definition: StrawberryObjectDefinition
    ) -> Part | None:
        made_of = definition.origin
        given = {one.name.value: one.value for one in node.fields}
        fixed: dict[str, Any] = {}
        parts: list[tuple[str, Part]] = []
        for declared in definition.fields:
            name = self._config.name_converter.from_field(declared)
            field, value = core.fields[name], given.get(name)
            if not _is_absence(field.default_value):
                return None
            if value is None or _has_variables(value):
                # What is not given is null, unless the declaration says otherwise.
                if field.default_value is None or not _has_default(declared):
                    fixed[declared.python_name] = None
                if value is not None:
                    part = self.part(value, field.type, declared.resolve_type(type_definition=definition))
                    if part is None:
                        return None
                    parts.append((declared.python_name, part))
            else:
                coerced = coerce_input_literal(value, field.type)
                kind = declared.resolve_type(type_definition=definition)
                fixed[declared.python_name] = convert_argument(coerced, kind, self._scalars, self._config)

        def make(values: Mapping[str, Any]) -> Any:
            found = {name: made for name, part in parts if (made := part(values)) is not _ABSENT}
            return made_of(**{**fixed, **found})

        return make


def _variable(node: VariableNode, core: Any) -> Part | None:
    # Strawberry hands on the values of leaves as graphql-core has coerced them.
    if not isinstance(get_nullable_type(core), GraphQLScalarType | GraphQLEnumType):
        return None
    name = node.name.value
    return lambda values: values.get(name, _ABSENT)


def _input_of(declared: Any) -> StrawberryObjectDefinition | None:
    """Return the definition of the input that a declared type is, if it is one that is made of its fields."""
    while isinstance(declared, StrawberryOptional | LazyType):
        declared = declared.of_type if isinstance(declared, StrawberryOptional) else declared.resolve_type()
    definition = get_object_definition(declared)
    return definition if definition is not None and definition.from_input is None else None


def _is_absence(default: Any) -> bool:
    """Return whether what is not given is not there, or null."""
    return default is Undefined or default is None


def _has_default(declared: StrawberryField) -> bool:
    return not (declared.default_value is MISSING and declared.default_factory is MISSING)


def _has_variables(node: ValueNode) -> bool:
    looking = _Variables()
    visit(node, looking)
    return looking.found


class _Variables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_variable(self, *_: Any) -> None:
        self.found = True
