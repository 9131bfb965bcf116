"""Whether a sign-in still stands, and what may be done by it: asked at the start of each request and of each change.

The same for a service account's token. What somebody may do is read from their roles' rows each time, so that whatever
was taken away, or has expired by the database's clock, counts from the next request on, on every process.
"""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg
from tortoise.backends.base.client import BaseDBAsyncClient

from auth.access import NOTHING, Access, Grant, Permissions, access_of
from auth.errors import BlockedDeviceError, UnauthenticatedError
from auth.permission import Permission
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, SERVICE_ACCOUNT_LEVEL, OrganizationRole, ProjectRole
from models.device import DeviceStatus
from models.membership import MembershipStatus
from models.organization import DocumentPolicy, OrganizationStatus
from models.session import Factor
from models.transaction import fetch
from models.user import UserStatus

ENDED: Final = "The session has ended. Sign in again."
REVOKED: Final = "The service account's token is not valid any more."
SUSPENDED: Final = "This account is suspended. Ask your administrator."
BLOCKED: Final = "This device is blocked. Ask your administrator."

# What somebody was given is one text, which is the same for all who were given the same, and worked out once.
_GIVEN: Final = "json_build_array({0}.role, {0}.custom_role_id, {1}.name, {1}.permissions, {0}.{2}, {3})"
_MEMBER: Final = (
    " m.organization_id, m.id as membership_id, m.user_id,"
    f" {_GIVEN.format('m', 'c', 'role_expires_at', 'null')}::text as given, p.given::text as given_in_projects,"
    " m.status as membership_status, u.status as user_status, o.status as organization_status,"
    " o.people_documents, o.program_documents, o.documents_version,"
    " clock_timestamp() as now"
)
_MEMBER_TABLES: Final = (
    " join organization o on o.id = m.organization_id"
    " join user_account u on u.id = m.user_id"
    " left join custom_role c on c.organization_id = m.organization_id and c.id = m.custom_role_id"
    f" cross join lateral (select json_agg({_GIVEN.format('g', 'r', 'expires_at', 'g.project_id')}) as given"
    "   from project_membership g"
    "   left join custom_role r on r.organization_id = g.organization_id and r.id = g.custom_role_id"
    "   where g.organization_id = m.organization_id and g.membership_id = m.id) p"
)
_SESSION: Final = (
    f"select {_MEMBER}, s.id, s.id as session_id, s.device_id, s.expires_at, s.idle_expires_at, s.revoked_at,"
    " s.authenticated_at, s.factors, s.cookie_digest, u.sessions_valid_from, o.demands_second_factor,"
    " d.status as device_status"
    " from session s"
    " join membership m on m.organization_id = s.organization_id and m.id = s.membership_id"
    f"{_MEMBER_TABLES}"
    " left join device d on d.organization_id = s.organization_id and d.id = s.device_id"
    " where s.organization_id = $1 and s.id = any($2)"
)
_SERVICE_ACCOUNT: Final = (
    f"select {_MEMBER}, a.id, a.id as service_account_id, a.permissions as token_permissions,"
    " a.project_ids as token_projects, a.expires_at, a.revoked_at"
    " from service_account a"
    " join membership m on m.organization_id = a.organization_id and m.id = a.created_by_id"
    f"{_MEMBER_TABLES}"
    " where a.organization_id = $1 and a.id = any($2)"
)
_TOKEN: Final = (
    f"select {_MEMBER}, t.id, t.id as token_id, t.token_digest, a.id as service_account_id,"
    " a.permissions as token_permissions, a.project_ids as token_projects, a.networks,"
    " least(a.expires_at, t.expires_at) as expires_at, coalesce(a.revoked_at, t.revoked_at) as revoked_at,"
    " i.status as issuer_membership_status, w.status as issuer_status"
    " from service_account_token t"
    " join service_account a on a.organization_id = t.organization_id and a.id = t.service_account_id"
    " join membership i on i.organization_id = t.organization_id and i.id = t.created_by_id"
    " join user_account w on w.id = i.user_id"
    " join membership m on m.organization_id = a.organization_id and m.id = a.created_by_id"
    f"{_MEMBER_TABLES}"
    " where t.organization_id = $1 and t.id = any($2)"
)
_MEMBERSHIP: Final = (
    f"select {_MEMBER}, m.id from membership m {_MEMBER_TABLES} where m.organization_id = $1 and m.id = any($2)"
)

State = Mapping[str, Any]


async def session_states(
    connection: asyncpg.Connection, organization_id: UUID, session_ids: Collection[UUID]
) -> Mapping[UUID, State]:
    """Return what is known of each session that there is, and of all that it hangs on."""
    return _by_id(await connection.fetch(_SESSION, organization_id, session_ids))


async def token_states(
    connection: asyncpg.Connection, organization_id: UUID, token_ids: Collection[UUID]
) -> Mapping[UUID, State]:
    """Return what is known of each program's token that there is, of its service account, and of who created that."""
    return _by_id(await connection.fetch(_TOKEN, organization_id, token_ids))


async def service_account_state(
    connection: asyncpg.Connection, organization_id: UUID, service_account_id: UUID
) -> State | None:
    """Return what is known of a service account and of who created it; None if there is no such account."""
    found = await connection.fetch(_SERVICE_ACCOUNT, organization_id, [service_account_id])
    return _by_id(found).get(service_account_id)


async def member_state(connection: asyncpg.Connection, organization_id: UUID, membership_id: UUID) -> State | None:
    """Return what is known of a member, signed in or not; None if there is no such member."""
    return _by_id(await connection.fetch(_MEMBERSHIP, organization_id, [membership_id])).get(membership_id)


@dataclass(frozen=True, slots=True)
class StandingQuestion:
    """How it is asked whether a viewer still stands: one statement with its arguments, of one row or none."""

    viewer: Viewer
    text: str
    arguments: tuple[UUID, Sequence[UUID]]

    def answer(self, state: State | None, now: datetime) -> Viewer:
        """Return the viewer with the roles of this moment.

        Raises:
            UnauthenticatedError: the session or the token, or what it hangs on, is not good any more.
        """
        if self.viewer.token_id is not None:
            if state is None:
                raise UnauthenticatedError(REVOKED)
            require_good_token(state)
            return service_viewer_of(state, scope=self.viewer.token_scope)
        if state is None or state["user_id"] != self.viewer.user_id:
            raise UnauthenticatedError(ENDED)
        require_good(state, now)
        return viewer_of(state)


def standing_question(viewer: Viewer) -> StandingQuestion | None:
    """Return how to ask whether the viewer still stands; None for who came by no session and no token."""
    if viewer.token_id is not None:
        return StandingQuestion(viewer, _TOKEN, (viewer.organization_id, [viewer.token_id]))
    if viewer.session_id is not None:
        return StandingQuestion(viewer, _SESSION, (viewer.organization_id, [viewer.session_id]))
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
    """Return the viewer that a member is, in a session if the state is one's.

    Where the organization demands a second factor, who signed in without one may do nothing but add one.
    """
    given = _given(state["given"], state["given_in_projects"])
    role, access = given.at(state["now"])
    is_enrolling = bool(state.get("demands_second_factor")) and not is_multi_factor(state["factors"])
    return Viewer(
        user_id=state["user_id"],
        membership_id=state["membership_id"],
        organization_id=state["organization_id"],
        session_id=state.get("session_id"),
        device_id=state.get("device_id"),
        role=role,
        grants=given.grants,
        access=NOTHING if is_enrolling else access,
        factors=tuple(state.get("factors") or ()),
        authenticated_at=state.get("authenticated_at"),
        is_enrolling=is_enrolling,
        runs_trusted_only=state["people_documents"] == DocumentPolicy.TRUSTED_ONLY,
        documents_version=state["documents_version"] or 0,
    )


def is_multi_factor(factors: Collection[str]) -> bool:
    """Return whether these are two factors. A passkey is two by itself: it is had, and unlocked by its owner."""
    return Factor.PASSKEY in factors or len(factors) > 1


def service_viewer_of(state: State, *, scope: Permissions | None = None) -> Viewer:
    """Return the viewer that a service account is: what its creator may do now, cut down to what it is for.

    scope: what it is cut down to further; None for no further.
    """
    given = _given(state["given"], state["given_in_projects"])
    _, access = given.at(state["now"])
    permissions, projects = state["token_permissions"], state["token_projects"]
    if scope is not None:
        permissions = [name for name in permissions if name in scope]
    return Viewer(
        user_id=None,
        membership_id=None,
        organization_id=state["organization_id"],
        session_id=None,
        device_id=None,
        role=None,
        grants=given.grants,
        access=_cut(access, tuple(permissions), None if projects is None else tuple(projects)),
        service_account_id=state["service_account_id"],
        token_id=state.get("token_id"),
        token_scope=scope,
        maker_id=state["membership_id"],
        runs_trusted_only=state["program_documents"] == DocumentPolicy.TRUSTED_ONLY,
        documents_version=state["documents_version"] or 0,
    )


def require_good(state: State, now: datetime) -> None:
    """Raise `UnauthenticatedError` unless session, device, person, membership and organization are good."""
    valid_from = state["sessions_valid_from"]
    if (
        state["revoked_at"] is not None
        or min(state["expires_at"], state["idle_expires_at"]) <= now
        or (valid_from is not None and state["authenticated_at"] < valid_from)
    ):
        raise UnauthenticatedError(ENDED)
    if state["device_status"] == DeviceStatus.BLOCKED:
        raise BlockedDeviceError(BLOCKED)
    if not is_active(state):
        raise UnauthenticatedError(SUSPENDED)


def require_good_token(state: State) -> None:
    """Raise `UnauthenticatedError` unless the service account, who created it, and who was shown the token are good."""
    if (
        state["revoked_at"] is not None
        or state["expires_at"] <= state["now"]
        or not is_active(state)
        or (state["issuer_membership_status"], state["issuer_status"]) != (MembershipStatus.ACTIVE, UserStatus.ACTIVE)
    ):
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
    return _given(state["given"], state["given_in_projects"]).grants


def known_permissions(stored: Iterable[str]) -> Permissions:
    """Return those of the stored names that are permissions today."""
    return frozenset(Permission(name) for name in stored if name in _NAMES)


_NAMES: Final = frozenset(map(str, Permission))


class _Given:
    """All that members with the same grants were given, and what is left of it at a moment."""

    __slots__ = ("_expiries", "_left", "grants")

    def __init__(self, grants: tuple[Grant, ...]) -> None:
        self.grants = grants
        self._expiries = sorted(grant.expires_at for grant in grants if grant.expires_at is not None)
        self._left: dict[int, tuple[OrganizationRole, Access]] = {}

    def at(self, now: datetime) -> tuple[OrganizationRole, Access]:
        """Return the role in the organization and what may be done, as of then."""
        passed = bisect_right(self._expiries, now) if self._expiries else 0
        found = self._left.get(passed)
        if found is None:
            found = self._left[passed] = self._work_out(now)
        return found

    def _work_out(self, now: datetime) -> tuple[OrganizationRole, Access]:
        first = self.grants[0]
        holds_built_in = first.custom_role_id is None and first.holds(now)
        role = OrganizationRole(first.role) if holds_built_in else OrganizationRole.MEMBER
        return role, _access(tuple(grant for grant in self.grants if grant.holds(now)))


@lru_cache(maxsize=4096)
def _given(in_organization: str, in_projects: str | None) -> _Given:
    """Return what the texts of `_GIVEN` say."""
    rows = [json.loads(in_organization), *(json.loads(in_projects) if in_projects else ())]
    return _Given(tuple(_grant(*row) for row in rows))


def _grant(
    role: Any,
    custom_id: str | None,
    name: str | None,
    stored: list[str] | None,
    expires: str | None,
    project: str | None,
) -> Grant:
    expires_at = None if expires is None else datetime.fromisoformat(expires)
    project_id = None if project is None else UUID(project)
    if custom_id is not None:
        return Grant(name or "", known_permissions(stored or ()), project_id, UUID(custom_id), expires_at)
    if project_id is None:
        built_in = OrganizationRole(role)
        return Grant(built_in, ORGANIZATION_ROLES[built_in], expires_at=expires_at)
    in_project = ProjectRole(role)
    return Grant(in_project, PROJECT_ROLES[in_project], project_id, expires_at=expires_at)


@lru_cache(maxsize=4096)
def _access(grants: tuple[Grant, ...]) -> Access:
    return access_of(grants)


@lru_cache(maxsize=4096)
def _cut(access: Access, permissions: tuple[str, ...], projects: tuple[UUID, ...] | None) -> Access:
    return access.cut_to(known_permissions(permissions) & SERVICE_ACCOUNT_LEVEL, projects)


def _by_id(rows: Iterable[Any]) -> dict[UUID, State]:
    return {row["id"]: row for row in rows}
