"""Warnings before a program's token expires: a letter to who made the account, fourteen days before and three.

Which were written is known from the letters that there are, so that no warning is written twice, and none is lost when
a process ends. A token that was made after a warning's moment is not warned of then.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from models.base import new_id
from models.outgoing_mail import MailKind, OutgoingMail
from models.transaction import Tenant, fetch, write_transaction

WARN_OF_EXPIRY: Final = "warn_of_expiry"
"""The name of the job that writes warnings."""
EVERY_S: Final = 3600.0
"""Seconds between two looks for tokens that expire."""
WARNED_BEFORE: Final = (timedelta(days=14), timedelta(days=3))

# A membership that is not active any more has nobody behind it who could do something: the token is refused as well.
_DUE: Final = """
    select t.id, m.user_id, clock_timestamp() as at
    from service_account_token t
    join service_account a on a.organization_id = t.organization_id and a.id = t.service_account_id
    join membership m on m.organization_id = a.organization_id and m.id = a.created_by_id and m.status = 'ACTIVE'
    cross join lateral (
        select min(w.before) as before from unnest($2::interval[]) as w(before)
        where t.expires_at - clock_timestamp() <= w.before
    ) stage
    where t.organization_id = $1 and t.revoked_at is null and a.revoked_at is null
      and t.expires_at > clock_timestamp() and stage.before is not null
      and t.created_at < t.expires_at - stage.before
      and not exists (
          select from outgoing_mail o
          where o.organization_id = t.organization_id and o.kind = $3 and o.about = t.id
            and o.created_at >= t.expires_at - stage.before
      )
    order by t.id
    for update of t skip locked
"""


async def warn_of_expiry(organization_id: UUID) -> int:
    """Have warnings sent of the organization's tokens that are due, and return how many.

    Raises:
        UnavailableError: the database is away.
    """
    # Two processes at once: the second waits for nothing, and finds the first one's letters the next time.
    async with write_transaction(Tenant(organization_id=organization_id)) as connection:
        due = await fetch(connection, _DUE, organization_id, list(WARNED_BEFORE), MailKind.TOKEN_EXPIRES)
        for row in due:
            await OutgoingMail.create(
                using_db=connection,
                id=new_id(),
                organization_id=organization_id,
                kind=MailKind.TOKEN_EXPIRES,
                user_id=row["user_id"],
                about=row["id"],
                next_attempt_at=row["at"],
                created_at=row["at"],
            )
        return len(due)
