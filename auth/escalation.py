"""Who may give, change or take away whose role, and define what a role may do.

Four rules, on top of the permission to assign at all: nobody gives or takes a role that can do more than they can;
nobody gives one for longer than they can do the same; nobody changes their own role; an organization keeps at least
one owner (that one needs a count, so the caller asks for it under a lock). A role of the organization's own is what its
permissions are: whoever defines or changes one holds all that it could do before and all that it can do after, and does
not hold the role.
"""

from datetime import datetime

from auth.access import Permissions, access_of
from auth.errors import ForbiddenError
from auth.policy import permissions_in
from auth.principal import Viewer
from auth.role import OrganizationRole
from auth.scope import Scope

Field = tuple[str | int, ...]
AT_ROLE: Field = ("input", "role")


def require_may_assign(
    viewer: Viewer,
    scope: Scope,
    *,
    own: bool,
    current: Permissions,
    wanted: Permissions,
    until: datetime | None = None,
    ends_at: datetime | None = None,
    field: Field = AT_ROLE,
) -> None:
    """Raise `ForbiddenError` unless the viewer may turn what `current` gives there into what `wanted` gives.

    own: whether the membership is the viewer's. No role is the empty set. until: when what is given ends; None: never.
    ends_at: when the current role would have ended, likewise.
    """
    if own:
        raise ForbiddenError(
            "Nobody changes their own role or standing. Ask another owner or admin.", field=("input", "userId")
        )
    require_no_more(viewer, scope, current | wanted, field=field)
    # What they have until then already is not given.
    new = wanted - current if _lasts(ends_at, until) else wanted
    require_no_longer(viewer, scope, new, until=until, field=field)


def require_owner(viewer: Viewer, *roles: OrganizationRole) -> None:
    """Raise `ForbiddenError` where one of the roles is OWNER and the viewer is none: only owners make owners."""
    if OrganizationRole.OWNER in roles and viewer.role is not OrganizationRole.OWNER:
        raise ForbiddenError("Only an owner makes or unmakes an owner.", field=AT_ROLE)


def require_no_more(viewer: Viewer, scope: Scope, permissions: Permissions, *, field: Field) -> None:
    """Raise `ForbiddenError`, naming one permission, where the viewer does not hold all of them there."""
    missing = sorted(permissions - permissions_in(viewer, scope))
    if missing:
        raise ForbiddenError(
            f"The role can do more than you can: it has {missing[0]}.", permission=missing[0], field=field
        )


def require_no_longer(
    viewer: Viewer, scope: Scope, permissions: Permissions, *, until: datetime | None, field: Field
) -> None:
    """Raise `ForbiddenError` where the viewer's own grants end before `until` and one of the permissions with them.

    Two who were let in for an hour would else let each other in for good. until: None is for good.
    """
    lasting = [grant for grant in viewer.grants if _lasts(grant.expires_at, until)]
    missing = sorted(permissions - access_of(lasting).in_scope(scope))
    if missing:
        raise ForbiddenError(
            f"The role would last longer than what you have yourself: {missing[0]}.", permission=missing[0], field=field
        )


def _lasts(ends_at: datetime | None, until: datetime | None) -> bool:
    """Return whether what ends at the one moment lasts until the other. None is never."""
    return ends_at is None or (until is not None and until <= ends_at)
