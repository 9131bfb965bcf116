"""Making exports in the background, and letting go of those that are over.

An export is made by one process, as whoever asked for it, with the rights of the moment: each batch asks for them, in
the snapshot of its rows; where these are as of an earlier moment, just before they are read. It ends where rights
shrink. A process that dies, or whose moment is kept no longer, has lost what it made of it; another begins anew. What
is over is destroyed by its key first, then piece by piece.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog

from auth.access import Access
from auth.action import Action
from auth.errors import Code, FieldwardError
from auth.principal import Channel, Origin, Viewer
from models.base import new_id
from models.condition_text import request_of_text
from models.data_export import DataExport, ExportFormat, ExportStatus
from models.encryption.column import open_light
from models.encryption.envelope import Cell, KeyPurpose, key_id_of
from models.encryption.keyring import active_keyring
from models.encryption.owner import export_owner
from models.errors import ConflictError, UnavailableError, UnknownOutcomeError
from models.inventory import entity_of
from models.reading import Moment, OneStatement, Snapshot
from models.transaction import Tenant, fetch, raw_write_transaction
from resolvers.archive import ArchiveSource
from resolvers.change import Change, Intent, commit_change
from resolvers.export_csv import CsvWriter
from resolvers.export_file import LEASE_S, Claim, FileWriting, LostClaimError
from resolvers.export_geojson import GeoJsonWriter
from resolvers.export_parquet import ParquetWriter
from resolvers.export_rights import Requester, is_refusal, require_as_before, written_rights
from resolvers.export_source import AT_ONCE, ExportSource
from resolvers.export_writer import ExportWriter
from resolvers.person_archive import PersonSource
from resolvers.read_log import ReadLog
from resolvers.record_export import RecordSource, author_of
from resolvers.services import Services
from resolvers.trail import Actor, job_actor
from resolvers.wqx_xml import WqxXmlWriter

log = structlog.get_logger()

MAKE_EXPORTS: Final = "make_exports"
"""The background job's name."""
SLICE_S: Final = 0.5
"""Seconds that each of them has in its turn."""
MOVES_EVERY_S: Final = 2.0
"""Seconds between two times that it is written down how far an export is, if there is nothing else to write."""
MOST_ATTEMPTS: Final = 3
"""How often an export is begun before it is given up."""
MOST_BYTES: Final = 50 * 1024**3
"""Bytes of the largest file."""
FORMAT_VERSION: Final = 1
"""The version of what a file and its manifest look like."""
_SWEPT: Final = 64
"""Pieces that are deleted in one transaction."""

WRITERS: Final[Mapping[ExportFormat, Callable[[], ExportWriter]]] = {
    ExportFormat.CSV: CsvWriter,
    ExportFormat.GEOJSON: GeoJsonWriter,
    ExportFormat.PARQUET: ParquetWriter,
    ExportFormat.WQX_XML: WqxXmlWriter,
}
"""What makes the files of each format of records."""

_AWAY: Final = (UnavailableError, UnknownOutcomeError)
"""What says nothing of the export: whoever claims it next begins anew, unless it was done."""
_EXPORT: Final = entity_of(DataExport)
_ORGANIZATIONS: Final = "select fieldward_exporting() as id"
# What is to be whole waits while places of a project are withheld, as they are being rewritten.
_CLAIM: Final = """
    update data_export_progress p
       set claimed_by = $2, claimed_until = clock_timestamp() + make_interval(secs => $3), attempts = p.attempts + 1,
           started_at = clock_timestamp(), moved_at = clock_timestamp(),
           rows_total = null, rows_done = 0, bytes_done = 0
     where p.organization_id = $1 and p.id = (
        select q.id from data_export_progress q
          join data_export e on e.organization_id = q.organization_id and e.id = q.id
         where q.organization_id = $1 and e.status = 'PENDING'
           and (q.claimed_until is null or q.claimed_until < clock_timestamp())
           and not (e.format in ('ARCHIVE', 'PERSON') and exists (
                select from project w
                 where w.organization_id = $1 and w.locations_rewriting and w.locations_are_sensitive))
         order by e.created_at limit 1 for update of q skip locked)
    returning p.id, p.attempts, p.started_at
"""
_FORGET: Final = "delete from data_export_piece where organization_id = $1 and export_id = $2"
_CLAIMED: Final = "select * from data_export where organization_id = $1 and id = $2"
_OVER: Final = """
    select id from data_export
     where organization_id = $1 and status = 'READY' and expires_at < clock_timestamp() order by expires_at limit 100
"""
_EXPIRE: Final = """
    update data_export set status = 'EXPIRED', link_digest = null, link_expires_at = null, link_holder = null
     where organization_id = $1 and id = any($2::uuid[]) and status = 'READY'
"""
_UNSWEPT: Final = """
    select p.id from data_export_progress p
      join data_export e on e.organization_id = p.organization_id and e.id = p.id
     where p.organization_id = $1 and p.swept_at is null and e.status not in ('PENDING', 'READY') limit 1
"""
_HOLD: Final = "select id from data_export_progress where organization_id = $1 and id = $2 for update"
_SWEEP: Final = """
    delete from data_export_piece where organization_id = $1 and id = any(array(
        select id from data_export_piece where organization_id = $1 and export_id = $2 limit $3))
"""
_NOTE_SWEPT: Final = """
    update data_export_progress set swept_at = clock_timestamp(), claimed_by = null, claimed_until = null
     where organization_id = $1 and id = $2
"""


async def exporting_organizations() -> list[UUID]:
    """Return the organizations with exports that wait, or that are over."""
    async with OneStatement(Tenant()) as connection:
        return [row["id"] for row in await connection.fetch(_ORGANIZATIONS)]


@dataclass(slots=True)
class _Run:
    """An export that is being made. access: what its requester might do when it began. moment: that of all its rows,
    where it is one; `held` keeps it.
    """

    claim: Claim
    row: Mapping[str, Any]
    requester: Requester
    source: ExportSource
    file: FileWriting
    started_at: datetime
    request_id: UUID
    read: ReadLog = field(default_factory=ReadLog)
    viewer: Viewer | None = None
    access: Access | None = None
    is_begun: bool = False
    written_at: float = 0.0
    moment: Moment | None = None
    held: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def actor(self) -> Actor:
        """Who exports, for the trail."""
        origin = Origin(channel=Channel.JOB, request_id=self.request_id, client_name="fieldward")
        return Actor(self.claim.organization_id, origin, self.viewer)


class Exporting:
    """Makes the exports of any organization. One for a process.

    lifetime: how long a file is there once it is made. batch: how many records are read together.
    """

    def __init__(self, services: Services, *, lifetime: timedelta, batch: int | None = None) -> None:
        self._services = services
        self._lifetime = lifetime
        self._batch = batch
        self._runs: list[_Run] = []
        # Whether this step gave one up: what was made of it is there until the next.
        self._gave_up = False

    @property
    def open_count(self) -> int:
        """How many exports this process is making."""
        return len(self._runs)

    async def step(self) -> bool:
        """Begin what waits, go on with what is begun, let go of what is over. Returns whether there is more.

        What goes wrong with one export, or in one organization, holds up no other.

        Raises:
            UnavailableError, UnknownOutcomeError: something was away, and there is nothing else to go on with.
        """
        is_sweeping, away = False, None
        self._gave_up = False
        for organization_id in await exporting_organizations():
            try:
                is_sweeping |= await self._tidy(organization_id)
                while len(self._runs) < AT_ONCE and (run := await self._claim(organization_id)) is not None:
                    self._runs.append(run)
            except _AWAY as error:
                away = away or error
            except Exception as error:
                log.error("exports_not_tidied", organization_id=str(organization_id), exc_info=error)
        for run in list(self._runs):
            goes_on = False
            try:
                goes_on = await self._advance(run)
            except _AWAY as error:
                away = away or error
            finally:
                # Of what failed in the middle nobody knows how far it is: who claims it next begins anew.
                if not goes_on:
                    self._runs.remove(run)
                    run.source.close()
                    await run.held.aclose()
        is_more = bool(self._runs) or is_sweeping or self._gave_up
        if away is not None and not is_more:
            raise away
        return is_more

    async def _claim(self, organization_id: UUID) -> _Run | None:
        # One of its own for each time: a run whose lease ran out has lost it, also to this process.
        claim_id = new_id()
        async with raw_write_transaction(Tenant(organization_id=organization_id)) as connection:
            claimed = await connection.fetchrow(_CLAIM, organization_id, claim_id, LEASE_S)
            if claimed is None:
                return None
            await connection.execute(_FORGET, organization_id, claimed["id"])
            (found,) = await connection.fetch(_CLAIMED, organization_id, claimed["id"])
        row = dict(found)
        claim = Claim(organization_id, claimed["id"], claim_id)
        if claimed["attempts"] > MOST_ATTEMPTS:
            await self._give_up(claim, ExportStatus.FAILED, Code.INTERNAL)
            return None
        source = await _source_of(row, claimed["started_at"], self._batch)
        return _Run(
            claim, row, Requester.of(row), source, FileWriting(claim), claimed["started_at"], request_id=new_id()
        )

    async def _give_up(self, claim: Claim, status: ExportStatus, code: str) -> None:
        await _end(claim, status, code)
        self._gave_up = True

    async def _advance(self, run: _Run) -> bool:
        """Go on with an export for a moment. Returns whether there is more to do."""
        try:
            until = time.monotonic() + SLICE_S
            while time.monotonic() < until:
                if not await self._advance_by_one(run):
                    await self._finish(run)
                    return False
        except LostClaimError:
            return False
        except _AWAY:
            raise
        except Exception as error:
            if is_refusal(error):
                code = error.noted or error.code if isinstance(error, FieldwardError) else Code.FORBIDDEN
                await self._give_up(run.claim, ExportStatus.REVOKED, code)
            else:
                log.error("export_failed", export_id=str(run.claim.export_id), exc_info=error)
                await self._give_up(run.claim, ExportStatus.FAILED, Code.INTERNAL)
            return False
        return True

    async def _advance_by_one(self, run: _Run) -> bool:
        """Read the next batch by what its reader may do now, and write what is due."""
        read, tenant = run.read, Tenant(organization_id=run.claim.organization_id)
        content: bytes | None
        if run.source.is_of_one_moment:
            if run.moment is None:
                run.moment = await run.held.enter_async_context(Moment(longest_pause_s=LEASE_S))
            async with Snapshot(tenant) as connection:
                viewer = await _viewer_now(run, connection)
            async with Snapshot(tenant, at=run.moment) as connection:
                content = await _read_on(run, connection, viewer)
        else:
            async with Snapshot(tenant) as connection:
                content = await _read_on(run, connection, await _viewer_now(run, connection))
        if content:
            run.file.add(content)
        if run.file.size > MOST_BYTES:
            raise ConflictError("The file would be too large. Export less.")
        if run.file.is_due or time.monotonic() - run.written_at > MOVES_EVERY_S:
            # Before anything of it is written down that could be taken.
            await read.write(run.actor, self._services.entries)
            await run.file.write(rows_total=run.source.rows_total, rows_done=run.source.rows_done)
            run.written_at = time.monotonic()
        return content is not None

    async def _finish(self, run: _Run) -> None:
        read, source = run.read, run.source
        await read.write(run.actor, self._services.entries)
        run.file.add(source.end())
        await run.file.write(rows_total=source.rows_total, rows_done=source.rows_done, is_last=True)
        async with Snapshot(Tenant(organization_id=run.claim.organization_id)) as connection:
            now = await run.requester.viewer(connection)
            if run.access is not None:
                require_as_before(run.access, now.access)
            author = await author_of(connection, now, read)
        await read.write(run.actor, self._services.entries)
        name = f"{_name_of(run.row)}-{run.started_at:%Y%m%d-%H%M%S}.{source.ending}"
        manifest = await _manifest(run, name, author)
        counts = source.counts()
        await active_keyring().load([export_owner(run.claim.organization_id, run.claim.export_id, KeyPurpose.VALUES)])

        async def work(change: Change) -> None:
            export = await _locked(change, run.claim.export_id)
            if export is None:
                raise LostClaimError
            export.status = ExportStatus.READY
            export.used_rights = written_rights(source.used, source.places)
            export.file_name = name
            export.media_type = source.media_type
            export.size = run.file.size
            export.sha256 = run.file.sha256
            export.records = counts.get("records")
            export.measurements = counts.get("measurements")
            export.manifest = manifest
            export.finished_at = change.at
            export.expires_at = change.at + self._lifetime
            await export.save(using_db=change.connection, update_fields=_FINISHED)

        await commit_change(_intent(Action.EXPORT_FINISH, run.actor, run.claim.export_id), work)

    async def _tidy(self, organization_id: UUID) -> bool:
        """Expire what is over, and destroy what is left of one export. Returns whether there may be more."""
        tenant = Tenant(organization_id=organization_id)
        async with OneStatement(tenant) as connection:
            over = [row["id"] for row in await connection.fetch(_OVER, organization_id)]
        if over:

            async def expire(change: Change) -> None:
                await fetch(change.connection, _EXPIRE, organization_id, over)

            intent = Intent(Action.EXPORT_EXPIRE, job_actor(organization_id), entity=_EXPORT.name, subjects=over)
            await commit_change(intent, expire)
        async with OneStatement(tenant) as connection:
            export_id = await connection.fetchval(_UNSWEPT, organization_id)
        if export_id is None:
            return False
        async with raw_write_transaction(tenant) as connection:
            # Whoever writes a piece of it holds that row. Who comes later finds that it is over.
            await connection.fetchval(_HOLD, organization_id, export_id)
            await destroy_keys(self._services, organization_id, [export_id])
            done = await connection.execute(_SWEEP, organization_id, export_id, _SWEPT)
            if done == "DELETE 0":
                await connection.execute(_NOTE_SWEPT, organization_id, export_id)
        return True


async def _viewer_now(run: _Run, connection: asyncpg.Connection) -> Viewer:
    """Return as whom the next batch is read. Raises `ShrunkRightsError` where they may read less than before."""
    now = await run.requester.viewer(connection)
    if run.access is None:
        run.access = now.access
    require_as_before(run.access, now.access)
    # What was given since the export began is left out: all of the file is made with the same rights.
    viewer = run.viewer = replace(now, access=run.access)
    return viewer


async def _read_on(run: _Run, connection: asyncpg.Connection, viewer: Viewer) -> bytes | None:
    """Return the bytes of the next batch; None where there is none left."""
    if run.is_begun:
        return await run.source.next(connection, viewer, run.read)
    content = await run.source.begin(connection, viewer, run.read)
    run.is_begun = True
    return content


async def destroy_keys(services: Services, organization_id: UUID, export_ids: list[UUID]) -> None:
    """Destroy the keys of exports' files: nothing opens any more, in no copy."""
    owners = {export_owner(organization_id, one) for one in export_ids}
    # What its row says of it has another key, and stays.
    key_ids = [key.id for key in await services.keystore.keys_of(owners) if key.owner in owners]
    await services.keystore.destroy(key_ids)
    for key_id in key_ids:
        active_keyring().hear_destroyed(key_id)


_FINISHED: Final = [
    "status",
    "used_rights",
    "file_name",
    "media_type",
    "size",
    "sha256",
    "records",
    "measurements",
    "manifest",
    "finished_at",
    "expires_at",
]


async def _end(claim: Claim, status: ExportStatus, code: str) -> None:
    """Note that an export came to nothing."""

    async def work(change: Change) -> None:
        export = await _locked(change, claim.export_id)
        if export is not None:
            export.status = status
            export.error_code = code
            export.finished_at = change.at
            await export.save(using_db=change.connection, update_fields=["status", "error_code", "finished_at"])

    await commit_change(_intent(Action.EXPORT_FINISH, job_actor(claim.organization_id), claim.export_id), work)


async def _locked(change: Change, export_id: UUID) -> DataExport | None:
    return await (
        DataExport.filter(id=export_id, organization_id=change.organization_id, status=ExportStatus.PENDING)
        .using_db(change.connection)
        .select_for_update()
        .get_or_none()
    )


def _intent(action: Action, actor: Actor, export_id: UUID) -> Intent:
    return Intent(action, actor, entity=_EXPORT.name, subjects=[export_id])


async def _source_of(row: Mapping[str, Any], started_at: datetime, batch: int | None) -> ExportSource:
    more = {} if batch is None else {"batch": batch}
    form = ExportFormat(row["format"])
    if form is ExportFormat.ARCHIVE:
        return ArchiveSource(started_at=started_at, **more)
    if form is ExportFormat.PERSON:
        return PersonSource(started_at=started_at, **more)
    conditions, of_measurements = request_of_text(await _opened(row, "request"))
    return RecordSource(WRITERS[form](), conditions, of_measurements, started_at=started_at, **more)


async def _opened(row: Mapping[str, Any], name: str) -> str | None:
    blob: bytes | None = row[name]
    if blob is None:
        return None
    await active_keyring().load_ids([key_id_of(blob)])
    return open_light(blob, Cell(row["organization_id"], _EXPORT.name, name, row["id"]))


def _name_of(row: Mapping[str, Any]) -> str:
    return {ExportFormat.ARCHIVE: "organization", ExportFormat.PERSON: "my-data"}.get(row["format"], "records")


async def _manifest(run: _Run, name: str, author: str | None) -> str:
    """Return what is said of an export beside its file."""
    given = await _opened(run.row, "filter_given")
    by = f"User:{run.requester.membership_id}"
    if run.requester.membership_id is None:
        by = f"ServiceAccount:{run.requester.service_account_id}"
    said = {
        "format_version": FORMAT_VERSION,
        "export": f"Export:{run.claim.export_id}",
        "organization": f"Organization:{run.claim.organization_id}",
        "format": run.row["format"],
        "filter": None if given is None else orjson.loads(given),
        "started_at": run.started_at.isoformat(),
        "author": {"id": by, "name": author},
        "counts": run.source.counts(),
        "files": [
            {
                "name": name,
                "media_type": run.source.media_type,
                "bytes": run.file.size,
                "sha256": run.file.sha256,
            }
        ],
        **run.source.contents(),
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n"
