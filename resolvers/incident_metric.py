"""What is counted of incidents and alarms, of all organizations together: asked of the database each time.

So every process tells the same, and nothing begins anew when one ends.
"""

from dataclasses import dataclass

from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.incident_judging import sealing_lag_s


@dataclass(frozen=True, slots=True)
class IncidentCount:
    """How many incidents of a rule there ever were, and how many are not closed."""

    rule: str
    severity: str
    opened: int
    unclosed: int


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """How many alarms of a channel are in a state, and how many attempts to send them came to nothing."""

    channel: str
    state: str
    deliveries: int
    failures: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it. sealing_lag_s: how long the oldest entry has waited to be sealed. unjudged: organizations of whose
    trails more is sealed than was judged.
    """

    incidents: tuple[IncidentCount, ...]
    deliveries: tuple[DeliveryCount, ...]
    sealing_lag_s: float
    unjudged: int


async def figures() -> Figures:
    """Return what is counted now. Raises `UnavailableError` where the database is away."""
    async with OneStatement(Tenant()) as connection:
        incidents = await connection.fetch("select * from fieldward_incidents() order by rule, severity")
    async with OneStatement(Tenant()) as connection:
        deliveries = await connection.fetch("select * from fieldward_deliveries() order by channel, state")
    async with OneStatement(Tenant()) as connection:
        unjudged = await connection.fetchval("select count(*) from fieldward_unjudged()")
    return Figures(
        tuple(IncidentCount(**row) for row in incidents),
        tuple(DeliveryCount(**row) for row in deliveries),
        await sealing_lag_s(),
        unjudged,
    )
