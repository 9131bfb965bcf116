"""What is counted of incidents, alarms, work on the trail and reviews of access, of all organizations: asked of the
database each time.

So every process tells the same, and nothing begins anew when one ends.
"""

from dataclasses import dataclass

from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.access_review_schedule import overdue_reviews
from resolvers.incident_judging import judging_lag_s
from resolvers.publication import publication_lag
from resolvers.trail_sealing import sealing_lag


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
    """All of it.

    sealing_lag_s: how long the oldest entry has waited to be sealed. judging_lag_s: the oldest head, to be judged.
    publication_lag_s: the oldest head, to be laid down outside; None where there is no such place.
    overdue_reviews: reviews of access that are open after the moment at which they were to be done.
    """

    incidents: tuple[IncidentCount, ...]
    deliveries: tuple[DeliveryCount, ...]
    sealing_lag_s: float
    judging_lag_s: float
    publication_lag_s: float | None
    overdue_reviews: int


async def figures(*, is_published: bool) -> Figures:
    """Return what is counted now.

    is_published: whether there is a place outside at which heads are laid down.

    Raises:
        UnavailableError: the database is away.
    """
    async with OneStatement(Tenant()) as connection:
        incidents = await connection.fetch("select * from fieldward_incidents() order by rule, severity")
    async with OneStatement(Tenant()) as connection:
        deliveries = await connection.fetch("select * from fieldward_deliveries() order by channel, state")
    return Figures(
        tuple(IncidentCount(**row) for row in incidents),
        tuple(DeliveryCount(**row) for row in deliveries),
        await sealing_lag(),
        await judging_lag_s(),
        await publication_lag() if is_published else None,
        await overdue_reviews(),
    )
