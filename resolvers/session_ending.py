"""Naming one's sign-ins, and ending them: one's own, or a member's whose role one may assign."""

from uuid import UUID

from auth.errors import ForbiddenError
from auth.escalation import require_no_more, require_owner
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import Membership
from models.session import Session
from models.transaction import fetch
from resolvers.change import Change
from resolvers.checking import require_text
from resolvers.locking import lock_visible, scope_of_model
from resolvers.membership import lock_standing, permissions_of_member, standing_role
from resolvers.session import LONGEST_NAME
from resolvers.writing import require_writable

AT_USER = ("input", "userId")


async def rename_session(change: Change, *, session_id: UUID, name: str) -> UUID:
    """Give one of the viewer's sign-ins another name and return its id.

    Raises:
        NotFoundError, ForbiddenError: it is not theirs.
        InvalidInputError: it can't be a name.
    """
    session = await lock_visible(change, Session, session_id)
    if session.membership_id != change.viewer.membership_id:
        raise ForbiddenError("Only whose sign-in it is gives it a name.", field=("input", "id"))
    require_text(name, at=("input", "name"), longest=LONGEST_NAME)
    require_writable(change, entity_of(Session), scope_of_model(change, session), {"name": name}, at=("input",))
    session.name = name
    await session.save(using_db=change.connection, update_fields=["name"])
    return session.id


async def revoke_session(change: Change, *, session_id: UUID) -> UUID:
    """End a sign-in, the viewer's own or a member's: it is refused from the next request on. Returns its id.

    Raises:
        NotFoundError, ForbiddenError: it is another's, and the viewer is without `membership:assign`, or that other can
            do more.
        ConflictError: it was ended already.
    """
    session = await lock_visible(change, Session, session_id)
    if session.membership_id != change.viewer.membership_id:
        await _require_may_end(change, session.membership_id)
    if session.revoked_at is not None:
        raise ConflictError("It was ended already.", field=("input", "id"))
    session.revoked_at = change.at
    await session.save(using_db=change.connection, update_fields=["revoked_at"])
    return session.id


async def revoke_other_sessions(change: Change) -> int:
    """End all of the viewer's sign-ins in this organization but this one, and return how many there were.

    Raises:
        ForbiddenError: it is a program that asks, which has none.
    """
    viewer = change.viewer
    if viewer.membership_id is None:
        raise ForbiddenError("A program has no sign-ins.")
    return await _end_all(change, viewer.membership_id, but=viewer.session_id)


async def revoke_user_sessions(change: Change, *, membership_id: UUID) -> int:
    """End all sign-ins of a member in this organization, and return how many there were.

    Raises:
        NotFoundError, ForbiddenError: without `membership:assign`; the member can do more; it is the viewer.
    """
    await _require_may_end(change, membership_id)
    return await _end_all(change, membership_id)


async def _require_may_end(change: Change, membership_id: UUID) -> None:
    """Raise unless the viewer may assign the member's role, and so shut them out for good as well."""
    change = await lock_standing(change)
    member = await lock_visible(change, Membership, membership_id, at=AT_USER)
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    if member.id == change.viewer.membership_id:
        raise ForbiddenError("These are your own sign-ins. End them one by one, or all the others.", field=AT_USER)
    require_owner(change.viewer, standing_role(change, member))
    require_no_more(change.viewer, ORGANIZATION, await permissions_of_member(change, member), field=AT_USER)


async def _end_all(change: Change, membership_id: UUID, *, but: UUID | None = None) -> int:
    ended = await fetch(
        change.connection,
        "update session set revoked_at = $1 where organization_id = $2 and membership_id = $3"
        " and revoked_at is null and least(expires_at, idle_expires_at) > $1 and id is distinct from $4 returning id",
        change.at,
        change.organization_id,
        membership_id,
        but,
    )
    return len(ended)
