"""Which columns an operation needs of a type: only those are read from the database."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
)
from strawberry import Info

from models.base import WardModel
from models.inventory import entity_of
from schema.context import RequestContext, ResolveInfo
from schema.field import TYPES

ROW_FIELDS = frozenset({"nodes", "edges", "node"})
"""The fields between a connection and its rows."""


Fragments = Mapping[str, FragmentDefinitionNode]
Needs = dict[tuple[str, str], Sequence[str]]
"""By GraphQL type and field: the columns that resolving the field takes."""


def place_of(nodes: Sequence[FieldNode]) -> tuple[int, ...]:
    """Return what tells a field's place in the operation from any other.

    All of its nodes count: two fields may share the first one, out of a fragment, and differ in what else they ask.
    """
    return tuple(map(id, nodes))


def columns_of(info: ResolveInfo, type_name: str, needs: Needs) -> tuple[str, ...]:
    """Return the columns of `type_name` that the selection under this field needs."""
    return columns_under(info.context, info.fragments, info.field_nodes, type_name, needs)


def columns_under(
    context: RequestContext, fragments: Fragments, nodes: Sequence[FieldNode], type_name: str, needs: Needs
) -> tuple[str, ...]:
    """Return the columns of `type_name` that the selection under these nodes needs, sorted.

    Looks through fragments and through a connection's edges. What the viewer may read nowhere is left out: it never
    reaches the statement. Worked out once per place in the operation and set of permissions.
    """
    reach = context.viewer.access.reach
    key = (place_of(nodes), type_name, reach)
    found = context.columns.get(key)
    if found is None:
        wanted = {name for field in _under(fragments, nodes) for name in needs.get((type_name, field), ())}
        model = TYPES[type_name].model
        columns = entity_of(model).columns if model is not None else {}
        found = context.columns[key] = tuple(
            sorted(name for name in wanted if (guard := columns[name].guard) is None or guard in reach)
        )
    return found


def names_of(info: ResolveInfo) -> frozenset[str]:
    """Return the names of the fields that the selection under this field asks for, through fragments.

    What `@skip` and `@include` leave out counts as asked for.
    """
    return _under(info.fragments, info.field_nodes)


async def load_selected(info: Info, model: type[WardModel], row_id: UUID) -> Any:
    """Return the row with the columns that the selection under this field needs, if the viewer sees it."""
    raw: ResolveInfo = info._raw_info
    type_name = _type_of(model)
    columns = columns_of(raw, type_name, raw.schema.extensions["needs"])
    return await raw.context.load_row(entity_of(model), columns, row_id)


@cache
def _type_of(model: type[WardModel]) -> str:
    return next(name for name, declared in TYPES.items() if declared.model is model)


def _under(fragments: Fragments, nodes: Sequence[FieldNode]) -> frozenset[str]:
    selections = [node.selection_set for node in nodes if node.selection_set is not None]
    return frozenset(name for selection in selections for name in _names(fragments, selection, set()))


def _names(fragments: Fragments, selection: SelectionSetNode, seen: set[str]) -> Iterator[str]:
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
            if node.name.value in ROW_FIELDS and node.selection_set is not None:
                yield from _names(fragments, node.selection_set, seen)
        elif isinstance(node, InlineFragmentNode):
            yield from _names(fragments, node.selection_set, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            fragment = fragments.get(node.name.value)
            if fragment is not None:
                yield from _names(fragments, fragment.selection_set, seen)
