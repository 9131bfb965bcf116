"""Requests for erasure in a database that came back: what was confirmed is confirmed anew before it is carried out.

A request may have been taken back after the moment that was restored, or a hold placed, and nobody knows of it any
more; what an erasure destroys, no other backup brings back. What was begun is finished all the same: the log of
destroyed keys says so, which no restore sets back (`models/encryption/destruction.py`).

That it was confirmed stays known (`confirmed_at`): somebody was promised to be erased in time, and whoever watches over
that goes on to do so (`resolvers/erasure_execution.py: overdue`).
"""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from models.erasure_request import ErasureRequest, ErasureStatus
from models.inventory import entity_of
from models.outgoing_mail import MailKind
from models.transaction import fetch
from resolvers.change import Change
from resolvers.mailing import enqueue

_TABLE: Final = entity_of(ErasureRequest).name
_UNCONFIRM: Final = (
    f"update \"{_TABLE}\" set status = '{ErasureStatus.REQUESTED}', confirmed_by_id = null,"
    " execute_after = null, held_at = null, token_digest = null, version = version + 1"
    f" where organization_id = $1 and status = '{ErasureStatus.CONFIRMED}' and id <> all($2::uuid[])"
    " returning id, user_id"
)
_END_LINKS: Final = (
    f'update "{_TABLE}" set token_digest = null where organization_id = $1 and token_digest is not null'
    " and id <> all($2::uuid[])"
)


async def ask_anew(change: Change, begun: Collection[UUID], *, sends_mail: bool) -> int:
    """Have the confirmed requests of an organization wait to be confirmed, and return how many; end links in letters.

    begun: those of which keys were destroyed already, which nobody takes back. sends_mail: a person whose erasure was
    confirmed gets a letter with another link.
    """
    left_out = list(begun)
    rows = await fetch(change.connection, _UNCONFIRM, change.organization_id, left_out)
    await fetch(change.connection, _END_LINKS, change.organization_id, left_out)
    for row in rows:
        if sends_mail and row["user_id"] is not None:
            await enqueue(change, kind=MailKind.ERASURE_CONFIRM, user_id=row["user_id"], subject_id=row["id"])
    return len(rows)


async def gone(change: Change, noted: Iterable[str], begun: Collection[UUID]) -> list[str]:
    """Return which requests of an organization stood last, and are not in the database: they came after the moment that
    was restored, and have to be asked for once more.

    noted: what was noted of them, as it is returned. begun: those of which keys were destroyed already.
    """
    rows = await fetch(
        change.connection, f'select id from "{_TABLE}" where organization_id = $1', change.organization_id
    )
    known = {*begun, *(UUID(str(row["id"])) for row in rows)}
    return [one for one in noted if UUID(one.split()[0]) not in known]
