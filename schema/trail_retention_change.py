"""The mutation that decides how long the audit trail is kept."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.audit_entry import EntryKind
from models.trail_retention import TrailRetention as TrailRetentionModel
from resolvers.trail_retention import set_trail_retention
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.trail_retention import TrailRetention
from schema.written import writes


@writes(TrailRetentionModel)
@strawberry.input(
    description="How long entries of a kind are kept. It counts from a week after it was decided; until then nothing of"
    " the kind leaves."
)
class SetTrailRetentionInput:
    kind: EntryKind = strawberry.field(
        description="READ: who saw what. ATTEMPT: what was refused or failed. CHANGE: what happened to rows that are"
        " deleted; what happened to those that are there always stays."
    )
    days: int | None = strawberry.field(description="Days, from 90 to 36500; null for good.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A period after a mutation, or why nothing was done.")
class TrailRetentionPayload:
    trail_retention: TrailRetention | None = shows(TrailRetentionModel, "The period as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class TrailRetentionMutation:
    @mutation(
        "Decide how long entries of the audit trail are kept.",
        Action.AUDIT_SET_RETENTION,
        takes=(P.AUDIT_SET_RETENTION,),
        entity=TrailRetentionModel,
        reason_demanded=True,
        fresh=True,
    )
    async def set_trail_retention(info: strawberry.Info, input: SetTrailRetentionInput) -> TrailRetentionPayload | None:
        return done(await set_trail_retention(current_change(info), kind=input.kind, days=input.days))
