"""The start-up sweep holds groups to plain columns, and says so of every field: shown by declaring otherwise."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLEnumValue, GraphQLNonNull, GraphQLObjectType, GraphQLSchema, get_named_type

from models.aggregation import Function
from models.device import Device
from models.inventory import entities, entity_of
from models.measurement import Measurement
from models.record import Record
from schema import limits
from schema.aggregate import AGGREGATES, AggregateField, aggregated_columns, grouped_columns
from schema.api import build_api
from schema.field import Otherwise
from schema.schema_error import SchemaError
from schema.sweep import guard_of, sweep
from schema.wiring import object_types


@pytest.fixture
def core() -> GraphQLSchema:
    """A schema of one's own to spoil."""
    return build_api()._schema


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put the declarations back that a test changed."""
    before = dict(AGGREGATES)
    yield
    AGGREGATES.clear()
    AGGREGATES.update(before)


def _declare(type_name: str, **fields: AggregateField | None) -> None:
    declared = {**AGGREGATES[type_name].fields, **fields}
    kept = {name: one for name, one in declared.items() if one is not None}
    AGGREGATES[type_name] = replace(AGGREGATES[type_name], fields=kept)


def _type(core: GraphQLSchema, name: str) -> GraphQLObjectType:
    found = core.type_map[name]
    assert isinstance(found, GraphQLObjectType)
    return found


@pytest.mark.parametrize(
    ("type_name", "field", "declared", "message"),
    [
        ("RecordGroup", "site_code", AggregateField(Record, "comment", None), "siteCode is not on a plain column"),
        ("RecordGroup", "site_code", AggregateField(Record, "collector", None), "is not on a plain column"),
        ("RecordGroup", "site_code", AggregateField(Record, "collector_index", None), "is not on a plain column"),
        ("RecordGroup", "site_code", AggregateField(Record, "no_such", None), "is not on a plain column"),
        (
            "RecordGroup",
            "collected_at_max",
            AggregateField(Record, "review_reason", Function.MAX),
            "collectedAtMax is not on a plain column",
        ),
        ("RecordGroup", "count", AggregateField(Record, "comment", Function.COUNT), "count is not on a plain column"),
        (
            "RecordGroup",
            "count",
            AggregateField(Record, "status", Function.COUNT),
            "is guarded and can't be null",
        ),
        ("RecordGroup", "medium", None, "medium is of a type of groups and says not what it shows"),
        ("RecordGroup", "count", AggregateField(Record, None, None), "is not on a plain column"),
        ("RecordGroup", "site_code", AggregateField(Device, "platform", None), "that its groups are not made of"),
        (
            "MeasurementGroup",
            "value_count",
            AggregateField(Record, "version", Function.COUNT),
            "that its groups are not made of",
        ),
        (
            "MeasurementGroup",
            "value_sum",
            AggregateField(Measurement, "unit", Function.SUM),
            "computes numbers of what are none",
        ),
        (
            "MeasurementGroup",
            "value_sum",
            AggregateField(Measurement, "value", Function.SUM, within="currency"),
            "computed within currency, which is no key",
        ),
    ],
)
def test_an_aggregate_on_what_is_no_plain_column_is_refused(
    core: GraphQLSchema, type_name: str, field: str, declared: AggregateField | None, message: str
) -> None:
    _declare(type_name, **{field: declared})

    with pytest.raises(SchemaError, match=message):
        sweep(core)


def test_a_guarded_aggregate_that_cannot_be_null_is_refused(core: GraphQLSchema) -> None:
    field = _type(core, "MeasurementGroup").fields["valueAvg"]
    field.type = GraphQLNonNull(field.type)

    with pytest.raises(SchemaError, match=r"MeasurementGroup\.valueAvg is guarded and can't be null"):
        sweep(core)


def test_a_type_of_groups_that_is_not_declared_is_refused(core: GraphQLSchema) -> None:
    del AGGREGATES["RecordGroup"]

    with pytest.raises(SchemaError, match="does not say what it stands for"):
        sweep(core)


def test_keys_that_are_not_those_of_the_groups_are_refused(core: GraphQLSchema) -> None:
    keys = core.type_map["RecordGroupKey"]
    assert isinstance(keys, GraphQLEnumType)
    keys.values["COMMENT"] = GraphQLEnumValue("comment")

    with pytest.raises(SchemaError, match="RecordGroupKey offers other keys than its groups show: comment"):
        sweep(core)


def test_every_field_of_a_group_is_published_with_its_guard(core: GraphQLSchema) -> None:
    for name, groups in AGGREGATES.items():
        for field in _type(core, name).fields.values():
            definition: Any = field.extensions["strawberry-definition"]
            said = groups.fields[definition.python_name]
            expected = (said.stored.guard, Otherwise.ROW_LEFT_OUT) if said.stored and said.stored.guard else None
            assert guard_of(name, field) == expected
            assert ("without it, the row does not count" in str(field.description)) == (expected is not None)


def test_what_is_grouped_and_aggregated_is_said_by_column() -> None:
    assert grouped_columns(Record) == {"project_id", "site_code", "status", "medium", "collected_at"}
    assert aggregated_columns(Record) == {"collected_at"}
    assert grouped_columns(Measurement) == {"project_id", "characteristic", "fraction", "unit"}
    assert aggregated_columns(Measurement) == {"value"}
    assert grouped_columns(Device) == aggregated_columns(Device) == frozenset()


def test_nothing_that_is_said_to_be_grouped_or_aggregated_is_encrypted_or_secret() -> None:
    for entity in entities():
        for name in grouped_columns(entity.model) | aggregated_columns(entity.model):
            column = entity_of(entity.model).columns[name]
            assert column.is_in_api
            assert not column.is_sealed


def test_the_limits_know_every_list_of_groups(core: GraphQLSchema) -> None:
    """A list that the limits did not know would be reckoned at one row."""
    lists = {
        name
        for object_type in object_types(core)
        for name, field in object_type.fields.items()
        if get_named_type(field.type).name in AGGREGATES and object_type.name not in AGGREGATES
    }

    assert lists == limits._GROUPS
