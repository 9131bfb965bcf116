"""Why somebody may or may not: one decision, taken apart into all that has a say in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import asyncpg

from auth.errors import NotFoundError
from auth.permission import Permission
from auth.policy import can, require
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, SELF, OrganizationRole
from auth.scope import ORGANIZATION, Scope
from models.inventory import Entity, entity_of
from models.listing import fetch_by_id
from models.membership import Membership
from models.service_account import ServiceAccount
from models.visibility import scope_of
from resolvers.standing import (
    State,
    grants_of,
    is_active,
    known_permissions,
    member_state,
    service_account_state,
    service_viewer_of,
    viewer_of,
)


class Source(StrEnum):
    """What has a say in a decision."""

    STANDING = "STANDING"
    MEMBERSHIP = "MEMBERSHIP"
    ORGANIZATION_ROLE = "ORGANIZATION_ROLE"
    PROJECT_ROLE = "PROJECT_ROLE"
    OWN = "OWN"
    TOKEN_SCOPE = "TOKEN_SCOPE"  # noqa: S105  (a word, not one)
    VISIBILITY = "VISIBILITY"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that has a say. `gives`: whether it speaks for the permission; each of the others speaks against.

    `role` and `custom_role_id` say which grant it is, `expires_at` until when that holds.
    """

    source: Source
    gives: bool
    says: str
    role: str | None = None
    custom_role_id: UUID | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether, and why. `permission` None: seeing the object is enough. `scope` as in errors."""

    allowed: bool
    permission: str | None
    scope: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Principal:
    """Of whom a decision is asked: a member or a service account of the organization."""

    kind: type[Membership] | type[ServiceAccount]
    row_id: UUID


async def explain_access(
    connection: asyncpg.Connection,
    asker: Viewer,
    *,
    principal: Principal,
    entity: Entity,
    row_id: UUID,
    permission: Permission | None,
) -> Decision:
    """Return whether the principal has the permission on the row at this moment, and why.

    permission: None asks whether the row is seen at all.

    Raises:
        ForbiddenError: the asker lacks `access:read`.
        NotFoundError: the asker sees no such principal or row; or nobody ever had the row in an API.
    """
    require(asker, Permission.ACCESS_READ, ORGANIZATION)
    state = await _state(connection, asker, principal)
    found = (await fetch_by_id(connection, asker, entity, (), [row_id])).get(row_id)
    if found is None:
        raise NotFoundError("There is nothing with this id.", field=("on",))
    is_program = principal.kind is ServiceAccount
    viewer = service_viewer_of(state) if is_program else viewer_of(state)
    scope = scope_of(entity, found, viewer)
    wanted = permission or entity.read
    reasons = [*_standing(state), *_grants(state, wanted, scope, is_program=is_program)]
    if is_program:
        reasons += _token(state, wanted, scope)
    seen = can(viewer, entity.read, scope)
    if wanted is not entity.read:
        reasons.append(_seen(entity, seen=seen))
    stands = all(reason.gives for reason in reasons if reason.source is Source.STANDING)
    return Decision(
        allowed=stands and seen and can(viewer, wanted, scope),
        permission=str(wanted),
        scope=str(scope),
        reasons=tuple(reasons),
    )


async def _state(connection: asyncpg.Connection, asker: Viewer, principal: Principal) -> State:
    state = None
    if await fetch_by_id(connection, asker, entity_of(principal.kind), (), [principal.row_id]):
        load = member_state if principal.kind is Membership else service_account_state
        state = await load(connection, asker.organization_id, principal.row_id)
    if state is None:
        raise NotFoundError("There is no such person or program.", field=("principal",))
    return state


def _standing(state: State) -> Iterator[Reason]:
    active = is_active(state)
    yield Reason(Source.STANDING, active, "Person and membership are active." if active else "The person is suspended.")
    if "token_permissions" in state:
        revoked, expired = state["revoked_at"] is not None, state["expires_at"] <= state["now"]
        said = "The token was revoked." if revoked else "The token has expired." if expired else "The token is good."
        yield Reason(Source.STANDING, not revoked and not expired, said, expires_at=state["expires_at"])


def _grants(state: State, wanted: Permission, scope: Scope, *, is_program: bool) -> Iterator[Reason]:
    """Yield what the person's roles say; of a program, those of whoever made it."""
    of = "the creator's " if is_program else ""
    everybody = ORGANIZATION_ROLES[OrganizationRole.MEMBER]
    if wanted in everybody:
        yield Reason(Source.MEMBERSHIP, True, f"Every member of the organization has {wanted}.")
    for grant in grants_of(state):
        source = Source.ORGANIZATION_ROLE if grant.project_id is None else Source.PROJECT_ROLE
        if grant.project_id is not None and grant.project_id != scope.project_id:
            continue
        holds = grant.holds(state["now"])
        gives = holds and wanted in grant.permissions
        what = f"has {wanted}" if wanted in grant.permissions else f"does not have {wanted}"
        where = "in the organization" if grant.project_id is None else "in this project"
        said = f"{of}role {grant.role} {where} {what}" + ("." if holds else ", but has expired.")
        yield Reason(
            source,
            gives,
            said[0].upper() + said[1:],
            role=grant.role,
            custom_role_id=grant.custom_role_id,
            expires_at=grant.expires_at,
        )
    if scope.is_own:
        gives = wanted in SELF
        yield Reason(
            Source.OWN, gives, f"It is their own: everyone {'has' if gives else 'does not have'} {wanted} there."
        )


def _token(state: State, wanted: Permission, scope: Scope) -> Iterator[Reason]:
    named = wanted in known_permissions(state["token_permissions"])
    yield Reason(Source.TOKEN_SCOPE, named, f"The token's scope {'has' if named else 'leaves out'} {wanted}.")
    projects = state["token_projects"]
    if projects is not None:
        inside = scope.project_id in projects
        yield Reason(
            Source.TOKEN_SCOPE, inside, f"The token is limited to projects, {'this one' if inside else 'others'}."
        )


def _seen(entity: Entity, *, seen: bool) -> Reason:
    said = (
        f"They see the object, by {entity.read}." if seen else f"They don't see the object: that takes {entity.read}."
    )
    return Reason(Source.VISIBILITY, seen, said)
