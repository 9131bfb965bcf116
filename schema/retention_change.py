"""The mutation that decides how long data are kept."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.data_kind import DataKind
from models.retention import DataRetention as DataRetentionModel
from resolvers.retention import set_retention
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.retention import DataRetention
from schema.written import writes


@writes(DataRetentionModel)
@strawberry.input(
    description="How long data of a type are kept. It counts from a week after it was decided; until then nothing of"
    " the type is deleted."
)
class SetRetentionInput:
    kind: DataKind = strawberry.field(description="Which data.")
    days: int | None = strawberry.field(
        description="Days, from the type's least to 36500; null for good. `retention` tells the least."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A period after a mutation, or why nothing was done.")
class RetentionPayload:
    retention: DataRetention | None = shows(DataRetentionModel, "The period as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class RetentionMutation:
    @mutation(
        "Decide after how long data of a type are deleted. `retentionPreview` tells beforehand what that would be.",
        Action.RETENTION_SET,
        takes=(P.RETENTION_SET,),
        entity=DataRetentionModel,
        reason_demanded=True,
        fresh=True,
    )
    async def set_retention(info: strawberry.Info, input: SetRetentionInput) -> RetentionPayload | None:
        return done(await set_retention(current_change(info), kind=input.kind, days=input.days))
