"""Creating, changing and archiving projects."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION, project_scope
from models.base import new_id
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.project import Project, ProjectStatus
from models.record_field import RecordField
from models.statement import Statement
from models.transaction import fetch
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.creating import constraint_of, creation_digest, repeats, require_new_id
from resolvers.locking import lock_visible, require_on, require_version
from resolvers.writing import require_writable


@dataclass(frozen=True, slots=True)
class NewProject:
    """What a project is created from."""

    code: str
    name: str
    description: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None


async def create_project(change: Change, *, project_id: UUID | None, new: NewProject) -> UUID:
    """Create a project and return its id.

    Raises:
        ForbiddenError: without `project:create` in the organization.
        ConflictError: the code or the id is taken.
    """
    require(change.viewer, Permission.PROJECT_CREATE, ORGANIZATION)
    values = _values(new)
    require_writable(change, entity_of(Project), ORGANIZATION, values, at=("input",), is_new=True)
    _require_order(values)
    row_id = project_id or new_id()
    require_new_id(row_id)
    digest = creation_digest(change.organization_id, values)
    if await repeats(change, Project, row_id, digest):
        return row_id
    project = Project(
        id=row_id,
        organization_id=change.organization_id,
        created_at=change.at,
        status=ProjectStatus.ACTIVE,
        creation_digest=digest,
        **values,
    )
    await _save(change, project)
    return row_id


async def update_project(change: Change, *, project_id: UUID, expected_version: int, values: dict[str, Any]) -> UUID:
    """Change the given columns of a project and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `project:update` there; a change of the code takes `project:read` in
            the whole organization.
        ConflictError: it is at another version or archived, or the code is taken.
    """
    project = await lock_visible(change, Project, project_id)
    require_on(change, Permission.PROJECT_UPDATE, project)
    require_version(project.version, expected_version)
    require_active(project.status, at=("input", "id"))
    if values.get("code", project.code) != project.code:
        # Whether a code is free tells of projects that one may not see.
        require(change.viewer, Permission.PROJECT_READ, ORGANIZATION, field=("input", "code"))
    require_writable(change, entity_of(Project), project_scope(project.id), values, at=("input",))
    _require_order(values, starts_on=project.starts_on, ends_on=project.ends_on)
    for name, value in values.items():
        setattr(project, name, value)
    project.version += 1
    await _save(change, project, [*values, "version"])
    return project_id


async def archive_project(change: Change, *, project_id: UUID, expected_version: int) -> UUID:
    """Close a project for good: it is read, and takes no more records. Returns its id.

    Raises:
        NotFoundError, ForbiddenError: without `project:archive` there.
        ConflictError: it is at another version, or archived already.
    """
    project = await lock_visible(change, Project, project_id)
    require_on(change, Permission.PROJECT_ARCHIVE, project)
    require_version(project.version, expected_version)
    if project.status is ProjectStatus.ARCHIVED:
        raise ConflictError("The project is archived already.", field=("input", "id"))
    project.status = ProjectStatus.ARCHIVED
    project.version += 1
    await _save(change, project, ["status", "version"])
    return project_id


async def set_location_sensitivity(
    change: Change, *, project_id: UUID, expected_version: int, is_sensitive: bool
) -> UUID:
    """Declare whether the project's locations are sensitive, and return its id.

    It counts at once for what is written and shown from now on; records and sites that are there are rewritten in the
    background (`resolvers/location_rewrite.py`). It can be said of an archived project, too.

    Raises:
        NotFoundError, ForbiddenError: without `project:update` there. Who says that they are sensitive no more shows
            the exact places to all who read the project's records and sites, and so must read them themselves.
        InvalidInputError: no reason was given.
        ConflictError: it is at another version.
    """
    project = await lock_visible(change, Project, project_id)
    require_on(change, Permission.PROJECT_UPDATE, project)
    require_reason(change.intent.reason)
    require_version(project.version, expected_version)
    if project.locations_are_sensitive != is_sensitive:
        if not is_sensitive:
            scope = project_scope(project.id)
            for permission in (Permission.RECORD_READ_CONFIDENTIAL, Permission.SITE_READ_CONFIDENTIAL):
                require(change.viewer, permission, scope, field=("input", "sensitive"))
        project.locations_are_sensitive = is_sensitive
        project.locations_rewriting = True
    project.version += 1
    await _save(change, project, ["locations_are_sensitive", "locations_rewriting", "version"])
    return project_id


@dataclass(frozen=True, slots=True)
class HeldProject:
    """What of a project decides how its records are kept. fields_off: what it does without."""

    locations_are_sensitive: bool
    fields_off: Sequence[str]


async def set_fields_off(
    change: Change, *, project_id: UUID, expected_version: int, off: Collection[RecordField], empties: bool
) -> UUID:
    """Decide which fields of records the project does without, all others being kept, and return its id.

    It counts at once for what is written. empties: whether what was kept of them before is emptied, in the background
    (`resolvers/field_emptying.py`); if not, it stays as it is until somebody decides that. Records that a legal hold
    keeps are left as they are until it is lifted.

    Raises:
        NotFoundError, ForbiddenError: without `project:update` there; to empty, without `record:delete`.
        InvalidInputError: no reason was given; nothing is switched off that could be emptied.
        ConflictError: it is at another version.
    """
    project = await lock_visible(change, Project, project_id)
    require_on(change, Permission.PROJECT_UPDATE, project)
    require_reason(change.intent.reason)
    require_version(project.version, expected_version)
    if empties:
        require(change.viewer, Permission.RECORD_DELETE, project_scope(project.id), field=("input", "emptyKept"))
        if not off:
            raise InvalidInputError("Nothing is switched off that could be emptied.", field=("input", "emptyKept"))
    project.fields_off = [one.value for one in RecordField if one in off] or None
    project.fields_emptying = True if empties else None
    project.version += 1
    await _save(change, project, ["fields_off", "fields_emptying", "version"])
    return project_id


async def hold_active_project(change: Change, project_id: UUID) -> HeldProject:
    """Hold a project as it is until the end, and return how its records are kept.

    Raises:
        ConflictError: it is archived.
    """
    statement = Statement()
    rows = await fetch(
        change.connection,
        f'select status, locations_are_sensitive, fields_off from "{entity_of(Project).name}"'
        f" where organization_id = {statement.argument(change.organization_id)}"
        f" and id = {statement.argument(project_id)} for share",
        *statement.arguments,
    )
    require_active(rows[0]["status"], at=("input", "id"))
    return HeldProject(bool(rows[0]["locations_are_sensitive"]), rows[0]["fields_off"] or ())


def require_active(status: str, *, at: tuple[str | int, ...]) -> None:
    """Raise `ConflictError` where a project of that status takes no more changes of its records."""
    if status == ProjectStatus.ARCHIVED:
        raise ConflictError("The project is archived and takes no more changes.", field=at)


def _values(new: NewProject) -> dict[str, Any]:
    return {
        "code": new.code,
        "name": new.name,
        "description": new.description,
        "starts_on": new.starts_on,
        "ends_on": new.ends_on,
    }


def _require_order(values: dict[str, Any], *, starts_on: date | None = None, ends_on: date | None = None) -> None:
    first, last = values.get("starts_on", starts_on), values.get("ends_on", ends_on)
    if first is not None and last is not None and last < first:
        raise InvalidInputError("Expected a day on or after the start.", field=("input", "endsOn"))


async def _save(change: Change, project: Project, columns: list[str] | None = None) -> None:
    try:
        await project.save(using_db=change.connection, update_fields=columns, force_create=columns is None)
    except IntegrityError as error:
        if constraint_of(error) == "project_code_key":
            raise ConflictError(
                "Another project of the organization has this code.", field=("input", "code")
            ) from error
        raise
