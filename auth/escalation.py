"""Who may give, change or take away whose role.

Three rules, on top of the permission to assign at all: nobody gives or takes a role that can do more than they can;
nobody changes their own role; an organization keeps at least one owner (that one needs a count, so the caller asks
for it under a lock).
"""

from auth.errors import ForbiddenError
from auth.policy import permissions_in
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES, OrganizationRole, ProjectRole
from auth.scope import ORGANIZATION, Scope


def require_may_assign_in_organization(
    viewer: Viewer, *, own: bool, current: OrganizationRole, wanted: OrganizationRole
) -> None:
    """Raise `ForbiddenError` unless the viewer may turn a member of role `current` into `wanted`.

    `own` says that the membership is the viewer's.
    """
    _require_not_own(own=own)
    held = permissions_in(viewer, ORGANIZATION)
    for role in (current, wanted):
        if not held >= ORGANIZATION_ROLES[role] or (
            role is OrganizationRole.OWNER and viewer.role is not OrganizationRole.OWNER
        ):
            raise ForbiddenError(f"The role {role} can do more than you can.", field=("input", "role"))


def require_may_assign_in_project(
    viewer: Viewer, scope: Scope, *, own: bool, current: ProjectRole | None, wanted: ProjectRole | None
) -> None:
    """Raise `ForbiddenError` unless the viewer may turn `current` into `wanted` there; None is no role."""
    _require_not_own(own=own)
    held = permissions_in(viewer, scope)
    for role in (current, wanted):
        if role is not None and not held >= PROJECT_ROLES[role]:
            raise ForbiddenError(f"The role {role} can do more than you can.", field=("input", "role"))


def _require_not_own(*, own: bool) -> None:
    if own:
        raise ForbiddenError(
            "Nobody changes their own role or standing. Ask another owner or admin.", field=("input", "userId")
        )
