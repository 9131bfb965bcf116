"""What letters about an erasure say, made when they are sent: the link in them lies nowhere before."""

from datetime import UTC
from uuid import UUID

from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.opaque_token import ErasureToken
from models.erasure_request import ErasureKind, ErasureRequest, ErasureStatus
from models.inventory import entity_of
from models.organization import Organization
from models.outgoing_mail import OutgoingMail
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change, Intent, commit_decided
from resolvers.mail_text import erasure_asked_text, erasure_confirm_text, erasure_scheduled_text, erasure_withdrawn_text
from resolvers.mailer import MailRoute
from resolvers.mailing import Draft, address_of
from resolvers.trail import job_actor

_WAITING = (
    "select 1 from erasure_request where organization_id = $1 and id = $2 and status = $3"
    " and due_at > clock_timestamp() for update"
)
_ASKED = (
    "select o.name from erasure_request r join organization o on o.id = r.organization_id"
    " where r.organization_id = $1 and r.id = $2 and r.status = $3"
)


async def confirm_letter(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    """Return the letter by which a person confirms their erasure, with a link made for it.

    None where it is confirmed already, or over, or where nobody is left to get it.

    Raises:
        UnavailableError: the database or the keystore is away.
    """
    if mail.about is None or mail.user_id is None:
        return None
    address = await address_of(mail.user_id)
    if address is None:
        return None
    made = await make_link(mail.organization_id, mail.about)
    if made is None:
        return None
    token, request, organization = made
    link = route.link(f"erasure={token}")
    return Draft(
        address, erasure_confirm_text(organization=organization, link=link, due_at=request.due_at.astimezone(UTC))
    )


async def make_link(organization_id: UUID, request_id: UUID) -> tuple[str, ErasureRequest, str] | None:
    """Give a request a new link, with an entry of its own; None where it does not wait for one.

    Returns the link's token, the request, and the name of the organization that it lies in. For who sends the letter:
    if that fails and is tried again, the next link takes the place of this one.

    Raises:
        UnavailableError: the database or the keystore is away.
    """
    actor = job_actor(organization_id)

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        if not await fetch(connection, _WAITING, organization_id, request_id, ErasureStatus.REQUESTED):
            return None
        return Intent(Action.ERASURE_SEND, actor, entity=entity_of(ErasureRequest).name, subjects=[request_id])

    async def renew(change: Change) -> tuple[str, ErasureRequest, str]:
        found = ErasureRequest.filter(id=request_id, organization_id=organization_id).using_db(change.connection)
        request = await found.get()
        organization = await Organization.get(id=organization_id, using_db=change.connection)
        token = ErasureToken.new(organization_id, request_id)
        request.token_digest = token.digest()
        await request.save(using_db=change.connection, update_fields=["token_digest"])
        return token.encode(), request, organization.name

    return await commit_decided(actor, decide, renew)


async def asked_letter(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    """Return the letter that tells an owner that their organization is to be erased; None where that is over."""
    address = None if mail.user_id is None else await address_of(mail.user_id)
    async with OneStatement(Tenant(organization_id=mail.organization_id)) as connection:
        row = await connection.fetchrow(_ASKED, mail.organization_id, mail.about, ErasureStatus.REQUESTED)
    if address is None or row is None:
        return None
    text = erasure_asked_text(organization=row["name"], request=f"ErasureRequest:{mail.about}", page=route.page)
    return Draft(address, text)


async def scheduled_letter(route: MailRoute, mail: OutgoingMail) -> Draft | None:
    """Return the letter that says from when on they, or their organization, are erased; None where that is over."""
    address = None if mail.user_id is None else await address_of(mail.user_id)
    async with OneStatement(Tenant(organization_id=mail.organization_id)) as connection:
        row = await connection.fetchrow(
            "select r.kind, r.execute_after, o.name from erasure_request r"
            " join organization o on o.id = r.organization_id"
            " where r.organization_id = $1 and r.id = $2 and r.status = $3",
            mail.organization_id,
            mail.about,
            ErasureStatus.CONFIRMED,
        )
    if address is None or row is None:
        return None
    text = erasure_scheduled_text(
        what="you" if row["kind"] == ErasureKind.PERSON else row["name"],
        execute_after=row["execute_after"].astimezone(UTC),
        request=f"ErasureRequest:{mail.about}",
        page=route.page,
    )
    return Draft(address, text)


async def withdrawn_letter(_: MailRoute, mail: OutgoingMail) -> Draft | None:
    """Return the letter that says that somebody is not erased after all."""
    address = None if mail.user_id is None else await address_of(mail.user_id)
    return None if address is None else Draft(address, erasure_withdrawn_text(at=mail.created_at.astimezone(UTC)))
