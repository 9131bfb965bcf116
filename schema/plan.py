"""Plans: queries of which most is known beforehand, run without asking of each field what it is.

A query is looked at once: its roots, their arguments, the pages and rows below them. A run puts in the variables, calls
the roots' own resolvers and completes what they answer, rows column by column (`schema/completion.py`). Guards are
asked in each run: nothing of a viewer or of a request is in a plan. A root that no plan knows is left to the executor.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from graphql import (
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    get_named_type,
    get_nullable_type,
)
from graphql.execution.collect_fields import (
    FieldDetailsList,
    FragmentDetails,
    GroupedFieldSet,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from graphql.pyutils import Path, gather_with_cancel, is_awaitable
from strawberry import Info, Schema
from strawberry.types.field import StrawberryField

from auth.scope import ORGANIZATION
from models.row import Row
from schema.argument import Arguments
from schema.completion import RowExecutor, Values, failing
from schema.connection import Page
from schema.field import TYPES, RootField
from schema.selection import NEEDS, is_read_at_once
from schema.wiring import declaration_of, python_name


class _UnplannedError(Exception):
    """No plan knows this."""


class PlanExecutor(RowExecutor, Protocol):
    """What a plan needs of the executor of its operation."""

    variable_values: VariableValues
    collected_errors: Any

    def build_resolve_info(self, field_def: Any, field_nodes: Any, parent_type: Any, path: Path) -> Any: ...

    def build_response(self, data: dict[str, Any] | None) -> Any: ...


Make = Callable[[PlanExecutor, Any, Path], Any]
"""From what a resolver answered to what stands at the path in the answer, or to an awaitable of it."""


class Plan:
    """One query, for one choice of what `@skip` and `@include` leave of it."""

    def __init__(self, roots: "Sequence[PlannedRoot | _Left]") -> None:
        self.roots = roots

    async def run(self, executor: PlanExecutor) -> ExecutionResult:
        """Return the answer."""
        made: Sequence[Any]
        try:
            if len(self.roots) == 1:
                executor.context_value.is_alone = True
                reader = executor.context_value.reader
                # Where who asks was found out by it, it is in a transaction already.
                if self.roots[0].takes_one_statement and not reader.statements:
                    reader.expect_one()
                made = [await self.roots[0].resolve(executor)]
            else:
                # Together, so that what they read of the same table is read at once.
                made = await gather_with_cancel(*(root.resolve(executor) for root in self.roots))
        except GraphQLError as error:
            executor.collected_errors.add(error, None)
            return cast("ExecutionResult", executor.build_response(None))
        data = {root.key: one for root, one in zip(self.roots, made, strict=True) if one is not Undefined}
        return cast("ExecutionResult", executor.build_response(data))


def plan_of(
    api: Schema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDetails],
    values: VariableValues,
) -> Plan | None:
    """Return the plan of an operation; None where it is no query.

    values: the variables that `@skip` and `@include` are given, and no others.
    """
    query = api._schema.query_type
    if operation.operation is not OperationType.QUERY or query is None:
        return None
    selection = _Selection(api, operation, fragments, values)
    return Plan([_root(selection, query, key, details) for key, details in selection.roots(query).items()])


class _Selection:
    """The fields of an operation, as one choice leaves them. For the making of a plan alone."""

    def __init__(
        self,
        api: Schema,
        operation: OperationDefinitionNode,
        fragments: dict[str, FragmentDetails],
        values: VariableValues,
    ) -> None:
        self.api = api
        self._operation = operation
        self._fragments = fragments
        self._values = values

    def roots(self, query: GraphQLObjectType) -> GroupedFieldSet:
        """Return the operation's own fields."""
        return collect_fields(
            self.api._schema, self._fragments, self._values, query, self._operation, hide_suggestions=True
        ).grouped_field_set

    def is_read_at_once(self, field: GraphQLField, nodes: Sequence[FieldNode]) -> bool:
        """Return whether all that is selected under a field is read in one statement."""
        fragments = {name: one.definition for name, one in self._fragments.items()}
        needs = self.api._schema.extensions[NEEDS]
        return is_read_at_once(fragments, nodes, _rows_of(get_nullable_type(field.type)), needs)

    def below(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> GroupedFieldSet:
        """Return the fields of the objects that a field leads to."""
        return collect_subfields(
            self.api._schema,
            self._fragments,
            self._values,
            self._operation,
            object_type,
            details,
            hide_suggestions=True,
        ).grouped_field_set


def _rows_of(object_type: Any) -> str:
    """Return the type of the rows that a field of this type leads to: itself, or what its pages hold."""
    nodes = object_type.fields.get("nodes") if isinstance(object_type, GraphQLObjectType) else None
    return str(get_named_type(object_type if nodes is None else nodes.type).name)


def _root(
    selection: _Selection, query: GraphQLObjectType, key: str, details: FieldDetailsList
) -> "PlannedRoot | _Left":
    try:
        return PlannedRoot(selection, query, key, details)
    except _UnplannedError:
        return _Left(query, key, details)


class _Left:
    """A root that is left to the executor."""

    takes_one_statement = False

    def __init__(self, query: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        self.key = key
        self._query = query
        self._details = details
        self._path = Path(None, key, query.name)

    async def resolve(self, executor: PlanExecutor) -> Any:
        executor.context_value.is_alone = False
        made = executor.execute_field(self._query, None, self._details, self._path, None)
        return await made if executor.is_awaitable(made) else made


class PlannedRoot:
    """A root whose resolver is called, and whose answer is completed, as the plan says."""

    def __init__(self, selection: _Selection, query: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        node = details[0].node
        field = query.fields.get(node.name.value)
        said = declaration_of(field) if field is not None else None
        declared = field.extensions.get("strawberry-definition") if field is not None else None
        if field is None or not isinstance(said, RootField) or not isinstance(declared, StrawberryField):
            raise _UnplannedError
        if declared.base_resolver is None or declared.extensions:
            raise _UnplannedError
        self.key = key
        self._said = said
        self._field = field
        self._declared = declared
        self._resolver = declared.base_resolver
        self._query = query
        self._details = details
        self._nodes = [one.node for one in details]
        self._path = Path(None, key, query.name)
        self._arguments = Arguments(selection.api, field, declared, node)
        self._make = _making(selection, field, details)
        self.takes_one_statement = selection.is_read_at_once(field, self._nodes)

    async def resolve(self, executor: PlanExecutor) -> Any:
        """Return what stands under the root's key."""
        try:
            found = self._found(executor)
            if is_awaitable(found):
                found = await found
            executor.context_value.is_alone = False
            made = None if found is None else self._make(executor, found, self._path)
            return await made if is_awaitable(made) else made
        except Exception as error:
            executor.handle_field_error(error, self._field.type, self._details, self._path)
            return None

    def _found(self, executor: PlanExecutor) -> Any:
        context = executor.context_value
        info = executor.build_resolve_info(self._field, self._nodes, self._query, self._path)
        if not self._said.public:
            context.require_signed_in()
        if self._said.takes is not None and not context.allows(self._said.takes, ORGANIZATION):
            return context.deny(info, self._said.takes, ORGANIZATION)
        return self._resolver(info=Info(info, self._declared), **self._arguments.of(executor.variable_values))


def _making(selection: _Selection, field: GraphQLField, details: FieldDetailsList) -> Make:
    """Return what completes the values of a field. Raises `_UnplannedError` where no plan knows it."""
    object_type = get_nullable_type(field.type)
    if not isinstance(object_type, GraphQLObjectType):
        raise _UnplannedError
    declared = TYPES.get(object_type.name)
    if declared is not None and declared.model is not None:
        return _OneRow(object_type, details)
    if {"nodes", "pageInfo"} <= object_type.fields.keys():
        return _page(selection, object_type, details)
    raise _UnplannedError


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
    """An object whose fields are each made from the page."""

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


def _page(selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> _Parts:
    return _Parts(
        [
            _Part(object_type, key, below, _of_page(selection, object_type, below))
            for key, below in selection.below(object_type, details).items()
        ]
    )


def _of_page(selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> Make:
    """Return what makes one field of a page."""
    name = details[0].node.name.value
    if name == "__typename":
        return lambda _executor, _page, _at: object_type.name
    if name == "totalCount":
        return lambda _executor, page, _at: page.total_count
    below = get_named_type(object_type.fields[name].type)
    if isinstance(below, GraphQLObjectType):
        if name == "nodes":
            return _nodes(below, details)
        if name == "edges":
            return _Edges(selection, below, details)
        if name == "pageInfo":
            return _place(selection, below, details)
    raise _UnplannedError


def _nodes(object_type: GraphQLObjectType, details: FieldDetailsList) -> Make:
    def make(executor: PlanExecutor, page: Page, at: Path) -> Any:
        return executor.complete_rows(object_type, details, page.nodes, lambda index: Path(at, index, None))

    return make


def _place(selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> _Parts:
    """Return what says where a page lies in its list."""
    parts = []
    for key, below in selection.below(object_type, details).items():
        field = object_type.fields.get(below[0].node.name.value)
        parts.append(_Part(object_type, key, below, _shown(object_type.name, field and python_name(field))))
    return _Parts(parts)


def _shown(type_name: str, attribute: str | None) -> Make:
    if attribute is None:
        return lambda _executor, _page, _at: type_name
    return lambda _executor, page, _at: getattr(page, attribute)


class _Edges:
    """The rows of a page, each with its cursor: column by column, as rows are."""

    def __init__(self, selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> None:
        self._type = object_type
        self._columns = {key: self._column(key, below) for key, below in selection.below(object_type, details).items()}

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
            raise _UnplannedError

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
