"""How a mutation is declared: its action, its input, and the use case that it runs in one audited transaction.

A mutation's resolver gets a `Change` and runs inside its transaction; what it returns is committed before any field of
the payload is resolved. One that signs has its signer's identity proved before that transaction begins. Refusals that a
client can do something about are in the payload's `errors`, each with its code and the path of the input; that nobody
is signed in, or that something broke, is an error of the whole field.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import strawberry
from graphql import GraphQLField, GraphQLSchema
from strawberry.schema.config import StrawberryConfig
from strawberry.types.field import StrawberryField

from auth.action import Action
from auth.errors import Code, FieldwardError
from auth.permission import Permission
from models.base import WardModel
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.row import Row
from models.transaction import settle_before
from models.visibility import scope_of
from resolvers.change import AGAIN_S, Change, Intent, commit_change, record_attempt
from resolvers.checking import LONGEST_REASON, require_reason, require_text
from resolvers.fresh_sign_in import require_enrolled, require_fresh
from resolvers.idempotency import DoneBeforeError
from resolvers.identity_proof import prove_identity
from resolvers.run_as import require_not_looking
from schema.context import RequestContext, ResolveInfo, context_of
from schema.field import DECLARATION, derived, structure
from schema.input_object import maker_of
from schema.node import parse_id
from schema.replay import kept_of, replayed
from schema.selection import load_selected

Resolve = Callable[[ResolveInfo, Mapping[str, Any]], Awaitable[Any]]

ErrorCode = strawberry.enum(Code, name="ErrorCode", description="What went wrong. Codes are never renamed.")

IN_PAYLOAD: Final = frozenset(
    {
        *(Code.INVALID_INPUT, Code.CONFLICT, Code.NOT_FOUND, Code.FORBIDDEN, Code.RATE_LIMITED),
        Code.REAUTHENTICATE,
    }
)
"""What a client can mend; all other errors blank the mutation and stand in the answer's `errors`."""

TAKES_FRESH: Final = "Takes a fresh sign-in: where yours is older, REAUTHENTICATE."
"""What the description of a mutation says that asks for one."""


@structure
@strawberry.type(description="Why a mutation did nothing.")
class UserError:
    code: Code = strawberry.field(description="What went wrong.")
    message: str = strawberry.field(description="What to do about it.")
    field: list[str] | None = strawberry.field(
        description="The path of the input at fault: input, siteCode.", default=None
    )
    permission: str | None = strawberry.field(description="The permission that was missing.", default=None)
    scope: str | None = strawberry.field(
        description="Where it was missing: ORGANIZATION, or the project's id.", default=None
    )
    retry_after: int | None = strawberry.field(
        description="After how many seconds it may be tried again, where it was tried too often.", default=None
    )
    detail: str | None = strawberry.field(
        description="What a program may act on where the code alone does not tell, such as IDEMPOTENCY_KEY_REUSED.",
        default=None,
    )


@dataclass(frozen=True, slots=True)
class MutationField:
    """What a mutation is: the action that it leaves in the trail, and what it acts on.

    takes: the permissions of which the use case demands one in the scope of what it acts on; empty where being signed
        in is enough, or not even that is needed. What is published and shown from it; the use case decides.
    subject: the GraphQL type that the input's `id` names, if it names one.
    signs: it is an electronic signature, and its input has the signer's `password`.
    fresh: it is done by who proved a short while ago who they are (`resolvers/fresh_sign_in.py`); programs aside.
    own: it is about what its viewer signs in with and nothing else, so that it takes no permission, and is what is left
        to who has to add a second factor before anything.
    notes_itself: the use case writes its own entries, since who acts is found out by it: signing in, for one.
    signed_in: where it notes itself, whether it takes a viewer all the same.
    """

    action: Action
    takes: tuple[Permission, ...] = ()
    entity: type[WardModel] | None = None
    subject: str | None = None
    reason_demanded: bool = False
    signs: bool = False
    fresh: bool = False
    own: bool = False
    notes_itself: bool = False
    signed_in: bool = False

    @property
    def is_public(self) -> bool:
        """Whether it is open to who is not signed in."""
        return self.notes_itself and not self.signed_in


@dataclass(frozen=True, slots=True)
class Payload:
    """What a mutation answers: the id of the row to show, what was deleted, a token shown once; or why not.

    row: the row to show, where the mutation made it: as it is stored.
    """

    row_id: UUID | None = None
    row: Row | None = None
    deleted_id: str | None = None
    token: str | None = field(default=None, repr=False)
    errors: tuple[UserError, ...] = ()


def done(row_id: UUID, *, token: str | None = None) -> Any:
    """Return the payload that shows the row, and a token where one was made."""
    return Payload(row_id, token=token)


def mutation(
    description: str,
    action: Action,
    *,
    takes: tuple[Permission, ...] = (),
    entity: type[WardModel] | None = None,
    subject: str | None = None,
    reason_demanded: bool = False,
    signs: bool = False,
    fresh: bool = False,
    own: bool = False,
    notes_itself: bool = False,
    signed_in: bool = False,
) -> Callable[[Callable[..., Awaitable[Any]]], Any]:
    """Declare a mutation. Its resolver takes `info` and `input`, and answers a `Payload`."""
    said = MutationField(action, takes, entity, subject, reason_demanded, signs, fresh, own, notes_itself, signed_in)
    if fresh:
        description = f"{description} {TAKES_FRESH}"
    return strawberry.mutation(description=description, metadata={DECLARATION: said})


def shows(model: type[WardModel], description: str) -> Any:
    """Declare a payload's field that shows the row which the mutation was about, as the viewer may read it now."""

    async def resolve(src: strawberry.Parent[Any], info: strawberry.Info) -> Any:
        payload: Payload = src
        if payload.row_id is None:
            return None
        if payload.row is not None:
            return payload.row if _is_seen(context_of(info), payload.row) else None
        return await load_selected(info, model, payload.row_id)

    return strawberry.field(resolver=resolve, description=description, metadata=derived())


def _is_seen(context: RequestContext, row: Row) -> bool:
    """Return whether the viewer sees a row that was not read by what they see."""
    return context.allows(row.entity.read, scope_of(row.entity, row, context.viewer))


def errors_of(error: FieldwardError) -> tuple[UserError, ...]:
    """Return the payload's form of an error."""
    return (
        UserError(
            code=error.code,
            message=error.message,
            field=[str(part) for part in error.field] or None,
            permission=getattr(error, "permission", None),
            scope=getattr(error, "scope", None),
            retry_after=getattr(error, "retry_after_s", None),
            detail=error.detail,
        ),
    )


def current_change(info: strawberry.Info) -> Change:
    """Return the transaction that the mutation's resolver runs in."""
    change: Change = info._raw_info.context.change
    return change


def mutation_of(field: GraphQLField) -> MutationField | None:
    """Return what the mutation says about itself."""
    definition: Any = field.extensions.get("strawberry-definition")
    said = definition.metadata.get(DECLARATION) if definition is not None else None
    return said if isinstance(said, MutationField) else None


def wire_mutations(core: GraphQLSchema, config: StrawberryConfig) -> None:
    """Put every mutation's resolver into its transaction."""
    if core.mutation_type is None:
        return
    for one in core.mutation_type.fields.values():
        said = mutation_of(one)
        if said is not None:
            one.resolve = _in_transaction(said, _resolver_of(one, config))


def _resolver_of(field: GraphQLField, config: StrawberryConfig) -> Resolve:
    """Return the mutation's resolver as it was declared, behind what makes its input."""
    definition: StrawberryField = field.extensions["strawberry-definition"]
    declared = definition.base_resolver
    if declared is None:
        raise TypeError(f"The mutation {definition.python_name} has no resolver.")
    resolve: Any = declared.wrapped_func
    made = {
        config.name_converter.from_argument(one): (one.python_name, maker_of(one.type, config))
        for one in definition.arguments
    }

    async def run(info: ResolveInfo, given: Mapping[str, Any]) -> Any:
        arguments = {python_name: make(given[name]) for name, (python_name, make) in made.items() if name in given}
        return await resolve(info=strawberry.Info(_raw_info=info, _field=definition), **arguments)

    return run


def _in_transaction(said: MutationField, resolve: Resolve) -> Callable[..., Awaitable[Any]]:
    async def run(_source: Any, info: ResolveInfo, **arguments: Any) -> Any:
        context: RequestContext = info.context
        # What earlier mutations of the operation made its readers see is of before this one.
        await context.renew()
        try:
            if said.notes_itself:
                await _require_open(said, context)
                _require_no_key(context)
                return await resolve(info, arguments)
            given = arguments.get("input") or {}
            intent = _intent(said.action, said, context, given)
            try:
                _require_ready(said, context, intent)
            except FieldwardError as error:
                await record_attempt(replace(intent, reason=None, done_at=None), error)
                raise
            once, name = context.once, str(info.path.key)
            if once is not None:
                try:
                    before = await once.done(name)
                except FieldwardError as error:
                    await record_attempt(replace(intent, done_at=None), error)
                    raise
                if before is not None:
                    await settle_before()
                    return replayed(before, info.return_type, context)
            if said.signs:
                try:
                    await prove_identity(context.services, context.actor, given["password"])
                except Exception as error:
                    await record_attempt(replace(intent, done_at=None), error)
                    raise

            said_before = len(context.headers)

            async def work(change: Change) -> Any:
                # Where it is done a second time, what the first one read and said is of a transaction that is gone.
                await context.renew()
                del context.headers[said_before:]
                if once is not None:
                    await once.take(change.connection, name)
                if said.fresh and _may(said, change):
                    require_fresh(change, fresh_for=context.services.sessions.fresh_for)
                context.change = change
                try:
                    answer = await resolve(info, arguments)
                finally:
                    context.change = None
                # What is done after the commit may fail: whoever asks again has it done, and is not told that it was.
                if once is not None and not change.afterwards:
                    await once.keep(change.connection, name, kept_of(answer, info.return_type))
                if isinstance(answer, Payload) and answer.row_id in change.made:
                    return replace(answer, row=change.made[answer.row_id])
                return answer

            return await commit_change(intent, work, pauses=AGAIN_S)
        except DoneBeforeError as before_us:
            # Whoever did it may still be waiting for a standby, or have gone without an answer.
            await settle_before()
            return replayed(before_us.kept, info.return_type, context)
        except FieldwardError as error:
            if error.code not in IN_PAYLOAD:
                raise
            context.services.meter.refuse(error.code)
            return Payload(errors=errors_of(error))

    return run


def _intent(action: Action, said: MutationField, context: RequestContext, given: dict[str, Any]) -> Intent:
    reason = given.get("reason")
    subjects: list[UUID] = []
    if said.subject is not None and isinstance(given.get("id"), str):
        try:
            subjects = [parse_id(given["id"], said.subject, at=("input", "id"))]
        except FieldwardError:
            subjects = []
    return Intent(
        action=action,
        actor=context.actor,
        reason=reason.strip() if isinstance(reason, str) and reason.strip() else None,
        entity=entity_of(said.entity).name if said.entity is not None else None,
        subjects=subjects,
        done_at=given.get("doneAt"),
    )


def _may(said: MutationField, change: Change) -> bool:
    """Return whether the viewer may do it anywhere. Who may not is refused for that, and proves nothing in vain."""
    return not said.takes or not change.viewer.access.reach.isdisjoint(said.takes)


async def _require_open(said: MutationField, context: RequestContext) -> None:
    """Refuse who may not begin with what notes itself what comes of it; that leaves an entry as well."""
    try:
        if said.signed_in:
            context.require_signed_in()
        if context.actor.viewer is not None:
            require_not_looking(context.actor.viewer)
    except FieldwardError as error:
        await record_attempt(Intent(action=said.action, actor=context.actor), error)
        raise


def _require_no_key(context: RequestContext) -> None:
    """Refuse a key for what proves who somebody is: it takes what works once, or is to be proved each time anew."""
    if context.idempotency_key is not None:
        raise InvalidInputError("This mutation takes no Idempotency-Key. Nothing was done.")


def _require_ready(said: MutationField, context: RequestContext, intent: Intent) -> None:
    require_not_looking(context.viewer)
    if not said.own:
        require_enrolled(context.viewer)
    if said.reason_demanded:
        require_reason(intent.reason)
    elif intent.reason is not None:
        require_text(intent.reason, at=("input", "reason"), longest=LONGEST_REASON)
