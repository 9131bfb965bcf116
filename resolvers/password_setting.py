"""Setting a person's password: what is demanded of it, and what ends with the one before.

With a new password every sign-in by the one before is over, in all organizations of the person and at once
(`resolvers/standing.py: require_good`), the half-done ones and links to set another as well. The person is told by
mail, and it stands in the trail of each of their organizations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from auth.action import Action
from auth.errors import UnauthenticatedError
from auth.password import UnacceptablePasswordError, is_long, require_acceptable
from models.authenticator import AuthenticatorKind
from models.challenge import ChallengeKind
from models.encryption.column import load_keys_for
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus
from models.organization import OrganizationStatus
from models.outgoing_mail import MailKind
from models.reading import Snapshot
from models.session import Session
from models.transaction import Tenant, fetch
from models.user import User, UserStatus
from resolvers.challenge import OVER, withdraw
from resolvers.change import Change, Intent, commit_change
from resolvers.mailing import enqueue
from resolvers.services import Services
from resolvers.standing import ENDED
from resolvers.trail import Actor

log = structlog.get_logger()

AT_NEW: Final = ("input", "newPassword")
MEMBER: Final = entity_of(Membership).name

_ACCOUNT: Final = f"""
    select u.*, exists (select from authenticator a where a.user_id = u.id and a.confirmed_at is not null
                         and a.kind in ('{AuthenticatorKind.TOTP}', '{AuthenticatorKind.PASSKEY}')) as has_second_factor
    from user_account u where u.id = $1 and u.status = '{UserStatus.ACTIVE}'
"""
_MEMBERSHIPS: Final = f"""
    select m.*, o.slug as organization_slug, o.name as organization_name
    from membership m join organization o on o.id = m.organization_id
    where m.user_id = $1 and m.status in ('{MembershipStatus.ACTIVE}', '{MembershipStatus.SUSPENDED}')
      and o.status = '{OrganizationStatus.ACTIVE}'
    order by m.status, o.slug
"""
# What is taken by the lock was committed before it, and what waits for it sees what is committed with it.
_LOCK: Final = f"""
    select clock_timestamp() as at from
      (select from user_account where id = $1 and status = '{UserStatus.ACTIVE}' for no key update) locked
"""
_REVOKE: Final = f"""
    update "{entity_of(Session).name}" set revoked_at = $3
    where organization_id = $1 and user_id = $2 and revoked_at is null and id is distinct from $4
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An organization that somebody belongs to, and their membership there."""

    organization_id: UUID
    membership_id: UUID


@dataclass(frozen=True, slots=True)
class Person:
    """Who gets another password. about: what somebody who guesses may know of them.

    places: their organizations, those first in which they may do something.
    """

    user_id: UUID
    about: Sequence[str] = field(repr=False)
    has_second_factor: bool
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A password that may be set, hashed. is_long: it would do alone, without a second factor."""

    hash: str = field(repr=False)
    is_long: bool


async def load_person(user_id: UUID) -> Person:
    """Return a person with what counts for a password of theirs.

    Raises:
        UnauthenticatedError: there is no such account that is active.
    """
    async with Snapshot(Tenant(user_id=user_id)) as connection:
        account = await connection.fetchrow(_ACCOUNT, user_id)
        memberships = await connection.fetch(_MEMBERSHIPS, user_id) if account is not None else []
    if account is None:
        raise UnauthenticatedError(OVER)
    values = dict(account)
    has_second_factor = values.pop("has_second_factor")
    user = User._init_from_db(**values)
    about: list[str] = []
    members: list[Membership] = []
    for row in memberships:
        said = dict(row)
        about += [said.pop("organization_slug"), said.pop("organization_name")]
        members.append(Membership._init_from_db(**said))
    await load_keys_for([user], "email")
    await load_keys_for(members, "name")
    about += [user.email, *(member.name for member in members)]
    places = [Place(member.organization_id, member.id) for member in members]
    return Person(user_id, about, has_second_factor, places)


async def new_password(services: Services, person: Person, password: str) -> NewPassword:
    """Return a password as it is to be kept: judged and hashed, with nothing locked.

    Raises:
        InvalidInputError: it is not one that may be set. Says why.
        RateLimitedError: too many passwords are being hashed already.
    """

    def judge_and_hash() -> NewPassword:
        require_acceptable(password, has_second_factor=person.has_second_factor, about=person.about)
        return NewPassword(services.passwords.hash(password), is_long(password))

    try:
        return await services.hashing.run(judge_and_hash)
    except UnacceptablePasswordError as error:
        raise InvalidInputError(error.message, field=AT_NEW) from error


async def set_password(change: Change, person: Person, new: NewPassword, *, staying: UUID | None = None) -> datetime:
    """Set a person's password, and end what stands on the one before. Returns the moment from which on it counts.

    The change is of one of their organizations; `end_elsewhere` does what is left in the others.

    staying: the session in which it is changed, which goes on.

    Raises:
        UnauthenticatedError: the account is not active any more, or the session has ended.
    """
    found = await fetch(change.connection, _LOCK, person.user_id)
    if not found:
        raise UnauthenticatedError(OVER)
    at: datetime = found[0]["at"]
    await (
        User.filter(id=person.user_id)
        .using_db(change.connection)
        .update(password_hash=new.hash, password_changed_at=at, password_is_long=new.is_long, sessions_valid_from=at)
    )
    for kind in (ChallengeKind.SIGN_IN, ChallengeKind.PASSWORD_RESET):
        await withdraw(change.connection, kind, user_id=person.user_id)
    if staying is not None:
        # Of two who change it at once, the first has ended the session of the other.
        kept = await (
            Session.filter(id=staying, organization_id=change.organization_id, revoked_at=None)
            .using_db(change.connection)
            .update(authenticated_at=at)
        )
        if not kept:
            raise UnauthenticatedError(ENDED)
    await _revoke(change, person, at, staying)
    await enqueue(change, kind=MailKind.PASSWORD_CHANGED, user_id=person.user_id)
    return at


async def end_elsewhere(actor: Actor, action: Action, person: Person, *, but: UUID, at: datetime) -> None:
    """Note in the person's other organizations that their sign-ins have ended, each in its own trail.

    They ended when the password was set, whatever becomes of this.

    but: the organization in which it was. at: when.
    """
    for place in person.places:
        if place.organization_id == but:
            continue
        inside = Actor(
            place.organization_id,
            actor.origin,
            user_id=person.user_id,
            membership_id=place.membership_id,
            operation=actor.operation,
            floodgate=actor.floodgate,
        )
        intent = Intent(action=action, actor=inside, entity=MEMBER, subjects=[place.membership_id])
        try:
            await commit_change(intent, lambda change: _revoke(change, person, at, None))
        except Exception as error:
            log.error("sessions_not_noted_as_ended", organization_id=str(place.organization_id), exc_info=error)


async def _revoke(change: Change, person: Person, at: datetime, staying: UUID | None) -> None:
    await fetch(change.connection, _REVOKE, change.organization_id, person.user_id, at, staying)
