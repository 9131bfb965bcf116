"""Checks every input value, in variables and in literals, and names the path of the one that does not fit.

graphql-core checks the same, and quotes the value in its message: a password typed into the wrong field would be read
back, and logged. So values are checked here first, and only what fits gets there.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    StringValueNode,
    Undefined,
    ValuesOfCorrectTypeRule,
    get_named_type,
    is_input_type,
    type_from_ast,
    value_from_ast_untyped,
)
from graphql.language import SKIP, ArgumentNode, ValueNode, VariableDefinitionNode, VisitorAction
from graphql.utilities.validate_input_value import validate_input_literal, validate_input_value

from models.errors import InvalidInputError
from resolvers.checking import require_storable
from schema.errors import input_error
from schema.text import DEEPEST_NESTING

LONGEST_TEXT = 100_000
"""Characters of any one text: more than the longest column takes."""
MOST_ERRORS = 20
MOST_ITEMS = 1000
"""Entries of any one list."""
MOST_VALUES = 50_000
"""Values in one variable, all levels together."""
TOO_DEEP = "Expected a value that is not nested so deeply."

_Named = Counter[tuple[str | int, ...]]


class InputValueRule(ValuesOfCorrectTypeRule):
    """The specification's rule on literals, with a path and without the value in its errors."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._argument: list[str | int] = []

    def enter_argument(self, node: ArgumentNode, *_: Any) -> None:
        """Remember under which argument the values to come stand."""
        self._argument = [node.name.value]

    def enter_variable_definition(self, node: VariableDefinitionNode, *_: Any) -> None:
        """A default value stands under its variable."""
        self._argument = [node.variable.name.value]

    def enter_string_value(self, node: StringValueNode, *_: Any) -> VisitorAction:
        """Refuse a text that no database keeps."""
        for error in _text_errors(node.value, self._argument):
            self.report_error(error)
        return super().enter_string_value(node)

    def is_valid_value_node(self, node: ValueNode, input_type: GraphQLInputType | None) -> VisitorAction:
        """Check the literal and all that it holds."""
        if input_type:
            argument = list(self._argument)
            found: GraphQLInputType = input_type

            given = value_from_ast_untyped(node)
            named: _Named = Counter()

            def on_error(error: GraphQLError, path: list[str | int]) -> None:
                at = _pointed(found, given, path, named)
                self.report_error(input_error(_expected(found, at), [*argument, *at], error.nodes))

            validate_input_literal(node, input_type, on_error, None, None, True)
            for path, text in _texts_of(node):
                for error in _text_errors(text, [*argument, *path]):
                    self.report_error(error)
        return SKIP


class _EnoughError(Exception):
    pass


class _TooManyError(Exception):
    def __init__(self, message: str, path: list[str | int]) -> None:
        super().__init__(message)
        self.path = path


def variable_errors(
    schema: GraphQLSchema, operation: OperationDefinitionNode, values: Mapping[str, Any], demanded: Collection[str]
) -> list[GraphQLError]:
    """Return what is wrong with the variables of an operation, at most some twenty errors.

    demanded: names of variables that may not be null, though their types say they may.
    """
    errors: list[GraphQLError] = []
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        input_type = type_from_ast(schema, definition.type)
        if input_type is None or not is_input_type(input_type):
            continue
        value = values.get(name, Undefined)
        if value is Undefined:
            if isinstance(input_type, GraphQLNonNull) and definition.default_value is None:
                errors.append(input_error(_expected(input_type, []), [name]))
            continue
        if value is None and name in demanded:
            errors.append(input_error(f"{_expected(input_type, [])[:-1]} and not null, where it stands.", [name]))
            continue
        errors += _value_errors(input_type, name, value)
        if len(errors) >= MOST_ERRORS:
            break
    return errors[:MOST_ERRORS]


def _value_errors(input_type: Any, name: str, value: Any) -> list[GraphQLError]:
    errors: list[GraphQLError] = []
    try:
        for path, text in _texts_in(value):
            errors += _text_errors(text, [name, *path])
    except _TooManyError as error:
        return [input_error(str(error), [name, *error.path])]
    if errors:
        return errors[:MOST_ERRORS]

    named: _Named = Counter()

    def on_error(_: GraphQLError, path: list[str | int]) -> None:
        at = _pointed(input_type, value, path, named)
        errors.append(input_error(_expected(input_type, at), [name, *at]))
        if len(errors) >= MOST_ERRORS:
            raise _EnoughError

    try:
        validate_input_value(value, input_type, on_error, True)
    except _EnoughError:
        return errors
    except RecursionError:
        errors.append(input_error(TOO_DEEP, [name]))
    return errors


def _pointed(input_type: Any, value: Any, path: list[str | int], named: _Named) -> list[str | int]:
    """Return the path of the field at fault, where graphql-core's ends at the object that has it or lacks it.

    named: how many fields of each object were named already, so that each of several is named once.
    """
    here, there = input_type, value
    for part in path:
        here = _step(here, part)
        if isinstance(there, Mapping):
            there = there.get(part)
        elif isinstance(there, list) and isinstance(part, int):
            there = there[part]
        else:
            there = None
    holder = get_named_type(here)
    if isinstance(holder, GraphQLInputObjectType) and isinstance(there, Mapping):
        unknown = [str(key) for key in there if key not in holder.fields]
        missing = [
            key
            for key, field in holder.fields.items()
            if isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined and key not in there
        ]
        before = named[*path]
        named[*path] += 1
        return [*path, *[*unknown, *missing][before : before + 1]]
    return path


def _step(input_type: Any, part: str | int) -> Any:
    """Return the type one step down a path."""
    bare = input_type.of_type if isinstance(input_type, GraphQLNonNull) else input_type
    if isinstance(bare, GraphQLList):
        # A single value stands for a list of one, without a step of its own.
        return bare.of_type if isinstance(part, int) else _step(bare.of_type, part)
    field = bare.fields.get(part) if isinstance(bare, GraphQLInputObjectType) else None
    return field.type if field is not None else bare


def _expected(input_type: Any, path: list[str | int]) -> str:
    """Say what was expected at the path, from the type alone."""
    here: Any = input_type
    for part in path:
        named = get_named_type(here)
        if isinstance(part, str) and isinstance(named, GraphQLInputObjectType) and part not in named.fields:
            return f"Expected a field of {named.name}."
        here = _step(here, part)
    named = get_named_type(here)
    if isinstance(named, GraphQLEnumType):
        return f"Expected one of {', '.join(named.values)}."
    return f"Expected a value of type {here}."


def _text_errors(text: str, path: list[str | int]) -> list[GraphQLError]:
    if len(text) > LONGEST_TEXT:
        return [input_error(f"Expected at most {LONGEST_TEXT} characters.", path)]
    try:
        require_storable(text, at=())
    except InvalidInputError as error:
        return [input_error(error.message, path)]
    return []


def _texts_in(value: Any) -> Iterator[tuple[list[str | int], str]]:
    """Yield every text in a variable, with its path. Iterative: a client chooses how deep it is."""
    pending: list[tuple[list[str | int], Any]] = [([], value)]
    seen = 0
    while pending:
        path, one = pending.pop()
        seen += 1
        if seen + len(pending) > MOST_VALUES:
            raise _TooManyError(f"Expected at most {MOST_VALUES} values.", path)
        if isinstance(one, list | Mapping) and len(one) > MOST_ITEMS:
            raise _TooManyError(f"Expected at most {MOST_ITEMS} entries, got {len(one)}.", path)
        if len(path) > DEEPEST_NESTING:
            raise _TooManyError(TOO_DEEP, path[:1])
        if isinstance(one, str):
            yield path, one
        elif isinstance(one, Mapping):
            pending += [([*path, str(key)], inner) for key, inner in one.items()]
        elif isinstance(one, list):
            pending += [([*path, index], inner) for index, inner in enumerate(one)]


def _texts_of(node: ValueNode) -> Iterator[tuple[list[str | int], str]]:
    """Yield every text in a literal, with its path."""
    pending: list[tuple[list[str | int], Any]] = [([], node)]
    while pending:
        path, one = pending.pop()
        if one.kind == "string_value" and path:
            yield path, one.value
        elif one.kind == "object_value":
            pending += [([*path, field.name.value], field.value) for field in one.fields]
        elif one.kind == "list_value":
            pending += [([*path, index], inner) for index, inner in enumerate(one.values)]
