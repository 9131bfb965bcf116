"""The steps that complete rows: one for each field of a selection, each for all rows of a batch at once.

Made once for each place in an operation, by whoever comes first, and used by all: nothing of a viewer is in a step. The
guard is asked of the batch, in each run.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLObjectType,
    GraphQLScalarType,
    get_named_type,
    get_nullable_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path, gather_with_cancel

from auth.masking import pseudonym
from auth.permission import Permission
from models.encryption.envelope import key_bytes_of
from models.inventory import Column, Entity, entity_of
from models.row import ColumnOpener, Opened, Row
from schema.completion import Batch, Completion, Step, Values
from schema.field import ColumnField, LinkField, RowsField
from schema.selection import Needs, columns_under
from schema.wiring import declaration_of, python_name

_AS_THEY_ARE: Final = frozenset({"String", "Int", "Float", "Boolean", "DateTime", "Date"})
"""Scalars whose stored values are written as they are: the writer of the answer knows moments and days."""


def compile_selection(
    object_type: GraphQLObjectType, entity: Entity, collected: GroupedFieldSet, core_needs: Needs
) -> Completion:
    """Return what completes rows of the table as objects with these fields."""
    steps = []
    for key, details in collected.items():
        field = object_type.fields.get(details[0].node.name.value)
        steps.append((key, _step(object_type, entity, key, details, field, core_needs)))
    return Completion(steps)


def _step(
    object_type: GraphQLObjectType,
    entity: Entity,
    key: str,
    details: FieldDetailsList,
    field: GraphQLField | None,
    core_needs: Needs,
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
        convert = _converter(field)
        if convert is None:
            return ordinary
        column = entity.columns[said.name or python_name(field)]
        return _column_step(object_type, key, details, field, column, convert)
    if isinstance(said, LinkField):
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            show = _column_step(object_type, key, details, field, entity.columns[said.by], _same)
            return _LinkStep(show, entity_of(said.to), field, target, key, details, core_needs)
    if isinstance(said, RowsField) and said.listed is not None and not field.args:
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            return _RowsStep(said, target, key, details, core_needs)
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
        values: Values = opened.texts
        for place, text in instead.items():
            values[place] = text
        return self._opened_later(batch, opened.sealed, values) if opened.sealed else values

    async def _opened_later(self, batch: Batch, sealed: Sequence[int], values: Values) -> Values:
        """Open values whose keys are not in memory. Where a key is gone, since its owner was erased, is nothing."""
        blobs = batch.column(self._name)
        by_key = {key_bytes_of(blobs[place]): blobs[place] for place in sealed}
        await gather_with_cancel(*map(batch.context.load_key, by_key.values()))
        opened = ColumnOpener(self._column, batch.entity).open_all(batch.column, sealed)
        self._note(batch, opened)
        for place in sealed:
            values[place] = opened.texts[place]
        return values

    def _note(self, batch: Batch, opened: Opened) -> None:
        """Note what was read, and what is broken as errors of the answer."""
        read = [row_id for row_id, text in zip(batch.ids, opened.texts, strict=True) if text is not None]
        batch.context.read_log.note_all(self._column, read)
        for place, error in opened.broken:
            self._broken(batch, place, error)

    def _broken(self, batch: Batch, index: int, error: Exception) -> None:
        path = Path(batch.path_of(index), self._key, self._type.name)
        batch.executor.handle_field_error(error, self._field.type, self._details, path)


class _LinkStep:
    """Follows a column to the rows that it names, as far as the viewer sees them."""

    def __init__(
        self,
        show: Step,
        target: Entity,
        field: GraphQLField,
        type_: GraphQLObjectType,
        key: str,
        details: FieldDetailsList,
        needs: Needs,
    ) -> None:
        self._show = show
        self._target = target
        self._field = field
        self._type = type_
        self._key = key
        self._details = details
        self._needs = needs

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        shown = self._show(batch)
        if not isinstance(shown, list):
            raise TypeError("A column that names a row is not encrypted.")
        return self._followed(batch, shown) if any(one is not None for one in shown) else shown

    async def _followed(self, batch: Batch, ids: Values) -> Values:
        columns = columns_under(
            batch.context, batch.executor.fragment_definitions, _nodes(self._details), self._type.name, self._needs
        )
        first: dict[UUID, int] = {}
        for index, row_id in enumerate(ids):
            if row_id is not None:
                first.setdefault(row_id, index)
        found = await batch.context.load_rows(self._target, columns, list(first))
        rows = [(row_id, row) for row_id in first if (row := found.get(row_id)) is not None]

        def path_of(place: int) -> Path:
            return Path(batch.path_of(first[rows[place][0]]), self._key, batch.object_type.name)

        try:
            completed = batch.executor.complete_rows(self._type, self._details, [row for _, row in rows], path_of)
            objects = completed if isinstance(completed, list) else await completed
        except Exception:
            # An error where nothing can be null blanks the row, and the link can be null: each has its own.
            return [await self._one(batch, index, found.get(row_id)) for index, row_id in enumerate(ids)]
        by_id = {row_id: one for (row_id, _), one in zip(rows, objects, strict=True)}
        return [by_id.get(row_id) for row_id in ids]

    async def _one(self, batch: Batch, index: int, row: Row | None) -> Any:
        if row is None:
            return None
        path = Path(batch.path_of(index), self._key, batch.object_type.name)
        try:
            completed = batch.executor.complete_rows(self._type, self._details, [row], lambda _: path)
            return (completed if isinstance(completed, list) else await completed)[0]
        except Exception as error:
            batch.executor.handle_field_error(error, self._field.type, self._details, path)
            return None


class _RowsStep:
    """Lists the rows that belong to each row, of tables of which each has few."""

    def __init__(
        self, said: RowsField, type_: GraphQLObjectType, key: str, details: FieldDetailsList, needs: Needs
    ) -> None:
        self._said = said
        self._type = type_
        self._key = key
        self._details = details
        self._needs = needs

    async def __call__(self, batch: Batch) -> Values:
        nodes = _nodes(self._details)
        columns = columns_under(batch.context, batch.executor.fragment_definitions, nodes, self._type.name, self._needs)
        parents = batch.ids
        lists = await batch.context.load_children(self._said, columns, nodes, parents)
        rows: list[Row] = []
        ends: list[int] = []
        places: list[tuple[int, int]] = []
        for index, parent in enumerate(parents):
            own = lists.get(parent, ())
            rows.extend(own)
            places.extend((index, place) for place in range(len(own)))
            ends.append(len(rows))

        def path_of(place: int) -> Path:
            index, own = places[place]
            return Path(Path(batch.path_of(index), self._key, batch.object_type.name), own, None)

        completed = batch.executor.complete_rows(self._type, self._details, rows, path_of)
        objects = completed if isinstance(completed, list) else await completed
        starts = [0, *ends[:-1]]
        return [objects[start:end] for start, end in zip(starts, ends, strict=True)]


def _nodes(details: FieldDetailsList) -> list[FieldNode]:
    return [one.node for one in details]


def _converter(field: GraphQLField) -> Callable[[Values], Values] | None:
    """Return what makes stored values into those of the answer; None for what is left to the ordinary way."""
    inner = get_nullable_type(field.type)
    if isinstance(inner, GraphQLScalarType):
        if inner.name in _AS_THEY_ARE:
            return _same
        return _texts if inner.name == "UUID" else None
    if isinstance(inner, GraphQLEnumType):
        names = {str(getattr(value.value, "value", value.value)): name for name, value in inner.values.items()}
        if all(stored == name for stored, name in names.items()):
            return _same
        return lambda values: [None if value is None else names[value] for value in values]
    return None


def _same(values: Values) -> Values:
    return values


def _texts(values: Values) -> Values:
    return [None if value is None else str(value) for value in values]
