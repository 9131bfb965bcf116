"""Who may do what with which field: the whole policy as one table, worked out from the schema's own declarations.

For each field of each type that shows something stored, and for each role: whether it is read, masked, written,
filtered by, ordered by, grouped by, computed with. `docs/access.md` is its Markdown, so that a change of the policy, or
a new field, is a change of that page.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import GraphQLEnumType, GraphQLField, GraphQLInputObjectType, GraphQLSchema, get_named_type

from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SELF, OrganizationRole
from models.data_inventory import OWN, held_by
from models.inventory import Entity, entity_of
from schema.aggregate import AGGREGATES, aggregated_columns, grouped_columns
from schema.field import TYPES, ColumnField, DerivedField, LinkField, Otherwise, RootField, RowsField
from schema.filter import COMBINING, FILTERS, demanded_of
from schema.mutation import MutationField, mutation_of
from schema.sight import stored
from schema.sweep import guard_of, ordered_entity
from schema.wiring import declaration_of, object_types, python_name
from schema.written import WRITTEN

LETTERS: Final = {
    "r": "read",
    "m": "masked: something stands for the value",
    "w": "written, by the mutations named",
    "f": "filtered by",
    "o": "ordered by",
    "g": "grouped by",
    "a": "computed with (least, greatest, sum, average and the like)",
}


@dataclass(frozen=True, slots=True)
class FieldAccess:
    """One field of one type. `roles` maps each of `ROLES` to the letters of what it may do, `` for nothing.

    permission: what reading takes in the scope of the row; None: seeing the row is enough.
    written_by: the mutations that write it.
    """

    type_name: str
    field: str
    permission: str | None
    otherwise: str | None
    written_by: tuple[str, ...]
    roles: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EntryAccess:
    """One entry to the graph, or mutation. `takes`: one of these; empty: to be signed in, or not even that."""

    name: str
    is_mutation: bool
    is_public: bool
    takes: tuple[str, ...]
    roles: Sequence[str]


def field_access(core: GraphQLSchema) -> list[FieldAccess]:
    """Return a row for each field that shows something stored, in the order of the schema's names."""
    rows = []
    for object_type in sorted(object_types(core), key=lambda one: one.name):
        declared = TYPES.get(object_type.name)
        groups = AGGREGATES.get(object_type.name)
        model = groups.model if groups else declared.model if declared else None
        if model is None:
            continue
        entity = entity_of(model)
        is_as_stored = groups is None and not (declared and declared.is_past)
        uses = _uses(core, entity) if is_as_stored else {}
        for name, field in object_type.fields.items():
            rows.append(_row(object_type.name, name, field, entity, uses))
    return rows


def entry_access(core: GraphQLSchema) -> list[EntryAccess]:
    """Return a row for each entry to the graph and for each mutation."""
    rows = []
    for name, field in core.query_type.fields.items() if core.query_type else ():
        said = declaration_of(field)
        public = isinstance(said, RootField) and said.public
        read = str(said.takes) if isinstance(said, RootField) and said.takes else _read_of(field)
        who = _who(frozenset({read}) if read else None)
        rows.append(EntryAccess(name, False, public, (read,) if read else (), who))
    for name, field in core.mutation_type.fields.items() if core.mutation_type else ():
        mutation = mutation_of(field)
        if mutation is not None:
            takes = tuple(map(str, mutation.takes))
            public = mutation.is_public
            rows.append(EntryAccess(name, True, public, takes, _who(frozenset(takes) or None, any_of=True)))
    return rows


def structures(core: GraphQLSchema) -> dict[str, list[str]]:
    """Return the fields of each type that holds nothing of its own: what they lead to is guarded by itself."""
    named = {one.name: sorted(one.fields) for one in object_types(core)}
    roots = {one.name for one in (core.query_type, core.mutation_type) if one is not None}
    stored = {name for name, declared in TYPES.items() if declared.model is not None}
    return {name: fields for name, fields in sorted(named.items()) if name not in roots | stored | set(AGGREGATES)}


def _row(type_name: str, name: str, field: GraphQLField, entity: Entity, uses: Mapping[str, Any]) -> FieldAccess:
    said = declaration_of(field)
    guard = guard_of(type_name, field)
    column = said.by if isinstance(said, LinkField) else None
    if isinstance(said, ColumnField):
        column = said.name or python_name(field)
    elif isinstance(said, DerivedField) and said.guard is not None and len(said.needs) == 1:
        column = said.needs[0]
    target = said.of if isinstance(said, RowsField) else None
    takes: set[str] = {str(entity.read)} | ({guard[0]} if guard else set())
    if target is not None:
        takes.add(str(entity_of(target).read))
    written = uses.get("w", {}).get(column, {}) if column else {}
    roles = {}
    for role, held in held_by(entity).items():
        letters = ""
        names = set(map(str, held))
        if takes <= names:
            letters = "r"
        elif guard is not None and guard[1] is Otherwise.PSEUDONYM and str(entity.read) in names:
            letters = "m"
        if letters == "r" and column is not None:
            if any(not names.isdisjoint(map(str, said.takes)) for said in written.values()):
                letters += "w"
            letters += "".join(letter for letter in "foga" if _is_used(uses.get(letter, ()), column, names))
        roles[role] = letters
    return FieldAccess(
        type_name=type_name,
        field=name,
        permission=str(entity_of(target).read) if target is not None else guard[0] if guard else None,
        otherwise=guard[1].value if guard else None,
        written_by=tuple(written),
        roles=roles,
    )


def _is_used(columns: Collection[str], column: str, names: Collection[str]) -> bool:
    """Return whether the column is so used by who has these permissions: a filter may demand one more."""
    demanded = columns.get(column, "") if isinstance(columns, dict) else ""
    return column in columns and (not demanded or demanded in names)


def _uses(core: GraphQLSchema, entity: Entity) -> dict[str, Any]:
    """Return by letter the columns of the table that are so used; for `f` with a permission that it takes besides, for
    `w` with the mutations.
    """
    filtered: dict[str, str] = {}
    ordered: set[str] = set()
    for one in core.type_map.values():
        if not isinstance(one, GraphQLInputObjectType):
            continue
        if FILTERS.get(one.name) is entity.model:
            compared = {python_name(field): field for field in one.fields.values()}
            filtered |= {
                name: str(demanded_of(field, entity.columns[name]) or "")
                for name, field in compared.items()
                if name not in COMBINING
            }
        if ordered_entity(one) is entity:
            named = get_named_type(one.fields["field"].type)
            if isinstance(named, GraphQLEnumType):
                ordered.update(stored(value) for value in named.values.values())
    return {
        "w": _writers(core, entity),
        "f": filtered,
        "o": ordered,
        "g": grouped_columns(entity.model),
        "a": aggregated_columns(entity.model),
    }


def _writers(core: GraphQLSchema, entity: Entity) -> dict[str, dict[str, MutationField]]:
    writers: dict[str, dict[str, MutationField]] = {}
    for name, field in core.mutation_type.fields.items() if core.mutation_type else ():
        said = mutation_of(field)
        if said is None:
            continue
        for argument in field.args.values():
            for column in _written_columns(get_named_type(argument.type), entity):
                writers.setdefault(column, {})[name] = said
    return writers


def _written_columns(given: Any, entity: Entity) -> Iterator[str]:
    if not isinstance(given, GraphQLInputObjectType) or given.name in FILTERS:
        return
    declared = WRITTEN.get(given.name)
    if declared is not None and declared.model is entity.model:
        yield from declared.columns.values()
    for field in given.fields.values():
        yield from _written_columns(get_named_type(field.type), entity)


def _read_of(field: GraphQLField) -> str | None:
    """Return the permission without which an entry answers nothing; None where it depends on what is asked."""
    named: Any = get_named_type(field.type)
    if named.name.endswith("Connection"):
        named = get_named_type(named.fields["nodes"].type)
    if named.name in AGGREGATES:
        return str(entity_of(AGGREGATES[named.name].model).read)
    declared = TYPES.get(named.name)
    return str(entity_of(declared.model).read) if declared and declared.model else None


def _who(takes: frozenset[str] | None, *, any_of: bool = False) -> list[str]:
    every = {**{str(k): v for k, v in ORGANIZATION_ROLES.items()}, **{str(k): v for k, v in PROJECT_ROLES.items()}}
    base = ORGANIZATION_ROLES[OrganizationRole.MEMBER]
    every = {role: held | base for role, held in every.items()}
    every[OWN] = SELF
    if takes is None:
        return [role for role in every if role != OWN]
    return [
        role
        for role, held in every.items()
        if (not takes.isdisjoint(map(str, held)) if any_of else takes <= set(map(str, held)))
    ]
