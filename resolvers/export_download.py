"""Taking an export's file: by whoever asked for it, with the rights of the moment, checked anew for each piece.

Who takes it, or tried to, is in the trail before the first byte leaves.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.action import Action
from auth.errors import FieldwardError, ForbiddenError, ForeignNetworkError, NotFoundError, UnauthenticatedError
from auth.network import is_within
from auth.opaque_token import ExportToken, is_same_digest
from auth.permission import Permission
from auth.policy import can
from auth.principal import Origin, Viewer
from auth.scope import ORGANIZATION
from models.audit_entry import EntryKind, Outcome
from models.data_export import DataExport, ExportStatus
from models.encryption.column import open_light
from models.encryption.envelope import Cell, key_id_of
from models.encryption.keyring import active_keyring
from models.errors import ConflictError, SealedError, TamperedError
from models.inventory import entity_of
from models.reading import Snapshot
from models.transaction import Tenant
from resolvers.change import Intent, record_attempt
from resolvers.export import require_own
from resolvers.export_file import read_piece
from resolvers.export_rights import require_used, sensitive_projects
from resolvers.program import FOREIGN
from resolvers.services import Services
from resolvers.standing import (
    ENDED,
    REVOKED,
    require_good,
    require_good_token,
    service_viewer_of,
    session_states,
    standing_question,
    token_states,
    viewer_of,
)
from resolvers.trail import Actor, new_entry

MANIFEST: Final = "manifest.json"
"""The name of what is said of an export beside its file."""

Row = Mapping[str, Any]

_EXPORT: Final = entity_of(DataExport)
_ROW: Final = "select *, clock_timestamp() as now from data_export where organization_id = $1 and id = $2"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, and by whom: an actor who is signed in, or whoever has a link."""

    export_id: UUID
    name: str
    actor: Actor
    link: ExportToken | None = field(default=None, repr=False)

    @classmethod
    def by_link(cls, export_id: UUID, name: str, text: str, origin: Origin) -> "Asked":
        """Return what is asked for by a link. Raises `UnauthenticatedError` where it is none, or another export's."""
        link = ExportToken.parse(text)
        if link.export_id != export_id:
            raise UnauthenticatedError(ExportToken.refused)
        return cls(export_id, name, Actor(link.organization_id, origin), link)

    @property
    def organization_id(self) -> UUID:
        """Whose export it is."""
        return self.actor.organization_id


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a file: from a byte to another, with that one; to the file's end where it is None."""

    start: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Download:
    """A file, or a part of it, that may be taken: from `start` to before `end`.

    sha256: of all of it, in hexadecimal; None of what is no file of its own.
    """

    name: str
    media_type: str
    size: int
    sha256: str | None
    start: int
    end: int
    is_part: bool
    pieces: AsyncIterator[bytes]


async def open_download(
    services: Services, asked: Asked, *, span: Span | None = None, is_taken: bool = True
) -> Download:
    """Return the file, or the part of it, whose pieces are read as they are taken.

    is_taken: whether anything of it will be. What is only looked at is no download in the trail.

    Raises:
        UnauthenticatedError: nobody is signed in, or the link is over, or what made it.
        NotFoundError: there is no such file for them, or no longer.
        ForbiddenError: it is somebody else's, or holds what they may not read any more.
        ConflictError: it is not ready yet.
        UnavailableError: a database, the keystore or the key provider is away.
    """
    actor = asked.actor
    try:
        if asked.link is None and actor.behind is not None:
            raise ForbiddenError("Who looks as somebody else takes no files.")
        async with Snapshot(Tenant(organization_id=asked.organization_id)) as connection:
            row, viewer = await _permitted(connection, asked)
        actor = replace(actor, viewer=viewer)
        if asked.name not in (MANIFEST, row["file_name"]):
            raise NotFoundError("The export has no such file.")
        manifest = await _manifest(row) if asked.name == MANIFEST else None
    except FieldwardError as error:
        await record_attempt(_intent(actor, asked.export_id), error)
        raise
    if is_taken:
        # What an entry says of its actor is sealed: another process may have made the file, and had the key.
        await active_keyring().load(actor.key_owners)
        entry = new_entry(
            actor,
            kind=EntryKind.READ,
            action=Action.EXPORT_DOWNLOAD,
            outcome=Outcome.DONE,
            entity=_EXPORT.name,
            field="manifest" if manifest is not None else None,
            entity_ids=[asked.export_id],
        )
        await services.entries.write(asked.organization_id, [entry])
    size: int = len(manifest) if manifest is not None else row["size"]
    start = span.start if span is not None else 0
    end = size if span is None or span.last is None else min(size, span.last + 1)
    if manifest is not None:
        content = _one(manifest[start:end])
        return Download(MANIFEST, "application/json", size, None, start, end, span is not None, content)
    # The link let the download begin; whoever made it goes on as themselves.
    going_on = replace(asked, actor=actor, link=None)
    pieces = _pieces(going_on, size, start, end)
    return Download(row["file_name"], row["media_type"], size, row["sha256"], start, end, span is not None, pieces)


def _intent(actor: Actor, export_id: UUID) -> Intent:
    return Intent(Action.EXPORT_DOWNLOAD, actor, entity=_EXPORT.name, subjects=[export_id])


async def _permitted(connection: asyncpg.Connection, asked: Asked) -> tuple[Row, Viewer]:
    """Return the export and who takes it, if they may."""
    found = await connection.fetchrow(_ROW, asked.organization_id, asked.export_id)
    row = dict(found) if found is not None else None
    if asked.link is not None:
        viewer = await _holder(connection, asked.link, row, asked.actor.origin)
    else:
        viewer = await _standing(connection, asked.actor)
    if row is None:
        raise NotFoundError("There is no such export.")
    is_own = viewer.principal_id == (row["created_by_id"] or row["service_account_id"])
    if not is_own and not can(viewer, Permission.EXPORT_READ, ORGANIZATION):
        raise NotFoundError("There is no such export.")
    require_own(row["created_by_id"], row["service_account_id"], viewer)
    if row["status"] == ExportStatus.PENDING:
        raise ConflictError("The export is not ready yet.")
    if row["status"] != ExportStatus.READY or row["expires_at"] <= row["now"]:
        raise NotFoundError("The export's file is gone.")
    sensitive = await sensitive_projects(connection, asked.organization_id)
    require_used(row["used_rights"] or (), viewer, sensitive=sensitive)
    return row, viewer


async def _standing(connection: asyncpg.Connection, actor: Actor) -> Viewer:
    if actor.viewer is None:
        raise UnauthenticatedError("Sign in first.")
    question = standing_question(actor.viewer)
    if question is None:
        return actor.viewer
    state = await connection.fetchrow(question.text, *question.arguments)
    if state is None:
        raise UnauthenticatedError(ENDED)
    return question.answer(dict(state), state["now"])


async def _holder(connection: asyncpg.Connection, link: ExportToken, row: Row | None, origin: Origin) -> Viewer:
    """Return who made the link, if it is good and their sign-in or token stands, and is for this address."""
    if (
        row is None
        or row["link_digest"] is None
        or not is_same_digest(row["link_digest"], link.digest())
        or row["link_expires_at"] <= row["now"]
    ):
        raise UnauthenticatedError(ExportToken.refused)
    holder: UUID = row["link_holder"]
    if row["created_by_id"] is None:
        state = (await token_states(connection, link.organization_id, [holder])).get(holder)
        if state is None:
            raise UnauthenticatedError(REVOKED)
        require_good_token(state)
        if state["networks"] is not None and not is_within(origin.ip_address, state["networks"]):
            raise ForeignNetworkError(FOREIGN)
        return service_viewer_of(state)
    state = (await session_states(connection, link.organization_id, [holder])).get(holder)
    if state is None:
        raise UnauthenticatedError(ENDED)
    require_good(state, state["now"])
    return viewer_of(state)


async def _pieces(asked: Asked, size: int, start: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes of the file. Raises, in the middle, where they may not be taken any more."""
    position = await _position_of(asked, start)
    while start < end:
        async with Snapshot(Tenant(organization_id=asked.organization_id)) as connection:
            await _permitted(connection, asked)
            try:
                piece = await read_piece(connection, asked.organization_id, asked.export_id, position, size=size)
            except SealedError as error:
                raise NotFoundError("The export's file is gone.") from error
            except TamperedError as error:
                await record_attempt(_intent(asked.actor, asked.export_id), error)
                raise
        if piece is None:
            raise NotFoundError("The export's file is gone.")
        begins, content = piece
        yield content[start - begins : end - begins]
        start, position = begins + len(content), position + 1


async def _position_of(asked: Asked, start: int) -> int:
    """Return the piece that a byte is in."""
    if start == 0:
        return 0
    async with Snapshot(Tenant(organization_id=asked.organization_id)) as connection:
        found = await connection.fetchval(
            "select position from data_export_piece where organization_id = $1 and export_id = $2 and start <= $3"
            " order by start desc limit 1",
            asked.organization_id,
            asked.export_id,
            start,
        )
    return int(found or 0)


async def _manifest(row: Row) -> bytes:
    blob: bytes = row["manifest"]
    await active_keyring().load_ids([key_id_of(blob)])
    return open_light(blob, Cell(row["organization_id"], _EXPORT.name, "manifest", row["id"])).encode()


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content
