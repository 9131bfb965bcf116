"""A password that was proved a moment ago, and must still be the account's when it lets somebody in.

Checking a password takes tens of milliseconds, with nothing locked; meanwhile it may be set to another
(`resolvers/password_setting.py: set_password`). Who proved the one before gets in no more, and puts nothing back.
"""

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from auth.errors import UnauthenticatedError
from models.transaction import fetch
from models.user import User
from resolvers.change import Change

CHANGED: Final = "The password was changed meanwhile. Sign in anew."


@dataclass(frozen=True, slots=True)
class ProvedPassword:
    """The hash that a password was proved against, and the one to keep from now on, if it is to be another."""

    hash: str = field(repr=False)
    new_hash: str | None = field(default=None, repr=False)


async def hold_proved(change: Change, user_id: UUID, proved: ProvedPassword) -> None:
    """Have the password stay as it was proved until the transaction ends, and keep its new hash.

    Raises:
        UnauthenticatedError: it is another by now.
    """
    rows = await fetch(
        change.connection, "select password_hash from user_account where id = $1 for no key update", user_id
    )
    if not rows or rows[0]["password_hash"] != proved.hash:
        raise UnauthenticatedError(CHANGED)
    if proved.new_hash is not None:
        await User.filter(id=user_id).using_db(change.connection).update(password_hash=proved.new_hash)
