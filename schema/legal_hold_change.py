"""Mutations of legal holds."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.legal_hold import LegalHold as LegalHoldModel
from resolvers.legal_hold import AT_SUBJECT, lift_hold, place_hold
from schema.field import derived, structure
from schema.legal_hold import LegalHold
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id, split_id
from schema.written import writes


@writes(LegalHoldModel, subject_id="subject")
@strawberry.input(description="What must not be deleted.")
class PlaceLegalHoldInput:
    subject_id: strawberry.ID = strawberry.field(
        description="The global id of the Organization, Project, Site, Record or User. With a project all that lies in"
        " it is held, with a site the records that name it, with a person what they made or had a hand in."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="Which hold ends.")
class LiftLegalHoldInput:
    id: strawberry.ID = strawberry.field(description="Which hold.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A legal hold after a mutation, or why nothing was done.")
class LegalHoldPayload:
    legal_hold: LegalHold | None = shows(LegalHoldModel, "The hold as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class LegalHoldMutation:
    @mutation(
        "Have something deleted by no period, nobody and no erasure until the hold is lifted. While there is a hold in"
        " the organization, nothing leaves its audit trail.",
        Action.HOLD_PLACE,
        takes=(P.HOLD_PLACE,),
        entity=LegalHoldModel,
        reason_demanded=True,
    )
    async def place_legal_hold(info: strawberry.Info, input: PlaceLegalHoldInput) -> LegalHoldPayload | None:
        named, subject_id = split_id(input.subject_id, at=AT_SUBJECT)
        return done(await place_hold(current_change(info), named=named, subject_id=subject_id))

    @mutation(
        "End a legal hold: what it kept is deleted from then on as if it had not been.",
        Action.HOLD_LIFT,
        takes=(P.HOLD_LIFT,),
        entity=LegalHoldModel,
        subject="LegalHold",
        reason_demanded=True,
        fresh=True,
    )
    async def lift_legal_hold(info: strawberry.Info, input: LiftLegalHoldInput) -> LegalHoldPayload | None:
        return done(
            await lift_hold(
                current_change(info),
                hold_id=parse_id(input.id, "LegalHold", at=("input", "id")),
                expected_version=input.expected_version,
            )
        )
