"""Ending requests for erasure that nobody can answer any more, so that nobody is alarmed for ever about one.

Nothing is carried out unconfirmed. What nobody confirmed until it had to be done is over, and so is what there is
nothing left of to confirm: the account was erased, by a request in another organization, or all of the organization.
What a person had confirmed before the database was restored does not end by time: they were promised that it is done,
and may confirm it anew late as well.
"""

from typing import Final

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.inventory import entity_of
from models.organization import OrganizationStatus
from models.transaction import fetch
from models.user import UserStatus
from resolvers.change import Change, Intent, commit_decided
from resolvers.trail import job_actor

_UNANSWERABLE: Final = f"""
    select 1 from erasure_request r
      join organization o on o.id = r.organization_id
      left join user_account u on u.id = r.user_id
     where r.organization_id = $1 and r.id = $2 and r.status = '{ErasureStatus.REQUESTED}'
       and ((r.due_at <= clock_timestamp() and (r.kind <> '{ErasureKind.PERSON}' or r.confirmed_at is null))
            or o.status = '{OrganizationStatus.ERASING}'
            or u.status = '{UserStatus.ERASED}')
       for update of r
"""
_LAPSE: Final = f"""
    update erasure_request
       set status = '{ErasureStatus.LAPSED}', name_indexes = null, token_digest = null, version = version + 1
     where organization_id = $1 and id = $2
"""


async def lapse_if_over(request: ErasureRequest) -> bool:
    """End a request that waits to be confirmed and can't be, or not in time; return whether it was one.

    A change of the service's own, with its entry. What the request said in words is forgotten afterwards, as of one
    that was taken back.

    Raises:
        UnavailableError: the database is away.
    """
    if request.status is not ErasureStatus.REQUESTED:
        return False
    organization_id, actor = request.organization_id, job_actor(request.organization_id)

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        if not await fetch(connection, _UNANSWERABLE, organization_id, request.id):
            return None
        return Intent(Action.ERASURE_LAPSE, actor, entity=entity_of(ErasureRequest).name, subjects=[request.id])

    async def end(change: Change) -> bool:
        await fetch(change.connection, _LAPSE, organization_id, request.id)
        return True

    return bool(await commit_decided(actor, decide, end))
