"""Which inputs may be remembered: whatever is confidential, personal or secret is none of them."""

import re

import pytest
from graphql import GraphQLInputObjectType, GraphQLSchema, get_named_type

from models.inventory import entity_of
from schema.api import Api
from schema.filter import FILTERS
from schema.harmless_input import harmless_inputs
from schema.wiring import python_name
from schema.written import WRITTEN

SECRETS = re.compile(
    r"password|token|secret|proof|totp|passkey|challenge|email|reason|comment|collector|serial", re.IGNORECASE
)


@pytest.fixture
def core(api: Api) -> GraphQLSchema:
    """The schema."""
    return api._schema


@pytest.mark.parametrize(
    "coordinate",
    [
        "SignInInput.password",
        "SignInInput.email",
        "CompleteSignInInput.totp",
        "CompleteSignInInput.recoveryCode",
        "ConfirmTotpInput.code",
        "EnrolDeviceInput.code",
        "ApproveRecordInput.password",
        "RefreshSessionInput.refreshToken",
        "ResetPasswordInput.token",
        "RecordFilter.collector",
        "RecordFilter.latitude",
        "DeviceFilter.serialNumber",
        "CreateRecordInput.collector",
        "CreateRecordInput.comment",
        "CreateRecordInput.longitude",
        "InviteUserInput.name",
        "ArchiveProjectInput.reason",
        "TextFilter.eq",
    ],
)
def test_what_is_secret_personal_or_confidential_is_not_remembered(core: GraphQLSchema, coordinate: str) -> None:
    name, field = coordinate.split(".")
    parent = core.type_map[name]
    assert isinstance(parent, GraphQLInputObjectType)
    assert field in parent.fields

    assert coordinate not in harmless_inputs(core)


@pytest.mark.parametrize(
    "coordinate",
    [
        "Query.records(first:)",
        "Query.records(after:)",
        "Query.record(id:)",
        "RecordFilter.siteCode",
        "RecordFilter.status",
        "RecordOrder.field",
        "CreateRecordInput.siteCode",
        "MeasurementInput.value",
    ],
)
def test_what_is_internal_at_the_most_is_remembered(core: GraphQLSchema, coordinate: str) -> None:
    assert coordinate in harmless_inputs(core)


def test_no_column_that_is_sealed_is_reached_by_an_input_that_is_remembered(core: GraphQLSchema) -> None:
    kept, seen = set(harmless_inputs(core)), 0

    for parent in core.type_map.values():
        if not isinstance(parent, GraphQLInputObjectType):
            continue
        written, searched = WRITTEN.get(parent.name), FILTERS.get(parent.name)
        for name, field in parent.fields.items():
            column_name = written.columns.get(python_name(field)) if written else python_name(field)
            model = written.model if written else searched
            column = entity_of(model).columns.get(column_name or "") if model else None
            if column is not None and (column.is_sealed or column.search is not None):
                seen += 1
                assert f"{parent.name}.{name}" not in kept
    assert seen > 10


def test_no_text_that_is_called_like_a_secret_is_remembered(core: GraphQLSchema) -> None:
    kept = set(harmless_inputs(core))

    for parent in core.type_map.values():
        if isinstance(parent, GraphQLInputObjectType):
            for name, field in parent.fields.items():
                if SECRETS.search(name) and get_named_type(field.type).name == "String":
                    assert f"{parent.name}.{name}" not in kept
