"""The decision: may this viewer do this here?

Pure and total. Whoever has no viewer may do nothing. Anything not granted by `auth/role.py` is denied.
"""

from collections.abc import Iterable
from uuid import UUID

from auth.errors import ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.principal import Viewer
from auth.role import ORGANIZATION_ROLES, PROJECT_ROLES
from auth.role import SELF as SELF_PERMISSIONS
from auth.scope import Scope


def permissions_in(viewer: Viewer, scope: Scope) -> frozenset[Permission]:
    """Return all that the viewer may do in the scope.

    The organization's role counts in every scope; a project's role in that project alone, never in the
    organization and never in another project; what is about the viewer adds the permissions that all have.
    """
    granted = ORGANIZATION_ROLES[viewer.role]
    if scope.project_id is not None:
        role = viewer.project_roles.get(scope.project_id)
        if role is not None:
            granted |= PROJECT_ROLES[role]
    if scope.is_own:
        granted |= SELF_PERMISSIONS
    return granted


def can(viewer: Viewer | None, permission: Permission, scope: Scope) -> bool:
    """Return whether the viewer has the permission in the scope."""
    return viewer is not None and permission in permissions_in(viewer, scope)


def require(
    viewer: Viewer | None, permission: Permission, scope: Scope, *, field: tuple[str | int, ...] = ()
) -> Viewer:
    """Return the viewer if it has the permission in the scope.

    Raises:
        UnauthenticatedError: nobody is signed in.
        ForbiddenError: the viewer lacks the permission there.
    """
    if viewer is None:
        raise UnauthenticatedError("Sign in first.")
    if permission not in permissions_in(viewer, scope):
        raise ForbiddenError(f"This needs the permission {permission}.", permission=permission, field=field)
    return viewer


def projects_with(viewer: Viewer, permissions: Iterable[Permission]) -> list[UUID]:
    """Return the projects in which the viewer's role there, joined with its own, grants all the permissions."""
    wanted = frozenset(permissions) - ORGANIZATION_ROLES[viewer.role]
    return sorted(project_id for project_id, role in viewer.project_roles.items() if wanted <= PROJECT_ROLES[role])


def has_everywhere(viewer: Viewer, permissions: Iterable[Permission]) -> bool:
    """Return whether the viewer's organization role alone grants all the permissions."""
    return ORGANIZATION_ROLES[viewer.role].issuperset(permissions)
