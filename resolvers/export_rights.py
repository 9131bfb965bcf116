"""What whoever asked for an export may do now, and whether that is still what they might when it began.

Asked for each batch of it, as they are then, from whatever moment its rows are, and again when the file is taken. An
export ends where rights shrink: half a file made with more rights than its other half would be nobody's.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.access import Access
from auth.errors import BlockedDeviceError, FieldwardError, ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.principal import Viewer
from auth.scope import Scope
from models.device import DeviceStatus
from resolvers.standing import (
    BLOCKED,
    REVOKED,
    SUSPENDED,
    is_active,
    known_permissions,
    member_state,
    require_good_token,
    service_viewer_of,
    token_states,
    viewer_of,
)

UsedRight = tuple[UUID | None, Permission]
"""A permission by which values got into a file, and the project that it was used in; None for the organization."""

SENSITIVE: Final = "select id from project where organization_id = $1 and locations_are_sensitive"
"""Asks for the projects whose places are sensitive."""
_ONCE_SENSITIVE: Final = " once sensitive"
_DEVICE: Final = "select status from device where organization_id = $1 and id = $2"

COUNTED: Final = frozenset(one for one in Permission if one.is_reading) | {
    Permission.RECORD_EXPORT,
    Permission.EXPORT_ARCHIVE,
}
"""The permissions that what is exported depends on."""


class ShrunkRightsError(ForbiddenError):
    """Whoever asked for an export may read less than when it began."""

    noted = "RIGHTS_SHRANK"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked for an export: a person, on a device or on none, or a program by one of its tokens."""

    organization_id: UUID
    membership_id: UUID | None
    device_id: UUID | None
    service_account_id: UUID | None
    token_id: UUID | None
    token_scope: frozenset[Permission] | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Requester":
        """Return who asked for the export of that row of `data_export`."""
        scope = row["token_scope"]
        return cls(
            organization_id=row["organization_id"],
            membership_id=row["created_by_id"],
            device_id=row["device_id"],
            service_account_id=row["service_account_id"],
            token_id=row["token_id"],
            token_scope=None if scope is None else known_permissions(scope),
        )

    async def viewer(self, connection: asyncpg.Connection) -> Viewer:
        """Return the viewer that they are now.

        Raises:
            UnauthenticatedError: they can't get in any more, or their device or token can't.
        """
        if self.membership_id is None:
            return await self._program(connection)
        state = await member_state(connection, self.organization_id, self.membership_id)
        if state is None or not is_active(state):
            raise UnauthenticatedError(SUSPENDED)
        if self.device_id is not None:
            status = await connection.fetchval(_DEVICE, self.organization_id, self.device_id)
            if status != DeviceStatus.ACTIVE:
                raise BlockedDeviceError(BLOCKED)
        return viewer_of(state)

    async def _program(self, connection: asyncpg.Connection) -> Viewer:
        if self.token_id is None:
            raise UnauthenticatedError(REVOKED)
        state = (await token_states(connection, self.organization_id, [self.token_id])).get(self.token_id)
        if state is None:
            raise UnauthenticatedError(REVOKED)
        require_good_token(state)
        return service_viewer_of(state, scope=self.token_scope)


def require_as_before(before: Access, now: Access) -> None:
    """Raise `ShrunkRightsError` where less may be read, anywhere, than before."""
    if now is before or now == before:
        return
    lost = (before.everywhere & COUNTED) - now.everywhere
    for project_id in {*before.projects, *now.projects}:
        scope = Scope(project_id)
        lost |= (before.in_scope(scope) & COUNTED) - now.in_scope(scope)
    if lost:
        raise ShrunkRightsError("You may read less than when the export began.", permission=str(min(lost)))


def require_used(used: Iterable[str], viewer: Viewer, *, sensitive: Collection[UUID]) -> None:
    """Raise `ForbiddenError` where the viewer lacks a permission by which values got into the file.

    sensitive: the projects whose places are sensitive now. Of exact places that got into the file before they were, it
        takes what it takes to read them now.
    """
    for text in used:
        project_id, permission = _read_right(text.removesuffix(_ONCE_SENSITIVE))
        scope = Scope(project_id)
        if text.endswith(_ONCE_SENSITIVE) and project_id not in sensitive:
            continue
        if permission not in viewer.access.in_scope(scope):
            raise ForbiddenError(
                f"The file holds what takes the permission {permission}.",
                permission=str(permission),
                scope=str(scope),
            )


def written_rights(used: Collection[UsedRight], places: Collection[UsedRight]) -> list[str]:
    """Return the rights as they are stored: the permission, after the project that it is used in, if in one.

    places: those that count once the project's places are sensitive.
    """
    return sorted([*map(_written, used), *(_written(one) + _ONCE_SENSITIVE for one in places)])


async def sensitive_projects(connection: asyncpg.Connection, organization_id: UUID) -> frozenset[UUID]:
    """Return the projects of the organization whose places are sensitive."""
    return frozenset(row["id"] for row in await connection.fetch(SENSITIVE, organization_id))


def is_refusal(error: BaseException) -> bool:
    """Return whether an export ended because whoever asked for it may not have it any more."""
    return isinstance(error, UnauthenticatedError | ForbiddenError) and isinstance(error, FieldwardError)


def _written(used: UsedRight) -> str:
    project_id, permission = used
    return f"{project_id} {permission}" if project_id else str(permission)


def _read_right(text: str) -> UsedRight:
    project, _, permission = text.rpartition(" ")
    return UUID(project) if project else None, Permission(permission)
