"""Shapes: from what a resolver answered to what stands in the answer, for what a plan knows.

A row, a page of rows, and a structure around them: each field below is made by what was worked out once for it. An
error is the field's own, as it is where the executor completes it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    get_named_type,
)
from graphql.execution.collect_fields import FieldDetailsList
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, gather_with_cancel, is_awaitable
from strawberry.types.field import StrawberryField

from models.row import Row
from schema.collector import Collector
from schema.completion import RowExecutor, Values, failing
from schema.connection import Page
from schema.field import TYPES


class UnplannedError(Exception):
    """No plan knows this."""


class PlanExecutor(RowExecutor, Protocol):
    """What a plan needs of the executor of its operation."""

    variable_values: VariableValues
    collected_errors: Any

    def build_resolve_info(self, field_def: Any, field_nodes: Any, parent_type: Any, path: Path) -> Any: ...

    def complete_leaf_value(self, return_type: Any, result: Any) -> Any: ...

    def build_response(self, data: dict[str, Any] | None) -> Any: ...


Make = Callable[[PlanExecutor, Any, Path], Any]
"""From what a resolver answered to what stands at the path in the answer, or to an awaitable of it."""


def shape_of(collector: Collector, type_: GraphQLOutputType, at: str, details: FieldDetailsList) -> Make:
    """Return what completes the values of a type.

    at: the field that has them, as errors name it.

    Raises:
        UnplannedError: no plan knows what is in it.
    """
    if isinstance(type_, GraphQLNonNull):
        return _non_null(shape_of(collector, type_.of_type, at, details), at)
    shape = _shape(collector, type_, at, details)
    return lambda executor, value, path: None if value is None else shape(executor, value, path)


def _shape(collector: Collector, type_: GraphQLOutputType, at: str, details: FieldDetailsList) -> Make:
    if isinstance(type_, GraphQLScalarType | GraphQLEnumType):
        return lambda executor, value, _path: executor.complete_leaf_value(type_, value)
    if isinstance(type_, GraphQLList):
        return _List(type_.of_type, shape_of(collector, type_.of_type, at, details), details)
    if not isinstance(type_, GraphQLObjectType):
        raise UnplannedError
    declared = TYPES.get(type_.name)
    if declared is not None and declared.model is not None:
        return _OneRow(type_, details)
    if {"nodes", "pageInfo"} <= type_.fields.keys():
        return _page(collector, type_, details)
    if declared is not None:
        return _structure(collector, type_, details)
    raise UnplannedError


def _non_null(shape: Make, at: str) -> Make:
    def make(executor: PlanExecutor, value: Any, path: Path) -> Any:
        made = shape(executor, value, path)
        if is_awaitable(made):
            return later(made)
        return demanded(made)

    async def later(made: Awaitable[Any]) -> Any:
        return demanded(await made)

    def demanded(made: Any) -> Any:
        if made is None:
            raise TypeError(f"Cannot return null for non-nullable field {at}.")
        return made

    return make


class _List:
    """A list of what is no row. Rows come in pages, and in lists of their own (`schema/completion_step.py`)."""

    def __init__(self, item_type: GraphQLOutputType, shape: Make, details: FieldDetailsList) -> None:
        named = get_named_type(item_type)
        declared = TYPES.get(named.name)
        if declared is not None and declared.model is not None:
            raise UnplannedError
        self._item_type = item_type
        self._shape = shape
        self._details = details

    def __call__(self, executor: PlanExecutor, values: Any, path: Path) -> Any:
        if not isinstance(values, list | tuple):
            raise TypeError("Expected a list.")
        made: list[Any] = []
        try:
            for index, value in enumerate(values):
                made.append(self._item(executor, value, Path(path, index, None)))
        except Exception as error:
            return failing(error, made)
        return _gathered(made) if any(map(is_awaitable, made)) else made

    def _item(self, executor: PlanExecutor, value: Any, at: Path) -> Any:
        try:
            made = self._shape(executor, value, at)
        except Exception as error:
            return executor.handle_field_error(error, self._item_type, self._details, at)
        return self._later(executor, made, at) if is_awaitable(made) else made

    async def _later(self, executor: PlanExecutor, made: Awaitable[Any], at: Path) -> Any:
        try:
            return await made
        except Exception as error:
            return executor.handle_field_error(error, self._item_type, self._details, at)


async def _gathered(made: Sequence[Any]) -> list[Any]:
    waiting = {index: value for index, value in enumerate(made) if is_awaitable(value)}
    found = dict(zip(waiting, await gather_with_cancel(*waiting.values()), strict=True))
    return [found.get(index, value) for index, value in enumerate(made)]


def _structure(collector: Collector, object_type: GraphQLObjectType, details: FieldDetailsList) -> "_Parts":
    """Return what makes an object of its own fields, by their names or by their resolvers."""
    parts = []
    for key, below in collector.below(object_type, details).items():
        name = below[0].node.name.value
        if name == "__typename":
            parts.append(_Part(object_type, key, below, _typename(object_type.name)))
            continue
        field = object_type.fields[name]
        shape = shape_of(collector, field.type, f"{object_type.name}.{name}", below)
        declared = field.extensions.get("strawberry-definition")
        if field.args or not isinstance(declared, StrawberryField):
            raise UnplannedError
        if declared.base_resolver is None:
            parts.append(_Part(object_type, key, below, _of_attribute(declared.python_name, shape)))
        else:
            parts.append(_Part(object_type, key, below, _of_resolver(object_type, field, below, shape)))
    return _Parts(parts)


def _typename(name: str) -> Make:
    return lambda _executor, _source, _path: name


def _of_attribute(name: str, shape: Make) -> Make:
    return lambda executor, source, path: shape(executor, getattr(source, name, None), path)


def _of_resolver(object_type: GraphQLObjectType, field: GraphQLField, details: FieldDetailsList, shape: Make) -> Make:
    resolve, nodes = field.resolve, [one.node for one in details]
    if resolve is None:
        raise UnplannedError

    def make(executor: PlanExecutor, source: Any, path: Path) -> Any:
        found = resolve(source, executor.build_resolve_info(field, nodes, object_type, path))
        return later(executor, found, path) if is_awaitable(found) else shape(executor, found, path)

    async def later(executor: PlanExecutor, found: Awaitable[Any], path: Path) -> Any:
        made = shape(executor, await found, path)
        return await made if is_awaitable(made) else made

    return make


class _OneRow:
    """One row."""

    def __init__(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> None:
        self._type = object_type
        self._details = details

    def __call__(self, executor: PlanExecutor, row: Any, path: Path) -> Any:
        if not isinstance(row, Row):
            raise TypeError(f"Expected a row for a {self._type.name}.")
        made = executor.complete_rows(self._type, self._details, [row], lambda _: path)
        return made[0] if isinstance(made, list) else _first(made)


async def _first(made: Awaitable[Values]) -> Any:
    return (await made)[0]


class _Parts:
    """An object whose fields are each made of one source."""

    def __init__(self, parts: "Sequence[_Part]") -> None:
        self._parts = parts

    def __call__(self, executor: PlanExecutor, page: Page, path: Path) -> Any:
        made: dict[str, Any] = {}
        try:
            for part in self._parts:
                made[part.key] = part.of(executor, page, path)
        except Exception as error:
            return failing(error, made.values())
        waiting = [key for key, value in made.items() if is_awaitable(value)]
        return _settled(made, waiting) if waiting else made


async def _settled(made: dict[str, Any], waiting: Sequence[str]) -> dict[str, Any]:
    found = await gather_with_cancel(*(made[key] for key in waiting))
    made.update(zip(waiting, found, strict=True))
    return made


class _Part:
    """One field of a page, or of what stands around its rows."""

    def __init__(self, object_type: GraphQLObjectType, key: str, details: FieldDetailsList, make: Make) -> None:
        self.key = key
        self._parent = object_type.name
        self._field = object_type.fields.get(details[0].node.name.value)
        self._details = details
        self._make = make

    def of(self, executor: PlanExecutor, page: Page, path: Path) -> Any:
        """Return the field's value, or an awaitable of it."""
        at = Path(path, self.key, self._parent)
        try:
            made = self._make(executor, page, at)
        except Exception as error:
            return self._failed(executor, error, at)
        return self._later(executor, made, at) if is_awaitable(made) else made

    async def _later(self, executor: PlanExecutor, made: Awaitable[Any], at: Path) -> Any:
        try:
            return await made
        except Exception as error:
            return self._failed(executor, error, at)

    def _failed(self, executor: PlanExecutor, error: Exception, at: Path) -> None:
        if self._field is None:
            raise error
        executor.handle_field_error(error, self._field.type, self._details, at)


def _page(collector: Collector, object_type: GraphQLObjectType, details: FieldDetailsList) -> _Parts:
    return _Parts(
        [
            _Part(object_type, key, below, _of_page(collector, object_type, below))
            for key, below in collector.below(object_type, details).items()
        ]
    )


def _of_page(collector: Collector, object_type: GraphQLObjectType, details: FieldDetailsList) -> Make:
    """Return what makes one field of a page."""
    name = details[0].node.name.value
    if name == "__typename":
        return _typename(object_type.name)
    if name == "totalCount":
        return lambda _executor, page, _at: page.total_count
    below = get_named_type(object_type.fields[name].type)
    if isinstance(below, GraphQLObjectType):
        if name == "nodes":
            return _nodes(below, details)
        if name == "edges":
            return _Edges(collector, below, details)
        if name == "pageInfo":
            return _structure(collector, below, details)
    raise UnplannedError


def _nodes(object_type: GraphQLObjectType, details: FieldDetailsList) -> Make:
    def make(executor: PlanExecutor, page: Page, at: Path) -> Any:
        return executor.complete_rows(object_type, details, page.nodes, lambda index: Path(at, index, None))

    return make


class _Edges:
    """The rows of a page, each with its cursor: column by column, as rows are."""

    def __init__(self, collector: Collector, object_type: GraphQLObjectType, details: FieldDetailsList) -> None:
        self._type = object_type
        self._columns = {key: self._column(key, below) for key, below in collector.below(object_type, details).items()}

    def __call__(self, executor: PlanExecutor, page: Page, at: Path) -> Any:
        columns: dict[str, Any] = {}
        try:
            for key, make in self._columns.items():
                columns[key] = make(executor, page, at)
        except Exception as error:
            return failing(error, columns.values())
        waiting = [key for key, column in columns.items() if is_awaitable(column)]
        return _edges_later(columns, waiting) if waiting else _edges(columns)

    def _column(self, key: str, details: FieldDetailsList) -> Make:
        """Return what makes one field of all edges."""
        name = details[0].node.name.value
        if name == "__typename":
            return lambda _executor, page, _at: [self._type.name] * len(page.nodes)
        field = self._type.fields[name]
        if name == "cursor":
            return lambda executor, page, at: [
                self._cursor(executor, page, index, Path(Path(at, index, None), key, self._type.name), details)
                for index in range(len(page.nodes))
            ]
        below = get_named_type(field.type)
        if name != "node" or not isinstance(below, GraphQLObjectType):
            raise UnplannedError

        def nodes(executor: PlanExecutor, page: Page, at: Path) -> Any:
            def path_of(index: int) -> Path:
                return Path(Path(at, index, None), key, self._type.name)

            return executor.complete_rows(below, details, page.nodes, path_of)

        return nodes

    def _cursor(
        self, executor: PlanExecutor, page: Page, index: int, at: Path, details: FieldDetailsList
    ) -> str | None:
        try:
            return page.cursor_of(page.nodes[index])
        except Exception as error:
            executor.handle_field_error(error, self._type.fields["cursor"].type, details, at)
            return None


async def _edges_later(columns: dict[str, Any], waiting: Sequence[str]) -> list[dict[str, Any]]:
    return _edges(await _settled(columns, waiting))


def _edges(columns: Mapping[str, Values]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
