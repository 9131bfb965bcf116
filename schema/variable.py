"""An operation's variables: what a client gave, checked and coerced.

Nearly all that operations are given is read here in one look. Anything that does not fit, or of which a look can't say,
goes the full way: `schema/input_value.py` checks it and says what was expected, graphql-core coerces it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
)
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.type.definition import is_required_input_field
from graphql.utilities.coerce_input_value import coerce_default_value

from schema.input_value import LONGEST_TEXT, MOST_ERRORS, MOST_ITEMS, variable_errors

_LARGEST_INT: Final = 2**31

Look = Callable[[Any], Any]
"""From a value to its coerced value. Raises `_UnsureError` where the full way is to decide."""


class _UnsureError(Exception):
    """A look does not say what becomes of a value."""


class Variables:
    """How the variables of one operation are read. Nothing of any request is in it.

    demanded: those that may not be null, though their types say they may (`schema/demanded.py`).
    """

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, demanded: Collection[str]) -> None:
        self._schema = schema
        self._demanded = demanded
        self._operation = operation
        definitions = operation.variable_definitions or ()
        self.names: Final = tuple(one.variable.name.value for one in definitions)
        self._looks: Sequence[tuple[str, Look, GraphQLVariableSignature]] | None
        try:
            self._looks = [
                _look_of_variable(get_variable_signature(schema, one), one.variable.name.value in demanded)
                for one in definitions
            ]
        except _UnsureError:
            self._looks = None

    def read(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """Return the coerced values, or what graphql-core says where it refuses what was checked.

        Raises:
            InvalidVariablesError: with all that is wrong with them, some twenty errors at the most.
        """
        if self._looks is not None:
            try:
                return self._at_a_look(self._looks, given)
            except _UnsureError:
                pass
        return self._in_full(given)

    def _at_a_look(
        self, looks: Sequence[tuple[str, Look, GraphQLVariableSignature]], given: Mapping[str, Any]
    ) -> VariableValues:
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, look, signature in looks:
            value = given.get(name, Undefined)
            sources[name] = VariableValueSource(signature, value)
            if value is not Undefined:
                coerced[name] = look(value)
            elif isinstance(signature.type, GraphQLNonNull):
                raise _UnsureError
        return VariableValues(sources, coerced)

    def _in_full(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        errors = variable_errors(self._schema, self._operation, given, self._demanded)
        if errors:
            raise InvalidVariablesError(errors)
        return get_variable_values(
            self._schema,
            self._operation.variable_definitions or (),
            dict(given),
            max_errors=MOST_ERRORS,
            hide_suggestions=True,
        )


class InvalidVariablesError(Exception):
    """The variables do not fit. `errors` say what was expected, and where."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("The variables are not valid.")
        self.errors = errors


def _look_of_variable(
    signature: GraphQLVariableSignature | GraphQLError, is_demanded: bool
) -> tuple[str, Look, GraphQLVariableSignature]:
    """Return how a variable is looked at. Raises `_UnsureError` for what always goes the full way."""
    if isinstance(signature, GraphQLError) or signature.default is not None:
        raise _UnsureError
    look = _look(signature.type, ())
    return signature.name, _demanded(look) if is_demanded else look, signature


def _look(type_: Any, inside: tuple[Any, ...]) -> Look:
    """Return how values of a type are looked at. inside: the lists and inputs that they stand in."""
    if isinstance(type_, GraphQLNonNull):
        return _demanded(_bare_look(type_.of_type, inside))
    look = _bare_look(type_, inside)
    return lambda value: None if value is None else look(value)


def _demanded(look: Look) -> Look:
    def demand(value: Any) -> Any:
        if value is None:
            raise _UnsureError
        return look(value)

    return demand


def _bare_look(type_: Any, inside: tuple[Any, ...]) -> Look:
    if isinstance(type_, GraphQLScalarType):
        return _LOOKS.get(type_.name) or _parsed(type_)
    if isinstance(type_, GraphQLEnumType):
        return _one_of({name: type_.coerce_input_value(name) for name in type_.values})
    # A list in a list may be of any size, and an input in itself of any depth: the full way bounds what is given.
    if isinstance(type_, GraphQLList):
        is_within = any(isinstance(one, GraphQLList) for one in inside)
        return _unsure if is_within else _list(_look(type_.of_type, (*inside, type_)))
    if isinstance(type_, GraphQLInputObjectType) and not type_.is_one_of:
        return _unsure if type_ in inside else _object(type_, (*inside, type_))
    raise _UnsureError


def _unsure(_: Any) -> Any:
    raise _UnsureError


def _text(value: Any) -> Any:
    if type(value) is str and value.isascii() and "\0" not in value and len(value) <= LONGEST_TEXT:
        return value
    raise _UnsureError


def _int(value: Any) -> Any:
    if type(value) is int and -_LARGEST_INT <= value < _LARGEST_INT:
        return value
    raise _UnsureError


def _float(value: Any) -> Any:
    if type(value) is float and isfinite(value):
        return value
    raise _UnsureError


def _bool(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise _UnsureError


_LOOKS: Final[Mapping[str, Look]] = {"ID": _text, "String": _text, "Int": _int, "Float": _float, "Boolean": _bool}


def _parsed(scalar: GraphQLScalarType) -> Look:
    """Return how a scalar that is written as a text is looked at."""

    def parse(value: Any) -> Any:
        text = _text(value)
        try:
            return scalar.coerce_input_value(text)
        except Exception as error:
            raise _UnsureError from error

    return parse


def _one_of(values: Mapping[str, Any]) -> Look:
    def look(value: Any) -> Any:
        if type(value) is str and value in values:
            return values[value]
        raise _UnsureError

    return look


def _list(look: Look) -> Look:
    def look_at_all(values: Any) -> Any:
        if type(values) is list and len(values) <= MOST_ITEMS:
            return [look(value) for value in values]
        raise _UnsureError

    return look_at_all


def _object(type_: GraphQLInputObjectType, inside: tuple[Any, ...]) -> Look:
    fields = [
        (
            name,
            field.out_name or name,
            _look(field.type, inside),
            _ABSENT if is_required_input_field(field) else coerce_default_value(field),
        )
        for name, field in type_.fields.items()
    ]
    known, made_of = type_.fields.keys(), type_.out_type

    def look(given: Any) -> Any:
        if type(given) is not dict or not given.keys() <= known:
            raise _UnsureError
        coerced: dict[str, Any] = {}
        for name, out_name, look_at, default in fields:
            if name in given:
                coerced[out_name] = look_at(given[name])
            elif default is _ABSENT:
                raise _UnsureError
            elif default is not Undefined:
                coerced[out_name] = default
        return made_of(coerced)

    return look


_ABSENT: Final = object()
"""Stands for the default of what may not be left out."""
