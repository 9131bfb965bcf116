"""Running imports in the background: a batch at a time, by what who started each may do at that moment.

A batch is committed together with what became of its rows, so that a process that ends in the middle is followed by
one that goes on behind the last batch. The file is looked through again then; nothing of it is kept outside of the
database.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson
import structlog

from auth.errors import BlockedDeviceError, Code, FieldwardError, ForbiddenError, UnauthenticatedError
from auth.permission import Permission
from auth.policy import permissions_in
from auth.principal import Channel, Origin, Viewer
from auth.scope import project_scope
from models.base import new_id
from models.data_import import DataImport, ImportBlock, ImportKind, ImportStatus, RowFate
from models.device import DeviceStatus
from models.errors import ConflictError, UnavailableError, UnknownOutcomeError
from models.inventory import entity_of
from models.reading import OneStatement, Snapshot
from models.transaction import Tenant, fetch, write_transaction
from models.writing import insert_rows
from resolvers.activity_stream import look_through, read_batches
from resolvers.change import Change
from resolvers.csv_layout import CsvLayout
from resolvers.csv_mapping_text import mapping_from
from resolvers.data_import import TOUCHED, finish_import, forget_file
from resolvers.import_file import ImportFile
from resolvers.import_preparing import Prepared, prepare_batch
from resolvers.import_report import Fate, Outcome
from resolvers.record_import import commit_batch, judge_batch, look_anew
from resolvers.site_geojson import read_sites, site_mapping_from
from resolvers.site_import import SiteBatch, commit_sites, judge_sites, site_batches
from resolvers.standing import (
    BLOCKED,
    REVOKED,
    SUSPENDED,
    is_active,
    known_permissions,
    member_state,
    service_account_state,
    service_viewer_of,
    viewer_of,
)
from resolvers.trail import Actor, job_actor
from resolvers.wqx_layout import LEGACY, WQX3, Layout
from resolvers.wqx_table import as_text

log = structlog.get_logger()

RUN_IMPORTS: Final = "run_imports"
"""The name of the job."""
EVERY_S: Final = 5.0
"""Seconds between two looks for imports that were started on another process."""
UNTOUCHED: Final = timedelta(days=7)
"""For how long a file is kept that nobody imports."""

_TABLE: Final = entity_of(DataImport).name
_NEXT: Final = (
    f"select * from \"{_TABLE}\" where organization_id = $1 and status = '{ImportStatus.RUNNING}'"
    " order by started_at, id limit 1"
)
_UNTOUCHED: Final = (
    f'select id from "{_TABLE}" i where organization_id = $1'
    f" and status = any($3) and {TOUCHED} < clock_timestamp() - $2::interval"
)
_BEHIND: Final = (
    "select coalesce(max(position) + 1, 0) from import_block where organization_id = $1 and import_id = $2 and run = $3"
)


_NOT_ANY_MORE: Final = "Whoever started it may not import into this project any more."
_WRONG: Final = "Something went wrong on our side. Start it again."


class _OverError(ConflictError):
    """The import was called off, or another process runs it."""


@dataclass(slots=True)
class _Open:
    """An import that this process has open: its file, how many rows it has, and the batches that are left.

    ahead: the next batch, which is read and judged in a thread while the database writes the one before.
    number: of the batch that was begun last.
    """

    run: int
    file: ImportFile
    rows: int
    batches: "Iterator[_Numbered]"
    ahead: "asyncio.Task[_Numbered | None] | None" = None
    number: int | None = None

    def read_on(self) -> "asyncio.Task[_Numbered | None]":
        """Begin to read the next batch, unless that is begun."""
        if self.ahead is None:
            self.ahead = asyncio.create_task(_in_thread(self.file, next, self.batches, None))
            # Nobody may ask what it came to: then it is not reported as lost either.
            self.ahead.add_done_callback(_note_outcome)
        return self.ahead

    async def next(self) -> "_Numbered | None":
        """Return the next batch; None where there is none left."""
        reading, self.ahead = self.read_on(), None
        numbered = await reading
        self.number = None if numbered is None else numbered[0]
        return numbered


class ImportRunning:
    """Runs the imports of all organizations, one batch of each at a time."""

    def __init__(self) -> None:
        self._open: dict[UUID, _Open] = {}
        # At which batch of a run it seemed that another process was faster.
        self._overtaken: dict[UUID, tuple[int, int | None]] = {}

    @property
    def open_count(self) -> int:
        """How many imports this process has open."""
        return len(self._open)

    async def step(self) -> bool:
        """Do a batch of one import of each organization that has one, and return whether any had.

        Raises:
            UnavailableError: the database is away. What was not committed is done again.
        """
        async with OneStatement(Tenant()) as connection:
            rows = await connection.fetch("select * from fieldward_importing($1)", UNTOUCHED)
        found = False
        for row in rows:
            organization_id = row["organization_id"]
            if row["is_running"]:
                found |= await self._advance(organization_id)
            else:
                await self._forget(organization_id)
        return found

    async def _advance(self, organization_id: UUID) -> bool:
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            row = await connection.fetchrow(_NEXT, organization_id)
        if row is None:
            return False
        import_id, run = row["id"], row["run"]
        failure: tuple[str, str] | None = None
        try:
            if await self._batch(row):
                return True
        except (UnavailableError, UnknownOutcomeError):
            self._close(import_id)
            raise
        except _OverError:
            self._close(import_id)
            self._overtaken.pop(import_id, None)
            return True
        except asyncpg.UniqueViolationError as error:
            opened = self._open.get(import_id)
            at = (run, opened.number if opened is not None else None)
            self._close(import_id)
            if self._overtaken.get(import_id) != at:
                # Another process was faster: what it did is what there is.
                self._overtaken[import_id] = at
                return True
            # At the same batch again, nobody did it: there is something else that it does not go with.
            log.error("import_failed", organization_id=str(organization_id), import_id=str(import_id), exc_info=error)
            failure = Code.INTERNAL, _WRONG
        except FieldwardError as error:
            failure = error.code, error.message
        except Exception as error:
            log.error("import_failed", organization_id=str(organization_id), import_id=str(import_id), exc_info=error)
            failure = Code.INTERNAL, _WRONG
        self._close(import_id)
        self._overtaken.pop(import_id, None)
        code, message = failure or (None, None)
        await finish_import(job_actor(organization_id), import_id, run, code=code, message=message)
        return True

    async def _batch(self, row: Any) -> bool:
        """Do the next batch; return whether there was one."""
        opened = await self._opened(row)
        numbered = await opened.next()
        if numbered is None:
            return False
        opened.read_on()
        if row["is_dry_run"]:
            await _judge(row, numbered, opened.rows)
        else:
            await _write(row, numbered, opened.rows)
        return True

    async def _opened(self, row: Any) -> _Open:
        opened = self._open.get(row["id"])
        if opened is not None and opened.run == row["run"]:
            return opened
        self._close(row["id"])
        organization_id = row["organization_id"]
        file = ImportFile(organization_id, row["id"])
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            behind = await connection.fetchval(_BEHIND, organization_id, row["id"], row["run"])

        rows, batches = await (_sites if row["kind"] == ImportKind.GEOJSON_SITES else _results)(row, file, behind)
        opened = self._open[row["id"]] = _Open(row["run"], file, rows, batches)
        return opened

    def _close(self, import_id: UUID) -> None:
        opened = self._open.pop(import_id, None)
        if opened is not None:
            opened.file.stop()

    async def _forget(self, organization_id: UUID) -> None:
        # Where to look is said without the pieces of files: bytes of some may have come since.
        states = [ImportStatus.OPEN, ImportStatus.UPLOADED, ImportStatus.CHECKED, ImportStatus.FAILED]
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            rows = await connection.fetch(_UNTOUCHED, organization_id, UNTOUCHED, states)
        for row in rows:
            await forget_file(job_actor(organization_id), row["id"], untouched_s=UNTOUCHED.total_seconds())


def layout_of(kind: str, mapping: str | None) -> Layout:
    """Return how files of a kind are read. mapping: the JSON of it, for the kind CSV.

    Raises:
        InvalidInputError: the mapping is none.
    """
    if kind == ImportKind.CSV:
        return CsvLayout(mapping_from(mapping or ""))
    return WQX3 if kind == ImportKind.WQX3_CSV else LEGACY


_Numbered = tuple[int, Prepared | SiteBatch]
"""The number of a batch, and the batch."""


async def _results(row: Any, file: ImportFile, behind: int) -> tuple[int, Iterator[_Numbered]]:
    """Return how many rows a file of results has, and its batches from one on, each made ready when it is asked for."""
    layout = layout_of(row["kind"], row["mapping"])

    def again() -> Any:
        return as_text(file.open(), layout.encoding)

    survey = await _in_thread(file, lambda: look_through(again(), layout, tick=file.require_going_on))
    project_id = row["project_id"]
    batches = read_batches(again, layout, survey, project_id, from_batch=behind)
    return survey.rows, ((one.number, prepare_batch(project_id, one, now=row["started_at"])) for one in batches)


async def _sites(row: Any, file: ImportFile, behind: int) -> tuple[int, Iterator[_Numbered]]:
    """Return how many features a file of sites has, and its batches from one on."""
    mapping = site_mapping_from(row["mapping"])
    found = await _in_thread(file, lambda: read_sites(file.open(), mapping))
    return found.features, ((one.number, one) for one in site_batches(found, from_batch=behind))


def _note_outcome(task: "asyncio.Task[_Numbered | None]") -> None:
    if not task.cancelled():
        task.exception()


async def _in_thread(file: ImportFile, work: Any, *arguments: Any) -> Any:
    """Return what the work returns, which reads the file; where the task is cancelled, so is that."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except asyncio.CancelledError:
        file.stop()
        raise


async def _write(row: Any, numbered: _Numbered, total: int) -> None:
    number, batch = numbered
    organization_id = row["organization_id"]
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        viewer = await starter_now(connection, row)
    origin = Origin(channel=Channel.JOB, request_id=new_id(), client_name="fieldward")

    async def stands(change: Change) -> Change:
        await _require_running(change.connection, row)
        async with change.connection.acquire_connection() as raw:
            now = await starter_now(raw, row)
        _require_still(now, row)
        return replace(change, intent=replace(change.intent, actor=replace(change.intent.actor, viewer=now)))

    async def beside(change: Change, outcome: Outcome) -> None:
        await insert_rows(change.connection, entity_of(ImportBlock), [_block(row, number, outcome, total, change.at)])

    actor = Actor(organization_id, origin, viewer)
    if isinstance(batch, SiteBatch):
        await commit_sites(actor, row["project_id"], batch, stands=stands, beside=beside)
    else:
        await commit_batch(
            actor, row["project_id"], batch, drops=bool(row["drops_switched_off"]), stands=stands, beside=beside
        )
        await look_anew(organization_id, number)


async def _judge(row: Any, numbered: _Numbered, total: int) -> None:
    number, batch = numbered
    tenant = Tenant(organization_id=row["organization_id"])
    async with Snapshot(tenant) as connection:
        viewer = await starter_now(connection, row)
        _require_still(viewer, row)
        if isinstance(batch, SiteBatch):
            outcome = await judge_sites(connection, viewer, row["project_id"], batch)
        else:
            outcome = await judge_batch(
                connection, viewer, row["project_id"], batch, drops=bool(row["drops_switched_off"])
            )
    async with write_transaction(tenant) as writing:
        now = await _require_running(writing, row)
        await insert_rows(writing, entity_of(ImportBlock), [_block(row, number, outcome, total, now)])


async def _require_running(connection: Any, row: Any) -> Any:
    """Hold the import as it is until the end, and return the time. Raises `_OverError` where this run is over."""
    found = await fetch(
        connection,
        f'select status, run, clock_timestamp() as now from "{_TABLE}"'
        " where organization_id = $1 and id = $2 for share",
        row["organization_id"],
        row["id"],
    )
    if not found or found[0]["status"] != ImportStatus.RUNNING or found[0]["run"] != row["run"]:
        raise _OverError("The import was called off.")
    return found[0]["now"]


def _require_still(viewer: Viewer, row: Any) -> None:
    """Raise `ForbiddenError` where who started the import may import no more, whether they see the project or not."""
    needed, scope = Permission.RECORD_IMPORT, project_scope(row["project_id"])
    if needed not in permissions_in(viewer, scope):
        raise ForbiddenError(_NOT_ANY_MORE, permission=needed, scope=str(scope))


async def starter_now(connection: asyncpg.Connection, row: Any) -> Viewer:
    """Return who started the import, with what they may do at this moment.

    They need not be signed in any more: what they started goes on as long as they themselves are let in.

    Raises:
        UnauthenticatedError: they are not: suspended, gone, expired, or their device is blocked.
    """
    organization_id = row["organization_id"]
    if row["started_by_program_id"] is not None:
        state = await service_account_state(connection, organization_id, row["started_by_program_id"])
        if (
            state is None
            or state["revoked_at"] is not None
            or state["expires_at"] <= state["now"]
            or not is_active(state)
        ):
            raise UnauthenticatedError(REVOKED)
        scope = None if row["scope"] is None else known_permissions(row["scope"])
        return service_viewer_of(state, scope=scope)
    state = await member_state(connection, organization_id, row["started_by_id"])
    if state is None or not is_active(state):
        raise UnauthenticatedError(SUSPENDED)
    if row["started_on_id"] is not None:
        status = await connection.fetchval(
            "select status from device where organization_id = $1 and id = $2", organization_id, row["started_on_id"]
        )
        if status == DeviceStatus.BLOCKED:
            raise BlockedDeviceError(BLOCKED)
    return replace(viewer_of(state), device_id=row["started_on_id"])


def _block(row: Any, number: int, outcome: Outcome, total: int, at: Any) -> dict[str, Any]:
    counted = outcome.counted
    return {
        "id": new_id(),
        "organization_id": row["organization_id"],
        "created_at": at,
        "import_id": row["id"],
        "run": row["run"],
        "position": number,
        "total_rows": total,
        "created_rows": counted[RowFate.CREATED],
        "known_rows": counted[RowFate.KNOWN],
        "rejected_rows": counted[RowFate.REJECTED],
        "blank_rows": counted[RowFate.BLANK],
        "records_created": outcome.records_created,
        "fates": orjson.dumps(runs_of(outcome.fates)).decode(),
    }


def runs_of(fates: list[Fate]) -> list[list[Any]]:
    """Return what became of rows as runs of those that follow each other, and were created, known or blank alike."""
    runs: list[list[Any]] = []
    for one in fates:
        if runs and one.fate is not RowFate.REJECTED and runs[-1][1:3] == [one.line - 1, one.fate]:
            runs[-1][1] = one.line
        else:
            runs.append([one.line, one.line, one.fate, one.column, one.reason])
    return runs
