"""Roles of an organization's own: defining, changing and deleting them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.access import Permissions
from auth.errors import ForbiddenError
from auth.escalation import Field, require_no_longer, require_no_more
from auth.permission import Permission
from auth.policy import require
from auth.role import ORGANIZATION_LEVEL, PROJECT_LEVEL
from auth.scope import ORGANIZATION
from models.base import new_id
from models.custom_role import CustomRole, RoleLevel
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import Membership, ProjectMembership
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.creating import constraint_of, creation_digest, repeats, require_new_id
from resolvers.locking import lock_visible, require_version
from resolvers.membership import lock_standing
from resolvers.standing import known_permissions
from resolvers.writing import require_writable

AT_PERMISSIONS: Field = ("input", "permissions")


@dataclass(frozen=True, slots=True)
class NewRole:
    """What a role is defined from."""

    name: str
    level: RoleLevel
    permissions: Sequence[Permission]
    description: str | None = None


async def create_role(change: Change, *, role_id: UUID | None, new: NewRole) -> UUID:
    """Define a role of the organization's own and return its id.

    Raises:
        ForbiddenError: without `role:define`; a permission that the viewer does not have in the organization.
        InvalidInputError: no permission, one that its level has no use for, or one without the reading that it takes.
        ConflictError: the name or the id is taken.
    """
    require(change.viewer, Permission.ROLE_DEFINE, ORGANIZATION)
    permissions = frozenset(new.permissions)
    values: dict[str, Any] = {
        "name": new.name.strip(),
        "level": new.level,
        "permissions": sorted(map(str, permissions)),
        "description": new.description,
    }
    require_writable(change, entity_of(CustomRole), ORGANIZATION, values, at=("input",), is_new=True)
    _require_sensible(permissions, new.level)
    require_no_more(change.viewer, ORGANIZATION, permissions, field=AT_PERMISSIONS)
    row_id = role_id or new_id()
    require_new_id(row_id)
    digest = creation_digest(change.organization_id, values)
    if await repeats(change, CustomRole, row_id, digest):
        return row_id
    role = CustomRole(
        id=row_id,
        organization_id=change.organization_id,
        created_at=change.at,
        creation_digest=digest,
        **values,
    )
    await _save(change, role)
    return row_id


async def update_role(change: Change, *, role_id: UUID, expected_version: int, values: dict[str, Any]) -> UUID:
    """Change a role's name, description or permissions and return its id. It counts for all who have it, at once.

    Raises:
        NotFoundError, ForbiddenError: without `role:define`; a permission, before or after, that the viewer does not
            have in the organization; a role of the viewer's own.
        InvalidInputError: as for a new one.
        ConflictError: another version, or the name is taken.
    """
    change = await lock_standing(change)
    role = await lock_visible(change, CustomRole, role_id)
    require(change.viewer, Permission.ROLE_DEFINE, ORGANIZATION)
    require_version(role.version, expected_version)
    before = known_permissions(role.permissions)
    # Null for the list is none of them, and refused as that.
    permissions = frozenset(values["permissions"] or ()) if "permissions" in values else before
    stored = {**values, "permissions": sorted(map(str, permissions))}
    if "name" in values and values["name"] is not None:
        stored["name"] = values["name"].strip()
    require_writable(change, entity_of(CustomRole), ORGANIZATION, stored, at=("input",))
    _require_sensible(permissions, role.level)
    require_no_more(change.viewer, ORGANIZATION, before | permissions, field=AT_PERMISSIONS)
    require_no_longer(change.viewer, ORGANIZATION, permissions - before, until=None, field=AT_PERMISSIONS)
    if any(grant.custom_role_id == role.id for grant in change.viewer.grants):
        raise ForbiddenError("Nobody changes a role of their own. Ask another owner or admin.", field=("input", "id"))
    for name, value in stored.items():
        setattr(role, name, value)
    role.version += 1
    await _save(change, role, [*stored, "version"])
    return role.id


async def delete_role(change: Change, *, role_id: UUID, expected_version: int) -> UUID:
    """Delete a role that nobody has any more and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `role:define`, or the role can do more than the viewer can.
        ConflictError: another version; somebody has the role.
    """
    role = await lock_visible(change, CustomRole, role_id)
    require(change.viewer, Permission.ROLE_DEFINE, ORGANIZATION)
    require_version(role.version, expected_version)
    require_no_more(change.viewer, ORGANIZATION, known_permissions(role.permissions), field=("input", "id"))
    holders = await _holders(change, role)
    if holders:
        raise ConflictError(
            f"The role is given to {holders} {'person' if holders == 1 else 'people'}: give them another first.",
            field=("input", "id"),
        )
    await role.delete(using_db=change.connection)
    return role_id


async def _holders(change: Change, role: CustomRole) -> int:
    statement = Statement()
    tenant, role_id = statement.argument(change.organization_id), statement.argument(role.id)
    where = f"organization_id = {tenant} and custom_role_id = {role_id}"
    rows = await fetch(
        change.connection,
        "select count(*) as holders from ("
        f'select id from "{entity_of(Membership).name}" where {where}'
        f' union select membership_id from "{entity_of(ProjectMembership).name}" where {where}) held',
        *statement.arguments,
    )
    return int(rows[0]["holders"])


def _require_sensible(permissions: Permissions, level: RoleLevel) -> None:
    if not permissions:
        raise InvalidInputError("Expected at least one permission.", field=AT_PERMISSIONS)
    usable = PROJECT_LEVEL if level is RoleLevel.PROJECT else ORGANIZATION_LEVEL
    for permission in sorted(permissions - usable):
        raise InvalidInputError(f"{permission} counts in the whole organization only.", field=AT_PERMISSIONS)
    for permission in sorted(permissions):
        # Who doesn't see a row can do nothing with it: such a role would only look like one.
        reading = f"{permission.noun}:read"
        if reading not in permissions and reading in set(Permission):
            raise InvalidInputError(f"{permission} takes {reading} beside it.", field=AT_PERMISSIONS)


async def _save(change: Change, role: CustomRole, columns: list[str] | None = None) -> None:
    try:
        await role.save(using_db=change.connection, update_fields=columns, force_create=columns is None)
    except IntegrityError as error:
        if constraint_of(error) == "custom_role_name_key":
            raise ConflictError("Another role has this name.", field=("input", "name")) from error
        raise
