"""Whether a sign-in still stands, and what may be done by it: asked at the start of each request and of each change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.errors import UnauthenticatedError
from auth.principal import Viewer
from auth.role import OrganizationRole, ProjectRole
from models.device import DeviceStatus
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.transaction import fetch
from models.user import UserStatus

ENDED: Final = "The session has ended. Sign in again."

_STATE: Final = (
    "select s.organization_id, s.id as session_id, s.user_id, s.membership_id, s.device_id, s.expires_at, s.revoked_at,"
    " m.role, m.status as membership_status, u.status as user_status, o.status as organization_status,"
    " d.status as device_status, p.projects, p.project_roles"
    " from session s"
    " join membership m on m.organization_id = s.organization_id and m.id = s.membership_id"
    " join organization o on o.id = s.organization_id"
    " join user_account u on u.id = s.user_id"
    " left join device d on d.organization_id = s.organization_id and d.id = s.device_id"
    " cross join lateral (select coalesce(array_agg(g.project_id), '{}') as projects,"
    "   coalesce(array_agg(g.role), '{}') as project_roles from project_membership g"
    "   where g.organization_id = s.organization_id and g.membership_id = s.membership_id) p"
    " where s.organization_id = $1 and s.id = $2"
)


async def session_state(
    connection: asyncpg.Connection, organization_id: UUID, session_id: UUID
) -> Mapping[str, Any] | None:
    """Return what is known of a session and all that it hangs on; None if there is no such session."""
    row = await connection.fetchrow(_STATE, organization_id, session_id)
    return None if row is None else dict(row)


async def standing_viewer(connection: BaseDBAsyncClient, viewer: Viewer, now: datetime) -> Viewer:
    """Return the viewer with the roles of this moment, inside the transaction that is about to change something.

    A request may have waited, for its body or behind other mutations, since it was found out who asks.

    Raises:
        UnauthenticatedError: the session, or what it hangs on, is not good any more.
    """
    if viewer.session_id is None:
        return viewer
    found = await fetch(connection, _STATE, viewer.organization_id, viewer.session_id)
    if not found or found[0]["user_id"] != viewer.user_id:
        raise UnauthenticatedError(ENDED)
    require_good(found[0], now)
    return viewer_of(found[0])


def viewer_of(state: Mapping[str, Any]) -> Viewer:
    """Return the viewer that a good session stands for."""
    return Viewer(
        user_id=state["user_id"],
        membership_id=state["membership_id"],
        organization_id=state["organization_id"],
        session_id=state["session_id"],
        device_id=state["device_id"],
        role=OrganizationRole(state["role"]),
        project_roles={
            project: ProjectRole(role) for project, role in zip(state["projects"], state["project_roles"], strict=True)
        },
    )


def require_good(state: Mapping[str, Any], now: datetime) -> None:
    """Raise `UnauthenticatedError` unless session, device, person, membership and organization are good."""
    if state["revoked_at"] is not None or state["expires_at"] <= now:
        raise UnauthenticatedError(ENDED)
    if state["device_status"] == DeviceStatus.BLOCKED:
        raise UnauthenticatedError("This device is blocked. Ask your administrator.")
    if (
        state["user_status"] != UserStatus.ACTIVE
        or state["membership_status"] != MembershipStatus.ACTIVE
        or state["organization_status"] != OrganizationStatus.ACTIVE
    ):
        raise UnauthenticatedError("This account is suspended. Ask your administrator.")
