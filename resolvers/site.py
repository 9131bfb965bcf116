"""Creating, changing and deleting the sites of projects."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.permission import Permission
from auth.policy import require
from auth.scope import project_scope
from models.base import new_id
from models.encryption.codec import Point
from models.errors import ConflictError
from models.inventory import entity_of
from models.legal_hold import holds_on_site, lock_holds
from models.project import Project
from models.site import Site
from resolvers.change import Change
from resolvers.checking import Path, require_reason
from resolvers.creating import constraint_of, creation_digest, repeats, require_new_id
from resolvers.held import require_not_held
from resolvers.location import LOCATION, location_columns, moved, require_whole
from resolvers.locking import Wanted, hold_visible, lock_visible, require_on, require_version, scope_of_model
from resolvers.project import hold_active_project, require_active
from resolvers.record import PROJECT_COLUMNS
from resolvers.writing import require_writable

AT_PROJECT: Path = ("input", "projectId")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSite:
    """What a site is created from. Degrees are WGS 84: always of the exact place."""

    code: str
    name: str
    kind: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    description: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The site's own columns."""
        return {name: getattr(self, name) for name in self.__slots__}


async def create_site(change: Change, *, project_id: UUID, site_id: UUID | None, new: NewSite) -> UUID:
    """Create a site of a project and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `site:create` in the project.
        InvalidInputError: the place has one of its two degrees.
        ConflictError: the project is archived, or the code or the id is taken.
    """
    project = Wanted(Project, project_id, PROJECT_COLUMNS, AT_PROJECT)
    found = (await hold_visible(change, project)).found(project)
    scope = project_scope(project_id)
    require(change.viewer, Permission.SITE_CREATE, scope)
    require_active(found["status"], at=AT_PROJECT)
    require_writable(change, entity_of(Site), scope, new.values, at=("input",), is_new=True)
    require_whole(Point(new.latitude, new.longitude))
    row_id = site_id or new_id()
    require_new_id(row_id)
    # Whoever repeats it is who said it: nobody tries places against what another has made.
    said = {**new.values, "project_id": project_id, "by": sorted(change.viewer.hands)}
    digest = creation_digest(change.organization_id, said)
    if site_id is not None and await repeats(change, Site, row_id, digest):
        return row_id
    made = site_values(change, row_id, project_id, new, is_sensitive=found["locations_are_sensitive"])
    await _save(change, Site(**made, creation_digest=digest))
    return row_id


async def update_site(change: Change, *, site_id: UUID, expected_version: int, values: dict[str, Any]) -> UUID:
    """Change the given columns of a site and return its id.

    Records stay with the code that they were made with.

    Raises:
        NotFoundError, ForbiddenError: without `site:update` there, or, where its place is sensitive and changed,
            `site:read_confidential`.
        ConflictError: another version; an archived project; the code is taken.
    """
    site = await lock_visible(change, Site, site_id)
    require_on(change, Permission.SITE_UPDATE, site)
    require_version(site.version, expected_version)
    is_sensitive = (await hold_active_project(change, site.project_id)).locations_are_sensitive
    scope = scope_of_model(change, site)
    require_writable(change, entity_of(Site), scope, values, at=("input",))
    if not LOCATION.isdisjoint(values):
        values = {**values, **await moved(change, site, values, scope, is_sensitive=is_sensitive)}
    for name, value in values.items():
        setattr(site, name, value)
    site.version += 1
    await _save(change, site, [*values, "version"])
    return site_id


async def delete_site(change: Change, *, site_id: UUID, expected_version: int) -> UUID:
    """Delete a site; its records stay, and the trail keeps what it was. Returns the id.

    Raises:
        NotFoundError, ForbiddenError: without `site:delete` there.
        InvalidInputError: no reason was given.
        ConflictError: another version; an archived project; a legal hold keeps it.
    """
    await lock_holds(change.connection, change.organization_id)
    site = await lock_visible(change, Site, site_id)
    require_on(change, Permission.SITE_DELETE, site)
    require_reason(change.intent.reason)
    require_version(site.version, expected_version)
    require_not_held(await holds_on_site(change.connection, change.organization_id, site_id))
    await hold_active_project(change, site.project_id)
    await site.delete(using_db=change.connection)
    return site_id


def site_values(change: Change, row_id: UUID, project_id: UUID, new: NewSite, *, is_sensitive: bool) -> dict[str, Any]:
    """Return the columns of a site, as it is written. is_sensitive: whether the places of its project are."""
    return {
        **new.values,
        **location_columns(Point(new.latitude, new.longitude), is_sensitive=is_sensitive),
        "id": row_id,
        "organization_id": change.organization_id,
        "project_id": project_id,
        "created_at": change.at,
    }


async def _save(change: Change, site: Site, columns: list[str] | None = None) -> None:
    try:
        await site.save(using_db=change.connection, update_fields=columns, force_create=columns is None)
    except IntegrityError as error:
        if constraint_of(error) == "site_code_key":
            raise ConflictError("Another site of the project has this code.", field=("input", "code")) from error
        raise
