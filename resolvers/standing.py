"""Whether a sign-in still stands, and what may be done by it: asked at the start of each request and of each change.

The same for a service account's token. What somebody may do is read from their roles' rows each time, so that whatever
was taken away, or has expired by the database's clock, counts from the next request on, on every process.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.access import Access, Grant, Permissions, access_of
from auth.errors import UnauthenticatedError
from auth.permission import Permission
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SERVICE_ACCOUNT_LEVEL, OrganizationRole, ProjectRole
from models.device import DeviceStatus
from models.membership import MembershipStatus
from models.organization import OrganizationStatus
from models.transaction import fetch
from models.user import UserStatus

ENDED: Final = "The session has ended. Sign in again."
REVOKED: Final = "The service account's token is not valid any more."
SUSPENDED: Final = "This account is suspended. Ask your administrator."
BLOCKED: Final = "This device is blocked. Ask your administrator."

_MEMBER: Final = (
    " m.organization_id, m.id as membership_id, m.user_id, m.role, m.role_expires_at, m.custom_role_id,"
    " c.name as custom_role_name, array_to_string(c.permissions, ',') as custom_role_permissions,"
    " m.status as membership_status, u.status as user_status, o.status as organization_status,"
    " p.projects, p.project_roles, p.project_custom_roles, p.project_custom_names, p.project_custom_permissions,"
    " p.project_expiries, clock_timestamp() as now"
)
_MEMBER_TABLES: Final = (
    " join organization o on o.id = m.organization_id"
    " join user_account u on u.id = m.user_id"
    " left join custom_role c on c.organization_id = m.organization_id and c.id = m.custom_role_id"
    " cross join lateral (select array_agg(g.project_id) as projects, array_agg(g.role) as project_roles,"
    "   array_agg(g.custom_role_id) as project_custom_roles, array_agg(r.name) as project_custom_names,"
    "   array_agg(array_to_string(r.permissions, ',')) as project_custom_permissions,"
    "   array_agg(g.expires_at) as project_expiries"
    "   from project_membership g"
    "   left join custom_role r on r.organization_id = g.organization_id and r.id = g.custom_role_id"
    "   where g.organization_id = m.organization_id and g.membership_id = m.id) p"
)
_SESSION: Final = (
    f"select {_MEMBER}, s.id as session_id, s.device_id, s.expires_at, s.revoked_at, d.status as device_status"
    " from session s"
    " join membership m on m.organization_id = s.organization_id and m.id = s.membership_id"
    f"{_MEMBER_TABLES}"
    " left join device d on d.organization_id = s.organization_id and d.id = s.device_id"
    " where s.organization_id = $1 and s.id = $2"
)
_SERVICE_ACCOUNT: Final = (
    f"select {_MEMBER}, a.id as service_account_id, a.permissions as token_permissions,"
    " a.project_ids as token_projects, a.expires_at, a.revoked_at, a.token_digest"
    " from service_account a"
    " join membership m on m.organization_id = a.organization_id and m.id = a.created_by_id"
    f"{_MEMBER_TABLES}"
    " where a.organization_id = $1 and a.id = $2"
)
_MEMBERSHIP: Final = f"select {_MEMBER} from membership m {_MEMBER_TABLES} where m.organization_id = $1 and m.id = $2"

State = Mapping[str, Any]


async def session_state(connection: asyncpg.Connection, organization_id: UUID, session_id: UUID) -> State | None:
    """Return what is known of a session and all that it hangs on; None if there is no such session."""
    return await _state(connection, _SESSION, organization_id, session_id)


async def service_account_state(
    connection: asyncpg.Connection, organization_id: UUID, service_account_id: UUID
) -> State | None:
    """Return what is known of a service account and of who created it; None if there is no such account."""
    return await _state(connection, _SERVICE_ACCOUNT, organization_id, service_account_id)


async def member_state(connection: asyncpg.Connection, organization_id: UUID, membership_id: UUID) -> State | None:
    """Return what is known of a member, signed in or not; None if there is no such member."""
    return await _state(connection, _MEMBERSHIP, organization_id, membership_id)


@dataclass(frozen=True, slots=True)
class StandingQuestion:
    """How it is asked whether a viewer still stands: one statement with its arguments, of one row or none."""

    viewer: Viewer
    text: str
    arguments: tuple[UUID, UUID]

    def answer(self, state: State | None, now: datetime) -> Viewer:
        """Return the viewer with the roles of this moment.

        Raises:
            UnauthenticatedError: the session or the token, or what it hangs on, is not good any more.
        """
        if self.viewer.service_account_id is not None:
            if state is None:
                raise UnauthenticatedError(REVOKED)
            require_good_token(state)
            return service_viewer_of(state)
        if state is None or state["user_id"] != self.viewer.user_id:
            raise UnauthenticatedError(ENDED)
        require_good(state, now)
        return viewer_of(state)


def standing_question(viewer: Viewer) -> StandingQuestion | None:
    """Return how to ask whether the viewer still stands; None for who came by no session and no token."""
    if viewer.service_account_id is not None:
        return StandingQuestion(viewer, _SERVICE_ACCOUNT, (viewer.organization_id, viewer.service_account_id))
    if viewer.session_id is not None:
        return StandingQuestion(viewer, _SESSION, (viewer.organization_id, viewer.session_id))
    return None


async def standing_viewer(connection: BaseDBAsyncClient, viewer: Viewer, now: datetime) -> Viewer:
    """Return the viewer with the roles of this moment, inside the transaction that is about to change something.

    Raises:
        UnauthenticatedError: the session or the token, or what it hangs on, is not good any more.
    """
    question = standing_question(viewer)
    if question is None:
        return viewer
    found = await fetch(connection, question.text, *question.arguments)
    return question.answer(found[0] if found else None, now)


def viewer_of(state: State) -> Viewer:
    """Return the viewer that a member is, in a session if the state is one's."""
    grants = grants_of(state)
    return Viewer(
        user_id=state["user_id"],
        membership_id=state["membership_id"],
        organization_id=state["organization_id"],
        session_id=state.get("session_id"),
        device_id=state.get("device_id"),
        role=OrganizationRole(grants[0].role) if _holds_built_in(grants[0], state["now"]) else OrganizationRole.MEMBER,
        grants=grants,
        access=_access(tuple(grant for grant in grants if grant.holds(state["now"]))),
    )


def service_viewer_of(state: State) -> Viewer:
    """Return the viewer that a service account is: what its creator may do now, cut down to the token's scope."""
    creator = viewer_of(state)
    scope = known_permissions(state["token_permissions"]) & SERVICE_ACCOUNT_LEVEL
    return replace(
        creator,
        user_id=None,
        membership_id=None,
        role=None,
        access=creator.access.cut_to(scope, state["token_projects"]),
        service_account_id=state["service_account_id"],
        maker_id=creator.membership_id,
    )


def require_good(state: State, now: datetime) -> None:
    """Raise `UnauthenticatedError` unless session, device, person, membership and organization are good."""
    if state["revoked_at"] is not None or state["expires_at"] <= now:
        raise UnauthenticatedError(ENDED)
    if state["device_status"] == DeviceStatus.BLOCKED:
        raise UnauthenticatedError(BLOCKED)
    if not is_active(state):
        raise UnauthenticatedError(SUSPENDED)


def require_good_token(state: State) -> None:
    """Raise `UnauthenticatedError` unless the service account, and whoever created it, are good."""
    if state["revoked_at"] is not None or state["expires_at"] <= state["now"] or not is_active(state):
        raise UnauthenticatedError(REVOKED)


def is_active(state: State) -> bool:
    """Return whether person, membership and organization are good."""
    return bool(
        state["user_status"] == UserStatus.ACTIVE
        and state["membership_status"] == MembershipStatus.ACTIVE
        and state["organization_status"] == OrganizationStatus.ACTIVE
    )


def grants_of(state: State) -> tuple[Grant, ...]:
    """Return all that a member was given, the organization's role first, what has expired among it."""
    return tuple(_grants(state))


def known_permissions(stored: list[str]) -> Permissions:
    """Return those of the stored names that are permissions today."""
    return frozenset(Permission(name) for name in stored if name in _NAMES)


def _grants(state: State) -> Iterator[Grant]:
    if state["custom_role_id"] is None:
        role = OrganizationRole(state["role"])
        yield Grant(role, ORGANIZATION_ROLES[role], expires_at=state["role_expires_at"])
    else:
        yield Grant(
            state["custom_role_name"],
            _permissions(state["custom_role_permissions"]),
            custom_role_id=state["custom_role_id"],
            expires_at=state["role_expires_at"],
        )
    in_projects = ("projects", "project_roles", "project_custom_roles", "project_custom_names")
    rest = ("project_custom_permissions", "project_expiries")
    for project_id, role, custom_id, name, permissions, expires_at in zip(
        *(state[column] or () for column in (*in_projects, *rest)), strict=True
    ):
        if custom_id is None:
            built_in = ProjectRole(role)
            yield Grant(built_in, PROJECT_ROLES[built_in], project_id, expires_at=expires_at)
        else:
            yield Grant(name, _permissions(permissions), project_id, custom_id, expires_at)


def _holds_built_in(grant: Grant, now: datetime) -> bool:
    return grant.custom_role_id is None and grant.holds(now)


_NAMES: Final = frozenset(map(str, Permission))


@lru_cache(maxsize=1024)
def _permissions(joined: str) -> Permissions:
    return known_permissions(joined.split(","))


@lru_cache(maxsize=4096)
def _access(grants: tuple[Grant, ...]) -> Access:
    return access_of(grants)


async def _state(connection: asyncpg.Connection, statement: str, organization_id: UUID, row_id: UUID) -> State | None:
    row = await connection.fetchrow(statement, organization_id, row_id)
    return None if row is None else dict(row)
