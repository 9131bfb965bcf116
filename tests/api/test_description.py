"""Whatever the contract has says what it is; whatever can be asked for shows how, in a way that holds."""

from collections.abc import Iterator
from functools import partial

import pytest
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    get_operation_ast,
    is_specified_scalar_type,
    parse,
    parse_const_value,
    validate,
)
from graphql.utilities.validate_input_value import validate_input_literal

from auth.permission import Permission
from schema.api import Api
from schema.description import ARGUMENTS, TYPES
from schema.enum_value import PERMISSIONS, VALUES
from schema.example import INPUTS, ROOTS, SHOWN, SUBSCRIPTIONS, example_in
from schema.wiring import object_types


@pytest.fixture
def core(api: Api) -> GraphQLSchema:
    return api._schema


def parts_of(core: GraphQLSchema) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield everything in the contract: its place, its description, and why it is deprecated."""
    for one in core.type_map.values():
        if one.name.startswith("__"):
            continue
        yield one.name, one.description, None
        if isinstance(one, GraphQLObjectType | GraphQLInterfaceType):
            for name, field in one.fields.items():
                yield f"{one.name}.{name}", field.description, field.deprecation_reason
                for argument, given in field.args.items():
                    yield f"{one.name}.{name}({argument})", given.description, given.deprecation_reason
        elif isinstance(one, GraphQLInputObjectType):
            for name, taken in one.fields.items():
                yield f"{one.name}.{name}", taken.description, taken.deprecation_reason
        elif isinstance(one, GraphQLEnumType):
            for name, value in one.values.items():
                yield f"{one.name}.{name}", value.description, value.deprecation_reason


def test_everything_in_the_contract_is_described(core: GraphQLSchema) -> None:
    bare = [place for place, description, _ in parts_of(core) if not (description or "").strip()]

    assert not bare, f"not described: {bare}"


def test_what_is_deprecated_says_what_to_use_instead(core: GraphQLSchema) -> None:
    reasons = {place: reason for place, _, reason in parts_of(core) if reason is not None}

    silent = [place for place, reason in reasons.items() if len(reason.split()) < 3 or reason == "No longer supported"]
    assert not silent, f"deprecated without a reason: {silent}"


def test_every_entry_has_an_example_that_is_valid(core: GraphQLSchema) -> None:
    assert core.query_type is not None
    assert core.mutation_type is not None
    assert core.subscription_type is not None
    for root in (core.query_type, core.mutation_type, core.subscription_type):
        for name, field in root.fields.items():
            example = example_in(field.description)
            assert example, f"{root.name}.{name} has no example"
            document = parse(example)
            assert validate(core, document) == [], (name, example)
            operation = get_operation_ast(document)
            assert operation is not None
            assert core.get_root_type(operation.operation) is root, (name, example)
            asked = [one.name.value for one in operation.selection_set.selections if isinstance(one, FieldNode)]
            assert asked == [name], example


def test_an_example_is_the_only_one_that_a_description_has(core: GraphQLSchema) -> None:
    """One written beside a declaration would be checked by nobody."""
    assert not [place for place, description, _ in parts_of(core) if (description or "").count("Example: ") > 1]


def test_every_input_and_every_scalar_of_ours_has_an_example_that_is_valid(core: GraphQLSchema) -> None:
    for one in core.type_map.values():
        ours = isinstance(one, GraphQLScalarType) and not is_specified_scalar_type(one)
        if not ours and not isinstance(one, GraphQLInputObjectType):
            continue
        assert isinstance(one, GraphQLScalarType | GraphQLInputObjectType)
        example = example_in(one.description)
        assert example, f"{one.name} has no example"
        faults: list[GraphQLError] = []
        validate_input_literal(parse_const_value(example), one, partial(_note, faults), None, None)
        assert not faults, (one.name, example)


def _note(faults: list[GraphQLError], error: GraphQLError, _: object) -> None:
    faults.append(error)


def test_what_is_described_apart_is_there_to_be_described(core: GraphQLSchema) -> None:
    """A description or an example of what has gone would stay behind for good."""
    inputs = {one.name: one for one in core.type_map.values() if isinstance(one, GraphQLInputObjectType)}
    arguments = {name for one in object_types(core) for field in one.fields.values() for name in field.args}

    assert not {one for one in VALUES if one not in core.type_map}
    for name, values in VALUES.items():
        found = core.type_map[name]
        assert isinstance(found, GraphQLEnumType)
        assert set(values) <= set(found.values), name
    assert set(PERMISSIONS) <= set(Permission)
    assert set(ARGUMENTS) <= arguments
    assert set(TYPES) <= set(core.type_map)
    assert core.query_type is not None
    assert core.subscription_type is not None
    assert set(ROOTS) <= set(core.query_type.fields)
    assert set(SUBSCRIPTIONS) <= set(core.subscription_type.fields)
    assert set(INPUTS) <= set(inputs)
    for one in SHOWN:
        name, _, field = one.partition(".")
        assert field in inputs[name].fields, one


def test_no_example_holds_a_secret_that_looks_like_one(core: GraphQLSchema) -> None:
    for place, description, _ in parts_of(core):
        example = example_in(description) or ""
        for word in ("password:", "newPassword:", "token:", "refreshToken:", "proof:"):
            _, found, rest = example.partition(f" {word} ")
            assert not found or rest.startswith('"…"'), place
