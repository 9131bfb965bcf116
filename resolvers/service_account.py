"""Service accounts: making and revoking them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from auth.errors import ForbiddenError
from auth.network import canonical_network
from auth.opaque_token import ServiceToken
from auth.permission import Permission
from auth.policy import permissions_in, require
from auth.role import SERVICE_ACCOUNT_LEVEL
from auth.scope import ORGANIZATION, project_scope
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.project import Project
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from resolvers.change import Change
from resolvers.checking import Path, require_some
from resolvers.locking import lock_visible, require_version
from resolvers.writing import require_writable

LONGEST_LIFE: Final = timedelta(days=366)
"""A program's token is renewed at least once a year, by a person."""
MOST_PROJECTS: Final = 100
MOST_NETWORKS: Final = 20
HINT_LENGTH: Final = 4
"""The characters at the end of a token by which it is told from others: of its checksum, not of its secret."""


@dataclass(frozen=True, slots=True)
class NewServiceAccount:
    """What a service account is made from. `project_ids` None: all that the creator sees. `networks` None: any."""

    name: str
    permissions: Sequence[Permission]
    expires_at: datetime
    project_ids: Sequence[UUID] | None = None
    networks: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class CreatedServiceAccount:
    """The account's id and its token, which is shown once and kept nowhere."""

    service_account_id: UUID
    token: str = field(repr=False)


async def create_service_account(change: Change, *, new: NewServiceAccount) -> CreatedServiceAccount:
    """Make a service account and its token.

    Raises:
        ForbiddenError: without `service_account:create`; a permission that the viewer does not have there.
        InvalidInputError: a permission that is not for programs, none at all, an expiry that is over or too far away, a
            network that is none.
        NotFoundError: a project that the viewer does not see.
    """
    require(change.viewer, Permission.SERVICE_ACCOUNT_CREATE, ORGANIZATION)
    if change.viewer.membership_id is None:
        raise ForbiddenError("A service account makes no service account.")
    if not change.at < new.expires_at <= change.at + LONGEST_LIFE:
        raise InvalidInputError("Expected a moment within a year from now.", field=("input", "expiresAt"))
    await require_may_give(change, new.permissions, new.project_ids)
    account_id, token = new_id(), ServiceToken.new(change.organization_id, new_id())
    values = {
        "name": new.name.strip(),
        "permissions": sorted({str(permission) for permission in new.permissions}),
        "project_ids": None if new.project_ids is None else sorted(set(new.project_ids)),
        "networks": None if new.networks is None else _canonical(new.networks),
        "expires_at": new.expires_at,
    }
    require_writable(change, entity_of(ServiceAccount), ORGANIZATION, values, at=("input",), is_new=True)
    account = ServiceAccount(
        id=account_id,
        organization_id=change.organization_id,
        created_at=change.at,
        created_by_id=change.viewer.membership_id,
        **values,
    )
    await account.save(using_db=change.connection, force_create=True)
    await keep_token(change, account, token, expires_at=new.expires_at)
    return CreatedServiceAccount(account.id, token.encode())


async def revoke_service_account(change: Change, *, service_account_id: UUID, expected_version: int) -> UUID:
    """End a service account: its token is refused from the next request on. Returns its id.

    Raises:
        NotFoundError, ForbiddenError: without `service_account:revoke`.
        ConflictError: another version, or it is revoked already.
    """
    account = await lock_visible(change, ServiceAccount, service_account_id)
    require(change.viewer, Permission.SERVICE_ACCOUNT_REVOKE, ORGANIZATION)
    require_version(account.version, expected_version)
    if account.revoked_at is not None:
        raise ConflictError("The service account is revoked already.", field=("input", "id"))
    account.revoked_at = change.at
    account.revoked_by_id = change.viewer.membership_id
    account.version += 1
    await account.save(using_db=change.connection, update_fields=["revoked_at", "revoked_by_id", "version"])
    return account.id


async def keep_token(change: Change, account: ServiceAccount, token: ServiceToken, *, expires_at: datetime) -> None:
    """Store what is kept of a new token of the account."""
    await ServiceAccountToken.create(
        using_db=change.connection,
        id=token.token_id,
        organization_id=change.organization_id,
        created_at=change.at,
        created_by_id=change.viewer.membership_id,
        service_account_id=account.id,
        token_digest=token.digest(),
        hint=token.encode()[-HINT_LENGTH:],
        expires_at=expires_at,
    )


async def require_may_give(
    change: Change,
    permissions: Sequence[Permission],
    project_ids: Sequence[UUID] | None,
    *,
    at: Path = ("input", "permissions"),
    at_projects: Path = ("input", "projectIds"),
) -> None:
    """Raise unless the permissions are for programs, and the viewer has each of them wherever they are given.

    project_ids: the projects that they are given in, all of which the viewer sees; None for everywhere.

    Raises:
        ForbiddenError: the viewer lacks one.
        InvalidInputError: one is not for programs, there is none, or there are too many projects, or none.
        NotFoundError: a project that the viewer does not see.
    """
    if not permissions:
        raise InvalidInputError("Expected at least one permission.", field=at)
    for permission in sorted(frozenset(permissions) - SERVICE_ACCOUNT_LEVEL):
        raise InvalidInputError(f"{permission} is not for programs.", field=at)
    if project_ids is not None:
        if not project_ids:
            raise InvalidInputError("Expected some projects, or null for all.", field=at_projects)
        require_some(project_ids, at=at_projects, most=MOST_PROJECTS)
        for index, project_id in enumerate(project_ids):
            await lock_visible(change, Project, project_id, at=(*at_projects, index))
    scopes = [ORGANIZATION] if project_ids is None else [project_scope(one) for one in project_ids]
    for scope in scopes:
        missing = sorted(frozenset(permissions) - permissions_in(change.viewer, scope))
        if missing:
            raise ForbiddenError(
                f"You don't have {missing[0]} there yourself.", permission=missing[0], scope=str(scope), field=at
            )


def _canonical(networks: Sequence[str]) -> list[str]:
    at = ("input", "networks")
    if not networks:
        raise InvalidInputError("Expected some networks, or null for any.", field=at)
    require_some(networks, at=at, most=MOST_NETWORKS)
    found = set()
    for index, text in enumerate(networks):
        try:
            found.add(canonical_network(text))
        except ValueError as error:
            raise InvalidInputError(str(error), field=(*at, index)) from error
    return sorted(found)
