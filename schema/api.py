"""Builds the one executable schema, and runs operations on it.

`Api.execute` is the door of every transport: it checks input values, runs the operation, writes the read log before
anything leaves, and turns errors into what a client may see.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from graphql import ExecutionResult as CoreResult
from graphql import GraphQLError, default_field_resolver, default_type_resolver
from strawberry import Schema
from strawberry.exceptions import MissingQueryError
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.tools import merge_types
from strawberry.types import ExecutionContext, ExecutionResult
from strawberry.types.execution import PreExecutionError
from strawberry.types.graphql import OperationType

import schema.enum  # noqa: F401  (declares the enums before any type uses them)
from auth.permission import Permission
from auth.policy import can
from auth.scope import ORGANIZATION
from resolvers.run_as import record_looking
from schema.access_review_change import AccessReviewMutation
from schema.authenticator_change import AuthenticatorMutation
from schema.context import RequestContext
from schema.custom_role_change import CustomRoleMutation
from schema.data_export_change import ExportMutation
from schema.device_change import DeviceMutation
from schema.device_enrolment import DeviceEnrolmentMutation
from schema.errors import presented
from schema.execution import RowsExecutor
from schema.field import Guard
from schema.incident_change import IncidentMutation
from schema.input_object import hide_values
from schema.introspection import SchemaExecutor, publish_sights
from schema.invitation_change import InvitationMutation
from schema.limits import TooComplexError
from schema.mutation import wire_mutations
from schema.operation import InvalidOperationError, Operations
from schema.password_change import PasswordMutation
from schema.project_change import ProjectMutation
from schema.query import Query
from schema.record_change import RecordMutation
from schema.role_change import RoleMutation
from schema.scalar import SCALARS
from schema.selection import NEEDS
from schema.service_account_change import ServiceAccountMutation
from schema.session import SessionMutation
from schema.session_change import SessionEndingMutation
from schema.sign_in import SignInMutation
from schema.sign_in_policy import SignInPolicyMutation
from schema.sweep import publish_guards, sweep
from schema.trail_retention_change import TrailRetentionMutation
from schema.user_change import UserMutation
from schema.variable import InvalidVariablesError
from schema.viewer_can import publish_readable
from schema.wiring import wire, wire_roots

log = structlog.get_logger()

_MUTATIONS = (
    SignInMutation,
    SessionMutation,
    SessionEndingMutation,
    AuthenticatorMutation,
    SignInPolicyMutation,
    ProjectMutation,
    RecordMutation,
    DeviceMutation,
    DeviceEnrolmentMutation,
    RoleMutation,
    CustomRoleMutation,
    ServiceAccountMutation,
    IncidentMutation,
    InvitationMutation,
    UserMutation,
    AccessReviewMutation,
    TrailRetentionMutation,
    PasswordMutation,
    ExportMutation,
)


class Api(Schema):
    """The schema of Fieldward. Everything that executes goes through `execute`.

    operations: the operations that are kept as they were prepared.
    executor: what runs an operation that has no plan and does not ask for the schema.
    plans: whether operations are run by their plans. A test compares all ways with strawberry's own executor.
    """

    operations: Operations
    executor: type[StrawberryGraphQLCoreExecutionContext] = RowsExecutor
    plans: bool = True

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
        if not query:
            raise MissingQueryError
        context = context_value
        context.name_operation(operation_name, self.operations.digest(query))
        try:
            result = await self._run(context, query, variable_values or {}, operation_name)
            if context.actor.viewer is not None:
                try:
                    if context.actor.acting_as is not None:
                        await record_looking(context.actor, context.services.entries)
                    await context.read_log.write(context.actor, context.services.entries)
                except Exception as error:
                    # What can't be logged was not seen: nothing of the answer leaves.
                    result.data = None
                    result.errors = [GraphQLError(str(error), original_error=error)]
        finally:
            await context.reader.end()
        extensions = self._extensions(context, operation_extensions)
        if extensions:
            result.extensions = {**(result.extensions or {}), **extensions}
        if result.errors:
            request_id = str(context.actor.origin.request_id)
            result.errors = [presented(error, request_id) for error in result.errors]
        return result

    async def _run(
        self, context: RequestContext, query: str, variables: dict[str, Any], name: str | None
    ) -> ExecutionResult:
        """Prepare the operation, check what it was given, and execute it."""
        try:
            prepared = self.operations.prepare(query, keep=context.actor.viewer is not None)
            operation = prepared.operation(name)
            values = operation.variables.read(variables)
            operation.require_affordable(variables)
        except (InvalidOperationError, InvalidVariablesError) as error:
            return PreExecutionError(data=None, errors=error.errors)
        except GraphQLError as error:
            return PreExecutionError(data=None, errors=[error])
        except (TooComplexError, RecursionError) as error:
            return PreExecutionError(data=None, errors=[GraphQLError(str(error), original_error=error)])
        if isinstance(values, list):
            return ExecutionResult(data=None, errors=values)
        choice = operation.choice(self, values)
        context.follow(prepared.columns, choice.completions)
        executor_class = SchemaExecutor if prepared.asks_for_schema else self.executor
        executor = executor_class(
            self._schema,
            prepared.fragments,
            prepared.fragment_details,
            None,
            context,
            operation.definition,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            hide_suggestions=True,
        )
        executing: Any = (
            choice.plan.run(executor)
            if choice.plan is not None and self.plans and isinstance(executor, RowsExecutor)
            else executor.execute_operation()
        )
        done: CoreResult = executing if isinstance(executing, CoreResult) else await executing
        found = [*(done.errors or ()), *context.denials.errors(done.data)]
        return ExecutionResult(data=done.data, errors=found or None)

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
        types=[Guard],
        config=StrawberryConfig(
            scalar_map=SCALARS,
            disable_field_suggestions=True,
            default_resolver=lambda source, name: getattr(source, name, None),
        ),
    )
    core = api._schema
    sweep(core)
    publish_guards(core)
    publish_readable(core)
    core.extensions[NEEDS] = wire(core)
    wire_roots(core)
    wire_mutations(core, api.config)
    publish_sights(core)
    hide_values(core)
    api.operations = Operations(core)
    return api
