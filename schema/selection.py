"""What an operation needs of the rows at each of its places: nothing else is read from the database."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
)
from strawberry import Info

from auth.access import Permissions
from models.along import Along, Named, Naming, Selected
from models.base import WardModel
from models.inventory import entity_of
from schema.context import RequestContext, ResolveInfo
from schema.field import TYPES, LinkField, RowsField, types_of_rows
from schema.node import parse_id

NEEDS: Final = "needs"
"""The key of the schema's extensions that holds what each field needs."""
ROW_FIELDS = frozenset({"nodes", "edges", "node"})
"""The fields between a connection and its rows."""
AROUND_ROWS = ROW_FIELDS | {"pageInfo", "cursor", "__typename"}
"""The fields around rows that take no statement."""


Fragments = Mapping[str, FragmentDefinitionNode]


@dataclass(frozen=True, slots=True)
class Needs:
    """What resolving the fields of the schema takes, by GraphQL type and field.

    columns: of the field's own row. links, lists: the type that the field leads to, and how.
    plain: the fields that are shown from columns of their row alone.
    """

    columns: Mapping[tuple[str, str], Sequence[str]]
    links: Mapping[tuple[str, str], tuple[str, LinkField]]
    lists: Mapping[tuple[str, str], tuple[str, RowsField]]
    plain: frozenset[tuple[str, str]]


def place_of(nodes: Sequence[FieldNode]) -> tuple[int, ...]:
    """Return what tells a field's place in the operation from any other.

    All of its nodes count: two fields may share the first one, out of a fragment, and differ in what else they ask.
    """
    return tuple(map(id, nodes))


def selected_of(info: ResolveInfo, type_name: str) -> Selected:
    """Return what the selection under this field needs of the rows of `type_name`."""
    return selected_under(info.context, info.fragments, info.field_nodes, type_name, info.schema.extensions[NEEDS])


def selected_under(
    context: RequestContext, fragments: Fragments, nodes: Sequence[FieldNode], type_name: str, needs: Needs
) -> Selected:
    """Return what the selection under these nodes needs of the rows of `type_name`.

    Looks through fragments and through a connection's edges. What the viewer may read nowhere is left out: it never
    reaches the statement. Worked out once per place in the operation and set of permissions.
    """
    reach = context.viewer.access.reach
    key = (place_of(nodes), type_name, reach)
    found = context.columns.get(key)
    if found is None:
        found = context.columns[key] = _selected(fragments, nodes, type_name, needs, reach)
    return found


def _selected(
    fragments: Fragments, nodes: Sequence[FieldNode], type_name: str, needs: Needs, reach: Permissions
) -> Selected:
    under = list(_nodes_under(fragments, nodes))
    columns = _columns(type_name, {node.name.value for node in under}, needs, reach)
    links: dict[tuple[str, LinkField], list[FieldNode]] = {}
    lists: dict[tuple[str, RowsField], list[FieldNode]] = {}
    for node in under:
        at = (type_name, node.name.value)
        if at in needs.links:
            links.setdefault(needs.links[at], []).append(node)
        elif at in needs.lists:
            lists.setdefault(needs.lists[at], []).append(node)
    # Read along is what all places of a link, or of a list, show from columns alone: they share what was read.
    return Selected(
        columns,
        Along(
            tuple(
                Named(said.by, entity_of(said.to), _columns(target, _under(fragments, places), needs, reach))
                for (target, said), places in links.items()
                if said.by in columns and _is_plain(fragments, places, target, needs)
            ),
            tuple(
                Naming(
                    how.by,
                    entity_of(said.of),
                    _columns(target, _under(fragments, places), needs, reach),
                    how.order,
                    how.limit,
                )
                for (target, said), places in lists.items()
                if (how := said.listed) is not None and _is_plain(fragments, places, target, needs)
            ),
        ),
    )


def _columns(type_name: str, names: Iterable[str], needs: Needs, reach: Permissions) -> tuple[str, ...]:
    """Return the columns that fields of a type take, sorted, without those that may be read nowhere."""
    wanted = {column for name in names for column in needs.columns.get((type_name, name), ())}
    model = TYPES[type_name].model
    columns = entity_of(model).columns if model is not None else {}
    return tuple(sorted(name for name in wanted if (guard := columns[name].guard) is None or guard in reach))


def _is_plain(fragments: Fragments, nodes: Sequence[FieldNode], type_name: str, needs: Needs) -> bool:
    """Return whether all that is selected under the nodes is shown from columns of the rows that they lead to."""
    return all(
        one.name.value == "__typename" or ((type_name, one.name.value) in needs.plain and not one.arguments)
        for one in _nodes_under(fragments, nodes)
    )


def is_read_at_once(fragments: Fragments, nodes: Sequence[FieldNode], type_name: str, needs: Needs) -> bool:
    """Return whether rows of `type_name` are read with all that is selected under the nodes in one statement, whoever
    asks. So is a page of them, with where it lies, but not its count."""
    lead: dict[str, list[FieldNode]] = {}
    for node in _nodes_under(fragments, nodes):
        name, at = node.name.value, (type_name, node.name.value)
        if at in needs.links or at in needs.lists:
            lead.setdefault(name, []).append(node)
        elif node.arguments or not (at in needs.plain or name in AROUND_ROWS):
            return False
    targets = {name: (needs.links.get((type_name, name)) or needs.lists[type_name, name])[0] for name in lead}
    return all(_is_plain(fragments, same, targets[name], needs) for name, same in lead.items())


def names_of(info: ResolveInfo) -> frozenset[str]:
    """Return the names of the fields that the selection under this field asks for, through fragments.

    What `@skip` and `@include` leave out counts as asked for.
    """
    return _under(info.fragments, info.field_nodes)


async def load_selected(info: Info, model: type[WardModel], row_id: UUID) -> Any:
    """Return the row with what the selection under this field needs, if the viewer sees it."""
    raw: ResolveInfo = info._raw_info
    return await raw.context.load_row(entity_of(model), selected_of(raw, _type_of(model)), row_id)


async def load_by_id(info: Info, model: type[WardModel], type_name: str, value: str) -> Any:
    """Return the row that an entry's `id` names, as `load_selected` does.

    Raises:
        InvalidInputError: it is no id, or the id of something else.
    """
    return await load_selected(info, model, parse_id(value, type_name, at=("id",)))


@cache
def _type_of(model: type[WardModel]) -> str:
    return next(name for name, one in types_of_rows().items() if one is model)


def _under(fragments: Fragments, nodes: Sequence[FieldNode]) -> frozenset[str]:
    return frozenset(node.name.value for node in _nodes_under(fragments, nodes))


def _nodes_under(fragments: Fragments, nodes: Sequence[FieldNode]) -> Iterator[FieldNode]:
    """Yield the fields that are selected under the nodes, through fragments and through a connection's edges."""
    for node in nodes:
        if node.selection_set is not None:
            yield from _nodes(fragments, node.selection_set, set())


def _nodes(fragments: Fragments, selection: SelectionSetNode, seen: set[str]) -> Iterator[FieldNode]:
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node
            if node.name.value in ROW_FIELDS and node.selection_set is not None:
                yield from _nodes(fragments, node.selection_set, seen)
        elif isinstance(node, InlineFragmentNode):
            yield from _nodes(fragments, node.selection_set, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            fragment = fragments.get(node.name.value)
            if fragment is not None:
                yield from _nodes(fragments, fragment.selection_set, seen)
