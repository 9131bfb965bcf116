"""Whatever the contract has says what it is, and shows it by an example that holds."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    get_named_type,
    get_operation_ast,
    is_leaf_type,
    is_specified_scalar_type,
    parse,
    validate,
)

from auth.permission import Permission
from schema.api import Api
from schema.description import ARGUMENTS, TYPES
from schema.enum_value import PERMISSIONS, VALUES
from schema.example import INPUTS, ROOTS, SHOWN, SUBSCRIPTIONS, example_in
from schema.example_word import is_untold, words
from schema.wiring import object_types
from tests.support.example import faults_of


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


def undescribed(core: GraphQLSchema) -> list[str]:
    """Return the places in the contract that do not say what they are."""
    return [place for place, description, _ in parts_of(core) if not (description or "").strip()]


def silent(core: GraphQLSchema) -> list[str]:
    """Return the places that are deprecated without a word on what to use instead."""
    reasons = {place: reason for place, _, reason in parts_of(core) if reason is not None}
    return [place for place, reason in reasons.items() if len(reason.split()) < 3 or reason == "No longer supported"]


def values_of(core: GraphQLSchema) -> Iterator[tuple[str, str, str | None, Any]]:
    """Yield each field and argument that holds a value: its owner and name, its description and its type."""
    for one in core.type_map.values():
        if one.name.startswith("__") or not isinstance(
            one, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType
        ):
            continue
        for name, field in one.fields.items():
            if is_leaf_type(get_named_type(field.type)):
                yield one.name, name, field.description, field.type
            for argument, given in getattr(field, "args", {}).items():
                if is_leaf_type(get_named_type(given.type)):
                    yield name, argument, given.description, given.type


def unshown(core: GraphQLSchema) -> list[str]:
    """Return the types, and the fields and arguments that hold a value, without an example or with one of no use."""
    found = []
    for one in core.type_map.values():
        if not one.name.startswith("__") and not is_specified_scalar_type(one):
            example = example_in(one.description)
            found += [f"{one.name}: {fault}" for fault in (faults_of(example, one) if example else ["no example"])]
    for of, name, description, type_ in values_of(core):
        example = example_in(description)
        found += [f"{of}.{name}: {fault}" for fault in (faults_of(example, type_) if example else ["no example"])]
    return found


def test_everything_in_the_contract_is_described(core: GraphQLSchema) -> None:
    assert not undescribed(core)


def test_what_is_deprecated_says_what_to_use_instead(core: GraphQLSchema) -> None:
    assert not silent(core)


@pytest.mark.parametrize("said", ["", '(reason: "")', '(reason: "Old.")', '(reason: "No longer supported")'])
def test_a_deprecation_that_does_not_say_what_to_use_instead_is_found(said: str) -> None:
    core = build_schema(f"""
        type Query {{ old(by: Int @deprecated{said}): Kind @deprecated{said} }}
        type Other {{ old: Int @deprecated(reason: "Ask for `kind`.") }}
        enum Kind {{ OLD @deprecated{said}, ELDER @deprecated(reason: "Say OLD instead.") }}
        input Given {{ old: Int @deprecated{said} }}
    """)

    assert set(silent(core)) == {"Query.old", "Query.old(by)", "Kind.OLD", "Given.old"}


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


def test_every_type_and_everything_that_holds_a_value_has_an_example_that_is_valid(core: GraphQLSchema) -> None:
    assert not unshown(core)


def test_what_has_no_description_or_example_or_a_wrong_one_is_found() -> None:
    core = build_schema("""
        "Example: `{count: 1}`"
        type Query { bare(at: Int): Int, "Example: `1.5`" count: Int!, "Example: `1`" many: [Int!], way: Kind }
        "Example: `C`"
        enum Kind { A }
        "Example: `{gone: 1}`"
        type Past { "Example: `1`" here: Int }
    """)

    assert set(undescribed(core)) == {"Query.bare", "Query.bare(at)", "Query.way", "Kind.A"}
    assert {one.partition(":")[0] for one in unshown(core)} == {
        *("Kind", "Past", "Query.bare", "bare.at", "Query.count", "Query.many", "Query.way"),
    }


def test_three_dots_stand_for_nothing_but_what_is_not_to_be_told(core: GraphQLSchema) -> None:
    """A text that says nothing of itself wants a word in `schema/example_word.py`."""
    for of, name, description, type_ in values_of(core):
        if get_named_type(type_).name == "String":
            example = example_in(description) or ""
            assert (example.strip("[]") == '"…"') == is_untold(of, name), f"{of}.{name}: {example}"


def test_each_id_in_an_example_is_of_a_type_that_is_there(core: GraphQLSchema) -> None:
    for place, description, _ in parts_of(core):
        for one in re.findall(r'"(\w+):0198c0de-', example_in(description) or ""):
            assert one in core.type_map, f"{place}: {one}"


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
    places = {part for of, name, _, _ in values_of(core) for part in (name, f"{of}.{name}")}
    assert words() <= places | set(core.type_map)


def test_no_example_holds_a_secret_that_looks_like_one(core: GraphQLSchema) -> None:
    for place, description, _ in parts_of(core):
        example = example_in(description) or ""
        for word in ("password:", "newPassword:", "token:", "refreshToken:", "proof:"):
            _, found, rest = example.partition(f" {word} ")
            assert not found or rest.startswith('"…"'), place
