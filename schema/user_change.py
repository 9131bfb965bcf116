"""Mutations of members: suspending, reinstating, removing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.membership import Membership, MembershipStatus
from resolvers.leaving import AT_HEIR, Removal, remove_member, set_standing
from resolvers.membership import AT_USER
from schema.field import derived, resolved, structure
from schema.mutation import Payload, UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.role_change import UserPayload
from schema.user import User
from schema.written import writes


@writes(Membership, beside=("user_id",))
@strawberry.input(description="Whom to suspend or to let in again, and why.")
class UserStandingInput:
    user_id: strawberry.ID = strawberry.field(description="Whom.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(Membership, beside=("user_id", "hand_over_to"))
@strawberry.input(description="Who leaves, why, and to whom what was theirs goes over.")
class RemoveUserInput:
    user_id: strawberry.ID = strawberry.field(description="Whom.")
    hand_over_to: strawberry.ID | None = strawberry.field(
        default=None,
        description="Who gets their service accounts and devices; null: those are revoked and blocked.",
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@dataclass(frozen=True, slots=True)
class Removed(Payload):
    """What a removal answers: who left, and the ids of what went over to somebody, and of what ended."""

    handed_over: Sequence[str] = ()
    ended: Sequence[str] = ()


@structure
@strawberry.type(description="Who was removed and what became of what was theirs, or why nothing was done.")
class RemoveUserPayload:
    user: User | None = shows(Membership, "The person as you may read them now.")

    @resolved("The service accounts and devices that somebody else has now.", derived())
    def handed_over(src: strawberry.Parent[Any]) -> list[strawberry.ID]:
        return [strawberry.ID(one) for one in getattr(src, "handed_over", ())]

    @resolved("The service accounts that were revoked, and the devices that were blocked.", derived())
    def ended(src: strawberry.Parent[Any]) -> list[strawberry.ID]:
        return [strawberry.ID(one) for one in getattr(src, "ended", ())]

    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class UserMutation:
    @mutation(
        "Suspend a person: their sessions are refused from the next request on, and they keep what they have.",
        Action.USER_SUSPEND,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def suspend_user(info: strawberry.Info, input: UserStandingInput) -> UserPayload | None:
        return done(await _set_standing(info, input, MembershipStatus.SUSPENDED))

    @mutation(
        "Let a suspended person in again.",
        Action.USER_REINSTATE,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def reinstate_user(info: strawberry.Info, input: UserStandingInput) -> UserPayload | None:
        return done(await _set_standing(info, input, MembershipStatus.ACTIVE))

    @mutation(
        "Remove a person: all that they have ends at once, or goes over to somebody else. What they made stays.",
        Action.USER_REMOVE,
        fresh=True,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def remove_user(info: strawberry.Info, input: RemoveUserInput) -> RemoveUserPayload | None:
        heir = input.hand_over_to
        removal = await remove_member(
            current_change(info),
            membership_id=parse_id(input.user_id, "User", at=AT_USER),
            hand_over_to=parse_id(heir, "User", at=AT_HEIR) if heir is not None else None,
        )
        answer: Any = _told(removal)
        return answer


async def _set_standing(info: strawberry.Info, input: UserStandingInput, status: MembershipStatus) -> Any:
    return await set_standing(
        current_change(info), membership_id=parse_id(input.user_id, "User", at=AT_USER), status=status
    )


def _told(removal: Removal) -> Removed:
    named = [(f"ServiceAccount:{one}", one) for one in removal.service_accounts]
    named += [(f"Device:{one}", one) for one in removal.devices]
    return Removed(
        removal.membership_id,
        handed_over=[name for name, row_id in named if row_id in removal.handed_over],
        ended=[name for name, row_id in named if row_id not in removal.handed_over],
    )
