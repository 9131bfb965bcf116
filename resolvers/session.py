"""Signing in and out, refreshing, and turning a token into a viewer.

An unknown address and a wrong password get the same answer after the same work: one look-up, one Argon2id, one
entry of the refused attempt.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.errors import BlockedDeviceError, ForbiddenError, ReusedTokenError, UnauthenticatedError
from auth.password import UnacceptablePasswordError
from auth.principal import SYSTEM_ID, Origin, Viewer
from auth.token import (
    AccessClaims,
    RefreshToken,
    SigningKey,
    is_same_digest,
    issue_access_token,
    key_id_of,
    verify_access_token,
)
from models.base import new_id
from models.device import Device, DeviceStatus
from models.errors import InvalidInputError
from models.inventory import entity_of
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.reading import OneStatement
from models.searching import index_of, load_index_key
from models.session import Session
from models.transaction import Tenant
from models.user import User, UserStatus
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.services import Services
from resolvers.standing import BLOCKED, ENDED, require_good, viewer_of
from resolvers.trail import Actor

_EMAIL = entity_of(User).columns["email"]
_ACCOUNT: Final = entity_of(User).name
_REFUSED = "The address or the password is wrong."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a sign-in or a refresh gives: shown once, kept nowhere."""

    access_token: str = field(repr=False)
    access_token_expires_at: datetime
    refresh_token: str = field(repr=False)
    session_id: UUID


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
) -> SignedIn:
    """Check a password and open a session in an organization, on a device where one is named.

    organization: the slug; needed only by people who belong to several.

    Raises:
        UnauthenticatedError: wrong in any way that must not be told apart; or suspended, or the device is blocked.
        InvalidInputError: the organization must be named. Said only to who gave the right password.
        RateLimitedError: too many sign-ins wait already (`resolvers/services.py`).
    """
    # Whoever's token came along, it is not them who acts: the password says who.
    intent = Intent(action=Action.SESSION_SIGN_IN, actor=replace(actor, organization_id=SYSTEM_ID, viewer=None))
    try:
        index = await email_index_of(email)
        # Which account it was for, whether there is one or not: the same work, and no address.
        intent = replace(intent, entity=_ACCOUNT, subjects=[account_mark(index)])
        user_id, new_hash = await _verify_password(services, index, password)
        intent = replace(intent, actor=replace(intent.actor, user_id=user_id))
        choice = await _choose(user_id, organization)
        signer = await services.signing_keys.signer()
    except Exception as error:
        await record_attempt(intent, error)
        raise
    inside = replace(
        intent.actor,
        organization_id=choice.organization_id,
        membership_id=choice.membership_id,
        device_id=device_id,
    )
    secret = RefreshToken.new(choice.organization_id, new_id())

    async def open_session(change: Change) -> None:
        device = await _signing_device(change, choice, device_id)
        await Session.create(
            using_db=change.connection,
            id=secret.session_id,
            organization_id=choice.organization_id,
            user_id=user_id,
            membership_id=choice.membership_id,
            device_id=device,
            refresh_digest=secret.digest(),
            expires_at=change.at + services.sessions.session_lifetime,
            created_at=change.at,
        )
        if new_hash is not None:
            await User.filter(id=user_id).using_db(change.connection).update(password_hash=new_hash)

    await commit_change(replace(intent, actor=inside, entity="session", subjects=[secret.session_id]), open_session)
    return _signed_in(services, signer, user_id, secret)


async def refresh(services: Services, actor: Actor, *, refresh_token: str) -> SignedIn:
    """Exchange a refresh token for new tokens. Each refresh token works once.

    Raises:
        UnauthenticatedError: it is not one, the session has ended, or it was used before: then the session ends,
            since one of the two who used it stole it.
        UnavailableError: nothing can be signed at the moment. The token is not spent.
    """
    token = RefreshToken.parse(refresh_token)
    successor = RefreshToken.new(token.organization_id, token.session_id)
    intent = Intent(
        action=Action.SESSION_REFRESH,
        actor=replace(actor, organization_id=token.organization_id, viewer=None),
        entity="session",
        subjects=[token.session_id],
    )
    state = await services.session_states.load(token.organization_id, token.session_id)
    if state is None:
        error = UnauthenticatedError(ENDED)
        await record_attempt(replace(intent, actor=replace(intent.actor, organization_id=SYSTEM_ID)), error)
        raise error
    known = replace(
        intent.actor,
        user_id=state["user_id"],
        membership_id=state["membership_id"],
        device_id=state["device_id"],
    )
    intent = replace(intent, actor=known)
    # Before the token is spent: its successor would be lost with what can't be signed.
    signer = await services.signing_keys.signer()

    async def rotate(change: Change) -> bool:
        session = await (
            Session.filter(id=token.session_id, organization_id=token.organization_id)
            .using_db(change.connection)
            .select_for_update()
            .get()
        )
        digest = token.digest()
        if is_same_digest(session.refresh_digest, digest):
            require_good(state, services.clock())
            if session.revoked_at is not None:
                raise UnauthenticatedError(ENDED)
            session.spent_digest = session.refresh_digest
            session.refresh_digest = successor.digest()
            session.refreshed_at = change.at
            await session.save(
                using_db=change.connection, update_fields=["refresh_digest", "spent_digest", "refreshed_at"]
            )
            return True
        if session.spent_digest is None or not is_same_digest(session.spent_digest, digest):
            raise UnauthenticatedError(ENDED)
        if session.revoked_at is None:
            session.revoked_at = change.at
            await session.save(using_db=change.connection, update_fields=["revoked_at"])
        return False

    if not await commit_change(intent, rotate):
        reused = ReusedTokenError("This refresh token was used before. The session has been ended.")
        await record_attempt(intent, reused)
        raise reused
    return _signed_in(services, signer, state["user_id"], successor)


async def sign_out(change: Change) -> None:
    """End the viewer's session: its tokens are refused from the next request on.

    Raises:
        ForbiddenError: it is a program that asks, which has no session.
    """
    if change.viewer.session_id is None:
        raise ForbiddenError("A program has no session to end. Somebody who may revokes its service account.")
    await (
        Session.filter(id=change.viewer.session_id, organization_id=change.organization_id)
        .using_db(change.connection)
        .update(revoked_at=change.at)
    )


def claims_of(services: Services, access_token: str) -> AccessClaims:
    """Return what the token says, once its signature, times and audience are right. No I/O.

    Raises:
        UnauthenticatedError: the token is not good.
    """
    now = services.clock()
    keys = services.signing_keys.verifying
    known = services.verified.get(access_token, now=now)
    if known is not None and known.key_id in keys:
        return known
    claims = verify_access_token(
        access_token,
        keys,
        now=now,
        issuer=services.sessions.issuer,
        audience=services.sessions.audience,
    )
    services.verified.keep(access_token, claims, now=now)
    return claims


async def learned_claims_of(services: Services, access_token: str) -> AccessClaims:
    """Return the same as `claims_of`; where the token's key is not known, look first whether it is a new one.

    Raises:
        UnauthenticatedError: the token is not good.
        UnavailableError: it can't be told, since the keys are not to be had.
    """
    try:
        return claims_of(services, access_token)
    except UnauthenticatedError:
        keys = services.signing_keys
        key_id = key_id_of(access_token)
        if key_id is None or key_id in keys.verifying or not await keys.learn(key_id):
            raise
    return claims_of(services, access_token)


async def authenticate(services: Services, origin: Origin, *, claims: AccessClaims) -> Viewer:
    """Return who the token's session belongs to, with the roles of this moment.

    Raises:
        UnauthenticatedError: the session, user, membership, organization or device is not good any more. Leaves an
            entry in the trail.
    """
    state = await services.session_states.load(claims.organization_id, claims.session_id)
    try:
        if state is None or state["user_id"] != claims.user_id or state["revoked_at"] is not None:
            raise UnauthenticatedError(ENDED)
        require_good(state, services.clock())
    except UnauthenticatedError as error:
        refused = Actor(
            claims.organization_id,
            origin,
            user_id=claims.user_id,
            membership_id=state["membership_id"] if state else None,
            device_id=state["device_id"] if state else None,
            floodgate=services.floodgate,
        )
        await record_attempt(
            Intent(
                action=Action.SESSION_AUTHENTICATE,
                actor=refused,
                entity="session",
                subjects=[claims.session_id],
            ),
            error,
        )
        raise
    return viewer_of(state)


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


async def _signing_device(change: Change, choice: _Choice, device_id: UUID | None) -> UUID | None:
    if device_id is None:
        return None
    device = await Device.get_or_none(
        id=device_id,
        organization_id=choice.organization_id,
        membership_id=choice.membership_id,
        using_db=change.connection,
    )
    if device is None:
        raise UnauthenticatedError("This device is not registered for you.", field=("input", "deviceId"))
    if device.status is DeviceStatus.BLOCKED:
        raise BlockedDeviceError(BLOCKED)
    device.last_seen_at = change.at
    await device.save(using_db=change.connection, update_fields=["last_seen_at"])
    return device.id


def _signed_in(services: Services, signer: SigningKey, user_id: UUID, token: RefreshToken) -> SignedIn:
    now = services.clock()
    claims = AccessClaims(user_id=user_id, session_id=token.session_id, organization_id=token.organization_id)
    policy = services.sessions
    return SignedIn(
        access_token=issue_access_token(
            signer,
            claims,
            now=now,
            issuer=policy.issuer,
            audience=policy.audience,
            lifetime_s=int(policy.access_lifetime.total_seconds()),
        ),
        access_token_expires_at=now + policy.access_lifetime,
        refresh_token=token.encode(),
        session_id=token.session_id,
    )
