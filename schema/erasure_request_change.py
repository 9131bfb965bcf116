"""Mutations of requests for erasure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.erasure_request import ErasureKind
from models.erasure_request import ErasureRequest as ErasureRequestModel
from resolvers.erasure_request import (
    NewErasure,
    confirm_by_link,
    confirm_erasure,
    request_erasure,
    request_own,
)
from resolvers.erasure_withdrawal import withdraw_erasure
from schema.context import context_of
from schema.erasure_request import ErasureRequest
from schema.field import derived, resolved, structure
from schema.mutation import Payload, UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes

AT_ID = ("input", "id")
_VERSION = "The version that you saw."


@writes(ErasureRequestModel, beside=("also_named",))
@strawberry.input(description="Under which names you stand, besides your own.")
class RequestMyErasureInput:
    also_named: list[str] = strawberry.field(
        default_factory=list,
        description="Other spellings under which records name you as their collector. Somebody else is asked for those,"
        " once you confirmed your own erasure: they may be another's name.",
    )
    reason: str | None = strawberry.field(default=None, description="Why, if you want to say so.")


@writes(ErasureRequestModel, names="named", beside=("user_id",))
@strawberry.input(description="What is to be erased, and why.")
class RequestErasureInput:
    kind: ErasureKind = strawberry.field(description="What.")
    user_id: strawberry.ID | None = strawberry.field(default=None, description="Which member, of kind PERSON.")
    names: list[str] = strawberry.field(
        default_factory=list, description="Of kind NAME: the name in each spelling that records have."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="Which request you stand for.")
class ConfirmErasureInput:
    id: strawberry.ID = strawberry.field(description="Which request.")
    expected_version: int = strawberry.field(description=_VERSION)
    password: str = strawberry.field(description="Your password.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@strawberry.input(description="What a link in a letter holds.")
class ConfirmErasureByLinkInput:
    token: str = strawberry.field(description="What stands behind `erasure=` in the link.")


@strawberry.input(description="Which request to take back.")
class WithdrawErasureInput:
    id: strawberry.ID = strawberry.field(description="Which request.")
    expected_version: int = strawberry.field(description=_VERSION)
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@structure
@strawberry.type(description="A request after a mutation, or why nothing was done.")
class ErasureRequestPayload:
    erasure_request: ErasureRequest | None = shows(ErasureRequestModel, "The request as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@dataclass(frozen=True, slots=True)
class Confirmed(Payload):
    """What the confirmation by a link answers: from when on it is carried out."""

    execute_after: datetime | None = None


@structure
@strawberry.type(description="Until when your erasure can be taken back, or why nothing was done.")
class ConfirmErasureByLinkPayload:
    @resolved("Until when it can be taken back, and from when on it is carried out.", derived())
    def execute_after(src: strawberry.Parent[Any]) -> datetime | None:
        return src.execute_after if isinstance(src, Confirmed) else None

    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class ErasureMutation:
    @mutation(
        "Ask that you be erased, in every organization: your account, your names, and what the trail holds of you. You"
        " confirm it by `confirmErasure`, or by the link in the letter that you get.",
        Action.ERASURE_REQUEST,
        takes=(P.ERASURE_READ,),
        entity=ErasureRequestModel,
        fresh=True,
    )
    async def request_my_erasure(info: strawberry.Info, input: RequestMyErasureInput) -> ErasureRequestPayload | None:
        services = context_of(info).services
        change = current_change(info)
        reason = change.intent.reason
        return done(await request_own(services, change, also_named=input.also_named, reason=reason))

    @mutation(
        "Ask that somebody, or the organization, be erased. Of a member their own confirmation is wanted, by a link in"
        " a letter; of a name somebody else's who may; of the organization another owner's.",
        Action.ERASURE_REQUEST,
        takes=(P.ERASURE_REQUEST,),
        entity=ErasureRequestModel,
        reason_demanded=True,
        fresh=True,
    )
    async def request_erasure(info: strawberry.Info, input: RequestErasureInput) -> ErasureRequestPayload | None:
        change = current_change(info)
        user_id = None if input.user_id is None else parse_id(input.user_id, "User", at=("input", "userId"))
        new = NewErasure(input.kind, membership_id=user_id, names=input.names)
        services = context_of(info).services
        return done(await request_erasure(services, change, new=new, reason=change.intent.reason))

    @mutation(
        "Confirm a request, by your password. From then on it can be taken back for a while, and is carried out then.",
        Action.ERASURE_CONFIRM,
        takes=(P.ERASURE_READ,),
        entity=ErasureRequestModel,
        subject="ErasureRequest",
        signs=True,
        fresh=True,
    )
    async def confirm_erasure(info: strawberry.Info, input: ConfirmErasureInput) -> ErasureRequestPayload | None:
        return done(
            await confirm_erasure(
                context_of(info).services,
                current_change(info),
                request_id=parse_id(input.id, "ErasureRequest", at=AT_ID),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Confirm that you are to be erased, by the link in your letter. It signs nobody in.",
        Action.ERASURE_CONFIRM,
        notes_itself=True,
    )
    async def confirm_erasure_by_link(
        info: strawberry.Info, input: ConfirmErasureByLinkInput
    ) -> ConfirmErasureByLinkPayload | None:
        context = context_of(info)
        at = await confirm_by_link(context.services, context.actor, token=input.token)
        answer: Any = Confirmed(execute_after=at)
        return answer

    @mutation(
        "Take a request back before it is carried out: about you; of a member, if you asked for it and they did not"
        " confirm it; of a name, if you asked for it or may confirm it; of the organization, if you are an owner who"
        " signed in freshly. What it said in words is forgotten.",
        Action.ERASURE_WITHDRAW,
        takes=(P.ERASURE_READ,),
        entity=ErasureRequestModel,
        subject="ErasureRequest",
    )
    async def withdraw_erasure(info: strawberry.Info, input: WithdrawErasureInput) -> ErasureRequestPayload | None:
        return done(
            await withdraw_erasure(
                context_of(info).services,
                current_change(info),
                request_id=parse_id(input.id, "ErasureRequest", at=AT_ID),
                expected_version=input.expected_version,
            )
        )
