"""Signing in: finding out who somebody is, and in which organization they want to be.

An unknown address and a wrong password get the same answer after the same work: one look-up, one Argon2id, one
entry of the refused attempt. Who guesses waits longer and longer (`resolvers/throttle.py`), and no work is done for
who has to wait.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.errors import UnauthenticatedError
from auth.password import UnacceptablePasswordError
from auth.principal import SYSTEM_ID
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.reading import OneStatement
from models.searching import index_of, load_index_key
from models.session import Factor
from models.transaction import Tenant
from models.user import User, UserStatus
from resolvers.change import Intent, record_attempt
from resolvers.services import Services
from resolvers.session import Delivery, Opening, SignedIn, open_session
from resolvers.throttle import Guess, Guessing, guessing
from resolvers.trail import Actor

_EMAIL = entity_of(User).columns["email"]
_ACCOUNT: Final = entity_of(User).name
_REFUSED = "The address or the password is wrong."


@dataclass(frozen=True, slots=True)
class _Choice:
    organization_id: UUID
    membership_id: UUID
    slug: str


async def sign_in(
    services: Services,
    actor: Actor,
    *,
    email: str,
    password: str,
    organization: str | None = None,
    device_id: UUID | None = None,
    delivery: Delivery = Delivery.TOKENS,
    client_name: str | None = None,
) -> SignedIn:
    """Check a password and open a session in an organization, on a device where one is named.

    organization: the slug; needed only by people who belong to several.
    delivery: how the session is held. client_name: what the person calls it.

    Raises:
        UnauthenticatedError: wrong in any way that must not be told apart; or suspended, or the device is blocked.
        InvalidInputError: the organization must be named. Said only to who gave the right password.
        RateLimitedError: too many were tried in vain (`resolvers/throttle.py`), or too many wait already
            (`resolvers/services.py`).
    """
    # Whoever's token came along, it is not them who acts: the password says who.
    intent = Intent(action=Action.SESSION_SIGN_IN, actor=replace(actor, organization_id=SYSTEM_ID, viewer=None))
    try:
        index = await email_index_of(email)
        # Which account it was for, whether there is one or not: the same work, and no address.
        intent = replace(intent, entity=_ACCOUNT, subjects=[account_mark(index)])
        async with guessing(Guess(Guessing.PASSWORD, actor.origin, index)):
            user_id, new_hash = await _verify_password(services, index, password)
        intent = replace(intent, actor=replace(intent.actor, user_id=user_id))
        choice = await _choose(user_id, organization)
    except Exception as error:
        await record_attempt(intent, error)
        raise
    opening = Opening(
        user_id,
        choice.organization_id,
        choice.membership_id,
        (Factor.PASSWORD,),
        device_id,
        delivery=delivery,
        name=client_name,
        account=index,
    )
    return await open_session(services, intent.actor, opening, new_hash=new_hash)


async def email_index_of(email: str) -> bytes:
    """Return the blind index by which an account is found, under the installation's own key."""
    await load_index_key(SYSTEM_ID)
    return index_of(_EMAIL, SYSTEM_ID, email)


def account_mark(email_index: bytes) -> UUID:
    """Return what the trail calls the account of an address in sign-ins that were refused: the same for each of them.

    It is no id of anybody, and who has neither the address nor its blind index can't tell whose it is.
    """
    return UUID(bytes=blake2b(email_index, digest_size=16, person=b"sign-in").digest())


async def _verify_password(services: Services, index: bytes, password: str) -> tuple[UUID, str | None]:
    """Return whose address and password these are, and the hash to keep from now on if it is to be another."""
    async with OneStatement(Tenant(email_index=index)) as connection:
        row = await connection.fetchrow(
            "select id, password_hash, status from user_account where email_index = $1", index
        )
    encoded = row["password_hash"] if row else None
    try:
        verdict = await services.hashing.run(services.passwords.verify, encoded, password)
    except UnacceptablePasswordError as error:
        raise InvalidInputError(error.message, field=("input", "password")) from error
    if row is None or not verdict.ok or row["status"] != UserStatus.ACTIVE:
        raise UnauthenticatedError(_REFUSED)
    new_hash = await services.hashing.run(services.passwords.hash, password) if verdict.needs_rehash else None
    return row["id"], new_hash


async def _choose(user_id: UUID, slug: str | None) -> _Choice:
    async with OneStatement(Tenant(user_id=user_id)) as connection:
        rows = await connection.fetch(
            "select m.organization_id, m.id, o.slug from membership m"
            " join organization o on o.id = m.organization_id"
            " where m.user_id = $1 and m.status = $2 and o.status = $3 order by o.slug",
            user_id,
            MembershipStatus.ACTIVE,
            OrganizationStatus.ACTIVE,
        )
    choices = [_Choice(row["organization_id"], row["id"], row["slug"]) for row in rows]
    if slug is not None:
        choices = [choice for choice in choices if choice.slug == slug.lower()]
    if not choices:
        raise UnauthenticatedError(_REFUSED)
    if len(choices) > 1:
        slugs = ", ".join(choice.slug for choice in choices)
        raise InvalidInputError(f"Expected one of your organizations: {slugs}.", field=("input", "organization"))
    return choices[0]
