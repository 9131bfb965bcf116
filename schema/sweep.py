"""The start-up sweep: refuses a schema in which anything is unguarded, whoever forgot it.

It walks the finished schema, not the code: every object type says what it stands for, every field how it is guarded,
every guarded field can be null, every mutation leaves an entry, every filter, order, group and aggregate is on a plain
column, but for equality with a value of an encrypted one that is declared to be searchable. And every role is in the
matrix, every table in the data inventory.
"""

from enum import Enum
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)
from strawberry.types.base import StrawberryObjectDefinition

from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from models.aggregation import OF_NUMBERS, Function, is_number
from models.data_inventory import data_inventory
from models.inventory import Column, Entity, entity_of
from schema.aggregate import AGGREGATES, Groups
from schema.connection import Connection, Edge
from schema.field import (
    TYPES,
    ColumnField,
    DerivedField,
    Guard,
    LinkField,
    Otherwise,
    RootField,
    RowsField,
    column_shown,
)
from schema.filter import COMBINING, FILTERS
from schema.mutation import mutation_of
from schema.schema_error import SchemaError
from schema.wiring import declaration_of, object_types, python_name
from schema.written import SUBJECT, WRITTEN

_GENERIC = (Connection, Edge)
_EXACT = frozenset({"eq", "ne", "in", "not_in", "is_null"})
"""The operators that a blind index can answer."""
_WITHOUT = {
    Otherwise.NULL_AND_ERROR: "null and FORBIDDEN",
    Otherwise.PSEUDONYM: "a pseudonym",
    Otherwise.ROW_LEFT_OUT: "the row does not count",
}


def sweep(core: GraphQLSchema) -> int:
    """Return how many fields were looked at.

    Raises:
        SchemaError: naming the first that breaks a rule.
        InventoryError: a column has no classification, or is stored otherwise than that asks; it is not said how long
            a table's rows are kept.
    """
    data_inventory()
    _require_whole_matrix()
    looked_at = 0
    for object_type in object_types(core):
        for name, field in object_type.fields.items():
            looked_at += 1
            place = f"{object_type.name}.{name}"
            if object_type is not core.mutation_type:
                _require_declared_arguments(place, field)
            if object_type is core.mutation_type:
                _require_action(place, field)
            elif object_type.name in AGGREGATES:
                _require_plain_aggregate(place, AGGREGATES[object_type.name], field)
            elif object_type in (core.query_type, core.subscription_type):
                _require(isinstance(declaration_of(field), RootField), place, "is no declared entry")
            else:
                _require_guarded(place, object_type, field)
    for field in core.mutation_type.fields.values() if core.mutation_type else ():
        said = mutation_of(field)
        if said is not None and said.takes:
            for argument in field.args.values():
                _require_written(get_named_type(argument.type))
    for input_type in core.type_map.values():
        if isinstance(input_type, GraphQLInputObjectType):
            _require_plain_filters(input_type)
            _require_plain_order(input_type)
    for name, declared in AGGREGATES.items():
        if declared.are_asked_for:
            _require_plain_keys(core, name, declared)
    return looked_at


def guard_of(type_name: str, field: GraphQLField) -> tuple[str, Otherwise] | None:
    """Return the permission that reading the field takes, and what is answered without it."""
    declared = TYPES.get(type_name)
    said = declaration_of(field)
    if type_name in AGGREGATES:
        touched = AGGREGATES[type_name].fields[python_name(field)].stored
        return (touched.guard, Otherwise.ROW_LEFT_OUT) if touched is not None and touched.guard else None
    if isinstance(said, DerivedField):
        return (said.guard, Otherwise.NULL_AND_ERROR) if said.guard else None
    if declared is None or declared.model is None or not isinstance(said, ColumnField | LinkField):
        return None
    column = column_shown(
        type_name, _column(f"{type_name}.{python_name(field)}", entity_of(declared.model), said, field)
    )
    if column.guard is None:
        return None
    return column.guard, Otherwise.PSEUDONYM if column.masked_by else Otherwise.NULL_AND_ERROR


def page_row(object_type: GraphQLObjectType) -> GraphQLNamedType | None:
    """Return the type of the rows that a page, or an edge of one, holds; None for any other type."""
    definition: Any = object_type.extensions.get("strawberry-definition")
    generic = definition.concrete_of if isinstance(definition, StrawberryObjectDefinition) else None
    if generic is None or generic.origin not in _GENERIC:
        return None
    return get_named_type(object_type.fields["nodes" if generic.origin is Connection else "node"].type)


def ordered_entity(input_type: GraphQLInputObjectType) -> Entity | None:
    """Return the table whose columns the input's `field` orders by; None for any other input."""
    model = FILTERS.get(f"{input_type.name.removesuffix('Order')}Filter")
    return entity_of(model) if input_type.name.endswith("Order") and model is not None else None


def publish_guards(core: GraphQLSchema) -> None:
    """Write each field's guard into its description and, as `@guard`, into the SDL."""
    for object_type in object_types(core):
        for field in object_type.fields.values():
            said = declaration_of(field)
            if isinstance(said, RootField) and said.takes is not None:
                field.description = f"{field.description} Takes `{said.takes}` in the organization."
            guard = guard_of(object_type.name, field)
            if guard is None:
                continue
            permission, otherwise = guard
            definition: Any = field.extensions["strawberry-definition"]
            if not any(isinstance(one, Guard) for one in definition.directives):
                definition.directives = [
                    *definition.directives,
                    Guard(permission=str(permission), otherwise=otherwise.value),
                ]
            field.description = f"{field.description} Takes `{permission}`; without it, {_WITHOUT[otherwise]}."


def _require_whole_matrix() -> None:
    """Every role has its permissions in the matrix: who was given another could not be answered."""
    for role in OrganizationRole:
        _require(role in ORGANIZATION_ROLES, f"OrganizationRole.{role}", "has no permissions in the matrix")
    for in_project in ProjectRole:
        _require(in_project in PROJECT_ROLES, f"ProjectRole.{in_project}", "has no permissions in the matrix")


def _require_guarded(place: str, object_type: GraphQLObjectType, field: GraphQLField) -> None:
    declared = TYPES.get(object_type.name)
    if declared is None:
        _require(page_row(object_type) is not None, place, "is of a type that does not say what it stands for")
        return
    said = declaration_of(field)
    if declared.model is None:
        _require(
            said is None or isinstance(said, DerivedField),
            place,
            "shows a column, of a type that stands for no table",
        )
        return
    entity = entity_of(declared.model)
    _require(isinstance(said, ColumnField | LinkField | RowsField | DerivedField), place, "has no declared guard")
    if isinstance(said, ColumnField | LinkField):
        column = _column(place, entity, said, field)
        _require(column.is_in_api, place, f"shows {column.entity}.{column.name}, which is SECRET")
        _require(
            column.guard is None or not isinstance(field.type, GraphQLNonNull),
            place,
            "is guarded and can't be null: a denial would blank its parent",
        )
    if isinstance(said, DerivedField):
        for needed in said.needs:
            _require_no_weaker(place, said, entity.columns[needed])


def _require_no_weaker(place: str, said: DerivedField, column: Column) -> None:
    # A derived field must not carry a sealed value past its guard; plain columns it may read for itself.
    _require(
        column.is_in_api and (not column.is_sealed or said.guard == column.guard),
        place,
        f"reads {column.entity}.{column.name} with a weaker guard",
    )


def _require_action(place: str, field: GraphQLField) -> None:
    said = mutation_of(field)
    _require(said is not None, place, "has no audit action")
    _require(
        said is None or bool(said.takes) or said.own or said.notes_itself,
        place,
        "does not say which permission it takes",
    )
    _require(said is None or not said.signs or _takes_a_password(field), place, "signs without the signer's password")
    payload = get_named_type(field.type)
    _require(
        isinstance(payload, GraphQLObjectType) and "errors" in payload.fields,
        place,
        "has no payload with errors",
    )


def _takes_a_password(field: GraphQLField) -> bool:
    """Return whether the input of a mutation demands a password."""
    argument = field.args.get("input")
    given = get_named_type(argument.type) if argument is not None else None
    password = given.fields.get("password") if isinstance(given, GraphQLInputObjectType) else None
    return password is not None and isinstance(password.type, GraphQLNonNull)


def _require_written(input_type: GraphQLNamedType) -> None:
    """Every field of a mutation's input says which column it writes, or that it is none's. A filter writes nothing: it
    is guarded as in a query.
    """
    if not isinstance(input_type, GraphQLInputObjectType) or input_type.name in FILTERS:
        return
    declared = WRITTEN.get(input_type.name)
    for name, field in input_type.fields.items():
        place, in_code = f"{input_type.name}.{name}", python_name(field)
        _require_written(get_named_type(field.type))
        if in_code in SUBJECT:
            continue
        _require(declared is not None, place, "does not say what it writes")
        if declared is not None and in_code not in declared.beside:
            column = entity_of(declared.model).columns.get(declared.columns[in_code])
            _require(column is not None and column.is_in_api, place, "writes no column that the API has")


def _require_declared_arguments(place: str, field: GraphQLField) -> None:
    """What is read is narrowed and ordered by declared inputs, whose columns are looked at below."""
    for name, argument in field.args.items():
        named = get_named_type(argument.type)
        _require(
            not isinstance(named, GraphQLInputObjectType) or named.name in FILTERS or ordered_entity(named) is not None,
            f"{place}({name})",
            "is no declared filter or order",
        )


def _require_plain_filters(input_type: GraphQLInputObjectType) -> None:
    model = FILTERS.get(input_type.name)
    if model is None:
        return
    columns = entity_of(model).columns
    for name, field in input_type.fields.items():
        if python_name(field) in COMBINING:
            _require(get_named_type(field.type) is input_type, f"{input_type.name}.{name}", "is no such filter")
            continue
        column = columns.get(python_name(field))
        if column is not None and column.search is not None:
            _require_exact(f"{input_type.name}.{name}", get_named_type(field.type))
        else:
            _require_plain(f"{input_type.name}.{name}", column)


def _require_exact(place: str, operators: GraphQLNamedType) -> None:
    """A blind index answers whether two values are equal, and nothing else."""
    _require(
        isinstance(operators, GraphQLInputObjectType)
        and all(python_name(one).rstrip("_") in _EXACT for one in operators.fields.values()),
        place,
        "is on an encrypted column and compares by more than equality",
    )


def _require_plain_order(input_type: GraphQLInputObjectType) -> None:
    if not input_type.name.endswith("Order"):
        return
    entity = ordered_entity(input_type)
    named = get_named_type(input_type.fields["field"].type)
    place = f"{input_type.name}.field"
    _require(entity is not None and isinstance(named, GraphQLEnumType), place, "orders no declared table")
    if entity is None or not isinstance(named, GraphQLEnumType):
        return
    for value in named.values.values():
        stored = value.value.value if isinstance(value.value, Enum) else value.value
        _require_plain(f"{place}: {stored}", entity.columns.get(str(stored)))


def _require_plain_aggregate(place: str, declared: Groups, field: GraphQLField) -> None:
    said = declared.fields.get(python_name(field))
    _require(said is not None, place, "is of a type of groups and says not what it shows")
    if said is None or (said.column is None and said.function is Function.COUNT):
        return
    _require_plain(place, said.stored)
    _require(declared.reaches(said), place, "is on a column of a table that its groups are not made of")
    _require(
        said.function not in OF_NUMBERS or (said.stored is not None and is_number(said.stored)),
        place,
        "computes numbers of what are none",
    )
    _require(
        said.stored is None or said.stored.guard is None or not isinstance(field.type, GraphQLNonNull),
        place,
        "is guarded and can't be null",
    )
    _require(
        said.within is None or said.within in declared.keys,
        place,
        f"is computed within {said.within}, which is no key",
    )


def _require_plain_keys(core: GraphQLSchema, name: str, declared: Groups) -> None:
    place = f"{name}Key"
    named = core.type_map.get(place)
    _require(isinstance(named, GraphQLEnumType), place, "is no enum")
    if isinstance(named, GraphQLEnumType):
        offered = {str(one.value.value if isinstance(one.value, Enum) else one.value) for one in named.values.values()}
        other = ", ".join(sorted(offered ^ set(declared.keys)))
        _require(not other, place, f"offers other keys than its groups show: {other}")


def _require_plain(place: str, column: Column | None) -> None:
    _require(column is not None and column.is_in_api and not column.is_sealed, place, "is not on a plain column")


def _column(place: str, entity: Entity, said: ColumnField | LinkField, field: GraphQLField) -> Column:
    name = said.by if isinstance(said, LinkField) else said.name or python_name(field)
    column = entity.columns.get(name)
    if column is None:
        raise SchemaError(f"{place}: {entity.name} has no column {name!r}.")
    return column


def _require(holds: bool, place: str, otherwise: str) -> None:
    if not holds:
        raise SchemaError(f"{place} {otherwise}.")
