"""Plans: operations of which most is known beforehand, run without asking of each field what it is.

An operation is looked at once: its roots, their arguments, the pages, rows and payloads below them. A run puts in the
variables, calls the roots' own resolvers and completes what they answer (`schema/shape.py`), rows column by column
(`schema/completion.py`). Guards are asked in each run: nothing of a viewer or of a request is in a plan. A root that no
plan knows is left to the executor.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
)
from graphql.execution.collect_fields import FieldDetailsList, FragmentDetails
from graphql.execution.values import VariableValues, get_argument_values
from graphql.language import VariableNode
from graphql.pyutils import Path, gather_with_cancel, is_awaitable
from strawberry import Info, Schema
from strawberry.types.field import StrawberryField

from models.tracing import Tracing
from schema.argument import Arguments
from schema.collector import Collector
from schema.field import RootField
from schema.mutation import mutation_of
from schema.shape import PlanExecutor, UnplannedError, shape_of
from schema.wiring import admits, declaration_of


class Plan:
    """One operation, for one choice of what `@skip` and `@include` leave of it.

    is_serial: whether one root begins when the one before it has ended, as mutations do.
    """

    def __init__(self, roots: "Sequence[Root]", *, is_serial: bool) -> None:
        self.roots = roots
        self._is_serial = is_serial

    async def run(self, executor: PlanExecutor) -> ExecutionResult:
        """Return the answer."""
        try:
            made = await self._made(executor)
        except GraphQLError as error:
            executor.collected_errors.add(error, None)
            return cast("ExecutionResult", executor.build_response(None))
        data = {root.key: one for root, one in zip(self.roots, made, strict=True) if one is not Undefined}
        return cast("ExecutionResult", executor.build_response(data))

    async def _made(self, executor: PlanExecutor) -> Sequence[Any]:
        if self._is_serial:
            return [await _resolved(root, executor) for root in self.roots]
        if len(self.roots) > 1:
            # Together, so that what they read of the same table is read at once.
            return await gather_with_cancel(*(_resolved(root, executor) for root in self.roots))
        (root,) = self.roots
        context = executor.context_value
        context.is_alone = True
        # Where who asks was found out by the reader, it is in a transaction already.
        if root.takes_one_statement and not context.reader.statements:
            context.reader.expect_one()
        return [await _resolved(root, executor)]


def _resolved(root: "Root", executor: PlanExecutor) -> Awaitable[Any]:
    """Return an awaitable of what stands under a root's key; where traces are on, in a span of the root's name."""
    tracing = executor.context_value.services.tracing
    return root.resolve(executor) if tracing is None else _traced(tracing, root, executor)


async def _traced(tracing: Tracing, root: "Root", executor: PlanExecutor) -> Any:
    with tracing.span(root.name, {"fieldward.field": root.name}):
        return await root.resolve(executor)


def plan_of(
    api: Schema,
    operation: OperationDefinitionNode,
    fragments: dict[str, FragmentDetails],
    values: VariableValues,
) -> Plan | None:
    """Return the plan of an operation; None for a subscription.

    values: the variables that `@skip` and `@include` are given, and no others.
    """
    root_type = api._schema.get_root_type(operation.operation)
    if root_type is None or operation.operation is OperationType.SUBSCRIPTION:
        return None
    collector = Collector(api, operation, fragments, values)
    roots = [_root(collector, root_type, key, details) for key, details in collector.roots(root_type).items()]
    return Plan(roots, is_serial=operation.operation is OperationType.MUTATION) if roots else None


def _root(collector: Collector, root_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> "Root":
    field = root_type.fields.get(details[0].node.name.value)
    try:
        if field is None:
            raise UnplannedError
        if isinstance(declaration_of(field), RootField):
            return PlannedQuery(collector, root_type, key, details)
        if mutation_of(field) is not None:
            return PlannedMutation(collector, root_type, key, details)
        raise UnplannedError
    except UnplannedError:
        return Root(root_type, key, details)


class Root:
    """One of an operation's own fields: here left to the executor.

    key: under which it stands in the answer. name: of the field, with its type, as the schema calls it.
    """

    takes_one_statement = False

    def __init__(self, root_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        self.key = key
        self.name = f"{root_type.name}.{details[0].node.name.value}"
        self._root_type = root_type
        self._details = details
        self._path = Path(None, key, root_type.name)

    async def resolve(self, executor: PlanExecutor) -> Any:
        """Return what stands under the root's key."""
        executor.context_value.is_alone = False
        made = executor.execute_field(self._root_type, None, self._details, self._path, None)
        return await made if executor.is_awaitable(made) else made


class PlannedRoot(Root, ABC):
    """A root whose resolver is called, and whose answer is completed, as the plan says."""

    def __init__(self, collector: Collector, root_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        super().__init__(root_type, key, details)
        name = details[0].node.name.value
        self._field = root_type.fields[name]
        self._nodes = [one.node for one in details]
        self._shape = shape_of(collector, self._field.type, f"{root_type.name}.{name}", details)

    async def resolve(self, executor: PlanExecutor) -> Any:
        """Return what stands under the root's key."""
        try:
            found = self._found(executor)
            if is_awaitable(found):
                found = await found
            executor.context_value.is_alone = False
            made = self._shape(executor, found, self._path)
            return await made if is_awaitable(made) else made
        except Exception as error:
            executor.handle_field_error(error, self._field.type, self._details, self._path)
            return None

    @abstractmethod
    def _found(self, executor: PlanExecutor) -> Any:
        """Return what the resolver answers, or an awaitable of it."""


class PlannedQuery(PlannedRoot):
    """A root that reads."""

    def __init__(self, collector: Collector, root_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        super().__init__(collector, root_type, key, details)
        said, declared = declaration_of(self._field), self._field.extensions.get("strawberry-definition")
        if not isinstance(said, RootField) or not isinstance(declared, StrawberryField):
            raise UnplannedError
        if declared.base_resolver is None or declared.extensions:
            raise UnplannedError
        self._said = said
        self._declared = declared
        self._resolver = declared.base_resolver
        self._arguments = Arguments(collector.api.config, self._field, declared, self._nodes[0])
        self.takes_one_statement = collector.is_read_at_once(self._field, self._nodes)

    def _found(self, executor: PlanExecutor) -> Any:
        info = executor.build_resolve_info(self._field, self._nodes, self._root_type, self._path)
        if not admits(self._said, info):
            return None
        return self._resolver(info=Info(info, self._declared), **self._arguments.of(executor.variable_values))


class PlannedMutation(PlannedRoot):
    """A root that changes something, in its transaction (`schema/mutation.py: wire_mutations`)."""

    def __init__(self, collector: Collector, root_type: GraphQLObjectType, key: str, details: FieldDetailsList) -> None:
        super().__init__(collector, root_type, key, details)
        if self._field.resolve is None:
            raise UnplannedError
        self._resolve = self._field.resolve
        given = {one.name.value: one.value for one in self._nodes[0].arguments or ()}
        # An input is nearly always a variable as a whole.
        self._variables = (
            {name: value.name.value for name, value in given.items() if isinstance(value, VariableNode)}
            if given.keys() == self._field.args.keys()
            else {}
        )

    def _found(self, executor: PlanExecutor) -> Any:
        info = executor.build_resolve_info(self._field, self._nodes, self._root_type, self._path)
        values = executor.variable_values
        if len(self._variables) == len(self._field.args) and all(
            one in values.coerced for one in self._variables.values()
        ):
            arguments = {name: values.coerced[variable] for name, variable in self._variables.items()}
        else:
            arguments = get_argument_values(self._field, self._nodes[0], values, hide_suggestions=True)
        return self._resolve(None, info, **arguments)
