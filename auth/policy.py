"""The decision: may this viewer do this here?

Pure and total. Whoever has no viewer may do nothing. Anything not granted by a role is denied.
"""

from collections.abc import Iterable
from uuid import UUID

from auth.errors import ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.principal import Viewer
from auth.scope import Scope


def permissions_in(viewer: Viewer, scope: Scope) -> frozenset[Permission]:
    """Return all that the viewer may do in the scope.

    The organization's role counts in every scope; a project's role in that project alone, never in the
    organization and never in another project; what is about the viewer adds the permissions that all have. A
    service account has what its creator has, cut down to its token's scope.
    """
    return viewer.access.in_scope(scope)


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
        raise ForbiddenError(
            f"This needs the permission {permission}.", permission=permission, scope=str(scope), field=field
        )
    return viewer


def projects_with(viewer: Viewer, permissions: Iterable[Permission]) -> list[UUID]:
    """Return the projects in which all the permissions are held, of those where more is held than everywhere."""
    wanted = frozenset(permissions)
    return sorted(project_id for project_id, held in viewer.access.projects.items() if wanted <= held)


def has_everywhere(viewer: Viewer, permissions: Iterable[Permission]) -> bool:
    """Return whether all the permissions are held in the organization and in all of its projects."""
    return viewer.access.everywhere.issuperset(permissions)
