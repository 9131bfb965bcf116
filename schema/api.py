"""Builds the one executable schema, and runs operations on it.

`Api.execute` is the door of every transport: it checks input values, runs the operation, writes the read log before
anything leaves, and turns errors into what a client may see.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import structlog
from graphql import ExecutionResult as CoreResult
from graphql import (
    GraphQLError,
    OperationDefinitionNode,
    ValuesOfCorrectTypeRule,
    specified_rules,
)
from strawberry import Schema
from strawberry.extensions import (
    MaxTokensLimiter,
    ParserCache,
    SchemaExtension,
    ValidationCache,
)
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.graphql import OperationType

import schema.enum  # noqa: F401  (declares the enums before any type uses them)
from auth.permission import Permission
from auth.policy import can
from auth.scope import ORGANIZATION
from schema.context import RequestContext
from schema.custom_role_change import CustomRoleMutation
from schema.device_change import DeviceMutation
from schema.errors import presented
from schema.field import Guard
from schema.input_value import InputValueRule, variable_errors
from schema.introspection import Executor, publish_sights
from schema.limits import TooComplexError, require_affordable
from schema.mutation import wire_mutations
from schema.project_change import ProjectMutation
from schema.query import Query
from schema.record_change import RecordMutation
from schema.role_change import RoleMutation
from schema.scalar import SCALARS
from schema.service_account_change import ServiceAccountMutation
from schema.session import SessionMutation
from schema.sweep import publish_guards, sweep
from schema.viewer_can import publish_readable
from schema.wiring import wire, wire_roots

log = structlog.get_logger()

MOST_TOKENS = 4000
CACHED_OPERATIONS = 200
LARGEST_CACHED = 8 * 1024
"""Characters of an operation whose parsed form is kept. Larger ones are parsed each time: memory is bounded."""


_MUTATIONS = (
    SessionMutation,
    ProjectMutation,
    RecordMutation,
    DeviceMutation,
    RoleMutation,
    CustomRoleMutation,
    ServiceAccountMutation,
)

# Built once: the validation cache tells rules apart by identity.
_RULES = tuple(InputValueRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules)


class Validation(SchemaExtension):
    """Checks literals with our own rule, and variables before execution; neither check quotes a value."""

    def on_operation(self) -> Iterator[None]:
        """Choose the rules."""
        self.execution_context.validation_rules = _RULES
        yield

    def on_execute(self) -> Iterator[None]:
        """Stop before execution where a variable does not fit its type, or the operation asks for too much."""
        context = self.execution_context
        operation, variables = _operation(context), context.variables or {}
        errors = variable_errors(context.schema._schema, operation, variables)
        if not errors and context.graphql_document is not None:
            try:
                require_affordable(context.graphql_document, operation, variables)
            except TooComplexError as error:
                errors = [GraphQLError(error.message, original_error=error)]
        if errors:
            context.result = CoreResult(data=None, errors=errors)
        yield


def _is_worth_keeping(context: ExecutionContext) -> bool:
    """Return whether the operation may stay in memory: a client's own, signed in, and small."""
    signed_in = context.context.actor.viewer is not None
    return signed_in and context.query is not None and len(context.query) <= LARGEST_CACHED


class SmallParserCache(ParserCache):
    """Keeps the parsed form of what is worth keeping."""

    def on_parse(self) -> Iterator[None]:
        """Parse from the cache, or leave it to the schema."""
        if _is_worth_keeping(self.execution_context):
            yield from super().on_parse()
        else:
            yield


class SmallValidationCache(ValidationCache):
    """Keeps that what is worth keeping is valid."""

    def on_validate(self) -> Iterator[None]:
        """Validate from the cache, or leave it to the schema."""
        if _is_worth_keeping(self.execution_context):
            yield from super().on_validate()
        else:
            yield


class Api(Schema):
    """The schema of Fieldward. Everything that executes goes through `execute`."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing here: the operation's text and inputs would be in it. `schema.errors` logs what must be."""

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Run an operation for the context's viewer and return what may leave the server."""
        if not isinstance(context_value, RequestContext):
            raise TypeError("An operation takes a RequestContext.")
        context = context_value
        context.name_operation(operation_name, sha256((query or "").encode(errors="replace")).hexdigest())
        try:
            result = await super().execute(
                query,
                variable_values,
                context,
                root_value,
                operation_name,
                allowed_operation_types,
                operation_extensions,
            )
            if context.actor.viewer is not None:
                try:
                    await context.read_log.write(context.actor)
                except Exception as error:
                    # What can't be logged was not seen: nothing of the answer leaves.
                    result.data = None
                    result.errors = [GraphQLError(str(error), original_error=error)]
        finally:
            await context.reader.close()
        extensions = self._extensions(context, operation_extensions)
        if extensions:
            result.extensions = {**(result.extensions or {}), **extensions}
        if result.errors:
            request_id = str(context.actor.origin.request_id)
            result.errors = [presented(error, request_id) for error in result.errors]
        return result

    @staticmethod
    def _extensions(context: RequestContext, asked: dict[str, Any] | None) -> dict[str, Any]:
        """Return what is said of the operation itself: as whom it looked, and its trace where one was asked for."""
        viewer, actor = context.actor.viewer, context.actor
        if viewer is None:
            return {}
        said: dict[str, Any] = {}
        if actor.acting_as is not None:
            said["runAs"] = {"as": actor.acting_as, "readOnly": True}
        if asked and asked.get("trace") is True and can(actor.who, Permission.ACCESS_READ, ORGANIZATION):
            said["trace"] = context.trace()
        return said


def build_api() -> Api:
    """Build the schema, wire it, and refuse it if anything in it is unguarded.

    Raises:
        SchemaError: a field, input or mutation breaks a rule of `schema.sweep`.
    """
    mutation = merge_types("Mutation", _MUTATIONS)
    api = Api(
        query=Query,
        mutation=mutation,
        schema_directives=[],
        execution_context_class=Executor,
        types=[Guard],
        config=StrawberryConfig(
            scalar_map=SCALARS,
            disable_field_suggestions=True,
            default_resolver=lambda source, name: getattr(source, name, None),
        ),
        extensions=[
            Validation,
            lambda: MaxTokensLimiter(max_token_count=MOST_TOKENS),
            lambda: SmallParserCache(maxsize=CACHED_OPERATIONS),
            lambda: SmallValidationCache(maxsize=CACHED_OPERATIONS),
        ],
    )
    core = api._schema
    sweep(core)
    publish_guards(core)
    publish_readable(core)
    core.extensions["needs"] = wire(core)
    wire_roots(core)
    wire_mutations(core)
    publish_sights(core)
    return api


def _operation(context: ExecutionContext) -> OperationDefinitionNode:
    document = context.graphql_document
    if document is None:
        raise GraphQLError("There is no operation.")
    named = context.operation_name
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode) and (
            named is None or (definition.name and definition.name.value == named)
        ):
            return definition
    raise GraphQLError("There is no operation of that name.")
