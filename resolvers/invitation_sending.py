"""What the mail of an invitation says, made when it is sent: no link lies anywhere before, and no copy of it after."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.principal import Channel, Origin
from models.base import new_id
from models.encryption.column import load_keys_for
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.organization import Organization
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.invitation import renew_token
from resolvers.trail import Actor

_PENDING = "select 1 from invitation where organization_id = $1 and id = $2 and status = $3 for update"


@dataclass(frozen=True, slots=True)
class InvitationLink:
    """To whom an invitation goes, by what token it is accepted, who invites, and from when it is refused."""

    email: str = field(repr=False)
    token: str = field(repr=False)
    organization: str
    expires_at: datetime


async def make_link(organization_id: UUID, invitation_id: UUID) -> InvitationLink | None:
    """Give an invitation a new link, with an entry of its own, and return it; None where it is not pending any more.

    For who sends its mail. If that fails and is tried again, the next link takes the place of this one.

    Raises:
        UnavailableError: the database or the keystore is away.
    """
    origin = Origin(channel=Channel.JOB, request_id=new_id(), client_name="fieldward")
    actor = Actor(organization_id, origin)

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        if not await fetch(connection, _PENDING, organization_id, invitation_id, InvitationStatus.PENDING):
            return None
        return Intent(Action.INVITATION_SEND, actor, entity=entity_of(Invitation).name, subjects=[invitation_id])

    async def renew(change: Change) -> InvitationLink:
        found = Invitation.filter(id=invitation_id, organization_id=organization_id).using_db(change.connection)
        invitation = await found.get()
        await load_keys_for([invitation], "email")
        organization = await Organization.get(id=organization_id, using_db=change.connection)
        token = await renew_token(change, invitation)
        return InvitationLink(invitation.email, token, organization.name, invitation.expires_at)

    return await commit_decided(actor, decide, renew)
