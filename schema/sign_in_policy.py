"""The mutation that decides what an organization demands of who signs in."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.organization import Organization as OrganizationModel
from resolvers.sign_in_policy import set_sign_in_policy
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.organization import Organization
from schema.written import writes


@writes(OrganizationModel)
@strawberry.input(description="What is demanded of who signs in.")
class SetSignInPolicyInput:
    demands_second_factor: bool = strawberry.field(
        description="Whether everybody needs a second factor: who signed in without one may do nothing but add one. To"
        " demand it you have signed in with one yourself."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="The organization after a mutation, or why nothing was done.")
class SignInPolicyPayload:
    organization: Organization | None = shows(OrganizationModel, "The organization as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class SignInPolicyMutation:
    @mutation(
        "Decide whether everybody in the organization needs a second factor.",
        Action.ORGANIZATION_SET_SIGN_IN_POLICY,
        takes=(P.ORGANIZATION_SET_SIGN_IN_POLICY,),
        entity=OrganizationModel,
        reason_demanded=True,
        fresh=True,
    )
    async def set_sign_in_policy(info: strawberry.Info, input: SetSignInPolicyInput) -> SignInPolicyPayload | None:
        return done(await set_sign_in_policy(current_change(info), demands_second_factor=input.demands_second_factor))
