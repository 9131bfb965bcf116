"""From rows to answers, column by column.

Whoever completes a list the ordinary way asks each field of each row for itself: a call, a guard, a value, thousands of
times. Here a selection is looked at once, each of its fields becomes a step, and a step answers for all rows together:
the guard is asked once for each scope that the rows lie in, and the values are taken in one loop. What a step does not
know, such as a field with arguments, is done the ordinary way, row by row, by the same executor.

The answer is the same as the ordinary one, to the byte (`tests/sweep/test_execution.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final, NoReturn, Protocol

from graphql import FragmentDefinitionNode, GraphQLObjectType
from graphql.execution.collect_fields import FieldDetailsList
from graphql.pyutils import Path, gather_with_cancel

from auth.permission import Permission
from auth.scope import Scope
from models.along import Named, Naming
from models.inventory import Entity
from models.row import Row
from models.visibility import scope_at
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

    def complete(self, details: FieldDetailsList, batch: "Batch") -> Values | Awaitable[Values]: ...

    def execute_field(
        self, parent_type: Any, source: Any, field_details_list: Any, path: Any, position_context: Any
    ) -> Any: ...

    def is_awaitable(self, value: Any) -> bool: ...

    def handle_field_error(
        self, raw_error: Exception, return_type: Any, field_details_list: Any, path: Path
    ) -> None: ...


MOST_KEYS: Final = 64
"""Fields of objects that are made by a function of their own."""

PathOf = Callable[[int], Path]
"""By a row's place in its batch, the path of the object that it becomes."""


class Batch:
    """Rows of one table that become objects of one selection, and what their steps share.

    A step takes columns: `column` answers the values of all rows, in their order, and is not to be changed. Only what
    is done row by row takes `rows`, which are there where they were read by a statement of their own.
    """

    __slots__ = (
        "_names",
        "_readable",
        "_scopes",
        "column",
        "context",
        "entity",
        "executor",
        "object_type",
        "path_of",
        "rows",
        "size",
    )

    column: Callable[[str], Values]
    """Returns the values of a column, one of those that were asked for or that scopes are made of."""

    def __init__(
        self,
        executor: RowExecutor,
        object_type: GraphQLObjectType,
        entity: Entity,
        size: int,
        column: Callable[[str], Values],
        path_of: PathOf,
    ) -> None:
        self.executor = executor
        self.context = executor.context_value
        self.object_type = object_type
        self.entity = entity
        self.rows: Sequence[Row] = ()
        self.size = size
        self.column = column
        self.path_of = path_of
        self._names: Collection[str] = ()
        self._scopes: Scope | list[Scope] | None = None
        self._readable: dict[Permission, Sequence[int]] = {}

    @classmethod
    def of_rows(
        cls, executor: RowExecutor, object_type: GraphQLObjectType, rows: Sequence[Row], path_of: PathOf
    ) -> "Batch":
        """Return the batch of rows as they were read."""
        # Turned at once: it takes a quarter of what looking up each value by its name does.
        columns = dict(zip(rows[0].keys(), map(list, zip(*rows, strict=True)), strict=True))
        batch = cls(executor, object_type, rows[0].entity, len(rows), columns.__getitem__, path_of)
        batch.rows, batch._names = rows, columns.keys()
        return batch

    def named(self, named: Named, object_type: GraphQLObjectType, places: Sequence[int], path_of: PathOf) -> "Batch":
        """Return the batch of the rows that are named at these places, and were read along."""

        @cache
        def column(name: str) -> Values:
            values = self.column(named.name(name))
            return [values[place] for place in places]

        return Batch(self.executor, object_type, named.entity, len(places), column, path_of)

    def naming(self, naming: Naming, object_type: GraphQLObjectType, size: int, path_of: PathOf) -> "Batch":
        """Return the batch of the rows that name these, and were read along: those of the first row first."""

        @cache
        def column(name: str) -> Values:
            return list(chain.from_iterable(filter(None, self.column(naming.name(name)))))

        return Batch(self.executor, object_type, naming.entity, size, column, path_of)

    def has(self, name: str) -> bool:
        """Return whether a column was read with the rows themselves."""
        return name in self._names

    @property
    def ids(self) -> Values:
        """The rows' ids."""
        return self.column("id")

    @property
    def scopes(self) -> Scope | list[Scope]:
        """The scope of all rows, where it is one; else that of each."""
        if self._scopes is None:
            self._scopes = _scopes_of(self)
        return self._scopes

    def readable(self, guard: Permission) -> Sequence[int]:
        """Return the places of the rows of which the viewer may read what the guard guards: as many as there are rows,
        where they may of all."""
        found = self._readable.get(guard)
        if found is None:
            found = self._readable[guard] = self._readable_by(guard)
        return found

    def scope(self, index: int) -> Scope:
        """Return the scope of one row."""
        return self.scopes if isinstance(self.scopes, Scope) else self.scopes[index]

    def _readable_by(self, guard: Permission) -> Sequence[int]:
        scopes, allows = self.scopes, self.context.allows
        if isinstance(scopes, Scope):
            return range(self.size if allows(guard, scopes) else 0)
        # Rows of one scope share the object: telling scopes apart by what they say would be asked of each row.
        verdicts = {id(scope): allows(guard, scope) for scope in {id(scope): scope for scope in scopes}.values()}
        if all(verdicts.values()):
            return range(self.size)
        return [place for place, scope in enumerate(scopes) if verdicts[id(scope)]]


class Completion:
    """The steps of one selection, in the order of the answer's keys."""

    __slots__ = ("_made", "_steps")

    def __init__(self, steps: Sequence[tuple[str, Step]]) -> None:
        self._steps = tuple(step for _, step in steps)
        self._made = _objects_with(tuple(key for key, _ in steps))

    def run(self, batch: Batch) -> list[dict[str, Any]] | Awaitable[list[dict[str, Any]]]:
        """Return the objects, or an awaitable of them where something has to be read first."""
        if not self._steps:
            # All that was selected is left out by `@skip` and `@include`.
            return [{} for _ in range(batch.size)]
        columns: list[Any] = []
        try:
            columns.extend(step(batch) for step in self._steps)
        except Exception as error:
            return failing(error, columns)
        waiting = [index for index, column in enumerate(columns) if not isinstance(column, list)]
        if waiting:
            return self._run_later(columns, waiting)
        return self._made(columns)

    async def _run_later(self, columns: list[Any], waiting: list[int]) -> list[dict[str, Any]]:
        # Together, so that what they read of the same table is read at once.
        found = await gather_with_cancel(*(columns[index] for index in waiting))
        for index, column in zip(waiting, found, strict=True):
            columns[index] = column
        return self._made(columns)


async def failing(error: Exception, values: Iterable[Any]) -> NoReturn:
    """Raise the error, once all that was begun before it has come to an end."""
    await asyncio.gather(*(value for value in values if isinstance(value, Awaitable)), return_exceptions=True)
    raise error


def _objects_with(keys: tuple[str, ...]) -> Callable[[Sequence[Values]], list[dict[str, Any]]]:
    """Return what makes objects with these keys of a column for each."""
    if 0 < len(keys) <= MOST_KEYS:
        made: Callable[[Sequence[Values]], list[dict[str, Any]]] = _maker(len(keys))(*keys)
        return made
    return lambda columns: [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


@cache
def _maker(count: int) -> Callable[..., Any]:
    """Return a function of so many keys that returns what makes objects with them.

    It is written while the program runs, since only then the number is known, and takes half the time of the zip that
    does for any number. Nothing but the number is in its text.
    """
    keys, values = [f"k{place}" for place in range(count)], [f"v{place}" for place in range(count)]
    items = ", ".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True))
    source = (
        f"lambda {', '.join(keys)}: lambda columns:"
        f" [{{{items}}} for {', '.join(values)}, in zip(*columns, strict=True)]"
    )
    made: Callable[..., Any] = eval(source, {"__builtins__": {"zip": zip}})  # noqa: S307  (the text is made here)
    return made


def _scopes_of(batch: Batch) -> Scope | list[Scope]:
    placement, viewer = batch.entity.placement, batch.context.viewer
    if placement is None:
        raise LookupError(f"The table {batch.entity.name} is not listed.")
    project, own = placement.project_column, placement.own_column
    columns = [batch.column(name) for name in (project, own) if name]
    if not columns:
        return scope_at(placement, viewer, project_id=None, own_id=None)
    told = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def scope_by(key: Any) -> Scope:
        project_id, own_id = key if project and own else (key, None) if project else (None, key)
        return scope_at(placement, viewer, project_id=project_id, own_id=own_id)

    if told.count(told[0]) == len(told):
        return scope_by(told[0])
    known: dict[Scope, Scope] = {}
    by_key = {key: known.setdefault(scope, scope) for key in set(told) for scope in (scope_by(key),)}
    return next(iter(known)) if len(known) == 1 else [by_key[key] for key in told]
