"""Telling somebody that somebody else may be signing in as them: once a day at most, so that nobody is flooded.

It is about the account, whichever organization is signed in to, and so lies under the nil UUID, where nobody reads it.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.base import new_id
from models.inventory import entity_of
from models.outgoing_mail import MailKind, OutgoingMail
from models.transaction import Tenant, fetch, write_transaction
from models.user import User
from resolvers.mailing import SEND_MAIL
from resolvers.services import Services

AT_MOST_EVERY: Final = timedelta(days=1)

# Of two that would tell the same person at once, the second finds what the first wrote.
_LOCK: Final = (
    f"select clock_timestamp() as at from (select from {entity_of(User).name} where id = $1 for no key update) locked"
)


async def tell_unusual(services: Services, user_id: UUID) -> None:
    """Have a letter sent to a person, in a transaction of its own, if none of these was written within a day.

    Raises:
        UnavailableError: the database is away. Nothing was written.
    """
    async with write_transaction(Tenant(organization_id=SYSTEM_ID, user_id=user_id)) as connection:
        locked = await fetch(connection, _LOCK, user_id)
        if not locked:
            return
        at = locked[0]["at"]
        told = OutgoingMail.filter(
            organization_id=SYSTEM_ID,
            user_id=user_id,
            kind=MailKind.SIGN_IN_UNUSUAL,
            created_at__gt=at - AT_MOST_EVERY,
        ).using_db(connection)
        if await told.exists():
            return
        await OutgoingMail.create(
            using_db=connection,
            id=new_id(),
            organization_id=SYSTEM_ID,
            kind=MailKind.SIGN_IN_UNUSUAL,
            user_id=user_id,
            next_attempt_at=at,
            created_at=at,
        )
    services.wake_afterwards(SEND_MAIL)
