"""Accepting an invitation: how somebody with a link becomes a member, once they have shown whose account it is.

Whatever is wrong with a link or a password, the answer is the same after the same work, so that nobody who holds a link
learns whether its address has an account. Accepting signs nobody in and changes no password.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.action import Action
from auth.errors import ForbiddenError, UnauthenticatedError
from auth.opaque_token import InvitationToken, is_same_digest
from auth.password import UnacceptablePasswordError, require_acceptable
from auth.principal import SYSTEM_ID, Origin
from models.base import new_id
from models.encryption.column import load_keys_for
from models.encryption.keyring import active_keyring
from models.encryption.owner import person_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.membership import Membership, MembershipStatus, ProjectMembership
from models.organization import Organization
from models.reading import OneStatement
from models.transaction import Tenant
from models.user import User, UserStatus
from resolvers.account_index import email_index_of
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.invitation import require_may_invite
from resolvers.membership import lock_organization
from resolvers.services import Services
from resolvers.standing import is_active, member_state, viewer_of
from resolvers.throttle import Guess, Guessing, guessing
from resolvers.trail import Actor

REFUSED: Final = (
    "The invitation is over, or the password is not that of your account. Ask for another invitation, or give the"
    " password that you sign in with."
)
_AT_PASSWORD: Final = ("input", "password")
_INVITED: Final = (
    "select i.*, o.name as organization_name from invitation i join organization o on o.id = i.organization_id"
    " where i.organization_id = $1 and i.id = $2"
)
_KNOWN: Final = "select id, password_hash, status from user_account where email_index = $1"


@dataclass(frozen=True, slots=True)
class Joined:
    """Where somebody is a member now: the slug by which they sign in."""

    membership_id: UUID
    organization: str


@dataclass(frozen=True, slots=True)
class _Person:
    """Who accepts: somebody whose password was right, or a new account with what its password is kept as."""

    user_id: UUID
    email: str = field(repr=False)
    email_index: bytes = field(repr=False)
    new_hash: str | None = field(repr=False)


async def accept_invitation(services: Services, actor: Actor, *, token: str, password: str) -> Joined:
    """Make who holds an invitation's link a member. Signs nobody in.

    Where the address has an account, the password is that account's; else an account is made with it. Who was removed
    before is a member again on their old row, with what the invitation gives and nothing of before.

    Raises:
        UnauthenticatedError: the link is none, or over, or was used; or the password is not the account's.
        InvalidInputError: the password is not the account's, or there is none, and it could not be taken for a new one.
        ConflictError: who invited can't let anybody in any more, or not as this; or they are a member already.
        RateLimitedError: too many were tried in vain, or too many passwords are being checked already.
    """
    # Whoever is signed in at this browser, it is not them who acts: the link and the password say who.
    intent = Intent(
        action=Action.INVITATION_ACCEPT,
        actor=replace(actor, organization_id=SYSTEM_ID, viewer=None),
        entity=entity_of(Invitation).name,
    )
    try:
        async with guessing(Guess(Guessing.INVITATION_TOKEN, actor.origin)):
            given = _parsed(token)
            found = await _load(given)
            if found is None:
                # Nothing says that the organization named in it exists: what nobody knows leaves no entry in its trail.
                raise UnauthenticatedError(REFUSED)
            invited, organization = found
            inside = replace(intent.actor, organization_id=given.organization_id)
            intent = replace(intent, actor=inside, subjects=[given.invitation_id])
            _require_open(vars(invited), given, services.clock())
            person = await _identify(services, actor.origin, invited, organization, password)
    except Exception as error:
        await record_attempt(intent, error)
        raise
    intent = replace(intent, actor=replace(intent.actor, user_id=person.user_id))
    # The keys are there before the first row that they seal.
    await active_keyring().load([person_owner(person.user_id)])

    async def join(change: Change) -> Joined:
        return await _join(change, given, person)

    return await commit_change(intent, join)


def _parsed(token: str) -> InvitationToken:
    try:
        return InvitationToken.parse(token)
    except UnauthenticatedError:
        raise UnauthenticatedError(REFUSED) from None


async def _load(given: InvitationToken) -> tuple[Invitation, str] | None:
    """Return the invitation, and the name of the organization that it is of."""
    async with OneStatement(Tenant(organization_id=given.organization_id)) as connection:
        row = await connection.fetchrow(_INVITED, given.organization_id, given.invitation_id)
    if row is None:
        return None
    columns = dict(row)
    organization = columns.pop("organization_name")
    return Invitation._init_from_db(**columns), organization


def _require_open(invited: Mapping[str, Any], given: InvitationToken, now: datetime) -> None:
    """Raise unless the token is the newest of an invitation that nobody answered, and not over."""
    if (
        invited["token_digest"] is None
        or not is_same_digest(invited["token_digest"], given.digest())
        or invited["status"] != InvitationStatus.PENDING
        or invited["expires_at"] <= now
    ):
        raise UnauthenticatedError(REFUSED)


async def _identify(
    services: Services, origin: Origin, invited: Invitation, organization: str, password: str
) -> _Person:
    """Return who accepts, by the password, which is counted as one that signs in is: it may be that of an account."""
    await load_keys_for([invited], "email", "name")
    index = await email_index_of(invited.email)
    async with guessing(Guess(Guessing.PASSWORD, origin, index)):
        return await _verified(services, invited, organization, password, index=index)


async def _verified(
    services: Services, invited: Invitation, organization: str, password: str, *, index: bytes
) -> _Person:
    """Return who accepts: by the same work whether there is an account or not, until the password is right."""
    email = invited.email
    async with OneStatement(Tenant(email_index=index)) as connection:
        row = await connection.fetchrow(_KNOWN, index)
    try:
        verdict = await services.hashing.run(
            services.passwords.verify, row["password_hash"] if row is not None else None, password
        )
        if row is not None and verdict.ok and row["status"] == UserStatus.ACTIVE:
            return _Person(row["id"], email, index, None)
        # Judged for both: that a password could not be taken says nothing of whether there is one already.
        await services.hashing.run(require_acceptable, password, about=(email, invited.name, organization))
    except UnacceptablePasswordError as error:
        raise InvalidInputError(error.message, field=_AT_PASSWORD) from error
    if row is not None:
        raise UnauthenticatedError(REFUSED)
    return _Person(new_id(), email, index, await services.hashing.run(services.passwords.hash, password))


async def _join(change: Change, given: InvitationToken, person: _Person) -> Joined:
    # Locked before the invitation is read: somebody may be removing who sent it.
    await lock_organization(change)
    invitation = (
        await Invitation.filter(id=given.invitation_id, organization_id=given.organization_id)
        .using_db(change.connection)
        .select_for_update()
        .get()
    )
    _require_open(vars(invitation), given, change.at)
    await _require_inviter(change, invitation)
    await load_keys_for([invitation], "name")
    if person.new_hash is not None:
        await _make_account(change, person)
    member = await _make_member(change, invitation, person.user_id)
    if invitation.project_id is not None:
        await ProjectMembership.create(
            using_db=change.connection,
            id=new_id(),
            organization_id=change.organization_id,
            project_id=invitation.project_id,
            membership_id=member.id,
            role=invitation.project_role,
            created_at=change.at,
        )
    invitation.status = InvitationStatus.ACCEPTED
    invitation.membership_id = member.id
    invitation.token_digest = None
    invitation.version += 1
    await invitation.save(
        using_db=change.connection, update_fields=["status", "membership_id", "token_digest", "version"]
    )
    organization = await Organization.get(id=change.organization_id, using_db=change.connection)
    return Joined(member.id, organization.slug)


async def _require_inviter(change: Change, invitation: Invitation) -> None:
    """Raise `ConflictError` unless who invited could do it at this moment, too."""
    async with change.connection.acquire_connection() as connection:
        state = await member_state(connection, change.organization_id, invitation.invited_by_id)
    refused = ConflictError("Who invited you can't let you in any more. Ask for another invitation.")
    if state is None or not is_active(state):
        raise refused
    try:
        await require_may_invite(change, viewer_of(state), invitation)
    except ForbiddenError as error:
        raise refused from error


async def _make_account(change: Change, person: _Person) -> None:
    try:
        await User.create(
            using_db=change.connection,
            id=person.user_id,
            email=person.email,
            email_index=person.email_index,
            password_hash=person.new_hash,
            password_is_long=True,
            status=UserStatus.ACTIVE,
            created_at=change.at,
        )
    except IntegrityError as error:
        # Somebody made it since it was looked for.
        raise UnauthenticatedError(REFUSED) from error


async def _make_member(change: Change, invitation: Invitation, user_id: UUID) -> Membership:
    member = (
        await Membership.filter(organization_id=change.organization_id, user_id=user_id)
        .using_db(change.connection)
        .select_for_update()
        .get_or_none()
    )
    if member is None:
        return await Membership.create(
            using_db=change.connection,
            id=new_id(),
            organization_id=change.organization_id,
            user_id=user_id,
            role=invitation.role,
            custom_role_id=invitation.custom_role_id,
            name=invitation.name,
            created_at=change.at,
        )
    if member.status is not MembershipStatus.REMOVED:
        raise ConflictError("You are a member already. Sign in, or ask an administrator.")
    member.status = MembershipStatus.ACTIVE
    member.role = invitation.role
    member.custom_role_id = invitation.custom_role_id
    member.name = invitation.name
    member.version += 1
    await member.save(using_db=change.connection, update_fields=["status", "role", "custom_role_id", "name", "version"])
    return member
