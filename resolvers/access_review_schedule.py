"""Opening a review of access in each quarter of the year, and counting those that are late."""

from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.access_review import AccessReview
from models.inventory import entity_of
from models.organization import OrganizationStatus
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.access_review import DUE_AFTER, make_review
from resolvers.change import Change, Intent, commit_decided
from resolvers.trail import Actor

_LOCKED: Final = "select 1 from organization where id = $1 for no key update"
_IS_DUE: Final = """
    select 1 from organization o, date_trunc('quarter', clock_timestamp(), 'UTC') quarter
     where o.id = $1 and o.status = $2 and o.created_at < quarter
       and not exists (select 1 from access_review r
                        where r.organization_id = o.id and (r.closed_at is null or r.created_at >= quarter))
"""


async def open_if_due(actor: Actor) -> bool:
    """Open the quarter's review of the actor's organization, unless there was one or one is open still.

    An organization's first review is in the quarter after that in which it was made. Returns whether one was opened.
    """

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        # Of several processes, one opens it.
        await fetch(connection, _LOCKED, actor.organization_id)
        if not await fetch(connection, _IS_DUE, actor.organization_id, OrganizationStatus.ACTIVE):
            return None
        return Intent(Action.ACCESS_REVIEW_OPEN, actor, entity=entity_of(AccessReview).name)

    async def work(change: Change) -> bool:
        await make_review(change, due_at=change.at + DUE_AFTER, opened_by_id=None)
        return True

    return await commit_decided(actor, decide, work) is True


async def overdue_reviews() -> int:
    """Return how many reviews of all organizations are open after the moment at which they were to be done.

    Raises:
        UnavailableError: the database is away.
    """
    async with OneStatement(Tenant()) as connection:
        counted: int = await connection.fetchval("select fieldward_overdue_reviews()")
    return counted
