"""Mappings of tables: saved for a project, so that the next file of the same layout is imported by it."""

from typing import Final
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.permission import Permission
from auth.scope import project_scope
from models.base import new_id
from models.data_import import ImportMapping
from models.errors import ConflictError
from models.inventory import entity_of
from models.project import Project
from resolvers.change import Change
from resolvers.checking import require_fit
from resolvers.csv_mapping import CsvMapping, require_sound
from resolvers.csv_mapping_text import mapping_text
from resolvers.locking import Wanted, hold_visible, lock_visible, require_on, require_version
from resolvers.project import require_active
from resolvers.record_import import require_may_import
from resolvers.writing import require_guards

_AT_MAPPING: Final = ("input", "mapping")
_AT_NAME: Final = ("input", "name")


async def create_mapping(change: Change, *, project_id: UUID, name: str, mapping: CsvMapping) -> UUID:
    """Save a mapping for a project, and return its id.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such project, or may not import into it.
        InvalidInputError: the mapping is not sound, or the name does not fit.
        ConflictError: the project is archived, or has a mapping of that name.
    """
    project = Wanted(Project, project_id, ("status",), at=("input", "projectId"))
    status = (await hold_visible(change, project)).found(project)["status"]
    require_may_import(change.viewer, project_id, status)
    written = ("project_id", "name", "mapping")
    require_guards(change.viewer, entity_of(ImportMapping), project_scope(project_id), written, at=("input",))
    row_id = new_id()
    try:
        await ImportMapping.create(
            using_db=change.connection,
            id=row_id,
            organization_id=change.organization_id,
            created_at=change.at,
            project_id=project_id,
            name=_name(name),
            mapping=_text(mapping),
            created_by_id=change.viewer.membership_id,
        )
    except IntegrityError as error:
        raise ConflictError("The project has another mapping of this name.", field=_AT_NAME) from error
    return row_id


async def update_mapping(
    change: Change, *, mapping_id: UUID, expected_version: int, name: str | None, mapping: CsvMapping | None
) -> UUID:
    """Change a mapping, and return its id. Imports that were made by it keep it as it was.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such mapping, or may not import into its project.
        InvalidInputError: the mapping is not sound, or the name does not fit.
        ConflictError: another version, or another mapping has that name.
    """
    found = await _locked(change, mapping_id, expected_version)
    columns = ["version"]
    if name is not None:
        found.name = _name(name)
        columns.append("name")
    if mapping is not None:
        found.mapping = _text(mapping)
        columns.append("mapping")
    found.version += 1
    try:
        await found.save(using_db=change.connection, update_fields=columns)
    except IntegrityError as error:
        raise ConflictError("The project has another mapping of this name.", field=_AT_NAME) from error
    return mapping_id


async def delete_mapping(change: Change, *, mapping_id: UUID, expected_version: int) -> UUID:
    """Delete a mapping, and return its id. Imports that were made by it keep their copy.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such mapping, or may not import into its project.
        ConflictError: another version.
    """
    found = await _locked(change, mapping_id, expected_version)
    await found.delete(using_db=change.connection)
    return mapping_id


async def _locked(change: Change, mapping_id: UUID, expected_version: int) -> ImportMapping:
    found = await lock_visible(change, ImportMapping, mapping_id)
    require_on(change, Permission.RECORD_IMPORT, found)
    require_version(found.version, expected_version)
    project = Wanted(Project, found.project_id, ("status",), at=("input", "id"))
    require_active((await hold_visible(change, project)).found(project)["status"], at=("input", "id"))
    return found


def _name(name: str) -> str:
    require_fit(entity_of(ImportMapping), {"name": name}, at=("input",))
    return name.strip()


def _text(mapping: CsvMapping) -> str:
    require_sound(mapping, at=_AT_MAPPING)
    text = mapping_text(mapping)
    require_fit(entity_of(ImportMapping), {"mapping": text}, at=("input",))
    return text
