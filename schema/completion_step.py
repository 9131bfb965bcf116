"""The steps that complete rows: one for each field of a selection, each for all rows of a batch at once.

Made once for each place in an operation, by whoever comes first, and used by all: nothing of a viewer is in a step. The
guard is asked of the batch, in each run.
"""

from collections.abc import Awaitable, Callable, Sequence
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
from models.errors import SealedError
from models.inventory import Column, Entity, entity_of
from models.row import ColumnOpener, Row, open_column
from schema.completion import Batch, Completion, Step, Values
from schema.field import ColumnField, LinkField, RowsField
from schema.leaf import converter_of, unchanged
from schema.selection import Needs, selected_under
from schema.wiring import declaration_of, python_name


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
        return lambda batch: [object_type.name] * len(batch.rows)
    if field is None or node.arguments:
        return ordinary
    said = declaration_of(field)
    if node.name.value == "id" and said is not None and not isinstance(said, ColumnField):
        return _IdStep(object_type.name)
    if isinstance(said, ColumnField):
        convert = converter_of(field)
        if convert is None:
            return ordinary
        column = entity.columns[said.name or python_name(field)]
        return _column_step(object_type, key, details, field, column, convert)
    if isinstance(said, LinkField):
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            show = _column_step(object_type, key, details, field, entity.columns[said.by], unchanged)
            return _LinkStep(show, entity_of(said.to), field, target, key, details, needs)
    if isinstance(said, RowsField) and said.listed is not None and not field.args:
        target = get_named_type(field.type)
        if isinstance(target, GraphQLObjectType):
            return _RowsStep(said, target, key, details, needs)
    return ordinary


class _IdStep:
    def __init__(self, type_name: str) -> None:
        self._prefix = f"{type_name}:"

    def __call__(self, batch: Batch) -> Values:
        prefix = self._prefix
        return [prefix + str(row["id"]) for row in batch.rows]


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
        return lambda batch: convert([row[name] for row in batch.rows])
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
        self._guard = guard
        self._convert = convert

    def __call__(self, batch: Batch) -> Values | Awaitable[Values]:
        name = self._column.name
        allowed = batch.allowed(self._guard)
        if allowed is True:
            return self._convert([row[name] for row in batch.rows])
        self._deny(batch, allowed)
        if allowed is False:
            return [None] * len(batch.rows)
        return self._convert([row[name] if may else None for row, may in zip(batch.rows, allowed, strict=True)])

    def _deny(self, batch: Batch, allowed: bool | list[bool]) -> None:
        """Note that the field was denied, where it first was."""
        if not batch.rows:
            return
        index = 0 if allowed is False else allowed.index(False)  # type: ignore[union-attr]
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
        allowed = batch.allowed(self._guard)
        rows = batch.rows
        if allowed is True:
            return self._opened(batch, range(len(rows)), [None] * len(rows))
        values = self._instead(batch, allowed)
        if allowed is False:
            return values
        return self._opened(batch, [index for index, may in enumerate(allowed) if may], values)

    def _instead(self, batch: Batch, allowed: bool | list[bool]) -> Values:
        """Return what stands for the values that may not be read."""
        mask = self._column.masked_by
        if mask is None:
            self._deny(batch, allowed)
            return [None] * len(batch.rows)
        denied = [allowed is False or not allowed[index] for index in range(len(batch.rows))]  # type: ignore[index]
        return [pseudonym(row[mask]) if no else None for row, no in zip(batch.rows, denied, strict=True)]

    def _opened(self, batch: Batch, indices: Sequence[int], values: Values) -> Values | Awaitable[Values]:
        column, rows = self._column, batch.rows
        opened = ColumnOpener(column, rows[0].entity).open
        read: list[UUID] = []
        sealed: list[int] = []
        for index in indices:
            row = rows[index]
            try:
                text = opened(row)
            except SealedError:
                sealed.append(index)
                continue
            except Exception as error:
                self._broken(batch, index, error)
                continue
            if text is not None:
                values[index] = text
                read.append(row["id"])
        batch.context.read_log.note_all(column, read)
        return self._opened_later(batch, sealed, values) if sealed else values

    async def _opened_later(self, batch: Batch, sealed: list[int], values: Values) -> Values:
        """Open values whose keys are not in memory. Where a key is gone, since its owner was erased, is nothing."""
        column, rows, name = self._column, batch.rows, self._column.name
        await gather_with_cancel(*(batch.context.load_key(rows[index][name]) for index in sealed))
        read: list[UUID] = []
        for index in sealed:
            try:
                values[index] = open_column(column, rows[index])
            except SealedError:
                continue
            except Exception as error:
                self._broken(batch, index, error)
                continue
            read.append(rows[index]["id"])
        batch.context.read_log.note_all(column, read)
        return values

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
        selected = selected_under(
            batch.context, batch.executor.fragment_definitions, _nodes(self._details), self._type.name, self._needs
        )
        first: dict[UUID, int] = {}
        for index, row_id in enumerate(ids):
            if row_id is not None:
                first.setdefault(row_id, index)
        found = await batch.context.load_rows(self._target, selected, list(first))
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
        selected = selected_under(
            batch.context, batch.executor.fragment_definitions, nodes, self._type.name, self._needs
        )
        parents = [row["id"] for row in batch.rows]
        lists = await batch.context.load_children(self._said, selected, nodes, parents)
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
