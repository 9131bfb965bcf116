"""Imports by their states: made, given their file, started, called off, and let go of.

What runs them is `resolvers/import_running.py`; the file is `resolvers/import_file.py`'s.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from auth.action import Action
from auth.permission import Permission
from auth.policy import require
from auth.scope import project_scope
from models.base import new_id
from models.data_import import DataImport, ImportKind, ImportMapping, ImportStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.project import Project
from models.transaction import fetch
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import require_fit
from resolvers.import_file import received_bytes
from resolvers.locking import Wanted, hold_visible, lock_visible, require_on
from resolvers.record_import import require_may_import
from resolvers.site_geojson import LARGEST_FILE, SiteMapping, require_sound, site_mapping_text
from resolvers.site_import import require_may_import_sites
from resolvers.trail import Actor
from resolvers.writing import require_guards

MOST_KEPT: Final = 4
"""How many times the largest file the files may be together that are kept for imports of one project."""

KEPT: Final = (
    ImportStatus.OPEN,
    ImportStatus.UPLOADED,
    ImportStatus.RUNNING,
    ImportStatus.CHECKED,
    ImportStatus.FAILED,
)
"""The states in which an import has a file, or waits for one."""
STARTABLE: Final = frozenset({ImportStatus.UPLOADED, ImportStatus.CHECKED, ImportStatus.FAILED})

TOUCHED: Final = (
    "greatest(i.created_at, i.started_at, i.ended_at,"
    # The last piece by its index: they come one behind the other.
    " (select c.created_at from import_chunk c"
    " where c.organization_id = i.organization_id and c.import_id = i.id order by c.start desc limit 1))"
)
"""When somebody touched the import `i` last, in SQL: made it, sent bytes of its file, had it run, or saw that end."""

_AT_ID: Final = ("input", "id")
_AT_PROJECT: Final = ("input", "projectId")
_AT_PROPERTIES: Final = ("input", "siteProperties")


@dataclass(frozen=True, slots=True)
class NewImport:
    """What is to be imported. size: the file's, in bytes. mapping_id: by which mapping, of files of kind CSV.

    site_properties: where the sites of a file are in its features, of kind GEOJSON_SITES.
    """

    project_id: UUID
    kind: ImportKind
    file_name: str
    size: int
    mapping_id: UUID | None = None
    site_properties: SiteMapping | None = None


async def create_import(change: Change, *, new: NewImport, largest: int) -> UUID:
    """Make an import that waits for its file, and return its id.

    largest: bytes that a file may have.

    Raises:
        NotFoundError, ForbiddenError: the viewer sees no such project or mapping, or may not import into it.
        InvalidInputError: the file is empty or too large, or its kind and its mapping do not go together.
        ConflictError: the project is archived, or keeps too much of files for imports.
    """
    project = Wanted(Project, new.project_id, ("status",), at=_AT_PROJECT)
    at_mapping = ("input", "mappingId")
    named = [Wanted(ImportMapping, new.mapping_id, ("project_id", "mapping"), at=at_mapping)] if new.mapping_id else []
    held = await hold_visible(change, project, *named)
    _require_may(change, new.kind, new.project_id, held.found(project)["status"])
    largest = min(largest, LARGEST_FILE) if new.kind is ImportKind.GEOJSON_SITES else largest
    written = ("project_id", "kind", "file_name", "size", *(("mapping",) if new.site_properties is not None else ()))
    require_guards(change.viewer, entity_of(DataImport), project_scope(new.project_id), written, at=("input",))
    if (new.kind is ImportKind.CSV) is (new.mapping_id is None):
        raise InvalidInputError("Expected a mapping for kind CSV, and for no other.", field=at_mapping)
    if new.site_properties is not None:
        if new.kind is not ImportKind.GEOJSON_SITES:
            what = "Expected properties of sites for kind GEOJSON_SITES, and for no other."
            raise InvalidInputError(what, field=_AT_PROPERTIES)
        require_sound(new.site_properties, at=_AT_PROPERTIES)
    mapping = held.found(named[0]) if named else None
    if mapping is not None and mapping["project_id"] != new.project_id:
        raise InvalidInputError("Expected a mapping of the same project.", field=at_mapping)
    if not 1 <= new.size <= largest:
        raise InvalidInputError(f"Expected a file of 1 to {largest} bytes.", field=("input", "size"))
    require_fit(entity_of(DataImport), {"file_name": new.file_name}, at=("input",))
    (kept,) = await fetch(
        change.connection,
        f'select coalesce(sum(size), 0)::bigint as bytes from "{entity_of(DataImport).name}"'
        " where organization_id = $1 and project_id = $2 and status = any($3)",
        change.organization_id,
        new.project_id,
        list(KEPT),
    )
    if kept["bytes"] + new.size > MOST_KEPT * largest:
        what = "The files of the project's imports that are not through are too large together: cancel one."
        raise ConflictError(what, field=_AT_PROJECT)
    row_id = new_id()
    await change.insert(
        DataImport,
        [
            {
                "id": row_id,
                "organization_id": change.organization_id,
                "created_at": change.at,
                "project_id": new.project_id,
                "kind": new.kind,
                "file_name": new.file_name.strip(),
                "size": new.size,
                "mapping": _mapping_text(mapping, new.site_properties),
                "created_by_id": change.viewer.membership_id,
            }
        ],
    )
    return row_id


async def complete_upload(actor: Actor, import_id: UUID) -> None:
    """Note that the file is there as a whole. What is noted already is left as it is.

    Raises:
        NotFoundError, ForbiddenError: the viewer does not see the import, or may not import any more.
    """

    async def work(change: Change) -> None:
        found = await lock_visible(change, DataImport, import_id, at=("id",))
        require_on(change, Permission.RECORD_IMPORT, found)
        if found.status is not ImportStatus.OPEN:
            return
        found.status = ImportStatus.UPLOADED
        await found.save(using_db=change.connection, update_fields=["status"])

    intent = Intent(Action.DATA_IMPORT_UPLOAD, actor, entity=entity_of(DataImport).name, subjects=[import_id])
    await commit_change(intent, work)


async def start_import(change: Change, *, import_id: UUID, is_dry_run: bool, drops_switched_off: bool = False) -> UUID:
    """Have the import run in the background, in the viewer's name, and return its id.

    A dry run judges each row as the import would, and writes nothing. What an earlier run said of the rows is replaced.

    drops_switched_off: leave values out of fields that the project does without, instead of rejecting their rows.

    Raises:
        NotFoundError, ForbiddenError: the viewer does not see the import, or may not import into its project.
        ConflictError: its file is not there, it runs, or it is through; the project is archived.
    """
    found = await lock_visible(change, DataImport, import_id)
    project = Wanted(Project, found.project_id, ("status",), at=_AT_ID)
    status = (await hold_visible(change, project)).found(project)["status"]
    _require_may(change, found.kind, found.project_id, status)
    if found.status not in STARTABLE:
        raise ConflictError(f"An import that is {found.status} can't be started.", field=_AT_ID)
    if found.status is ImportStatus.FAILED and await received_bytes(change.organization_id, import_id) < found.size:
        raise ConflictError("The file is not there any more: upload it again.", field=_AT_ID)
    viewer = change.viewer
    found.status = ImportStatus.RUNNING
    found.run += 1
    found.is_dry_run = is_dry_run
    found.drops_switched_off = drops_switched_off or None
    found.started_by_id = viewer.membership_id
    found.started_by_program_id = viewer.service_account_id
    found.started_on_id = viewer.device_id
    found.scope = sorted(viewer.token_scope) if viewer.token_scope is not None else None
    found.started_at = change.at
    cleared = (
        *("ended_at", "total_rows", "created_rows", "known_rows", "rejected_rows", "blank_rows", "records_created"),
        *("error_code", "error_message"),
    )
    for name in cleared:
        setattr(found, name, None)
    who = ("started_by_id", "started_by_program_id", "started_on_id", "scope", "started_at")
    await found.save(
        using_db=change.connection,
        update_fields=[
            *("status", "run", "is_dry_run", "drops_switched_off"),
            *who,
            *cleared,
        ],
    )
    await _delete(change, "import_block", import_id)
    return import_id


async def cancel_import(change: Change, *, import_id: UUID) -> UUID:
    """Call the import off and forget its file, and return its id. Records that it made already stay.

    Raises:
        NotFoundError, ForbiddenError: the viewer does not see the import, or may not import into its project.
        ConflictError: it is through already.
    """
    found = await lock_visible(change, DataImport, import_id)
    require(change.viewer, Permission.RECORD_IMPORT, project_scope(found.project_id))
    if found.status not in KEPT:
        raise ConflictError(f"An import that is {found.status} can't be cancelled.", field=_AT_ID)
    also = await _counted(change, found) if found.status is ImportStatus.RUNNING else []
    await _end(change, found, ImportStatus.CANCELLED, also=also)
    return import_id


async def forget_file(actor: Actor, import_id: UUID, *, untouched_s: float) -> bool:
    """Let go of a file that nobody has touched for so long; return whether it was one."""

    async def work(change: Change) -> bool:
        found = await _locked(change, import_id)
        if found.status not in KEPT or found.status is ImportStatus.RUNNING:
            return False
        (row,) = await fetch(
            change.connection,
            f'select {TOUCHED} as touched from "{entity_of(DataImport).name}" i where organization_id = $1 and id = $2',
            change.organization_id,
            import_id,
        )
        if (change.at - row["touched"]).total_seconds() < untouched_s:
            return False
        await _end(change, found, ImportStatus.EXPIRED)
        return True

    intent = Intent(Action.DATA_IMPORT_FORGET, actor, entity=entity_of(DataImport).name, subjects=[import_id])
    return await commit_change(intent, work)


async def finish_import(
    actor: Actor, import_id: UUID, run: int, *, code: str | None = None, message: str | None = None
) -> None:
    """Note that a run has come to its end, with the counts of its rows; what ended otherwise meanwhile is left so.

    code, message: what went wrong, where it did.
    """

    async def work(change: Change) -> None:
        found = await _locked(change, import_id)
        if found.status is not ImportStatus.RUNNING or found.run != run:
            return
        counted = await _counted(change, found)
        if code is None and found.total_rows is None:
            found.total_rows = 0
        found.ended_at = change.at
        found.error_code, found.error_message = code, message
        columns = ["ended_at", "error_code", "error_message", *counted]
        if code is not None:
            await _end(change, found, ImportStatus.FAILED, keeps_file=True, also=columns)
        elif found.is_dry_run:
            await _end(change, found, ImportStatus.CHECKED, keeps_file=True, also=columns)
        else:
            await _end(change, found, ImportStatus.DONE, also=columns)

    intent = Intent(Action.DATA_IMPORT_FINISH, actor, entity=entity_of(DataImport).name, subjects=[import_id])
    await commit_change(intent, work)


def _mapping_text(mapping: Any, properties: SiteMapping | None) -> str | None:
    if mapping is not None:
        return str(mapping["mapping"])
    return site_mapping_text(properties) if properties is not None else None


def _require_may(change: Change, kind: ImportKind, project_id: UUID, status: str) -> None:
    """Raise unless the viewer may import files, and write what those of the kind hold.

    Raises:
        ForbiddenError: they may not.
        ConflictError: the project is archived.
    """
    if kind is ImportKind.GEOJSON_SITES:
        require(change.viewer, Permission.RECORD_IMPORT, project_scope(project_id))
        require_may_import_sites(change.viewer, project_id, status)
    else:
        require_may_import(change.viewer, project_id, status)


async def _end(
    change: Change, found: DataImport, status: ImportStatus, *, keeps_file: bool = False, also: Any = ()
) -> None:
    found.status = status
    if found.ended_at is None:
        found.ended_at = change.at
    await found.save(using_db=change.connection, update_fields=list(dict.fromkeys(["status", "ended_at", *also])))
    if not keeps_file:
        await _delete(change, "import_chunk", found.id)


async def _counted(change: Change, found: DataImport) -> list[str]:
    """Have the import say how many of its rows came to what so far, and return the columns that do."""
    counted = ("created_rows", "known_rows", "rejected_rows", "blank_rows", "records_created")
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in counted)
    (row,) = await fetch(
        change.connection,
        f"select {sums}, max(total_rows) as total_rows from import_block"
        " where organization_id = $1 and import_id = $2 and run = $3",
        change.organization_id,
        found.id,
        found.run,
    )
    for name, value in row.items():
        setattr(found, name, value)
    return list(row.keys())


async def _locked(change: Change, import_id: UUID) -> DataImport:
    """Return the row, locked, for the service's own jobs, which see every import."""
    return await (
        DataImport.filter(organization_id=change.organization_id, id=import_id)
        .using_db(change.connection)
        .select_for_update()
        .get()
    )


async def _delete(change: Change, table: str, import_id: UUID) -> None:
    async with change.connection.acquire_connection() as raw:
        await raw.execute(
            f"delete from {table} where organization_id = $1 and import_id = $2", change.organization_id, import_id
        )
