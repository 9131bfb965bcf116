"""What the mail of an invitation says, made when it is sent: no link lies anywhere before, and no copy of it after."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from models.encryption.column import load_keys_for
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.organization import Organization
from models.outgoing_mail import OutgoingMail
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.invitation import renew_token
from resolvers.mail_text import invitation_text
from resolvers.mailer import MailRoute
from resolvers.mailing import Draft
from resolvers.trail import job_actor

_PENDING = "select 1 from invitation where organization_id = $1 and id = $2 and status = $3 for update"


@dataclass(frozen=True, slots=True)
class InvitationLink:
    """To whom an invitation goes, by what token it is accepted, who invites, and from when it is refused."""

    email: str = field(repr=False)
    token: str = field(repr=False)
    organization: str
    expires_at: datetime


async def invitation_letter(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    """Return the letter of an invitation, with a link made for it; None where it is not pending any more.

    Raises:
        UnavailableError: the database or the keystore is away.
    """
    link = None if mail.about is None else await make_link(mail.organization_id, mail.about)
    if link is None:
        return None
    address = route.link(f"invitation={link.token}")
    text = invitation_text(organization=link.organization, link=address, expires_at=link.expires_at)
    return Draft(link.email, text)


async def make_link(organization_id: UUID, invitation_id: UUID) -> InvitationLink | None:
    """Give an invitation a new link, with an entry of its own, and return it; None where it is not pending any more.

    For who sends its mail. If that fails and is tried again, the next link takes the place of this one.

    Raises:
        UnavailableError: the database or the keystore is away.
    """
    actor = job_actor(organization_id)

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
