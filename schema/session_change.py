"""Naming and ending sign-ins."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.session import Session as SessionModel
from resolvers.session_ending import (
    AT_USER,
    rename_session,
    revoke_other_sessions,
    revoke_session,
    revoke_user_sessions,
)
from schema.context import context_of
from schema.cookie import ended_session_cookie
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.session import Session
from schema.written import writes


@writes(SessionModel)
@strawberry.input(description="Another name for a sign-in of yours.")
class RenameSessionInput:
    id: strawberry.ID = strawberry.field(description="Which one.")
    name: str = strawberry.field(description="What you call it: up to 200 characters.")


@strawberry.input(description="The end of a sign-in.")
class RevokeSessionInput:
    id: strawberry.ID = strawberry.field(description="Which one: yours, or that of a person whose role you may assign.")
    reason: str | None = strawberry.field(default=None, description="Why.")


@writes(SessionModel, user_id="membership_id")
@strawberry.input(description="The end of all sign-ins of a person.")
class RevokeUserSessionsInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A sign-in after a mutation, or why nothing was done.")
class SessionPayload:
    session: Session | None = shows(SessionModel, "The sign-in as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="How many sign-ins were ended, or why none was.")
class RevokedSessionsPayload:
    revoked: int | None = strawberry.field(description="How many were ended.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class SessionEndingMutation:
    @mutation(
        "Give a sign-in of yours another name.",
        Action.SESSION_RENAME,
        entity=SessionModel,
        subject="Session",
        own=True,
    )
    async def rename_session(info: strawberry.Info, input: RenameSessionInput) -> SessionPayload | None:
        session_id = parse_id(input.id, "Session", at=("input", "id"))
        return done(await rename_session(current_change(info), session_id=session_id, name=input.name))

    @mutation(
        "End a sign-in, yours or that of a person whose role you may assign: it is refused from the next request on.",
        Action.SESSION_REVOKE,
        entity=SessionModel,
        subject="Session",
        own=True,
    )
    async def revoke_session(info: strawberry.Info, input: RevokeSessionInput) -> SessionPayload | None:
        context = context_of(info)
        session_id = parse_id(input.id, "Session", at=("input", "id"))
        revoked = await revoke_session(current_change(info), session_id=session_id)
        if context.by_cookie and session_id == context.viewer.session_id:
            context.headers.append(ended_session_cookie())
        return done(revoked)

    @mutation(
        "End all your sign-ins in this organization but the one that asks.",
        Action.SESSION_REVOKE,
        entity=SessionModel,
        own=True,
    )
    async def revoke_other_sessions(info: strawberry.Info) -> RevokedSessionsPayload | None:
        return RevokedSessionsPayload(revoked=await revoke_other_sessions(current_change(info)), errors=[])

    @mutation(
        "End all sign-ins of a person in this organization whose role you may assign.",
        Action.SESSION_REVOKE,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=SessionModel,
        reason_demanded=True,
    )
    async def revoke_user_sessions(
        info: strawberry.Info, input: RevokeUserSessionsInput
    ) -> RevokedSessionsPayload | None:
        membership_id = parse_id(input.user_id, "User", at=AT_USER)
        revoked = await revoke_user_sessions(current_change(info), membership_id=membership_id)
        return RevokedSessionsPayload(revoked=revoked, errors=[])
