"""A field's arguments, as its resolver takes them: what stands in the text is worked out once, the rest in each run.

The ordinary way walks the text, the types and strawberry's declarations for each field of each run. Here a field is
looked at once, and what is left to do is to put the variables in their places.
"""

from collections.abc import Callable, Mapping
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
from strawberry.schema.config import StrawberryConfig
from strawberry.types.base import StrawberryObjectDefinition, StrawberryOptional, get_object_definition
from strawberry.types.field import StrawberryField
from strawberry.types.lazy_type import LazyType

from schema.input_object import Make, maker_of

_ABSENT = object()

Part = Callable[[Mapping[str, Any]], Any]
"""From the coerced variables to a value; `_ABSENT` where none is given."""


class Arguments:
    """The arguments of one field of one operation. Nothing of any request is in it."""

    def __init__(
        self, config: StrawberryConfig, field: GraphQLField, declared: StrawberryField, node: FieldNode
    ) -> None:
        self._field = field
        self._node = node
        self._parts: list[tuple[str, Part]] = []
        self._in_full: dict[str, Argument] = {}
        given = {one.name.value: one.value for one in node.arguments or ()}
        fixed: dict[str, Argument] = {}
        absent: dict[str, Any] = {}
        for argument in declared.arguments:
            name = config.name_converter.from_argument(argument)
            known = argument.python_name, maker_of(argument.type, config)
            value = given.get(name)
            if value is None or not _has_variables(value):
                fixed[name] = known
                continue
            core = field.args[name]
            part = _part(config, value, core.type, argument.type) if _is_absence(core.default_value) else None
            if part is None:
                self._in_full[name] = known
                continue
            self._parts.append((argument.python_name, part))
            if core.default_value is None:
                absent[argument.python_name] = None
        as_written = FieldNode(
            name=node.name, arguments=tuple(one for one in node.arguments or () if one.name.value in fixed)
        )
        only = GraphQLField(field.type, args={name: field.args[name] for name in fixed})
        values = get_argument_values(only, as_written, VariableValues({}, {}), hide_suggestions=True)
        self._fixed = {**absent, **_made(fixed, values)}

    def of(self, values: VariableValues) -> dict[str, Any]:
        """Return the resolver's arguments by name, with the variables in their places."""
        made = dict(self._fixed)
        for name, part in self._parts:
            value = part(values.coerced)
            if value is not _ABSENT:
                made[name] = value
        if self._in_full:
            given = get_argument_values(self._field, self._node, values, hide_suggestions=True)
            made.update(_made(self._in_full, given))
        return made


Argument = tuple[str, Make]
"""An argument's name in the code, and what makes its values."""


def _made(arguments: Mapping[str, Argument], values: Mapping[str, Any]) -> dict[str, Any]:
    return {python_name: make(values[name]) for name, (python_name, make) in arguments.items() if name in values}


def _part(config: StrawberryConfig, node: ValueNode, core: Any, declared: Any) -> Part | None:
    """Return what makes the value of a node in which there are variables; None for what goes the full way."""
    if isinstance(node, VariableNode):
        return _variable(node, core)
    bare = get_nullable_type(core)
    definition = _input_of(declared)
    if (
        isinstance(node, ObjectValueNode)
        and isinstance(bare, GraphQLInputObjectType)
        and not bare.is_one_of
        and definition is not None
    ):
        return _object(config, node, bare, definition)
    return None


def _object(
    config: StrawberryConfig,
    node: ObjectValueNode,
    core: GraphQLInputObjectType,
    definition: StrawberryObjectDefinition,
) -> Part | None:
    made_of = definition.origin
    given = {one.name.value: one.value for one in node.fields}
    fixed: dict[str, Any] = {}
    parts: list[tuple[str, Part]] = []
    for declared in definition.fields:
        name = config.name_converter.from_field(declared)
        field, value = core.fields[name], given.get(name)
        kind = declared.resolve_type(type_definition=definition)
        if not _is_absence(field.default_value):
            return None
        if value is not None and not _has_variables(value):
            fixed[declared.python_name] = maker_of(kind, config)(coerce_input_literal(value, field.type))
            continue
        # What is not given is null, unless the declaration says otherwise.
        if field.default_value is None or not _has_default(declared):
            fixed[declared.python_name] = None
        if value is not None:
            part = _part(config, value, field.type, kind)
            if part is None:
                return None
            parts.append((declared.python_name, part))

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
