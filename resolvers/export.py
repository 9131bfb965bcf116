"""Asking for exports, and what is done with them: cancelling, deleting, and links to take them by.

An export is its requester's: it was made with their rights, and nobody else takes it. Others who may read exports see
that there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from auth.errors import ForbiddenError
from auth.opaque_token import ExportToken
from auth.permission import Permission
from auth.policy import require
from auth.principal import Viewer
from auth.scope import ORGANIZATION, Scope
from models.base import new_id
from models.condition import Condition, leaves_of
from models.condition_text import text_of_request
from models.data_export import DataExport, DataExportProgress, ExportFormat, ExportStatus
from models.encryption.envelope import KeyPurpose
from models.encryption.keyring import active_keyring
from models.encryption.owner import export_owner
from models.errors import ConflictError
from models.inventory import entity_of
from models.record import Record
from models.transaction import fetch
from models.writing import insert_rows
from resolvers.change import Change
from resolvers.creating import creation_digest, repeats, require_new_id
from resolvers.export_rights import SENSITIVE, require_used
from resolvers.locking import lock_visible, require_on
from resolvers.writing import require_writable

MOST_PENDING: Final = 5
"""Exports that one person or program has at work at a time."""
LINK_LIFETIME: Final = timedelta(minutes=5)
"""How long a link to a file is good for a download to begin."""

AT_ID: Final = ("input", "id")


@dataclass(frozen=True, slots=True)
class NewExport:
    """What is exported. conditions, of_measurements: what the filter means.

    filter: what is kept of it to be shown, as JSON. filter_said: the same with all of its values, by which one who asks
    again is told from one who asks for something else.
    """

    format: ExportFormat
    filter: str | None = field(default=None, repr=False)
    filter_said: str | None = field(default=None, repr=False)
    conditions: Sequence[Any] = field(default=(), repr=False)
    of_measurements: Sequence[Any] = field(default=(), repr=False)


async def create_export(change: Change, *, export_id: UUID | None, new: NewExport) -> UUID:
    """Ask for an export, and return its id. It is made in the background.

    Raises:
        ForbiddenError: the viewer may export no records anywhere; of an archive, not everything; of WQX, not read the
            organization; it is a program that asks for a person's own.
        ConflictError: the id is taken, or too many of theirs are at work.
    """
    viewer = change.viewer
    if new.format is ExportFormat.ARCHIVE:
        require(viewer, Permission.EXPORT_ARCHIVE, ORGANIZATION)
    elif new.format is ExportFormat.PERSON:
        if viewer.membership_id is None:
            raise ForbiddenError("A program is nobody whose data there could be.")
    elif Permission.RECORD_EXPORT not in viewer.access.reach:
        require(viewer, Permission.RECORD_EXPORT, ORGANIZATION)
    if new.format is ExportFormat.WQX_XML:
        require(viewer, Permission.ORGANIZATION_READ, ORGANIZATION)
    given = {"format": new.format, "filter_given": new.filter}
    require_writable(change, entity_of(DataExport), _own(viewer), given, at=("input",), is_new=True)
    row_id = export_id or new_id()
    require_new_id(row_id)
    request = text_of_request(new.conditions, new.of_measurements)
    content = {"format": new.format, "filter": new.filter_said, "by": str(viewer.principal_id)}
    digest = creation_digest(change.organization_id, content)
    if await repeats(change, DataExport, row_id, digest):
        return row_id
    await _require_few(change, viewer)
    whose = {
        "id": row_id,
        "organization_id": change.organization_id,
        "created_at": change.at,
        "created_by_id": viewer.membership_id,
    }
    export = {
        **whose,
        "service_account_id": viewer.service_account_id,
        "device_id": viewer.device_id,
        "token_id": viewer.token_id,
        "token_scope": None if viewer.token_scope is None else sorted(map(str, viewer.token_scope)),
        "format": new.format,
        "filter_given": new.filter,
        "request": request,
        "searched_for": _searched_for(new.conditions),
        "creation_digest": digest,
    }
    if new.filter is not None or request is not None:
        await active_keyring().load([export_owner(change.organization_id, row_id, KeyPurpose.VALUES)])
    await change.insert(DataExport, [export])
    # Not by the change, which answers the rows that it made by their ids: this one has the export's.
    await insert_rows(change.connection, entity_of(DataExportProgress), [whose])
    return row_id


async def cancel_export(change: Change, *, export_id: UUID) -> UUID:
    """Stop an export that is not ready yet, and return its id.

    Raises:
        NotFoundError, ForbiddenError: it is not theirs, and they lack `export:delete`.
        ConflictError: it is not being made.
    """
    export = await lock_visible(change, DataExport, export_id)
    require_on(change, Permission.EXPORT_DELETE, export)
    if export.status is not ExportStatus.PENDING:
        raise ConflictError("The export is not being made any more.", field=AT_ID)
    export.status = ExportStatus.CANCELLED
    export.finished_at = change.at
    await export.save(using_db=change.connection, update_fields=["status", "finished_at"])
    return export.id


async def delete_export(change: Change, *, export_id: UUID) -> UUID:
    """Destroy the file of an export that is ready, and return its id. The row stays, and says what left.

    Raises:
        NotFoundError, ForbiddenError: it is not theirs, and they lack `export:delete`.
        ConflictError: there is no file.
    """
    export = await lock_visible(change, DataExport, export_id)
    require_on(change, Permission.EXPORT_DELETE, export)
    if export.status is not ExportStatus.READY:
        raise ConflictError("The export has no file.", field=AT_ID)
    export.status = ExportStatus.DELETED
    export.link_digest = export.link_expires_at = export.link_holder = None
    await export.save(
        using_db=change.connection,
        update_fields=["status", "link_digest", "link_expires_at", "link_holder"],
    )
    return export.id


async def create_export_link(change: Change, *, export_id: UUID) -> tuple[UUID, str]:
    """Make the one link to an export's file that is good from now on; return its id and the link's path.

    Raises:
        NotFoundError: there is no such export for this viewer.
        ForbiddenError: it is somebody else's, or it holds what they may not read any more.
        ConflictError: it is not ready.
    """
    export = await lock_visible(change, DataExport, export_id)
    require_own(export.created_by_id, export.service_account_id, change.viewer)
    if export.status is not ExportStatus.READY or export.expires_at is None or export.expires_at <= change.at:
        raise ConflictError("The export has no file.", field=AT_ID)
    rows = await fetch(change.connection, SENSITIVE, change.organization_id)
    require_used(export.used_rights or (), change.viewer, sensitive={row["id"] for row in rows})
    token = ExportToken.new(change.organization_id, export.id)
    export.link_digest = token.digest()
    export.link_expires_at = min(change.at + LINK_LIFETIME, export.expires_at)
    export.link_holder = change.viewer.session_id or change.viewer.token_id
    await export.save(using_db=change.connection, update_fields=["link_digest", "link_expires_at", "link_holder"])
    return export.id, f"/exports/{export.id}/{export.file_name}?link={token.encode()}"


def require_own(membership_id: UUID | None, service_account_id: UUID | None, viewer: Viewer) -> None:
    """Raise `ForbiddenError` unless the viewer is who asked for the export."""
    if viewer.principal_id != (membership_id or service_account_id):
        raise ForbiddenError("Only who asked for an export takes it: it was made with their rights.")


def _searched_for(conditions: Sequence[Any]) -> bytes | None:
    """Return the blind indexes that conditions compare with, by which who is named in them is found."""
    entity = entity_of(Record)
    leaves = (one for one in leaves_of(conditions) if isinstance(one, Condition) and one.value is not None)
    given = (one.value for one in leaves if entity.columns[one.column].search is not None)
    return b"".join(index for value in given for index in (value if isinstance(value, list) else [value])) or None


def _own(viewer: Viewer) -> Scope:
    """Return the scope of an export that the viewer asks for."""
    return Scope(is_own=viewer.membership_id is not None)


async def _require_few(change: Change, viewer: Viewer) -> None:
    (counted,) = await fetch(
        change.connection,
        "select count(*) as pending from data_export where organization_id = $1 and status = 'PENDING'"
        " and coalesce(created_by_id, service_account_id) = $2",
        change.organization_id,
        viewer.principal_id,
    )
    if counted["pending"] >= MOST_PENDING:
        raise ConflictError(f"{MOST_PENDING} exports of yours are being made. Wait for one, or cancel it.")
