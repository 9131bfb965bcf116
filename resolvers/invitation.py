"""Invitations: asking somebody in by their address, with the role that they will have.

Nothing is given before it is accepted, and nobody gives more than they have: the rules for roles are asked of who
invites, and of them once more when it is accepted (`resolvers/joining.py`). The link is made when its mail is sent, so
that it lies nowhere; of it only a digest is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.access import Permissions
from auth.escalation import AT_ROLE, require_may_assign, require_owner
from auth.opaque_token import InvitationToken
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.role import OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, project_scope
from models.base import new_id
from models.custom_role import RoleLevel
from models.encryption.column import load_keys_for
from models.encryption.keyring import active_keyring
from models.encryption.owner import subject_owner
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.invitation import Invitation, InvitationStatus
from models.membership import MembershipStatus
from models.outgoing_mail import MailKind
from models.project import Project
from models.searching import index_of
from models.transaction import fetch
from resolvers.account_index import email_index_of
from resolvers.change import Change
from resolvers.checking import require_address
from resolvers.creating import constraint_of
from resolvers.locking import lock_visible, require_version
from resolvers.mailing import enqueue
from resolvers.membership import (
    AT_CUSTOM_ROLE,
    Assignment,
    lock_standing,
    permissions_of_built_in,
    permissions_of_role,
    wanted_permissions,
)
from resolvers.writing import require_writable

LIFETIME: Final = timedelta(days=7)
"""How long a link can be used after it was sent."""
AT_PROJECT_ROLE: Final = ("input", "projectRole")

_EMAIL: Final = entity_of(Invitation).columns["email"]
_MEMBER: Final = (
    "select m.status from user_account u join membership m on m.user_id = u.id"
    " where m.organization_id = $1 and u.email_index = $2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewInvitation:
    """Whom to ask in, and as what: a role in the organization, and if wanted one in a project besides."""

    email: str = field(repr=False)
    name: str = field(repr=False)
    role: OrganizationRole | None = None
    custom_role_id: UUID | None = None
    project_id: UUID | None = None
    project_role: ProjectRole | None = None


async def invite_user(change: Change, *, new: NewInvitation) -> UUID:
    """Ask somebody in by mail, and return the invitation's id.

    Raises:
        ForbiddenError: without `membership:assign`, or `project_membership:assign` in the project; without the reading
            of addresses; a role above one's own, or for longer.
        InvalidInputError: no address; not exactly one role; a project without a role in it, or the reverse.
        NotFoundError: the viewer sees no such project or role.
        ConflictError: the address is a member's, or was invited and has not answered.
    """
    change = await lock_standing(change)
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    email = require_address(new.email, at=("input", "email"))
    values = {"email": email, "name": new.name}
    require_writable(change, entity_of(Invitation), ORGANIZATION, values, at=("input",), is_new=True)
    if (new.project_id is None) != (new.project_role is None):
        raise InvalidInputError("Expected a project and a role in it, or neither.", field=AT_PROJECT_ROLE)
    given = Assignment(role=new.role, custom_role_id=new.custom_role_id)
    await wanted_permissions(change, given, RoleLevel.ORGANIZATION)
    if new.project_id is not None:
        await lock_visible(change, Project, new.project_id, at=("input", "projectId"))
    invitation = Invitation(
        id=new_id(),
        organization_id=change.organization_id,
        created_at=change.at,
        email=email,
        email_index=index_of(_EMAIL, change.organization_id, email),
        name=new.name.strip(),
        role=new.role or OrganizationRole.MEMBER,
        custom_role_id=new.custom_role_id,
        project_id=new.project_id,
        project_role=new.project_role,
        invited_by_id=change.viewer.membership_id,
        expires_at=change.at + LIFETIME,
    )
    await require_may_invite(change, change.viewer, invitation)
    await _require_no_member(change, email)
    await active_keyring().load([subject_owner(change.organization_id, invitation.email_index)])
    try:
        await invitation.save(using_db=change.connection, force_create=True)
    except IntegrityError as error:
        if constraint_of(error) != "invitation_pending":
            raise
        raise ConflictError(
            "This address was invited already. Send that invitation again, or revoke it.", field=("input", "email")
        ) from error
    await _send(change, invitation)
    return invitation.id


async def resend_invitation(change: Change, *, invitation_id: UUID, expected_version: int) -> UUID:
    """Send an invitation again, with another link, and return its id. The links before are over.

    From then on it is the viewer who invites: it holds also where who did before may not any more.

    Raises:
        NotFoundError, ForbiddenError: as `invite_user`.
        ConflictError: it is at another version, or was accepted or revoked; or the address is a member's by now.
    """
    change = await lock_standing(change)
    invitation = await _pending(change, invitation_id, expected_version)
    await load_keys_for([invitation], "email")
    await _require_no_member(change, invitation.email)
    invitation.invited_by_id = change.viewer.principal_id
    invitation.token_digest = None
    invitation.expires_at = change.at + LIFETIME
    invitation.version += 1
    await invitation.save(
        using_db=change.connection, update_fields=["invited_by_id", "token_digest", "expires_at", "version"]
    )
    await _send(change, invitation)
    return invitation.id


async def revoke_invitation(change: Change, *, invitation_id: UUID, expected_version: int) -> UUID:
    """Take an invitation back: its link is refused from then on. Returns its id.

    Raises:
        NotFoundError, ForbiddenError: as `invite_user`.
        ConflictError: it is at another version, or was accepted or revoked.
    """
    change = await lock_standing(change)
    invitation = await _pending(change, invitation_id, expected_version)
    await end_invitations(change, [invitation])
    return invitation.id


async def end_invitations(change: Change, invitations: Sequence[Invitation]) -> None:
    """Revoke invitations that are pending and locked."""
    for one in invitations:
        one.status = InvitationStatus.REVOKED
        one.token_digest = None
        one.version += 1
        await one.save(using_db=change.connection, update_fields=["status", "token_digest", "version"])


async def renew_token(change: Change, invitation: Invitation) -> str:
    """Return a new token for the invitation's link: for who sends it, in the change in which that is noted.

    It works for `LIFETIME` from then, and no link of before does. It is kept nowhere.

    Raises:
        ConflictError: the invitation is not pending: there is nothing to send.
    """
    if invitation.status is not InvitationStatus.PENDING:
        raise ConflictError("The invitation was accepted or revoked.")
    token = InvitationToken.new(invitation.organization_id, invitation.id)
    invitation.token_digest = token.digest()
    invitation.expires_at = change.at + LIFETIME
    await invitation.save(using_db=change.connection, update_fields=["token_digest", "expires_at"])
    return token.encode()


async def require_may_invite(change: Change, inviter: Viewer, invitation: Invitation) -> None:
    """Raise `ForbiddenError` unless the inviter may, at this moment, give all that the invitation promises."""
    require(inviter, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    require_owner(inviter, invitation.role)
    wanted: Permissions
    if invitation.custom_role_id is None:
        wanted = permissions_of_built_in(invitation.role)
    else:
        wanted = await permissions_of_role(change, invitation.custom_role_id)
    require_may_assign(
        inviter,
        ORGANIZATION,
        own=False,
        current=frozenset(),
        wanted=wanted,
        field=AT_ROLE if invitation.custom_role_id is None else AT_CUSTOM_ROLE,
    )
    if invitation.project_id is not None:
        scope = project_scope(invitation.project_id)
        require(inviter, Permission.PROJECT_MEMBERSHIP_ASSIGN, scope)
        require_may_assign(
            inviter,
            scope,
            own=False,
            current=frozenset(),
            wanted=permissions_of_built_in(invitation.project_role),
            field=AT_PROJECT_ROLE,
        )


async def _pending(change: Change, invitation_id: UUID, expected_version: int) -> Invitation:
    invitation = await lock_visible(change, Invitation, invitation_id)
    require(change.viewer, Permission.MEMBERSHIP_ASSIGN, ORGANIZATION)
    await require_may_invite(change, change.viewer, invitation)
    require_version(invitation.version, expected_version)
    if invitation.status is not InvitationStatus.PENDING:
        raise ConflictError("The invitation was accepted or revoked.", field=("input", "id"))
    return invitation


async def _require_no_member(change: Change, email: str) -> None:
    index = await email_index_of(email)
    for row in await fetch(change.connection, _MEMBER, change.organization_id, index):
        # Who left is asked in again. An erased one has no address any more.
        if row["status"] != MembershipStatus.REMOVED:
            raise ConflictError("Somebody with this address is a member already.", field=("input", "email"))


async def _send(change: Change, invitation: Invitation) -> None:
    await enqueue(change, kind=MailKind.INVITATION, subject_id=invitation.id)
