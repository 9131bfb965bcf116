"""Which columns an operation needs of a type: only those are read from the database."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from graphql import (
    FieldNode,
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


Needs = dict[tuple[str, str], Sequence[str]]
"""By GraphQL type and field: the columns that resolving the field takes."""


def place_of(info: ResolveInfo) -> tuple[int, ...]:
    """Return what tells this field's place in the operation from any other.

    All of its nodes count: two fields may share the first one, out of a fragment, and differ in what else they ask.
    """
    return tuple(map(id, info.field_nodes))


def columns_of(info: ResolveInfo, type_name: str, needs: Needs) -> tuple[str, ...]:
    """Return the columns of `type_name` that the selection under this field needs, in the order of the SDL.

    Looks through fragments and through a connection's edges. Worked out once per field of the operation.
    """
    context: RequestContext = info.context
    place = place_of(info)
    found = context.columns.get(place)
    if found is None:
        wanted: set[str] = set()
        for node in info.field_nodes:
            if node.selection_set is not None:
                for name in _names(info, node.selection_set, set()):
                    wanted.update(needs.get((type_name, name), ()))
        found = context.columns[place] = tuple(sorted(wanted))
    return found


def names_of(info: ResolveInfo) -> frozenset[str]:
    """Return the names of the fields that the selection under this field asks for, through fragments.

    What `@skip` and `@include` leave out counts as asked for.
    """
    selections = [node.selection_set for node in info.field_nodes if node.selection_set is not None]
    return frozenset(name for selection in selections for name in _names(info, selection, set()))


async def load_selected(info: Info, model: type[WardModel], row_id: UUID) -> Any:
    """Return the row with the columns that the selection under this field needs, if the viewer sees it."""
    raw: ResolveInfo = info._raw_info
    type_name = next(name for name, declared in TYPES.items() if declared.model is model)
    columns = columns_of(raw, type_name, raw.schema.extensions["needs"])
    return await raw.context.load_row(entity_of(model), columns, row_id)


def _names(info: ResolveInfo, selection: SelectionSetNode, seen: set[str]) -> Iterator[str]:
    for node in selection.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
            if node.name.value in ROW_FIELDS and node.selection_set is not None:
                yield from _names(info, node.selection_set, seen)
        elif isinstance(node, InlineFragmentNode):
            yield from _names(info, node.selection_set, seen)
        elif isinstance(node, FragmentSpreadNode) and node.name.value not in seen:
            seen.add(node.name.value)
            fragment = info.fragments.get(node.name.value)
            if fragment is not None:
                yield from _names(info, fragment.selection_set, seen)
