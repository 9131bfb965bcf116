"""Builds the one executable schema, and runs operations on it.

`Api.execute` is the door of every transport: it checks input values, runs the operation, writes the read log before
anything leaves, and turns errors into what a client may see.
"""

from collections.abc import Awaitable, Iterable
from functools import cache, partial
from typing import Any, Final

import structlog
from graphql import (
    DocumentNode,
    GraphQLError,
    OperationDefinitionNode,
    default_field_resolver,
    default_type_resolver,
)
from graphql import ExecutionResult as CoreResult
from graphql import OperationType as OperationKind
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
from models.deadline import deadline, within_deadline
from models.errors import CrowdedError
from models.tracing import Value, say
from resolvers.allowance import OverspentError
from resolvers.idempotency import Once
from resolvers.run_as import record_looking
from schema.access_review_change import AccessReviewMutation
from schema.authenticator_change import AuthenticatorMutation
from schema.context import RequestContext
from schema.custom_role_change import CustomRoleMutation
from schema.data_export_change import ExportMutation
from schema.data_import_change import DataImportMutation
from schema.description import publish_descriptions
from schema.device_change import DeviceMutation
from schema.device_enrolment import DeviceEnrolmentMutation
from schema.erasure_request_change import ErasureMutation
from schema.errors import presented
from schema.example import publish_examples
from schema.execution import RowsExecutor
from schema.field import Guard
from schema.import_mapping_change import ImportMappingMutation
from schema.incident_change import IncidentMutation
from schema.input_object import hide_values
from schema.introspection import SchemaExecutor, publish_sights
from schema.invitation_change import InvitationMutation
from schema.legal_hold_change import LegalHoldMutation
from schema.limits import MOST_TOKENS, MOST_TOKENS_OF_ANYONE, SHOWN_FOR_COUNTED, TooComplexError, asks_alone
from schema.mutation import wire_mutations
from schema.operation import BusyError, InvalidOperationError, OperationKindError, Operations, UnknownOperationError
from schema.password_change import PasswordMutation
from schema.project_change import ProjectMutation
from schema.query import Query
from schema.record_change import RecordMutation
from schema.retention_change import RetentionMutation
from schema.role_change import RoleMutation
from schema.scalar import SCALARS
from schema.selection import NEEDS
from schema.service_account_change import ServiceAccountMutation
from schema.session import SessionMutation
from schema.session_change import SessionEndingMutation
from schema.sign_in import SignInMutation
from schema.sign_in_policy import SignInPolicyMutation
from schema.site_change import SiteMutation
from schema.subscription import Subscription
from schema.sweep import publish_guards, sweep
from schema.trail_retention_change import TrailRetentionMutation
from schema.trusted_document_change import TrustedDocumentMutation
from schema.user_change import UserMutation
from schema.variable import InvalidVariablesError
from schema.viewer_can import publish_readable
from schema.wiring import wire, wire_roots

log = structlog.get_logger()

READ_FROM: Final = b"fieldward-read-from"
"""The header of an answer that was read from a standby, with how many seconds old it is at the most."""

_MUTATIONS = (
    SignInMutation,
    SessionMutation,
    SessionEndingMutation,
    AuthenticatorMutation,
    SignInPolicyMutation,
    ProjectMutation,
    RecordMutation,
    SiteMutation,
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
    TrustedDocumentMutation,
    DataImportMutation,
    ImportMappingMutation,
    ExportMutation,
    RetentionMutation,
    LegalHoldMutation,
    ErasureMutation,
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
        """Run an operation for the context's viewer and return what may leave the server.

        Raises:
            OperationKindError: it is none of the allowed types.
            OverspentError, TooManyAtOnceError: whoever asks asked for too much in a while, or at once. Nothing was run.
            CrowdedError: of a mutation everything was too much for now. Nothing was changed.
            OverdueError: it took too long. Nothing is shown, and nothing that it was still at was changed.
        """
        if not isinstance(context_value, RequestContext):
            raise TypeError("An operation takes a RequestContext.")
        if not query:
            raise MissingQueryError
        context = context_value
        context.name_operation(operation_name, cache(partial(self.operations.digest, query)))
        variables = variable_values or {}
        run = self._run if context.services.tracing is None else self._run_traced
        try:
            if context.following is None:
                allowance = context.allowance
                allowance.ask()
                with allowance, deadline(context.services.operation_timeout_s):
                    result = await run(context, query, variables, operation_name, allowed_operation_types)
            else:
                # A subscription was counted when it began: what happens is not asked for, and has its turn.
                with deadline(context.services.operation_timeout_s):
                    result = await run(context, query, variables, operation_name, allowed_operation_types)
            if context.actor.viewer is not None:
                try:
                    if context.actor.acting_as is not None:
                        await record_looking(context.actor, context.services.entries)
                    await context.read_log.write(context.actor, context.services.entries)
                except Exception as error:
                    # What can't be logged was not seen: nothing of the answer leaves.
                    result.data = None
                    result.errors = [GraphQLError(str(error), original_error=error)]
        except OverspentError:
            _note_overspent(context)
            raise
        finally:
            await context.reader.end()
        age_s = context.services.stale_reads.age_s()
        if age_s is not None:
            context.headers.append((READ_FROM, b"standby; age=%d" % age_s))
        extensions = self._extensions(context, operation_extensions)
        if extensions:
            result.extensions = {**(result.extensions or {}), **extensions}
        if result.errors:
            request_id = str(context.actor.origin.request_id)
            result.errors = [presented(error, request_id) for error in result.errors]
            for shown in result.errors:
                context.services.meter.refuse((shown.extensions or {})["code"])
        return result

    async def is_subscription(self, context: RequestContext, query: str, operation_name: str | None) -> bool:
        """Return whether a text asks to be told of what is to come. Of one that is not valid it is not said."""
        found = await self._definition(context, query, operation_name)
        return found is not None and found[1].operation is OperationKind.SUBSCRIPTION

    async def signs_in(self, context: RequestContext, query: str, operation_name: str | None) -> bool:
        """Return whether a text signs in, or changes how one does: its answer may have a cookie in its head."""
        found = await self._definition(context, query, operation_name)
        return found is not None and asks_alone(*found)

    async def _definition(
        self, context: RequestContext, query: str, operation_name: str | None
    ) -> tuple[DocumentNode, OperationDefinitionNode] | None:
        """Return the document and which of its operations is asked for; None where that would be refused."""
        try:
            prepared = await self.operations.prepare_aside(
                query, keep=True, spend=context.allowance.spend, enforced=context.services.enforces_limits
            )
            return prepared.document, prepared.operation(operation_name).definition
        except (
            *(InvalidOperationError, UnknownOperationError, GraphQLError),
            *(TooComplexError, BusyError, RecursionError),
        ):
            return None

    async def _run(
        self,
        context: RequestContext,
        query: str,
        variables: dict[str, Any],
        name: str | None,
        allowed: Iterable[OperationType] | None,
    ) -> ExecutionResult:
        """Prepare the operation, check what it was given, and execute it."""
        try:
            enforced = context.services.enforces_limits
            prepared = await self.operations.prepare_aside(
                query,
                keep=context.actor.viewer is not None,
                spend=context.allowance.spend,
                enforced=enforced,
                most=MOST_TOKENS if context.actor.viewer is not None else MOST_TOKENS_OF_ANYONE,
            )
            operation = prepared.operation(name)
            if allowed is not None and operation.definition.operation.value not in {one.value for one in allowed}:
                raise OperationKindError("Expected a query: anything else is sent by POST.")
            context.changes = operation.definition.operation is OperationKind.MUTATION
            values = operation.variables.read(variables)
            context.measure = operation.require_affordable(variables, enforced=enforced)
        except (InvalidOperationError, InvalidVariablesError) as error:
            return PreExecutionError(data=None, errors=error.errors)
        except (GraphQLError, TooComplexError, BusyError, RecursionError) as error:
            return PreExecutionError(data=None, errors=[_as_graphql(error)])
        if isinstance(values, list):
            return ExecutionResult(data=None, errors=values)
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
        if isinstance(executor, SchemaExecutor):
            try:
                context.measure = context.measure.with_schema(
                    await self.operations.aside(executor.reckon), enforced=enforced
                )
            except (GraphQLError, TooComplexError, BusyError, RecursionError) as error:
                # What is refused was counted all the same.
                context.allowance.spend(executor.reckoned // SHOWN_FOR_COUNTED)
                return PreExecutionError(data=None, errors=[_as_graphql(error)])
        if context.measure.exceeded:
            self._note_excess(context)
        context.allowance.spend(context.measure.requested)
        key, viewer = context.idempotency_key, context.actor.viewer
        if key is not None and viewer is not None and context.changes:
            context.once = await Once.of(viewer, key, text=query, name=name, variables=variables)
        is_query = not context.changes and context.following is None
        if is_query and await context.services.stale_reads.spare_primary():
            # What was read to find out who asks is of the primary, and of a moment before.
            await context.reader.close()
        choice = operation.choice(self, values)
        context.follow(prepared.columns, choice.completions)
        executing: Any = (
            choice.plan.run(executor)
            if choice.plan is not None and self.plans and type(executor) is RowsExecutor
            else executor.execute_operation()
        )
        done: CoreResult = executing if isinstance(executing, CoreResult) else await _timely(executing, context)
        if context.changes:
            _require_begun(done)
        found = [*(done.errors or ()), *context.denials.errors(done.data)]
        return ExecutionResult(data=done.data, errors=found or None)

    async def _run_traced(
        self,
        context: RequestContext,
        query: str,
        variables: dict[str, Any],
        name: str | None,
        allowed: Iterable[OperationType] | None,
    ) -> ExecutionResult:
        """Do as `_run`, in a span that says of which kind the operation is, and nothing of what it asks."""
        tracing = context.services.tracing
        if tracing is None:
            raise LookupError("Nothing is traced here.")
        with tracing.span("operation", {}) as span:
            result = await self._run(context, query, variables, name, allowed)
            measure = context.measure
            kind = (
                "subscription"
                if context.following is not None
                else "none"
                if measure is None
                else "mutation"
                if context.changes
                else "query"
            )
            span.update_name(kind)
            said: dict[str, Value] = {
                "fieldward.operation.kind": kind,
                "fieldward.operation.statements": context.reader.statements,
                "fieldward.operation.errors": len(result.errors or ()),
            }
            if measure is not None:
                said["fieldward.operation.cost"] = measure.requested
            say(span, said)
            return result

    @staticmethod
    def _note_excess(context: RequestContext) -> None:
        """Log what would have been refused, where limits are measured and not enforced."""
        measure, said = context.measure, context.actor.operation
        if measure is not None:
            log.warning(
                "limits_exceeded",
                request_id=str(context.actor.origin.request_id),
                organization_id=str(context.actor.organization_id),
                operation=said.digest if said is not None else None,
                exceeded=measure.exceeded,
                **measure.shown(),
            )

    @staticmethod
    def _extensions(context: RequestContext, asked: dict[str, Any] | None) -> dict[str, Any]:
        """Return what is said of the operation itself: as whom it looked; where asked for, its cost and its trace.

        The cost is worked out from what was sent alone, and told to who is signed in.
        """
        viewer, actor = context.actor.viewer, context.actor
        if viewer is None:
            return {}
        said: dict[str, Any] = {}
        if actor.acting_as is not None:
            said["runAs"] = {"as": actor.acting_as, "readOnly": True}
        if asked and asked.get("cost") is True and context.measure is not None:
            said["cost"] = context.measure.shown()
        if asked and asked.get("trace") is True and can(actor.who, Permission.ACCESS_READ, ORGANIZATION):
            said["trace"] = context.trace()
        return said


def _as_graphql(error: Exception) -> GraphQLError:
    return error if isinstance(error, GraphQLError) else GraphQLError(str(error), original_error=error)


async def _timely(executing: Awaitable[CoreResult], context: RequestContext) -> CoreResult:
    """Return the result of a query in its time. A mutation is held to it change by change (`commit_change`)."""
    if context.changes:
        return await executing
    async with within_deadline():
        return await executing


def _require_begun(done: CoreResult) -> None:
    """Raise `CrowdedError` where a mutation did nothing for no other reason: it is refused as a whole then."""
    errors = done.errors or ()
    crowded = [one.original_error for one in errors if isinstance(one.original_error, CrowdedError)]
    if crowded and len(crowded) == len(errors) and not any((done.data or {}).values()):
        raise crowded[0]


def _note_overspent(context: RequestContext) -> None:
    """Log that a quota is spent: of a flood the first, with how many were not logged. It is no matter for the trail."""
    who, floodgate = context.actor.who, context.services.floodgate
    caller = str(who.principal_id) if who is not None else None
    repeated = floodgate.admit((context.actor.organization_id, caller, "quota_spent"))
    if repeated is not None:
        request_id = str(context.actor.origin.request_id)
        log.warning("quota_spent", principal=caller, request_id=request_id, repeated=repeated)


def build_api() -> Api:
    """Build the schema, wire it, and refuse it if anything in it is unguarded.

    Raises:
        SchemaError: a field, input or mutation breaks a rule of `schema.sweep`.
    """
    mutation = merge_types("Mutation", _MUTATIONS)
    api = Api(
        query=Query,
        mutation=mutation,
        subscription=Subscription,
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
    publish_descriptions(core)
    publish_examples(core)
    core.extensions[NEEDS] = wire(core)
    wire_roots(core)
    wire_mutations(core, api.config)
    publish_sights(core)
    hide_values(core)
    api.operations = Operations(core)
    return api
