"""People in a database that came back who had a second factor and have none there: their password does not stand alone.

It was one of two when they gave it last, and may be too short to be the only one. As where an administrator takes
factors off somebody (`resolvers/factor_reset.py`), it ends, and its person asks for a link to set another.
"""

from collections.abc import Collection, Iterable
from typing import Final
from uuid import UUID

from auth.password import NO_PASSWORD
from models.authenticator import Authenticator, AuthenticatorKind
from models.inventory import entity_of
from models.membership import Membership
from models.transaction import fetch, seeing_as
from models.user import User, UserStatus
from resolvers.change import Change

_AUTHENTICATOR: Final = entity_of(Authenticator).name
_MEMBERSHIP: Final = entity_of(Membership).name
_USER: Final = entity_of(User).name
_COUNTS: Final = f"a.confirmed_at is not null and a.kind <> '{AuthenticatorKind.RECOVERY_CODE}'"

_HAVING: Final = f'select distinct a.user_id from "{_AUTHENTICATOR}" a where a.organization_id = $1 and {_COUNTS}'
_BARE: Final = (
    f'select m.user_id from "{_MEMBERSHIP}" m where m.organization_id = $1 and m.user_id = any($2::uuid[])'
    f' and not exists (select from "{_AUTHENTICATOR}" a'
    f" where a.organization_id = $1 and a.user_id = m.user_id and {_COUNTS})"
)
_ANYWHERE: Final = f'select 1 from "{_AUTHENTICATOR}" a where a.user_id = $1 and {_COUNTS} limit 1'
_END: Final = (
    f"update \"{_USER}\" set password_hash = '{NO_PASSWORD}'"
    f" where id = $1 and password_hash <> '{NO_PASSWORD}' and status <> '{UserStatus.ERASED}' returning id"
)
_FORGET_CODES: Final = (
    f'delete from "{_AUTHENTICATOR}" where organization_id = $1 and user_id = $2'
    f" and kind = '{AuthenticatorKind.RECOVERY_CODE}'"
)


async def having_factors(change: Change) -> Iterable[UUID]:
    """Return who has a second factor that was added in an organization."""
    rows = await fetch(change.connection, _HAVING, change.organization_id)
    return [UUID(str(row["user_id"])) for row in rows]


async def end_bare_passwords(change: Change, had: Collection[UUID]) -> int:
    """End the passwords of an organization's people who had a second factor and have none in any; return how many.

    Their recovery codes go as well: what they stood in for is gone.
    """
    ended = 0
    for row in await fetch(change.connection, _BARE, change.organization_id, list(had)):
        user_id = UUID(str(row["user_id"]))
        async with seeing_as(change.connection, user_id):
            has_another = await fetch(change.connection, _ANYWHERE, user_id)
        if not has_another:
            ended += len(await fetch(change.connection, _END, user_id))
            await fetch(change.connection, _FORGET_CODES, change.organization_id, user_id)
    return ended
