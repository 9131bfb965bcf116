"""The steps that complete rows: one for each field of a selection, each for all rows of a batch at once.

Made once for each place in an operation, by whoever comes first, and used by all: nothing of a viewer is in a step. The
guard is asked of the batch, in each run.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any
from uuid import UUID

from graphql import (
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path, gather_with_cancel

from auth.masking import pseudonym
from auth.permission import Permission
from models.along import Named, Naming
from models.encryption.envelope import key_bytes_of
from models.encryption.keyring import UNWRAPPABLE, unknown_key
from models.inventory import Column, Entity, entity_of
from models.row import ColumnOpener, Opened
from schema.completion import Batch, Completion, PathOf, Step, Values
from schema.field import ColumnField, LinkField, Listed, RowsField, column_shown
from schema.leaf import converter_of, unchanged
from schema.selection import Needs, selected_under
from schema.wiring import declaration_of, python_name

_Complete = Callable[[Sequence[UUID], PathOf], Values | Awaitable[Values]]
"""From the ids of rows to the objects that they become."""


def compile_selection(
    object_type: GraphQLObjectType, entity: Entity, collected: GroupedFieldSet, needs: Needs
) -> Completion:
    """Return what completes rows of the table as objects with these fields."""
    steps = []
    for key, details in collected.items():
        field = object_type.fields.get(details[0].node.name.value)
        steps.append((key, _step(object_type, entity, key, details, field, needs)))
    return Completion(steps)


def _step(
    object_type: GraphQLObjectType,
    entity: Entity,
    key: str,
    details: FieldDetailsList,
    field: GraphQLField | None,
    needs: Needs,
) -> Step:
    node = details[0].node
    ordinary = _OrdinaryStep(object_type, key, details)
    if node.name.value == "__typename":
        return lambda batch: [object_type.name] * batch.size
    if field is None or node.arguments:
        return ordinary
    said = declaration_of(field)
    if node.name.value == "id" and said is not None and not isinstance(said, ColumnField):
        return _IdStep(object_type.name)
    if isinstance(said, ColumnField):
        convert = converter_of(field)
        if convert is None:
            return ordinary
        column = column_shown(object_type.name, entity.columns[said.name or python_name(field)])
        return _column_step(object_type, key, details, field, column, convert)
    if isinstance(said, LinkField):
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            show = _column_step(object_type, key, details, field, entity.columns[said.by], unchanged)
            return _LinkStep(show, said, field, target, key, details, needs)
    if isinstance(said, RowsField) and said.listed is not None and not field.args:
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            return _RowsStep(said, said.listed, target, key, details, needs)
    return ordinary


class _IdStep:
    def __init__(self, type_name: str) -> None:
        self._prefix = f"{type_name}:"

    def __call__(self, batch: Batch) -> Values:
        prefix = self._prefix
        return [prefix + str(row_id) for row_id in batch.ids]


class _OrdinaryStep:
    """Does one field the ordinary way, row by row."""

    def __init__(self, object_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        self._type = object_type
        self._key = key
        self._details = details

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        executor = batch.executor
        values = [
            executor.execute_field(
                self._type, row, self._details, Path(batch.path_of(index), self._key, self._type.name), None
            )
            for index, row in enumerate(batch.rows)
        ]
        waiting = [index for index, value in enumerate(values) if executor.is_awaitable(value)]
        return _settled(values, waiting) if waiting else values


async def _settled(values: Values, waiting: list[int]) -> Values:
    found = await gather_with_cancel(*(values[index] for index in waiting))
    for index, value in zip(waiting, found, strict=True):
        values[index] = value
    return values


def _column_step(
    object_type: GraphQLObjectType,
    key: str,
    details: FieldDetailsList,
    field: GraphQLField,
    column: Column,
    convert: Callable[[Values], Values],
) -> Step:
    name, guard = column.name, column.guard
    if guard is None:
        return lambda batch: convert(batch.column(name))
    step = _SealedStep if column.is_sealed else _GuardedStep
    return step(object_type, key, details, field, column, guard, convert)


class _GuardedStep:
    """Shows a plain column of the rows of which the viewer may read it."""

    def __init__(
        self,
        object_type: GraphQLObjectType,
        key: str,
        details: FieldDetailsList,
        field: GraphQLField,
        column: Column,
        guard: Permission,
        convert: Callable[[Values], Values],
    ) -> None:
        self._type = object_type
        self._key = key
        self._details = details
        self._field = field
        self._column = column
        self._name = column.name
        self._guard = guard
        self._convert = convert

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        readable = batch.readable(self._guard)
        if len(readable) == batch.size:
            return self._convert(batch.column(self._name))
        self._deny(batch, readable)
        shown: Values = [None] * batch.size
        if readable:
            # What the viewer may read nowhere is not among the columns.
            column = batch.column(self._name)
            for place in readable:
                shown[place] = column[place]
        return self._convert(shown)

    def _deny(self, batch: Batch, readable: Sequence[int]) -> None:
        """Note that the field was denied, at the first of the other places."""
        index = next((place for place, other in enumerate(readable) if place != other), len(readable))
        batch.context.note_denial(
            self._type.name,
            self._details[0].node.name.value,
            self._guard,
            batch.scope(index),
            path=Path(batch.path_of(index), self._key, self._type.name),
            nodes=[one.node for one in self._details],
        )


class _SealedStep(_GuardedStep):
    """Opens an encrypted column of the rows of which the viewer may read it, and notes that it was read."""

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        readable = batch.readable(self._guard)
        if len(readable) == batch.size:
            return self._opened(batch, readable, {})
        instead = self._instead(batch, readable)
        if readable:
            return self._opened(batch, readable, instead)
        return [instead.get(place) for place in range(batch.size)]

    def _instead(self, batch: Batch, readable: Sequence[int]) -> Mapping[int, str | None]:
        """Return what stands for the values that may not be read, by their places."""
        mask = self._column.masked_by
        if mask is None:
            self._deny(batch, readable)
            return {}
        masked, may = batch.column(mask), set(readable)
        return {place: pseudonym(value) for place, value in enumerate(masked) if place not in may}

    def _opened(
        self, batch: Batch, places: Sequence[int], instead: Mapping[int, str | None]
    ) -> Values | Awaitable[Values]:
        opened = ColumnOpener(self._column, batch.entity).open_all(batch.column, places)
        self._note(batch, opened)
        values: Values = opened.values
        for place, text in instead.items():
            values[place] = text
        return self._opened_later(batch, opened.sealed, values) if opened.sealed else values

    async def _opened_later(self, batch: Batch, sealed: Sequence[int], values: Values) -> Values:
        """Open values whose keys are not in memory. Where a key is gone, since its owner was erased, is nothing."""
        blobs = batch.column(self._name)
        by_key = {key_bytes_of(blobs[place]): blobs[place] for place in sealed}
        loaded = await asyncio.gather(*map(batch.context.load_key, by_key.values()), return_exceptions=True)
        lost = {key: error for key, error in zip(by_key, loaded, strict=True) if error is not None}
        for error in lost.values():
            if not isinstance(error, UNWRAPPABLE):
                raise error
        opened = ColumnOpener(self._column, batch.entity).open_all(batch.column, sealed)
        self._note(batch, opened)
        for place in sealed:
            values[place] = opened.values[place]
        for place in opened.sealed:
            lost_to = lost.get(key_bytes_of(blobs[place]))
            self._broken(batch, place, lost_to if isinstance(lost_to, UNWRAPPABLE) else unknown_key(blobs[place]))
        return values

    def _note(self, batch: Batch, opened: Opened) -> None:
        """Note what was read, and what is broken as errors of the answer."""
        read = [row_id for row_id, text in zip(batch.ids, opened.values, strict=True) if text is not None]
        batch.context.read_log.note_all(self._column, read)
        for place, error in opened.broken:
            self._broken(batch, place, error)

    def _broken(self, batch: Batch, index: int, error: Exception) -> None:
        batch.context.read_log.note_broken(self._column, batch.ids[index])
        path = Path(batch.path_of(index), self._key, self._type.name)
        batch.executor.handle_field_error(error, self._field.type, self._details, path)


class _LinkStep:
    """Follows a column to the rows that it names, as far as the viewer sees them."""

    def __init__(
        self,
        show: Step,
        said: LinkField,
        field: GraphQLField,
        type_: GraphQLObjectType,
        key: str,
        details: FieldDetailsList,
        needs: Needs,
    ) -> None:
        self._show = show
        self._beside = Named(said.by, entity_of(said.to), ())
        self._field = field
        self._type = type_
        self._key = key
        self._details = details
        self._needs = needs

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        shown = self._show(batch)
        if not isinstance(shown, list):
            raise TypeError("A column that names a row is not encrypted.")
        if all(one is None for one in shown):
            return shown
        if batch.has(self._beside.name("id")):
            return self._read_along(batch, shown)
        return self._followed(batch, shown)

    def _read_along(self, batch: Batch, ids: Values) -> Values | Awaitable[Values]:
        """Complete the rows that came in the same statement, each once."""
        first: dict[UUID, int] = {}
        for place, row_id in enumerate(batch.column(self._beside.name("id"))):
            if row_id is not None and ids[place] is not None and row_id not in first:
                first[row_id] = place

        def complete(row_ids: Sequence[UUID], path_of: PathOf) -> Values | Awaitable[Values]:
            places = [first[row_id] for row_id in row_ids]
            return batch.executor.complete(self._details, batch.named(self._beside, self._type, places, path_of))

        return self._completed(batch, ids, first, complete)

    async def _followed(self, batch: Batch, ids: Values) -> Values:
        """Read the rows, each once, and complete them."""
        executor = batch.executor
        selected = selected_under(
            batch.context, executor.fragment_definitions, _nodes(self._details), self._type.name, self._needs
        )
        wanted: dict[UUID, int] = {}
        for place, row_id in enumerate(ids):
            if row_id is not None:
                wanted.setdefault(row_id, place)
        found = await batch.context.load_rows(self._beside.entity, selected, list(wanted))
        first = {row_id: place for row_id, place in wanted.items() if row_id in found}

        def complete(row_ids: Sequence[UUID], path_of: PathOf) -> Values | Awaitable[Values]:
            return executor.complete_rows(self._type, self._details, [found[row_id] for row_id in row_ids], path_of)

        made = self._completed(batch, ids, first, complete)
        return made if isinstance(made, list) else await made

    def _completed(
        self, batch: Batch, ids: Values, first: Mapping[UUID, int], complete: _Complete
    ) -> Values | Awaitable[Values]:
        """Return the object that each id leads to. first: the place of each row that there is."""
        row_ids = list(first)
        if not row_ids:
            return [None] * len(ids)

        def path_of(place: int) -> Path:
            return Path(batch.path_of(first[row_ids[place]]), self._key, batch.object_type.name)

        try:
            made = complete(row_ids, path_of)
        except Exception:
            return self._one_by_one(batch, ids, first, complete)
        if isinstance(made, list):
            return list(map(dict(zip(row_ids, made, strict=True)).get, ids))
        return self._later(batch, ids, first, complete, made)

    async def _later(
        self, batch: Batch, ids: Values, first: Mapping[UUID, int], complete: _Complete, made: Awaitable[Values]
    ) -> Values:
        try:
            by_id = dict(zip(first, await made, strict=True))
        except Exception:
            return await self._one_by_one(batch, ids, first, complete)
        return list(map(by_id.get, ids))

    async def _one_by_one(self, batch: Batch, ids: Values, first: Mapping[UUID, int], complete: _Complete) -> Values:
        """Complete each place for itself: an error blanks the row that it is in, and the link can be null."""
        return [
            await self._one(batch, place, row_id, complete) if row_id in first else None
            for place, row_id in enumerate(ids)
        ]

    async def _one(self, batch: Batch, place: int, row_id: UUID, complete: _Complete) -> Any:
        path = Path(batch.path_of(place), self._key, batch.object_type.name)
        try:
            made = complete([row_id], lambda _: path)
            return (made if isinstance(made, list) else await made)[0]
        except Exception as error:
            batch.executor.handle_field_error(error, self._field.type, self._details, path)
            return None


class _RowsStep:
    """Lists the rows that belong to each row, of tables of which each has few."""

    def __init__(
        self, said: RowsField, how: Listed, type_: GraphQLObjectType, key: str, details: FieldDetailsList, needs: Needs
    ) -> None:
        self._said = said
        self._beside = Naming(how.by, entity_of(said.of), (), how.order, how.limit)
        self._type = type_
        self._key = key
        self._details = details
        self._needs = needs

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        of_each = self._beside.name("id")
        return self._read_along(batch, batch.column(of_each)) if batch.has(of_each) else self._listed(batch)

    def _read_along(self, batch: Batch, of_each: Values) -> Values | Awaitable[Values]:
        """Complete the rows that came in the same statement."""
        ends = list(accumulate(0 if ids is None else len(ids) for ids in of_each))
        if not ends[-1]:
            return [[] for _ in ends]
        rows = batch.naming(self._beside, self._type, ends[-1], self._paths(batch, ends))
        made = batch.executor.complete(self._details, rows)
        return _parted(made, ends) if isinstance(made, list) else _parted_later(made, ends)

    async def _listed(self, batch: Batch) -> Values:
        """Read the rows, and complete them."""
        nodes, executor = _nodes(self._details), batch.executor
        selected = selected_under(batch.context, executor.fragment_definitions, nodes, self._type.name, self._needs)
        lists = await batch.context.load_children(self._said, selected, nodes, batch.ids)
        of_each = [lists.get(parent, ()) for parent in batch.ids]
        ends = list(accumulate(map(len, of_each)))
        rows = list(chain.from_iterable(of_each))
        made = executor.complete_rows(self._type, self._details, rows, self._paths(batch, ends))
        return _parted(made if isinstance(made, list) else await made, ends)

    def _paths(self, batch: Batch, ends: Sequence[int]) -> PathOf:
        """Return the path of each object. ends: where the rows of each parent end, among all."""

        def path_of(place: int) -> Path:
            parent = bisect_right(ends, place)
            own = place - (ends[parent - 1] if parent else 0)
            return Path(Path(batch.path_of(parent), self._key, batch.object_type.name), own, None)

        return path_of


def _parted(objects: Values, ends: Sequence[int]) -> Values:
    return [objects[start:end] for start, end in zip((0, *ends), ends, strict=False)]


async def _parted_later(made: Awaitable[Values], ends: Sequence[int]) -> Values:
    return _parted(await made, ends)


def _nodes(details: FieldDetailsList) -> list[FieldNode]:
    return [one.node for one in details]
