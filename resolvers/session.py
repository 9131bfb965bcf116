"""Sessions: opening, refreshing and ending them, and turning a token into a viewer.

Who somebody is was found out before, by `resolvers/sign_in.py`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.device_proof import for_refresh
from auth.errors import ForbiddenError, ReusedTokenError, UnauthenticatedError
from auth.opaque_token import CookieToken, RefreshToken, is_same_digest
from auth.principal import SYSTEM_ID, Origin, Viewer
from auth.token import AccessClaims, Claims, SigningKey, issue_access_token, key_id_of, verify_access_token
from models.base import new_id
from models.inventory import entity_of
from models.retracing import told
from models.session import Factor, Session
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.checking import require_text
from resolvers.client_name import client_name_of
from resolvers.device_proof import lock_device, lock_proved_device, note_seen, require_proof
from resolvers.proved_password import ProvedPassword, hold_proved
from resolvers.services import Services, SessionPolicy
from resolvers.sign_in_notice import tell_unusual
from resolvers.standing import ENDED, require_good, viewer_of
from resolvers.throttle import known_client_token
from resolvers.trail import Actor

LONGEST_NAME = 200
"""Characters of a session's name, as its column takes them."""
_SESSION: Final = entity_of(Session)
_GIVEN: Final = (
    "select 1 from change where organization_id = $1 and entity = $2 and entity_id = $3"
    " and columns -> 'refresh_digest' ->> 1 = $4 limit 1"
)


class Delivery(StrEnum):
    """How a sign-in is held: by tokens that a program keeps, or by a browser's cookie that no script can read."""

    TOKENS = "TOKENS"
    COOKIE = "COOKIE"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a sign-in or a refresh gives: shown once, kept nowhere. Either tokens or a cookie's value.

    client_token: by what the client is known from now on at this account (`resolvers/throttle.py`).
    """

    session_id: UUID
    access_token: str | None = field(default=None, repr=False)
    access_token_expires_at: datetime | None = None
    refresh_token: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    client_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """Whose session is to be opened: a member, by what they proved who they are, and on which device if on one.

    delivery: how it is held. name: what the person calls it; else what the client says of itself.
    account: by what guesses at the account are counted; None makes the client known nowhere.
    settle: what else is done, and must go well, in the transaction in which it opens.
    device_key: the thumbprint of the key that the device proved to have (`resolvers/device_proof.py: prove_device`).
        Without it nobody is signed in on a device.
    """

    user_id: UUID
    organization_id: UUID
    membership_id: UUID
    factors: Sequence[Factor]
    device_id: UUID | None = None
    delivery: Delivery = Delivery.TOKENS
    name: str | None = field(default=None, repr=False)
    account: bytes | None = field(default=None, repr=False)
    settle: Callable[[Change], Awaitable[None]] | None = None
    device_key: str | None = None


async def open_session(
    services: Services, actor: Actor, opening: Opening, *, proved: ProvedPassword | None = None
) -> SignedIn:
    """Open a session of somebody who proved who they are.

    proved: their password, where that is by what they did.

    Raises:
        UnauthenticatedError: the device is not theirs, or blocked, or did not prove the key that it has; or the
            password was changed meanwhile.
        InvalidInputError: the name can't be one.
        UnavailableError: nothing can be signed at the moment.
        Whatever settling raises.
    """
    signer = None if opening.delivery is Delivery.COOKIE else await services.signing_keys.signer()
    inside = replace(
        actor,
        organization_id=opening.organization_id,
        viewer=None,
        user_id=opening.user_id,
        membership_id=opening.membership_id,
        device_id=opening.device_id,
    )
    secret = (CookieToken if signer is None else RefreshToken).new(opening.organization_id, new_id())
    digest = secret.digest()

    async def open_it(change: Change) -> None:
        if opening.name is not None:
            require_text(opening.name, at=("input", "clientName"), longest=LONGEST_NAME)
        if opening.settle is not None:
            await opening.settle(change)
        if proved is not None:
            await hold_proved(change, opening.user_id, proved)
        device = await _signing_device(change, opening)
        await Session.create(
            using_db=change.connection,
            id=secret.session_id,
            organization_id=opening.organization_id,
            user_id=opening.user_id,
            membership_id=opening.membership_id,
            device_id=device,
            name=opening.name or client_name_of(actor.origin.user_agent),
            factors=sorted(opening.factors),
            authenticated_at=change.at,
            refresh_digest=digest if isinstance(secret, RefreshToken) else None,
            cookie_digest=digest if isinstance(secret, CookieToken) else None,
            idle_expires_at=change.at + idle_time(services.sessions, device),
            expires_at=change.at + life_time(services.sessions, device),
            created_at=change.at,
        )

    intent = Intent(action=Action.SESSION_SIGN_IN, actor=inside, entity="session", subjects=[secret.session_id])
    await commit_change(intent, open_it)
    known = await known_client_token(opening.account, now=services.clock()) if opening.account is not None else None
    if signer is None or isinstance(secret, CookieToken):
        return SignedIn(secret.session_id, cookie=secret.encode(), client_token=known)
    return replace(_signed_in(services, signer, opening.user_id, secret), client_token=known)


def idle_time(policy: SessionPolicy, device_id: UUID | None) -> timedelta:
    """Return how long a session may rest."""
    return policy.session_idle if device_id is None else policy.device_idle


def life_time(policy: SessionPolicy, device_id: UUID | None) -> timedelta:
    """Return how long a session lasts, used or not."""
    return policy.session_lifetime if device_id is None else policy.device_lifetime


async def refresh(
    services: Services,
    actor: Actor,
    *,
    refresh_token: str,
    device_proof: str | None = None,
    app_version: str | None = None,
) -> SignedIn:
    """Exchange a refresh token for new tokens. Each refresh token works once, on a device with its proof alone.

    device_proof: of the session's device, for this refresh token. app_version: what runs on it.

    Raises:
        UnauthenticatedError: it is not one, the session has ended, or it was used before: then the session ends,
            since one of the two who used it stole it. Or the device's proof is missing or not good: then nothing
            changes, and the token still works for who has the key.
        InvalidInputError: the version of the app does not fit.
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
        device = await lock_device(change, state["device_id"]) if state["device_id"] is not None else None
        session = await (
            Session.filter(id=token.session_id, organization_id=token.organization_id)
            .using_db(change.connection)
            .select_for_update()
            .get()
        )
        digest = token.digest()
        if session.refresh_digest is None:
            raise UnauthenticatedError(ENDED)
        if is_same_digest(session.refresh_digest, digest):
            require_good(state, services.clock())
            if session.revoked_at is not None:
                raise UnauthenticatedError(ENDED)
            if session.device_id is not None:
                proved = require_proof(services, device, device_proof, for_refresh(refresh_token))
                await note_seen(change, proved, app_version=app_version)
            session.spent_digest = session.refresh_digest
            session.refresh_digest = successor.digest()
            session.refreshed_at = change.at
            session.idle_expires_at = change.at + idle_time(services.sessions, session.device_id)
            await session.save(
                using_db=change.connection,
                update_fields=["refresh_digest", "spent_digest", "refreshed_at", "idle_expires_at"],
            )
            return True
        if not await _was_spent(change, session, digest):
            raise UnauthenticatedError(ENDED)
        if session.revoked_at is None:
            session.revoked_at = change.at
            await session.save(using_db=change.connection, update_fields=["revoked_at"])
        return False

    if not await commit_change(intent, rotate):
        reused = ReusedTokenError("This refresh token was used before. The session has been ended.")
        await record_attempt(intent, reused)
        await tell_unusual(services, state["user_id"])
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


async def replace_session(actor: Actor) -> None:
    """End the session of who acts, since they have signed in anew.

    Raises:
        UnauthenticatedError: it has ended already.
    """
    if actor.viewer is not None and actor.viewer.session_id is not None:
        subjects = [actor.viewer.session_id]
        intent = Intent(action=Action.SESSION_SIGN_OUT, actor=actor, entity="session", subjects=subjects)
        await commit_change(intent, sign_out)


def claims_of(services: Services, access_token: str) -> Claims:
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


async def learned_claims_of(services: Services, access_token: str) -> Claims:
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


async def _was_spent(change: Change, session: Session, digest: bytes) -> bool:
    """Return whether a refresh token that is not the newest was the session's before, however often it rotated since.

    Who stole one could else refresh twice, and the one whom it was stolen from would be told nothing and end nothing.
    The trail of the session has the imprints of all.
    """
    if session.spent_digest is not None and is_same_digest(session.spent_digest, digest):
        return True
    imprint = told(_SESSION, {"refresh_digest": f"\\x{digest.hex()}"})["refresh_digest"]
    return bool(await fetch(change.connection, _GIVEN, change.organization_id, _SESSION.name, session.id, imprint))


async def _signing_device(change: Change, opening: Opening) -> UUID | None:
    if opening.device_id is None:
        return None
    device = await lock_proved_device(
        change, opening.device_id, membership_id=opening.membership_id, thumbprint=opening.device_key
    )
    await note_seen(change, device)
    return device.id


def _signed_in(services: Services, signer: SigningKey, user_id: UUID, token: RefreshToken) -> SignedIn:
    now = services.clock()
    claims = AccessClaims(user_id=user_id, session_id=token.session_id, organization_id=token.organization_id)
    policy = services.sessions
    return SignedIn(
        session_id=token.session_id,
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
    )
