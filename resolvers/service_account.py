"""Service accounts: making and revoking them, and turning a token into a viewer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.errors import ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.policy import permissions_in, require
from auth.principal import Origin, Viewer
from auth.role import SERVICE_ACCOUNT_LEVEL
from auth.scope import ORGANIZATION, project_scope
from auth.token import ServiceToken, is_same_digest
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.project import Project
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from resolvers.change import Change, Intent, record_attempt
from resolvers.checking import require_some
from resolvers.locking import lock_visible, require_version
from resolvers.services import Services
from resolvers.standing import REVOKED, require_good_token, service_viewer_of
from resolvers.trail import Actor
from resolvers.writing import require_writable

LONGEST_LIFE: Final = timedelta(days=366)
"""A program's token is renewed at least once a year, by a person."""
MOST_PROJECTS: Final = 100
HINT_LENGTH: Final = 4
"""The characters at the end of a token by which it is told from others: of its checksum, not of its secret."""


@dataclass(frozen=True, slots=True)
class NewServiceAccount:
    """What a service account is made from. `project_ids` None: all that the creator sees."""

    name: str
    permissions: Sequence[Permission]
    expires_at: datetime
    project_ids: Sequence[UUID] | None = None


@dataclass(frozen=True, slots=True)
class CreatedServiceAccount:
    """The account's id and its token, which is shown once and kept nowhere."""

    service_account_id: UUID
    token: str = field(repr=False)


async def create_service_account(change: Change, *, new: NewServiceAccount) -> CreatedServiceAccount:
    """Make a service account and its token.

    Raises:
        ForbiddenError: without `service_account:create`; a permission that the viewer does not have there.
        InvalidInputError: a permission that is not for programs, none at all, an expiry that is over or too far away.
        NotFoundError: a project that the viewer does not see.
    """
    require(change.viewer, Permission.SERVICE_ACCOUNT_CREATE, ORGANIZATION)
    if change.viewer.membership_id is None:
        raise ForbiddenError("A service account makes no service account.")
    if not change.at < new.expires_at <= change.at + LONGEST_LIFE:
        raise InvalidInputError("Expected a moment within a year from now.", field=("input", "expiresAt"))
    await _require_may_give(change, new)
    account_id, token = new_id(), ServiceToken.new(change.organization_id, new_id())
    values = {
        "name": new.name.strip(),
        "permissions": sorted({str(permission) for permission in new.permissions}),
        "project_ids": None if new.project_ids is None else sorted(set(new.project_ids)),
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
    await ServiceAccountToken.create(
        using_db=change.connection,
        id=token.token_id,
        organization_id=change.organization_id,
        created_at=change.at,
        created_by_id=change.viewer.membership_id,
        service_account_id=account_id,
        token_digest=token.digest(),
        hint=token.encode()[-HINT_LENGTH:],
        expires_at=new.expires_at,
    )
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


async def authenticate_service_account(services: Services, origin: Origin, *, token: ServiceToken) -> Viewer:
    """Return the viewer that the token stands for, with what its creator may do at this moment.

    Raises:
        UnauthenticatedError: the token is none of ours, or is not good any more. Leaves an entry in the trail.
    """
    state = await services.token_states.load(token.organization_id, token.token_id)
    if state is None:
        # Nothing says that the organization named in it exists: what nobody knows leaves no entry in anybody's trail.
        raise UnauthenticatedError(REVOKED)
    try:
        if not is_same_digest(state["token_digest"], token.digest()):
            raise UnauthenticatedError(REVOKED)
        require_good_token(state)
    except UnauthenticatedError as error:
        await record_attempt(
            Intent(
                action=Action.SERVICE_ACCOUNT_AUTHENTICATE,
                actor=Actor(token.organization_id, origin, floodgate=services.floodgate),
                entity=entity_of(ServiceAccount).name,
                subjects=[state["service_account_id"]],
            ),
            error,
        )
        raise
    return service_viewer_of(state)


async def _require_may_give(change: Change, new: NewServiceAccount) -> None:
    at = ("input", "permissions")
    if not new.permissions:
        raise InvalidInputError("Expected at least one permission.", field=at)
    for permission in sorted(frozenset(new.permissions) - SERVICE_ACCOUNT_LEVEL):
        raise InvalidInputError(f"{permission} is not for programs.", field=at)
    if new.project_ids is not None:
        if not new.project_ids:
            raise InvalidInputError("Expected some projects, or null for all.", field=("input", "projectIds"))
        require_some(new.project_ids, at=("input", "projectIds"), most=MOST_PROJECTS)
        for index, project_id in enumerate(new.project_ids):
            await lock_visible(change, Project, project_id, at=("input", "projectIds", index))
    scopes = [ORGANIZATION] if new.project_ids is None else [project_scope(one) for one in new.project_ids]
    for scope in scopes:
        missing = sorted(frozenset(new.permissions) - permissions_in(change.viewer, scope))
        if missing:
            raise ForbiddenError(
                f"You don't have {missing[0]} there yourself.", permission=missing[0], scope=str(scope), field=at
            )
