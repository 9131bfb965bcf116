"""What of a schema is shown for a set of permissions: of the real one, and of one made to be cut through."""

# ruff: noqa: N805, ARG002  (a field's resolver is no method)

from collections.abc import Iterator
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
import strawberry
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    print_schema,
    validate_schema,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.access import Grant, access_of
from auth.permission import Permission as P
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole, ProjectRole
from models.record import Record as RecordModel
from schema.api import build_api
from schema.connection import OrderDirection
from schema.example import example_in
from schema.field import TYPES, column, resolved, root, stands_for
from schema.filter import FILTERS, TextFilter, demanding, filters
from schema.introspection import reach_of
from schema.mutation import mutation_of
from schema.sight import Reach, visible_schema
from schema.sweep import guard_of
from tests.support.example import faults_of
from tests.support.mutation import OPEN_TO_ALL

CORE = build_api()._schema
ALL = frozenset(P)


FOR_EVERYBODY = OPEN_TO_ALL | {
    name
    for name, field in (CORE.mutation_type.fields if CORE.mutation_type else {}).items()
    if (said := mutation_of(field)) is not None and (said.own or said.signed_in)
}
"""What is about how one signs in oneself, and takes no permission."""


def reach(*permissions: P, everywhere: frozenset[P] = frozenset()) -> Reach:
    """Return a reach of these permissions."""
    return Reach(frozenset(permissions), everywhere)


def without(*permissions: P) -> GraphQLSchema:
    """Return the schema as who has all but these permissions is shown it."""
    return visible_schema(CORE, Reach(ALL - set(permissions), ALL - set(permissions)))


def fields(schema: GraphQLSchema, name: str) -> set[str]:
    """Return the names of the type's fields; none where there is no such type."""
    return set(getattr(schema.type_map.get(name), "fields", ()))


def guards(name: str) -> dict[str, str | None]:
    """Return, by the type's fields, the permission that reading takes."""
    one = CORE.type_map[name]
    assert isinstance(one, GraphQLObjectType)
    found = {field_name: guard_of(name, field) for field_name, field in one.fields.items()}
    return {field_name: guard[0] if guard else None for field_name, guard in found.items()}


def test_who_may_do_everything_is_shown_everything() -> None:
    shown = visible_schema(CORE, Reach(ALL, ALL))

    assert print_schema(shown) == print_schema(CORE)
    assert list(shown.type_map) == list(CORE.type_map)


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(P)), st.sets(st.sampled_from(P)))
def test_whatever_is_in_reach_the_schema_is_valid_and_less_is_never_more(some: set[P], more: set[P]) -> None:
    few = visible_schema(CORE, Reach(frozenset(some), frozenset(some)))
    many = visible_schema(CORE, Reach(frozenset(some | more), frozenset(some | more)))

    assert validate_schema(few) == []
    assert _names(few) <= _names(many) <= _names(CORE)


@settings(max_examples=30, deadline=None)
@given(st.none() | st.sets(st.sampled_from(P)))
def test_whatever_is_in_reach_no_example_of_an_answer_names_what_is_not(some: set[P] | None) -> None:
    shown = visible_schema(CORE, None if some is None else Reach(frozenset(some), frozenset(some)))

    for one in shown.type_map.values():
        if one.name.startswith("__"):
            continue
        if isinstance(one, GraphQLObjectType | GraphQLInterfaceType | GraphQLEnumType):
            assert faults_of(example_in(one.description) or "", one) == [], one.name
        for name, part in getattr(one, "fields", {}).items():
            for each in (part, *getattr(part, "args", {}).values()):
                if isinstance(get_named_type(each.type), GraphQLEnumType):
                    assert faults_of(example_in(each.description) or "", each.type) == [], f"{one.name}.{name}"


def test_what_an_example_names_that_is_hidden_is_named_to_who_sees_it_alone() -> None:
    shown = without(P.RECORD_READ)

    assert CORE.type_map["RecordPayload"].description != shown.type_map["RecordPayload"].description


def test_what_is_shown_is_for_showing_and_resolves_nothing() -> None:
    shown = visible_schema(CORE, Reach(ALL, ALL))

    for one in shown.type_map.values():
        if isinstance(one, GraphQLObjectType) and not one.name.startswith("__"):
            assert all(field.resolve is None for field in one.fields.values())
            assert one is not CORE.type_map[one.name]


def test_nobody_is_shown_how_to_sign_in_and_no_more() -> None:
    shown = visible_schema(CORE, None)

    assert validate_schema(shown) == []
    assert fields(shown, "Query") == {"viewer"}
    assert fields(shown, "Viewer") == {"role", "mustAddSecondFactor", "recoveryCodesLeft"}
    assert fields(shown, "Mutation") == OPEN_TO_ALL
    assert {name for name in shown.type_map if not name.startswith("__")} == {
        "Query",
        "Viewer",
        "OrganizationRole",
        "Mutation",
        "SignInInput",
        "SignInPayload",
        "SignInChallenge",
        "SignInFactor",
        "SignInDelivery",
        "CompleteSignInInput",
        "PasskeyRequestPayload",
        "SignInWithPasskeyInput",
        "EnrolDeviceInput",
        "EnrolDevicePayload",
        "RefreshSessionInput",
        "AcceptInvitationInput",
        "AcceptInvitationPayload",
        *("ConfirmErasureByLinkInput", "ConfirmErasureByLinkPayload"),
        *("RequestPasswordResetInput", "ResetPasswordInput", "PasswordPayload"),
        *("ConfirmErasureByLinkInput", "ConfirmErasureByLinkPayload"),
        "UserError",
        "ErrorCode",
        "DateTime",
        "Int",
        "ID",
        "String",
        "Boolean",
    }


def test_a_guarded_field_is_hidden_and_a_masked_one_is_not() -> None:
    shown = without(P.RECORD_READ_CONFIDENTIAL, P.RECORD_READ_PERSONAL, P.MEMBERSHIP_READ_PERSONAL)

    hidden = fields(CORE, "Record") - fields(shown, "Record")
    assert hidden >= {"comment", "reviewReason"}
    guarded = {P.RECORD_READ_CONFIDENTIAL, P.RECORD_READ_PERSONAL}
    assert hidden == {name for name, guard in guards("Record").items() if guard in guarded} - {"collector"}
    assert fields(CORE, "User") - fields(shown, "User") == {"name", "email"}


def test_a_table_that_may_not_be_read_goes_with_all_that_leads_to_it_or_is_for_it() -> None:
    shown = without(P.RECORD_READ)

    gone = set(CORE.type_map) - set(shown.type_map)
    assert gone == {
        "Record",
        "RecordConnection",
        "RecordEdge",
        "RecordFilter",
        "RecordOrder",
        "RecordOrderField",
        "RecordStatus",
        "RecordStatusFilter",
        "RecordViewerCan",
        "RecordVersion",
        "RecordVersionConnection",
        "RecordVersionEdge",
        "RowChange",
        "PastRecord",
        "PastMeasurement",
        "MediumFilter",
        "Measurement",
        "MeasurementFilter",
        "MeasurementGroup",
        "MeasurementGroupKey",
        "MeasurementSeries",
        "SeriesPoint",
        "RecordGroup",
        "RecordGroupKey",
        "TimeBucket",
    }
    assert fields(CORE, "Query") - fields(shown, "Query") == {
        "record",
        "recordAsOf",
        "records",
        "recordGroups",
        "measurementGroups",
        "measurementSeries",
    }
    assert fields(CORE, "Project") - fields(shown, "Project") == {"records"}
    assert fields(CORE, "RecordPayload") - fields(shown, "RecordPayload") == {"record"}
    assert {one.name for one in _implementers(shown)} == {one.name for one in _implementers(CORE)} - {
        "Record",
        "Measurement",
    }


def test_an_interface_that_nothing_in_reach_implements_goes_with_its_root() -> None:
    shown = visible_schema(CORE, reach())

    assert "Node" not in shown.type_map
    assert fields(shown, "Query") == {"viewer"}
    assert fields(shown, "Mutation") == FOR_EVERYBODY


def test_a_mutation_is_shown_to_who_has_any_of_what_it_takes() -> None:
    assert CORE.mutation_type is not None
    for permission in (P.RECORD_UPDATE, P.RECORD_UPDATE_OWN):
        shown = visible_schema(CORE, reach(permission))
        taken = {
            name
            for name, field in CORE.mutation_type.fields.items()
            if (said := mutation_of(field)) is not None and permission in said.takes
        }
        assert fields(shown, "Mutation") == FOR_EVERYBODY | taken
        assert "updateRecord" in taken
        assert "UpdateRecordInput" in shown.type_map
        assert "CreateRecordInput" not in shown.type_map


def test_a_filter_that_takes_a_permission_in_the_whole_organization_is_not_shown_to_who_has_it_for_themselves() -> None:
    own = visible_schema(CORE, Reach(ALL, ALL - {P.MEMBERSHIP_READ}))

    assert fields(CORE, "RecordFilter") - fields(own, "RecordFilter") == {"createdById"}


@pytest.mark.parametrize("role", OrganizationRole)
def test_the_reach_of_a_viewer_is_the_union_of_what_they_hold_anywhere(role: OrganizationRole) -> None:
    projects = {UUID(int=1): ProjectRole.VIEWER, UUID(int=2): ProjectRole.REVIEWER}
    grants = (
        Grant(role, ORGANIZATION_ROLES[role]),
        *(Grant(one, PROJECT_ROLES[one], project) for project, one in projects.items()),
    )
    viewer = Viewer(
        user_id=UUID(int=100),
        membership_id=UUID(int=101),
        organization_id=UUID(int=102),
        session_id=None,
        device_id=None,
        role=role,
        grants=grants,
        access=access_of(grants),
    )

    assert reach_of(viewer) == Reach(
        anywhere=ORGANIZATION_ROLES[role] | SELF | PROJECT_ROLES[ProjectRole.REVIEWER],
        everywhere=ORGANIZATION_ROLES[role] | ORGANIZATION_ROLES[OrganizationRole.MEMBER],
        own_alone=SELF - ORGANIZATION_ROLES[role] - PROJECT_ROLES[ProjectRole.REVIEWER],
    )


def test_what_one_may_do_with_what_is_ones_own_shows_no_table_whose_rows_are_nobodys_own() -> None:
    own = frozenset({P.MEMBERSHIP_READ, P.MEMBERSHIP_READ_PERSONAL})

    shown = visible_schema(CORE, Reach(own | {P.ACCESS_READ}, frozenset({P.ACCESS_READ}), own))

    assert "User" in shown.type_map
    assert "Invitation" not in shown.type_map
    assert "invitations" not in fields(shown, "Query")


@pytest.fixture
def restored() -> Iterator[None]:
    """Take the declarations away that the test adds."""
    types, filters = dict(TYPES), dict(FILTERS)
    yield
    TYPES.clear()
    TYPES.update(types)
    FILTERS.clear()
    FILTERS.update(filters)


def test_filters_and_orders_are_cut_to_the_columns_in_reach(restored: None) -> None:
    """A schema whose filters and orders touch guarded columns, as ours do not yet: the sweep allows plain ones."""
    core = _sieve_schema()

    shown = visible_schema(core, reach(P.RECORD_READ))

    by, order = shown.type_map["SieveOrderField"], shown.type_map["SieveOrder"]
    assert isinstance(by, GraphQLEnumType)
    assert isinstance(order, GraphQLInputObjectType)
    assert set(by.values) == {"SITE_CODE"}
    assert fields(shown, "SieveFilter") == {"siteCode", "and", "or", "not"}
    # Whose default is out of reach has none: it is to be given.
    assert order.fields["field"].default is None
    assert order.fields["then"].default is not None
    assert validate_schema(shown) == []


def test_an_input_of_which_nothing_is_in_reach_goes_with_the_arguments_and_fields_that_demand_it(
    restored: None,
) -> None:
    core = _sieve_schema()

    shown = visible_schema(core, reach(P.RECORD_READ))

    assert set(core.type_map) - set(shown.type_map) == {"SealedFilter", "SealedOrder", "SealedOrderField"}
    assert fields(core, "Query") - fields(shown, "Query") == {"sealed"}
    assert shown.query_type is not None
    assert set(shown.query_type.fields["sieve"].args) == {"filter", "orderBy"}
    assert print_schema(visible_schema(core, Reach(ALL, ALL))) == print_schema(core)


def _sieve_schema() -> GraphQLSchema:
    @stands_for(RecordModel)
    @strawberry.type
    class Sieve:
        site_code: str | None = column("The site's code.")

    @filters(RecordModel)
    @strawberry.input
    class SieveFilter:
        site_code: TextFilter | None = None
        comment: TextFilter | None = None
        method: TextFilter | None = strawberry.field(default=None, metadata=demanding(P.MEMBERSHIP_READ))

    @strawberry.enum
    class SieveOrderField(Enum):
        COMMENT = "comment"
        SITE_CODE = "site_code"

    @strawberry.input
    class SieveOrder:
        field: SieveOrderField = SieveOrderField.COMMENT
        then: SieveOrderField = SieveOrderField.SITE_CODE

    @filters(RecordModel)
    @strawberry.input
    class SealedFilter:
        comment: TextFilter | None = None

    @strawberry.enum
    class SealedOrderField(Enum):
        COMMENT = "comment"

    @strawberry.input
    class SealedOrder:
        field: SealedOrderField = SealedOrderField.COMMENT
        direction: OrderDirection = OrderDirection.ASC

    @strawberry.type
    class Query:
        @resolved("What passes.", root())
        def sieve(
            filter: SieveFilter | None = None, order_by: SieveOrder | None = None, sealed: SealedFilter | None = None
        ) -> Sieve | None:
            return None

        @resolved("What is closed.", root())
        def sealed(order_by: SealedOrder, direction: OrderDirection) -> Sieve | None:
            return None

        @resolved("Which way.", root(public=True))
        def way() -> OrderDirection | None:
            return None

    return strawberry.Schema(query=Query)._schema


def _implementers(schema: GraphQLSchema) -> list[GraphQLObjectType]:
    node: Any = schema.type_map["Node"]
    return list(schema.get_possible_types(node))


def _names(schema: GraphQLSchema) -> set[str]:
    found = set(schema.type_map)
    for one in schema.type_map.values():
        for name, field in getattr(one, "fields", {}).items():
            found.add(f"{one.name}.{name}")
            found.update(f"{one.name}.{name}({argument})" for argument in getattr(field, "args", ()))
        found.update(f"{one.name}.{name}" for name in getattr(one, "values", ()))
    return found
