"""From rows to answers, column by column.

Whoever completes a list the ordinary way asks each field of each row for itself: a call, a guard, a value, thousands of
times. Here a selection is looked at once, each of its fields becomes a step, and a step answers for all rows together:
the guard is asked once for each scope that the rows lie in, and the values are taken in one loop. What a step does not
know, such as a field with arguments, is done the ordinary way, row by row, by the same executor.

The answer is the same as the ordinary one, to the byte (`tests/sweep/test_execution.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NoReturn, Protocol

from graphql import (
    FragmentDefinitionNode,
    GraphQLObjectType,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path, gather_with_cancel

from auth.permission import Permission
from auth.scope import Scope
from models.row import Row
from models.visibility import scope_of
from schema.context import RequestContext

Values = list[Any]
Step = Callable[["Batch"], Values | Awaitable[Values]]


class RowExecutor(Protocol):
    """What a batch needs of the executor of its operation."""

    context_value: RequestContext
    fragment_definitions: dict[str, FragmentDefinitionNode]

    def complete_rows(
        self, object_type: GraphQLObjectType, details: FieldDetailsList, rows: Sequence[Row], path_of: "PathOf"
    ) -> Values | Awaitable[Values]: ...

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any: ...

    def is_awaitable(self, value: Any) -> bool: ...

    def handle_field_error(
        self, raw_error: Exception, return_type: Any, field_details_list: Any, path: Path
    ) -> None: ...


PathOf = Callable[[int], Path]
"""By a row's place in its batch, the path of the object that it becomes."""


class Batch:
    """Rows of one table that become objects of one selection, and what their steps share."""

    __slots__ = ("_scopes", "context", "executor", "object_type", "path_of", "rows")

    def __init__(
        self, executor: RowExecutor, object_type: GraphQLObjectType, rows: Sequence[Row], path_of: PathOf
    ) -> None:
        self.executor = executor
        self.context = executor.context_value
        self.object_type = object_type
        self.rows = rows
        self.path_of = path_of
        self._scopes: Scope | list[Scope] | None = None

    @property
    def scopes(self) -> Scope | list[Scope]:
        """The scope of all rows, where it is one; else that of each."""
        if self._scopes is None:
            self._scopes = _scopes_of(self.rows, self.context)
        return self._scopes

    def allowed(self, guard: Permission) -> bool | list[bool]:
        """Return whether the viewer may read what the guard guards: of all rows, where that is one; else of each."""
        scopes, allows = self.scopes, self.context.allows
        if isinstance(scopes, Scope):
            return allows(guard, scopes)
        verdicts = {scope: allows(guard, scope) for scope in set(scopes)}
        if len(set(verdicts.values())) == 1:
            return verdicts[scopes[0]]
        return [verdicts[scope] for scope in scopes]

    def scope(self, index: int) -> Scope:
        """Return the scope of one row."""
        return self.scopes if isinstance(self.scopes, Scope) else self.scopes[index]


class Completion:
    """The steps of one selection, in the order of the answer's keys."""

    __slots__ = ("_keys", "_steps")

    def __init__(self, steps: Sequence[tuple[str, Step]]) -> None:
        self._keys = tuple(key for key, _ in steps)
        self._steps = tuple(step for _, step in steps)

    def run(self, batch: Batch) -> list[dict[str, Any]] | Awaitable[list[dict[str, Any]]]:
        """Return the objects, or an awaitable of them where something has to be read first."""
        if not self._steps:
            # All that was selected is left out by `@skip` and `@include`.
            return [{} for _ in batch.rows]
        columns: list[Any] = []
        try:
            columns.extend(step(batch) for step in self._steps)
        except Exception as error:
            return failing(error, columns)
        waiting = [index for index, column in enumerate(columns) if not isinstance(column, list)]
        if waiting:
            return self._run_later(columns, waiting)
        return self._objects(columns)

    async def _run_later(self, columns: list[Any], waiting: list[int]) -> list[dict[str, Any]]:
        # Together, so that what they read of the same table is read at once.
        found = await gather_with_cancel(*(columns[index] for index in waiting))
        for index, column in zip(waiting, found, strict=True):
            columns[index] = column
        return self._objects(columns)

    def _objects(self, columns: list[Values]) -> list[dict[str, Any]]:
        keys = self._keys
        return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


async def failing(error: Exception, values: Iterable[Any]) -> NoReturn:
    """Raise the error, once all that was begun before it has come to an end."""
    await asyncio.gather(*(value for value in values if isinstance(value, Awaitable)), return_exceptions=True)
    raise error


def _scopes_of(rows: Sequence[Row], context: RequestContext) -> Scope | list[Scope]:
    if not rows:
        return Scope()
    entity, viewer = rows[0].entity, context.viewer
    placement = entity.placement
    if placement is None or (placement.project_column is None and placement.own_column is None):
        return scope_of(entity, rows[0], viewer)
    if placement.own_column is None and placement.project_column is not None:
        column = placement.project_column
        first = rows[0][column]
        if all(row[column] == first for row in rows):
            return scope_of(entity, rows[0], viewer)
    return [scope_of(entity, row, viewer) for row in rows]
