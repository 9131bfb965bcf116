"""Sessions that a browser holds by a cookie: who asks by one, and the secret that it holds.

The cookie's value is opaque and names the session; the secret in it is known here by its digest alone. That it was sent
says who asks, and not that they meant to: whether the request may be another site's doing is decided where it came in
(`fieldward/web/cookie.py`).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.action import Action
from auth.errors import CrossSiteError, FieldwardError, UnauthenticatedError
from auth.opaque_token import CookieToken, is_same_digest
from auth.principal import Origin, Viewer
from models.encryption.keyring import active_keyring
from models.session import Session
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_decided, record_attempt
from resolvers.services import Services
from resolvers.session import idle_time
from resolvers.standing import ENDED, State, require_good, viewer_of
from resolvers.trail import Actor

log = structlog.get_logger()

PUT_OFF_EVERY: Final = timedelta(minutes=5)
"""How long a session is used before its idle end is put off again. A tenth of the idle time, where that is shorter."""
_CROSS_SITE: Final = "This request may be another site's doing. Send Fieldward-CSRF: 1, from a page of this server."


async def authenticate_cookie(services: Services, origin: Origin, token: CookieToken, *, is_own_page: bool) -> Viewer:
    """Return who the cookie's session belongs to, with the roles of this moment, and put its idle end off.

    is_own_page: whether the request shows that a page of this server sent it.

    Raises:
        UnauthenticatedError: the secret, the session, or what it hangs on is not good any more; or the request may be
            another site's doing. Leaves an entry in the trail.
    """
    state = await services.session_states.load(token.organization_id, token.session_id)
    if state is None:
        # As of a program's token: what nobody knows leaves no entry in anybody's trail.
        raise UnauthenticatedError(ENDED)
    actor = Actor(token.organization_id, origin, floodgate=services.floodgate)
    try:
        if not holds_secret(state, token):
            raise UnauthenticatedError(ENDED)
        # From here on it is known whose browser this is, if not who made it ask.
        actor = replace(actor, user_id=state["user_id"], membership_id=state["membership_id"])
        require_good(state, services.clock())
        if not is_own_page:
            raise CrossSiteError(_CROSS_SITE)
    except UnauthenticatedError as error:
        await record_attempt(_intent(Action.SESSION_AUTHENTICATE, actor, token.session_id), error)
        raise
    viewer = viewer_of(state)
    await _put_off(services, replace(actor, viewer=viewer), state)
    return viewer


async def is_open(services: Services, token: CookieToken) -> bool:
    """Return whether the cookie is that of a session that stands. Changes nothing. Raises `UnavailableError`."""
    state = await services.session_states.load(token.organization_id, token.session_id)
    if state is None or not holds_secret(state, token):
        return False
    try:
        require_good(state, services.clock())
    except UnauthenticatedError:
        return False
    return True


def holds_secret(state: State, token: CookieToken) -> bool:
    """Return whether the token has the secret of this session."""
    kept = state["cookie_digest"]
    return kept is not None and is_same_digest(kept, token.digest())


async def renew_cookie(change: Change) -> str | None:
    """Give the viewer's session a new secret, and return what its cookie is to hold from now on.

    For whoever proved anew who they are: a cookie that somebody had before is worth nothing to them after. Returns None
    where the session is held by tokens.
    """
    viewer = change.viewer
    if viewer.session_id is None:
        return None
    token = CookieToken.new(change.organization_id, viewer.session_id)
    renewed = await fetch(
        change.connection,
        "update session set cookie_digest = $1"
        " where organization_id = $2 and id = $3 and cookie_digest is not null returning id",
        token.digest(),
        change.organization_id,
        viewer.session_id,
    )
    return token.encode() if renewed else None


async def _put_off(services: Services, actor: Actor, state: State) -> None:
    """Put the session's idle end off, if that was not done minutes ago. Where it can't be written, reading goes on."""
    now = services.clock()
    idle = idle_time(services.sessions, state["device_id"])
    due = now + idle - min(PUT_OFF_EVERY, idle / 10)
    if state["idle_expires_at"] > due:
        return
    intent = _intent(Action.SESSION_REFRESH, actor, state["id"])

    async def decide(connection: BaseDBAsyncClient) -> Intent | None:
        # Of the requests that a page sends at once, the first puts it off, and the others find that it did.
        waiting = await fetch(
            connection,
            "select id from session where organization_id = $1 and id = $2 and idle_expires_at <= $3"
            " and revoked_at is null for update",
            actor.organization_id,
            state["id"],
            due,
        )
        return intent if waiting else None

    async def put_off(change: Change) -> None:
        await (
            Session.filter(id=state["id"], organization_id=actor.organization_id)
            .using_db(change.connection)
            .update(refreshed_at=change.at, idle_expires_at=change.at + idle)
        )

    try:
        await active_keyring().load(actor.key_owners)
        await commit_decided(actor, decide, put_off)
    except UnauthenticatedError:
        raise
    except Exception as failure:
        # The session is good, whatever became of its being put off: a database that can't be written can be read.
        code = failure.code if isinstance(failure, FieldwardError) else type(failure).__name__
        log.warning("session_not_put_off", request_id=str(actor.origin.request_id), failure=code)


def _intent(action: Action, actor: Actor, session_id: UUID) -> Intent:
    return Intent(action=action, actor=actor, entity="session", subjects=[session_id])
