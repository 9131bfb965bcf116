"""The tokens of service accounts: a second one beside the first, so that a program goes over without a pause."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from auth.errors import ForbiddenError
from auth.opaque_token import ServiceToken
from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.service_account import ServiceAccount
from models.service_account_token import ServiceAccountToken
from models.transaction import fetch
from resolvers.change import Change
from resolvers.locking import lock_visible
from resolvers.service_account import keep_token, require_may_give
from resolvers.standing import known_permissions
from resolvers.writing import require_writable

MOST_LIVE: Final = 2
"""Tokens of one account that are good at the same time: the one in use, and the one that a program goes over to."""


_AT: Final = ("input", "id")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """The token's id, and the token, which is shown once and kept nowhere."""

    token_id: UUID
    token: str = field(repr=False)


async def issue_service_account_token(change: Change, *, service_account_id: UUID, expires_at: datetime) -> IssuedToken:
    """Make another token of an account. The one that is in use stays good until it expires or is revoked.

    Who gets a token may do what the account may: nobody issues one for more than they may do themselves.

    Raises:
        NotFoundError, ForbiddenError: without `service_account:create`; a permission or project of the account that the
            viewer does not have.
        ConflictError: the account is revoked or has expired, or has two live tokens.
        InvalidInputError: the expiry is over, or later than the account's.
    """
    # Locked, so that of two who ask at once the later one counts the other's.
    account = await lock_visible(change, ServiceAccount, service_account_id)
    require(change.viewer, Permission.SERVICE_ACCOUNT_CREATE, ORGANIZATION)
    if change.viewer.membership_id is None:
        raise ForbiddenError("A service account makes no tokens.")
    await require_may_give(
        change, sorted(known_permissions(account.permissions)), account.project_ids, at=_AT, at_projects=_AT
    )
    if account.revoked_at is not None or account.expires_at <= change.at:
        raise ConflictError("The service account has ended. Make another one.", field=_AT)
    if not change.at < expires_at <= account.expires_at:
        raise InvalidInputError(
            f"Expected a moment from now to the account's own end, {account.expires_at.isoformat()}.",
            field=("input", "expiresAt"),
        )
    require_writable(
        change, entity_of(ServiceAccountToken), ORGANIZATION, {"expires_at": expires_at}, at=("input",), is_new=True
    )
    found = await fetch(
        change.connection,
        "select count(*) as live from service_account_token"
        " where organization_id = $1 and service_account_id = $2 and revoked_at is null and expires_at > $3",
        change.organization_id,
        account.id,
        change.at,
    )
    if found[0]["live"] >= MOST_LIVE:
        raise ConflictError(
            f"The account has {MOST_LIVE} live tokens already. Revoke the one that is not in use any more.", field=_AT
        )
    token = ServiceToken.new(change.organization_id, new_id())
    await keep_token(change, account, token, expires_at=expires_at)
    return IssuedToken(token.token_id, token.encode())


async def revoke_service_account_token(change: Change, *, token_id: UUID) -> UUID:
    """End a token: it is refused from the next request on, and so is what it was exchanged for. Returns its id.

    Raises:
        NotFoundError, ForbiddenError: without `service_account:revoke`.
        ConflictError: it is revoked already.
    """
    token = await lock_visible(change, ServiceAccountToken, token_id)
    require(change.viewer, Permission.SERVICE_ACCOUNT_REVOKE, ORGANIZATION)
    if token.revoked_at is not None:
        raise ConflictError("The token is revoked already.", field=_AT)
    token.revoked_at = change.at
    token.revoked_by_id = change.viewer.membership_id
    await token.save(using_db=change.connection, update_fields=["revoked_at", "revoked_by_id"])
    return token.id
