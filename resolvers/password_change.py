"""Changing one's own password: by the one before, in an open session, which goes on alone."""

from datetime import datetime
from typing import Final

from auth.action import Action
from auth.errors import ForbiddenError, UnauthenticatedError
from models.errors import InvalidInputError
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.fresh_sign_in import require_fresh, require_strong
from resolvers.identity_proof import prove_identity
from resolvers.password_setting import AT_NEW, MEMBER, end_elsewhere, load_person, new_password, set_password
from resolvers.services import Services
from resolvers.session_cookie import renew_cookie
from resolvers.trail import Actor

AT_CURRENT: Final = ("input", "currentPassword")


async def change_password(services: Services, actor: Actor, *, current_password: str, new: str) -> str | None:
    """Set the viewer's password to another. All other sign-ins of theirs end, everywhere.

    Returns what the cookie of this one is to hold from now on; None where it is held by tokens. With the password it is
    fresh again: so where there is a second factor, that was proved in it a short while ago.

    Raises:
        UnauthenticatedError: nobody is signed in; or the current password was wrong too often: the session has ended.
        ForbiddenError: it is not the current password; or who asks is a program, which has none.
        InvalidInputError: the new one may not be set, or is the current one.
        ReauthenticateError: there is a second factor, and this session stands on none, or for too long.
        RateLimitedError: too many passwords are being checked already.
    """
    intent = Intent(action=Action.USER_CHANGE_PASSWORD, actor=actor, entity=MEMBER)
    try:
        viewer = actor.viewer
        if viewer is None:
            raise UnauthenticatedError("Sign in first.")
        if viewer.user_id is None or viewer.membership_id is None:
            raise ForbiddenError("A program has no password.")
        intent = Intent(action=intent.action, actor=actor, entity=MEMBER, subjects=[viewer.membership_id])
        await prove_identity(services, actor, current_password, at=AT_CURRENT)
        if new == current_password:
            raise InvalidInputError("Expected another password than the current one.", field=AT_NEW)
        person = await load_person(viewer.user_id)
        prepared = await new_password(services, person, new)
    except Exception as error:
        await record_attempt(intent, error)
        raise

    async def work(change: Change) -> tuple[datetime, str | None]:
        if person.has_second_factor:
            require_strong(change.viewer, has_second_factor=True)
            require_fresh(change, fresh_for=services.sessions.fresh_for)
        at = await set_password(change, person, prepared, staying=viewer.session_id)
        return at, await renew_cookie(change)

    at, cookie = await commit_change(intent, work)
    await end_elsewhere(actor, intent.action, person, but=actor.organization_id, at=at)
    return cookie
