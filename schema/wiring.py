"""From declarations to resolve functions: run once over the finished schema, before it serves.

Strawberry builds the types; their rows are light rows and not instances of those types, so what a row is comes from
the row. Each declared field gets the one resolve function that its declaration asks for.
"""

from collections.abc import Sequence
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLInputField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
)
from strawberry.types.field import StrawberryField

from auth.scope import ORGANIZATION
from models.inventory import entity_of
from models.row import Row
from resolvers.fresh_sign_in import require_enrolled
from schema.context import RequestContext, ResolveInfo
from schema.field import (
    DECLARATION,
    TYPES,
    ColumnField,
    Declaration,
    DerivedField,
    LinkField,
    RootField,
    RowsField,
    column_shown,
    types_of_rows,
)
from schema.guard import Resolve, column_resolver, guarded, link_resolver, rows_resolver
from schema.leaf import converter_of
from schema.schema_error import SchemaError
from schema.selection import Needs


def declaration_of(field: GraphQLField) -> Declaration | None:
    """Return what the field says about itself."""
    definition = field.extensions.get("strawberry-definition")
    if not isinstance(definition, StrawberryField):
        return None
    declared = definition.metadata.get(DECLARATION)
    return declared if isinstance(declared, Declaration) else None


def python_name(field: GraphQLField | GraphQLInputField) -> str:
    """Return the field's name in the code."""
    definition = field.extensions["strawberry-definition"]
    return str(definition.python_name)


def object_types(core: GraphQLSchema) -> list[GraphQLObjectType]:
    """Return the schema's own object types, without introspection's."""
    return [
        one for one in core.type_map.values() if isinstance(one, GraphQLObjectType) and not one.name.startswith("__")
    ]


def wire(core: GraphQLSchema) -> Needs:
    """Give every declared field its resolve function; return what each needs."""
    needs = _needs(core)
    names = {model: name for name, model in types_of_rows().items()}

    def type_of_row(value: Any, *_: Any) -> str | None:
        return names.get(value.entity.model) if isinstance(value, Row) else None

    for one in core.type_map.values():
        if isinstance(one, GraphQLInterfaceType):
            one.resolve_type = type_of_row
    for object_type in object_types(core):
        object_type.is_type_of = None
        declared = TYPES.get(object_type.name)
        if declared is None or declared.model is None:
            continue
        entity = entity_of(declared.model)
        for name, field in object_type.fields.items():
            said = declaration_of(field)
            if isinstance(said, ColumnField):
                column = column_shown(object_type.name, entity.columns[said.name or python_name(field)])
                field.resolve = column_resolver(entity, column)
            elif isinstance(said, LinkField):
                target = get_named_type(field.type).name
                field.resolve = link_resolver(entity, entity.columns[said.by], said, target)
            elif isinstance(said, RowsField) and said.listed is not None:
                field.resolve = rows_resolver(said, get_named_type(field.type).name)
            elif isinstance(said, DerivedField) and said.guard is not None:
                if field.resolve is None:
                    raise SchemaError(f"The field {object_type.name}.{name} resolves to nothing.")
                field.resolve = guarded(entity, said.guard, field.resolve)
    return needs


def wire_roots(core: GraphQLSchema) -> None:
    """Put what its declaration demands before every entry to the graph."""
    for root_type in (core.query_type, core.subscription_type):
        for field in root_type.fields.values() if root_type is not None else ():
            said = declaration_of(field)
            if isinstance(said, RootField) and field.resolve is not None:
                field.resolve = _behind_entry(said, field.resolve)


def _behind_entry(said: RootField, resolve: Resolve) -> Resolve:
    def resolve_if_admitted(source: Any, info: ResolveInfo, **arguments: Any) -> Any:
        return resolve(source, info, **arguments) if admits(said, info) else None

    return resolve_if_admitted


def admits(said: RootField, info: ResolveInfo) -> bool:
    """Return whether the viewer may enter the graph by this field; note it if not. Its value is null then.

    Raises:
        UnauthenticatedError: nobody is signed in, and the field is not public.
        ForbiddenError: the viewer has to add a second factor first, and the field is not public.
    """
    context: RequestContext = info.context
    if not said.public:
        require_enrolled(context.viewer)
    if said.takes is None or context.allows(said.takes, ORGANIZATION):
        return True
    context.deny(info, said.takes, ORGANIZATION)
    return False


def _needs(core: GraphQLSchema) -> Needs:
    columns: dict[tuple[str, str], Sequence[str]] = {}
    links: dict[tuple[str, str], tuple[str, LinkField]] = {}
    lists: dict[tuple[str, str], tuple[str, RowsField]] = {}
    plain: set[tuple[str, str]] = set()
    for object_type in object_types(core):
        declared = TYPES.get(object_type.name)
        if declared is None or declared.model is None:
            continue
        entity = entity_of(declared.model)
        for name, field in object_type.fields.items():
            at, said = (object_type.name, name), declaration_of(field)
            if isinstance(said, ColumnField):
                column_name = said.name or python_name(field)
                if column_name not in entity.columns:
                    raise SchemaError(f"{object_type.name}.{name}: {entity.name} has no column {column_name!r}.")
                mask = column_shown(object_type.name, entity.columns[column_name]).masked_by
                columns[at] = (column_name, mask) if mask else (column_name,)
                if converter_of(field) is not None:
                    plain.add(at)
            elif isinstance(said, LinkField):
                columns[at] = (said.by,)
                links[at] = (get_named_type(field.type).name, said)
            elif isinstance(said, RowsField):
                columns[at] = said.needs
                if said.listed is not None and not field.args and not declared.is_past:
                    lists[at] = (get_named_type(field.type).name, said)
            elif isinstance(said, DerivedField):
                columns[at] = said.needs
                if name == "id":
                    plain.add(at)
    # What was is read by no statement along with other rows, nor by one alone.
    past = {name for name, declared in TYPES.items() if declared.is_past}
    return Needs(columns, links, lists, frozenset(at for at in plain if at[0] not in past))
