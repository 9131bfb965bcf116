"""Mutations of incidents."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.incident import Incident as IncidentModel
from resolvers.incident import acknowledge_incident, close_incident
from schema.field import derived, structure
from schema.incident import Incident
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes

AT_ID = ("input", "id")


@strawberry.input(description="Which incident you look into.")
class AcknowledgeIncidentInput:
    id: strawberry.ID = strawberry.field(description="Which incident.")
    expected_version: int = strawberry.field(description="The version that you saw.")


@writes(IncidentModel)
@strawberry.input(description="Which incident is over, and what it was.")
class CloseIncidentInput:
    id: strawberry.ID = strawberry.field(description="Which incident.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    note: str = strawberry.field(description="What it turned out to be.")


@structure
@strawberry.type(description="An incident after a mutation, or why nothing was done.")
class IncidentPayload:
    incident: Incident | None = shows(IncidentModel, "The incident as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class IncidentMutation:
    @mutation(
        "Say that you look into an incident.",
        Action.INCIDENT_ACKNOWLEDGE,
        takes=(P.INCIDENT_MANAGE,),
        entity=IncidentModel,
        subject="Incident",
    )
    async def acknowledge_incident(info: strawberry.Info, input: AcknowledgeIncidentInput) -> IncidentPayload | None:
        return done(
            await acknowledge_incident(
                current_change(info),
                incident_id=parse_id(input.id, "Incident", at=AT_ID),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Close an incident with a note of what it was. What happens again is another incident.",
        Action.INCIDENT_CLOSE,
        takes=(P.INCIDENT_MANAGE,),
        entity=IncidentModel,
        subject="Incident",
    )
    async def close_incident(info: strawberry.Info, input: CloseIncidentInput) -> IncidentPayload | None:
        return done(
            await close_incident(
                current_change(info),
                incident_id=parse_id(input.id, "Incident", at=AT_ID),
                expected_version=input.expected_version,
                note=input.note,
            )
        )
