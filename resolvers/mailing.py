"""Mail to people: what is to be sent to whom is written down in the change that it is about."""

from uuid import UUID

from models.base import new_id
from models.outgoing_mail import MailKind, OutgoingMail
from resolvers.change import Change


async def enqueue(
    change: Change,
    *,
    kind: MailKind,
    user_id: UUID | None = None,
    email: str | None = None,
    subject_id: UUID | None = None,
) -> None:
    """Have a mail sent once the change is committed: to a person's address, or to `email`.

    subject_id: the row that it is about.
    """
    await OutgoingMail.create(
        using_db=change.connection,
        id=new_id(),
        organization_id=change.organization_id,
        created_at=change.at,
        kind=kind,
        user_id=user_id,
        email=email,
        about=subject_id,
        next_attempt_at=change.at,
    )
