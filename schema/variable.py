"""An operation's variables: what a client gave, checked and coerced.

What nearly all operations are given, texts, numbers and ids, is read here in one look. Anything else, and anything that
does not fit, goes the full way: `schema/input_value.py` checks it and says what was expected, graphql-core coerces it.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final

from graphql import GraphQLError, GraphQLNonNull, GraphQLScalarType, GraphQLSchema, OperationDefinitionNode, Undefined
from graphql.execution.get_variable_signature import GraphQLVariableSignature, get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values

from schema.input_value import LONGEST_TEXT, MOST_ERRORS, variable_errors

_LARGEST_INT: Final = 2**31

Look = Callable[[Any], bool]
"""Whether a value is its own coerced value, as most are. False says nothing: the full way decides."""


def _is_plain_text(value: Any) -> bool:
    return type(value) is str and value.isascii() and "\0" not in value and len(value) <= LONGEST_TEXT


def _is_int(value: Any) -> bool:
    return type(value) is int and -_LARGEST_INT <= value < _LARGEST_INT


def _is_float(value: Any) -> bool:
    return type(value) is float and isfinite(value)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


_LOOKS: Final[Mapping[str, Look]] = {
    "ID": _is_plain_text,
    "String": _is_plain_text,
    "Int": _is_int,
    "Float": _is_float,
    "Boolean": _is_bool,
}


class Variables:
    """How the variables of one operation are read. Nothing of any request is in it."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._operation = operation
        definitions = operation.variable_definitions or ()
        self.names: Final = tuple(one.variable.name.value for one in definitions)
        signatures = [get_variable_signature(schema, one) for one in definitions]
        self._looked: Sequence[tuple[str, Look, bool, GraphQLVariableSignature]] | None = None
        looked = [_looked_at(one) for one in signatures]
        if all(one is not None for one in looked):
            self._looked = [one for one in looked if one is not None]

    def read(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """Return the coerced values, or what graphql-core says where it refuses what was checked.

        Raises:
            InvalidVariablesError: with all that is wrong with them, some twenty errors at the most.
        """
        found = self._at_a_look(given)
        return self._in_full(given) if found is None else found

    def _at_a_look(self, given: Mapping[str, Any]) -> VariableValues | None:
        if self._looked is None:
            return None
        sources: dict[str, VariableValueSource] = {}
        coerced: dict[str, Any] = {}
        for name, look, may_lack, signature in self._looked:
            value = given.get(name, Undefined)
            if value is None or value is Undefined:
                if not may_lack:
                    return None
                sources[name] = VariableValueSource(signature, value)
                if value is None:
                    coerced[name] = None
            elif look(value):
                sources[name] = VariableValueSource(signature, value)
                coerced[name] = value
            else:
                return None
        return VariableValues(sources, coerced)

    def _in_full(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        errors = variable_errors(self._schema, self._operation, given)
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


def _looked_at(
    signature: GraphQLVariableSignature | GraphQLError,
) -> tuple[str, Look, bool, GraphQLVariableSignature] | None:
    """Return how a variable is looked at; None for what always goes the full way."""
    if isinstance(signature, GraphQLError) or signature.default is not None:
        return None
    demanded = isinstance(signature.type, GraphQLNonNull)
    bare = signature.type.of_type if isinstance(signature.type, GraphQLNonNull) else signature.type
    look = _LOOKS.get(bare.name) if isinstance(bare, GraphQLScalarType) else None
    return None if look is None else (signature.name, look, not demanded, signature)
