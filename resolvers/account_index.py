"""Finding an account by its address, and naming it in the trail without one."""

from hashlib import blake2b
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.inventory import entity_of
from models.searching import index_of, load_index_key
from models.user import User

_EMAIL = entity_of(User).columns["email"]


async def email_index_of(email: str) -> bytes:
    """Return the blind index by which an account is found, under the installation's own key."""
    await load_index_key(SYSTEM_ID)
    return index_of(_EMAIL, SYSTEM_ID, email)


def account_mark(email_index: bytes) -> UUID:
    """Return what the trail calls the account of an address in sign-ins that were refused: the same for each of them.

    It is no id of anybody, and who has neither the address nor its blind index can't tell whose it is.
    """
    return UUID(bytes=blake2b(email_index, digest_size=16, person=b"sign-in").digest())
