"""The start-up sweep refuses what is unguarded: shown by unguarding it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLEnumValue,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)

from auth.action import Action
from auth.permission import Permission
from auth.role import OrganizationRole, ProjectRole
from models.aggregation import Function
from models.record import Record as RecordModel
from schema import limits
from schema import sweep as sweep_module
from schema.aggregate import AGGREGATES, AggregateField
from schema.api import build_api
from schema.field import DECLARATION, TYPES, ColumnField, DerivedField, TypeDeclaration
from schema.filter import FILTERS
from schema.mutation import MutationField
from schema.schema_error import SchemaError
from schema.sweep import guard_of, sweep
from schema.wiring import object_types


@pytest.fixture
def core() -> GraphQLSchema:
    """A schema of one's own to spoil."""
    return build_api()._schema


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the declarations back that a test took away."""
    types, filters, aggregates = dict(TYPES), dict(FILTERS), dict(AGGREGATES)
    yield
    AGGREGATES.clear()
    AGGREGATES.update(aggregates)
    TYPES.clear()
    TYPES.update(types)
    FILTERS.clear()
    FILTERS.update(filters)


def _type(core: GraphQLSchema, name: str) -> GraphQLObjectType:
    found = core.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


def _input(core: GraphQLSchema, name: str) -> GraphQLInputObjectType:
    found = core.type_map[name]
    assert isinstance(found, GraphQLInputObjectType)
    return found


def _declare(core: GraphQLSchema, type_name: str, field: str, declared: Any) -> Callable[[], None]:
    definition: Any = _type(core, type_name).fields[field].extensions["strawberry-definition"]
    before = definition.metadata
    definition.metadata = {DECLARATION: declared} if declared is not None else {}

    def undo() -> None:
        definition.metadata = before

    return undo


def test_the_schema_as_it_is_passes_and_every_field_is_looked_at(core: GraphQLSchema) -> None:
    fields = sum(len(one.fields) for one in object_types(core))

    assert sweep(core) == fields > 150


@pytest.mark.parametrize(
    ("type_name", "field", "declared", "message"),
    [
        ("Record", "comment", None, "has no declared guard"),
        ("Record", "siteCode", DerivedField(None, needs=("comment",)), "with a weaker guard"),
        ("Record", "comment", DerivedField(Permission.RECORD_READ, needs=("comment",)), "with a weaker guard"),
        ("Record", "comment", ColumnField("creation_digest"), "which is SECRET"),
        ("User", "name", ColumnField("no_such"), r"^User\.name: membership has no column 'no_such'\.$"),
        ("PageInfo", "endCursor", ColumnField("comment"), "stands for no table"),
        ("Query", "records", None, "is no declared entry"),
        ("Mutation", "approveRecord", None, "has no audit action"),
        (
            "Mutation",
            "submitRecord",
            MutationField(Action.RECORD_SUBMIT, (Permission.RECORD_SUBMIT,), signs=True),
            "signs without the signer's password",
        ),
    ],
)
def test_an_unguarded_field_is_refused(
    core: GraphQLSchema, type_name: str, field: str, declared: Any, message: str
) -> None:
    undo = _declare(core, type_name, field, declared)
    try:
        with pytest.raises(SchemaError, match=message):
            sweep(core)
    finally:
        undo()


def test_a_guarded_field_that_cannot_be_null_is_refused(core: GraphQLSchema) -> None:
    field = _type(core, "Record").fields["comment"]
    field.type = GraphQLNonNull(field.type)

    with pytest.raises(SchemaError, match=r"Record\.comment .*can't be null"):
        sweep(core)


def test_a_type_that_does_not_say_what_it_stands_for_is_refused(core: GraphQLSchema) -> None:
    del TYPES["Device"]

    with pytest.raises(SchemaError, match="does not say what it stands for"):
        sweep(core)


def test_a_filter_on_an_encrypted_column_is_refused(core: GraphQLSchema) -> None:
    definition: Any = core.type_map["RecordFilter"].fields["siteCode"].extensions["strawberry-definition"]  # type: ignore[attr-defined]
    before, definition.python_name = definition.python_name, "comment"
    try:
        with pytest.raises(SchemaError, match="is not on a plain column"):
            sweep(core)
    finally:
        definition.python_name = before


@pytest.mark.parametrize("index", ["collector_index", "collector_pseudonym"])
def test_a_filter_on_a_blind_index_itself_is_refused(core: GraphQLSchema, index: str) -> None:
    definition: Any = _input(core, "RecordFilter").fields["collector"].extensions["strawberry-definition"]
    before, definition.python_name = definition.python_name, index
    try:
        with pytest.raises(SchemaError, match=r"RecordFilter\.collector is not on a plain column"):
            sweep(core)
    finally:
        definition.python_name = before


@pytest.mark.parametrize(
    ("filter_name", "field", "operators"),
    [
        ("RecordFilter", "collector", "TextFilter"),
        ("DeviceFilter", "serialNumber", "TextFilter"),
        ("RecordFilter", "collector", "TimeFilter"),
        ("RecordFilter", "collector", "String"),
    ],
)
def test_a_searchable_column_compared_by_more_than_equality_is_refused(
    core: GraphQLSchema, filter_name: str, field: str, operators: str
) -> None:
    taken = _input(core, filter_name).fields[field]
    taken.type = core.type_map[operators]

    with pytest.raises(SchemaError, match=rf"{filter_name}\.{field} is on an encrypted column and compares by more"):
        sweep(core)


def test_an_operator_that_a_blind_index_cannot_answer_is_refused(core: GraphQLSchema) -> None:
    starts_with = _input(core, "TextFilter").fields["startsWith"]
    _input(core, "ExactTextFilter").fields["contains"] = starts_with

    with pytest.raises(SchemaError, match="compares by more than equality"):
        sweep(core)


def test_a_filter_that_is_not_declared_is_refused(core: GraphQLSchema) -> None:
    del FILTERS["RecordFilter"]

    with pytest.raises(SchemaError, match=r"^Query\.records\(filter\) is no declared filter or order\.$"):
        sweep(core)


@pytest.mark.parametrize(
    ("order", "column"),
    [
        ("RecordOrderField", "collector"),
        ("RecordOrderField", "collector_index"),
        ("RecordOrderField", "comment"),
        ("DeviceOrderField", "serial_number"),
        ("DeviceOrderField", "serial_index"),
    ],
)
def test_an_order_by_an_encrypted_column_or_its_index_is_refused(core: GraphQLSchema, order: str, column: str) -> None:
    columns = core.type_map[order]
    assert isinstance(columns, GraphQLEnumType)
    columns.values["OTHER"] = GraphQLEnumValue(column)

    with pytest.raises(SchemaError, match=rf"field: {column} is not on a plain column"):
        sweep(core)


@pytest.mark.parametrize("function", [None, Function.COUNT, Function.MIN])
@pytest.mark.parametrize("column", ["collector", "collector_index", "comment"])
def test_a_group_or_an_aggregate_of_an_encrypted_column_is_refused(
    core: GraphQLSchema, function: Function | None, column: str
) -> None:
    declared = AGGREGATES["RecordGroup"]
    fields = {**declared.fields, "collected_at_min": AggregateField(RecordModel, column, function)}
    AGGREGATES["RecordGroup"] = replace(declared, fields=fields)

    with pytest.raises(SchemaError, match=r"RecordGroup\.collectedAtMin is not on a plain column"):
        sweep(core)


@pytest.mark.parametrize(
    ("matrix", "role"), [("ORGANIZATION_ROLES", OrganizationRole.AUDITOR), ("PROJECT_ROLES", ProjectRole.VIEWER)]
)
def test_a_role_that_is_not_in_the_matrix_is_refused(
    core: GraphQLSchema, monkeypatch: pytest.MonkeyPatch, matrix: str, role: OrganizationRole | ProjectRole
) -> None:
    whole = getattr(sweep_module, matrix)
    monkeypatch.setattr(sweep_module, matrix, {one: granted for one, granted in whole.items() if one is not role})

    with pytest.raises(SchemaError, match=rf"{type(role).__name__}\.{role} has no permissions in the matrix"):
        sweep(core)


def test_every_confidential_or_personal_column_in_the_schema_is_published_with_its_guard(core: GraphQLSchema) -> None:
    record = _type(core, "Record")

    assert guard_of("Record", record.fields["comment"]) is not None
    assert "record:read_confidential" in str(record.fields["comment"].description)
    printed = build_api().as_str()
    assert 'comment: String @guard(permission: "record:read_confidential", otherwise: "NULL_AND_ERROR")' in printed
    assert 'collector: String @guard(permission: "record:read_personal", otherwise: "PSEUDONYM")' in printed


def test_the_limits_know_every_list_of_the_schema(core: GraphQLSchema) -> None:
    """A list that the limits did not know would be reckoned at one row."""
    pages, lists = set(), set()
    for object_type in object_types(core):
        for name, field in object_type.fields.items():
            target = get_named_type(field.type)
            if target.name.endswith("Connection"):
                pages.add(name)
            elif TYPES.get(target.name, TypeDeclaration()).model is not None and "[" in str(field.type):
                lists.add(name)

    assert pages == limits._PAGES
    assert lists - {"nodes", "edges"} == limits._LISTS
