"""Plans: queries of which all is known beforehand, run without asking of each field what it is.

An operation is looked at once: its roots, their arguments, the pages and rows below them. A run puts in the variables,
calls the roots' own resolvers and completes what they answer, rows column by column (`schema/completion.py`). Guards
are asked in each run: nothing of a viewer or of a request is in a plan.

A plan knows how things go well. Whatever it does not know, and whatever fails, is run again from the beginning by the
ordinary executor, which knows how to say what was wrong, and where: reading twice changes nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from graphql import (
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
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
from graphql.type.definition import GraphQLResolveInfoHelpers
from strawberry import Info, Schema
from strawberry.types.field import StrawberryField

from auth.scope import ORGANIZATION
from models.row import Row
from schema.argument import Arguments
from schema.completion import Batch, Completion, PathOf, Values, failing
from schema.connection import Page
from schema.context import RequestContext
from schema.execution import completion_of
from schema.field import TYPES, RootField
from schema.wiring import declaration_of, python_name


class UnplannedError(Exception):
    """The plan does not know how to go on."""


class PlanRun:
    """One run of a plan: to the steps that complete rows, the executor."""

    __slots__ = ("_selection", "context_value", "fragment_definitions", "values")

    def __init__(self, context: RequestContext, selection: "_Selection", values: VariableValues) -> None:
        self.context_value = context
        self.values = values
        self.fragment_definitions = selection.fragments
        self._selection = selection

    def complete_rows(
        self, object_type: GraphQLObjectType, details: FieldDetailsList, rows: Sequence[Row], path_of: PathOf
    ) -> Values | Awaitable[Values]:
        """Return the objects that the rows become, or an awaitable of them."""
        if not rows:
            return []
        batch = Batch(self, object_type, rows, path_of)
        return self._selection.completion(object_type, details).run(batch)

    def execute_field(self, *_: Any) -> NoReturn:
        """Nothing is done the ordinary way here."""
        raise UnplannedError

    def handle_field_error(self, raw_error: Exception, *_: Any) -> NoReturn:
        """Let the ordinary executor meet the error again."""
        raise raw_error

    def is_awaitable(self, value: Any) -> bool:
        """Return whether the value has to be waited for."""
        return is_awaitable(value)


Complete = Callable[[PlanRun, Any, Path], Any]
"""From what a resolver answered to what stands in the answer, or to an awaitable of it."""


class Plan:
    """One query, for one choice of what `@skip` and `@include` leave of it."""

    def __init__(self, selection: "_Selection", roots: "Sequence[_Root]") -> None:
        self._selection = selection
        self._roots = roots

    async def run(self, context: RequestContext, values: VariableValues) -> dict[str, Any]:
        """Return the answer's data.

        Raises:
            Exception: whatever kept it from being answered. The ordinary executor is to run it.
        """
        run = PlanRun(context, self._selection, values)
        if len(self._roots) == 1:
            root = self._roots[0]
            return {root.key: await root.resolve(run)}
        # Together, so that what they read of the same table is read at once.
        made = await gather_with_cancel(*(root.resolve(run) for root in self._roots))
        return {root.key: one for root, one in zip(self._roots, made, strict=True)}


def plan_of(
    api: Schema,
    operation: OperationDefinitionNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    values: VariableValues,
    completions: dict[Any, Completion],
) -> Plan | None:
    """Return the plan of an operation; None where there is something in it that no plan knows.

    values: the variables that `@skip` and `@include` are given, and no others.
    completions: those that are kept of the operation, for these values.
    """
    query = api._schema.query_type
    if operation.operation is not OperationType.QUERY or query is None:
        return None
    selection = _Selection(api, operation, fragments, values, completions)
    try:
        roots = [_Root(selection, query, key, details) for key, details in selection.roots(query).items()]
    except UnplannedError:
        return None
    return Plan(selection, roots) if roots else None


class _Selection:
    """The fields of an operation, as one choice leaves them."""

    def __init__(
        self,
        api: Schema,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        values: VariableValues,
        completions: dict[Any, Completion],
    ) -> None:
        self.api = api
        self.schema: GraphQLSchema = api._schema
        self.operation = operation
        self.fragments = dict(fragments)
        self._details = {name: FragmentDetails(one) for name, one in fragments.items()}
        self._values = values
        self._completions = completions

    def roots(self, query: GraphQLObjectType) -> GroupedFieldSet:
        """Return the operation's own fields."""
        return collect_fields(
            self.schema, self._details, self._values, query, self.operation, hide_suggestions=True
        ).grouped_field_set

    def below(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> GroupedFieldSet:
        """Return the fields of the objects that a field leads to."""
        return collect_subfields(
            self.schema, self._details, self._values, self.operation, object_type, details, hide_suggestions=True
        ).grouped_field_set

    def completion(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> Completion:
        """Return what completes the rows that a field leads to."""
        return completion_of(self._completions, self.schema, object_type, details, self.below)


class _Root:
    """One of the operation's own fields."""

    def __init__(self, selection: _Selection, query: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        field = query.fields.get(details[0].node.name.value)
        said = declaration_of(field) if field is not None else None
        declared = field.extensions.get("strawberry-definition") if field is not None else None
        if field is None or not isinstance(said, RootField) or not isinstance(declared, StrawberryField):
            raise UnplannedError
        resolver = declared.base_resolver
        if resolver is None or declared.extensions:
            raise UnplannedError
        self.key: Final = key
        self._selection = selection
        self._said = said
        self._resolver = resolver
        self._declared = declared
        self._nodes = [one.node for one in details]
        self._arguments = Arguments(selection.api, field, declared, details[0].node)
        self._complete = _completing(selection, field, details)
        self._path = Path(None, key, query.name)
        self._of_field = (details[0].node.name.value, self._nodes, field.type, query, self._path)

    async def resolve(self, run: PlanRun) -> Any:
        """Return what stands under the field's key in the answer."""
        context, selection = run.context_value, self._selection
        if not self._said.public:
            context.require_signed_in()
        if self._said.takes is not None and not context.allows(self._said.takes, ORGANIZATION):
            raise UnplannedError
        raw: Any = GraphQLResolveInfo(
            *self._of_field,
            selection.schema,
            selection.fragments,
            None,
            selection.operation,
            run.values,
            context,
            is_awaitable,
            None,
            _HELPERS,
        )
        found: Any = self._resolver(info=Info(raw, self._declared), **self._arguments.of(run.values))
        if is_awaitable(found):
            found = await found
        if found is None:
            return None
        made = self._complete(run, found, self._path)
        return await made if is_awaitable(made) else made


async def _gather(values: Sequence[Awaitable[Any]]) -> list[Any]:
    return await gather_with_cancel(*values)


_HELPERS: Final = GraphQLResolveInfoHelpers(gather=_gather, track=lambda _: None)


def _completing(selection: _Selection, field: GraphQLField, details: FieldDetailsList) -> Complete:
    """Return what completes the values of a field. Raises `UnplannedError` where no plan knows it."""
    object_type = get_nullable_type(field.type)
    if not isinstance(object_type, GraphQLObjectType):
        raise UnplannedError
    declared = TYPES.get(object_type.name)
    if declared is not None and declared.model is not None:
        return _RowShape(object_type, details)
    if {"nodes", "pageInfo"} <= object_type.fields.keys():
        return _PageShape(selection, object_type, details)
    raise UnplannedError


class _RowShape:
    """One row."""

    def __init__(self, object_type: GraphQLObjectType, details: FieldDetailsList) -> None:
        self._type = object_type
        self._details = details

    def __call__(self, run: PlanRun, row: Any, path: Path) -> Any:
        if not isinstance(row, Row):
            raise UnplannedError
        made = run.complete_rows(self._type, self._details, [row], lambda _: path)
        return made[0] if isinstance(made, list) else _first(made)


async def _first(made: Awaitable[Values]) -> Any:
    return (await made)[0]


class _PageShape:
    """A page: its rows, bare or with their cursors, and where it lies in its list."""

    def __init__(self, selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> None:
        self._parts = [
            (key, _part_of_page(selection, object_type, key, below))
            for key, below in selection.below(object_type, details).items()
        ]

    def __call__(self, run: PlanRun, page: Any, path: Path) -> Any:
        if not isinstance(page, Page):
            raise UnplannedError
        return _made(self._parts, run, page, path)


def _made(parts: Sequence[tuple[str, Complete]], run: PlanRun, page: Page, path: Path) -> Any:
    """Return what each part makes, by its key, or an awaitable of that."""
    made: dict[str, Any] = {}
    try:
        for key, part in parts:
            made[key] = part(run, page, path)
    except Exception as error:
        return failing(error, made.values())
    waiting = [key for key, value in made.items() if is_awaitable(value)]
    return _settled(made, waiting) if waiting else made


async def _settled(made: dict[str, Any], waiting: Sequence[str]) -> dict[str, Any]:
    found = await gather_with_cancel(*(made[key] for key in waiting))
    made.update(zip(waiting, found, strict=True))
    return made


def _part_of_page(
    selection: _Selection, object_type: GraphQLObjectType, key: str, details: FieldDetailsList
) -> Complete:
    name = details[0].node.name.value
    if name == "__typename":
        return lambda _run, _page, _path: object_type.name
    field = object_type.fields[name]
    below = get_named_type(field.type)
    if name == "totalCount":
        return lambda _run, page, _path: page.total_count
    if name == "nodes" and isinstance(below, GraphQLObjectType):
        return lambda run, page, path: _nodes(run, page, Path(path, key, object_type.name), below, details)
    if name == "edges" and isinstance(below, GraphQLObjectType):
        return _EdgesShape(selection, object_type.name, key, below, details)
    if name == "pageInfo" and isinstance(below, GraphQLObjectType):
        return _leaves(selection, below, details)
    raise UnplannedError


def _nodes(run: PlanRun, page: Page, path: Path, object_type: GraphQLObjectType, details: FieldDetailsList) -> Any:
    return run.complete_rows(object_type, details, page.nodes, lambda index: Path(path, index, None))


def _leaves(selection: _Selection, object_type: GraphQLObjectType, details: FieldDetailsList) -> Complete:
    """Return what shows fields of the page itself."""
    shown = []
    for key, below in selection.below(object_type, details).items():
        name = below[0].node.name.value
        shown.append((key, None if name == "__typename" else python_name(object_type.fields[name])))

    def show(_run: PlanRun, page: Any, _path: Path) -> dict[str, Any]:
        return {key: object_type.name if name is None else getattr(page, name) for key, name in shown}

    return show


class _EdgesShape:
    """The rows of a page, each with its cursor."""

    def __init__(
        self,
        selection: _Selection,
        parent_type: str,
        key: str,
        object_type: GraphQLObjectType,
        details: FieldDetailsList,
    ) -> None:
        self._parent_type = parent_type
        self._key = key
        self._type = object_type
        self._parts = [
            (part_key, self._part(part_key, below)) for part_key, below in selection.below(object_type, details).items()
        ]

    def _part(self, key: str, details: FieldDetailsList) -> Complete:
        """Return what makes one field of all edges, as a list."""
        name = details[0].node.name.value
        if name == "__typename":
            return lambda _run, page, _path: [self._type.name] * len(page.nodes)
        if name == "cursor":
            return lambda _run, page, _path: [page.cursor_of(row) for row in page.nodes]
        node_type = get_named_type(self._type.fields[name].type)
        if name != "node" or not isinstance(node_type, GraphQLObjectType):
            raise UnplannedError

        def nodes(run: PlanRun, page: Any, path: Path) -> Any:
            def path_of(index: int) -> Path:
                return Path(Path(path, index, None), key, self._type.name)

            return run.complete_rows(node_type, details, page.nodes, path_of)

        return nodes

    def __call__(self, run: PlanRun, page: Any, path: Path) -> Any:
        made = _made(self._parts, run, page, Path(path, self._key, self._parent_type))
        return _edges_later(made) if is_awaitable(made) else _edges(made)


async def _edges_later(made: Awaitable[Mapping[str, Values]]) -> list[dict[str, Any]]:
    return _edges(await made)


def _edges(columns: Mapping[str, Values]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
