"""Everything of an organization as one archive: a zip with a file of JSON Lines for each table.

Driven by the data inventory: a table or a column that is added tomorrow is in it without anyone remembering. What is
left out is named with the reason, in `LEFT_OUT` and in the archive's manifest. Each row is as its requester may read
it; which columns they may not read everywhere is named as well. All rows are as of one moment: a row that names
another is never there without it. Memory holds one batch.
"""

import base64
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from auth.permission import Permission
from auth.policy import has_everywhere, require
from auth.principal import Viewer
from auth.scope import ORGANIZATION
from models.encryption.codec import Point
from models.errors import UnavailableError
from models.inventory import Entity, entities, entity_of
from models.listing import Listing, fetch_count, fetch_listing, fetch_weights
from models.measurement import Measurement
from models.order import Bound, Order
from models.record import Record
from resolvers.export_parquet import Sink
from resolvers.export_weight import MOST_WEIGHT, OF_A_ROW, fitting
from resolvers.read_log import ReadLog
from resolvers.showing import Choice, choose, places_used, rights_used, show
from resolvers.withheld_place import require_places_shown

BATCH: Final = 500
"""Rows that are read together, at the most (`resolvers/export_weight.py`)."""
ARCHIVE_VERSION: Final = 1
"""The version of what an archive looks like."""
MANIFEST: Final = "manifest.json"

_TRAIL: Final = "The audit trail, which is exported with its proofs: `fieldward audit export`."
LEFT_OUT: Final[Mapping[str, str]] = {
    "change": _TRAIL,
    "sealed_leaf": _TRAIL,
    "sealed_node": _TRAIL,
    "sealed_batch": _TRAIL,
    "cosignature": _TRAIL,
    "publication": _TRAIL,
    "incident_cursor": "How far this installation looked through the trail.",
    "alarm_delivery": "How alarms left this installation.",
    "data_export_progress": "How far exports of this installation are.",
    "idempotency_key": "A key is good for a day, and where it was sent.",
    "import_chunk": "A file that waits to be imported holds what takes many permissions; it is sent again.",
    "import_block": "What became of each row is kept until an import is started again; how many, data_import says.",
}
"""Tables of which nothing is in an archive, with the reason. So it is with those whose rows nobody is shown."""
NOT_SHOWN: Final = "Its rows are shown to nobody: they are credentials, or the machinery's own."
TAKES: Final = "Takes the permission"
"""How a reason begins for which a column is not there, or not as it is, though somebody else would have read it."""
NOT_READ: Final = "A secret, or made from others: no API shows it."

README: Final = """\
Everything of one organization, as whoever asked for it may read it.

  NAME.jsonl      the rows of a table, one JSON object in each line, in the order of their ids
  manifest.json   what this is and when it was made, each file with its size, rows and SHA-256, and what is left out,
                  with the reason

Times are UTC (RFC 3339), bytes are base64, a place is an object of latitude and longitude (WGS 84, degrees). What each
column means is told by the data inventory of Fieldward, `docs/data-inventory.md`. To put it into an empty organization:

  fieldward import archive FILE --organization SLUG
"""

_BY_ID: Final = Order("id")


@dataclass(slots=True)
class _File:
    """A file of the archive, as far as it is written.

    lacking: the columns of which the viewer may not read each value of the organization, with what that would take.
    """

    choice: Choice
    lacking: dict[str, Permission] = field(default_factory=dict)
    total: int = 0
    rows: int = 0
    size: int = 0
    digest: Any = None
    opened: Any = None
    bound: Bound | None = None


class ArchiveSource:
    """All tables of the organization that the viewer may read, as the bytes of a zip.

    started_at: when the export began. batch: how many rows are read together.
    """

    is_of_one_moment = True
    media_type = "application/zip"
    ending = "zip"

    def __init__(self, *, started_at: datetime, batch: int = BATCH) -> None:
        self.rows_total: int | None = None
        self.rows_done = 0
        self.used: set[tuple[UUID | None, Permission]] = {(None, Permission.EXPORT_ARCHIVE)}
        self.places: set[tuple[UUID | None, Permission]] = set()
        self._started_at = started_at
        self._batch = batch
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._waiting: list[_File] = []
        self._done: list[_File] = []

    async def begin(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes:  # noqa: ARG002
        """Return what comes before the first row.

        Raises:
            ForbiddenError: the viewer may not take everything.
            UnavailableError: places of a project are withheld, as they are being rewritten.
        """
        require(viewer, Permission.EXPORT_ARCHIVE, ORGANIZATION)
        await require_places_shown(connection, viewer)
        self._waiting = [_File(choose(entity, viewer, with_all=True)) for entity in archived()]
        total = 0
        for one in self._waiting:
            counted = await fetch_count(connection, viewer, self._listing(one))
            one.total = counted[None]
            total += one.total
        self.rows_total = total
        self._zip.writestr("README.txt", README)
        return self._sink.take()

    async def next(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes | None:
        """Return the bytes of the next batch; None where there is none left.

        Raises:
            UnavailableError: a table is not what it was at the moment of the first batch.
        """
        if not self._waiting:
            return None
        file = self._waiting[0]
        if file.opened is None:
            file.digest = sha256()
            file.opened = self._zip.open(f"{file.choice.entity.name}.jsonl", "w", force_zip64=True)
        # Looked at with each batch: what was taken away meanwhile is missing in the rest.
        file.lacking |= _lacking(file.choice, viewer)
        listing = await self._fitting(connection, viewer, self._listing(file))
        rows = await fetch_listing(connection, viewer, listing)
        if rows:
            file.bound = Bound((rows[-1]["id"],), rows[-1]["id"])
            self.used |= rights_used(file.choice, viewer, rows)
            self.places |= places_used(file.choice, rows)
            shown = await show(file.choice, viewer, rows, log)
            lines = b"".join(
                orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z, default=plain) for one in shown
            )
            file.opened.write(lines)
            file.digest.update(lines)
            file.rows += len(rows)
            file.size += len(lines)
            self.rows_done += len(rows)
        if len(rows) < listing.limit or not listing.limit:
            if file.rows != file.total:
                # A table that is written anew, as few migrations do, is empty at every moment before that.
                raise UnavailableError("A table was rebuilt while everything was read. Try again.")
            file.opened.close()
            self._done.append(self._waiting.pop(0))
        return self._sink.take()

    def end(self) -> bytes:
        """Return the manifest of the files, and what closes the zip."""
        said = {
            "archive_version": ARCHIVE_VERSION,
            "started_at": self._started_at.isoformat(),
            **self.contents(),
        }
        self._zip.writestr(MANIFEST, orjson.dumps(said, option=orjson.OPT_INDENT_2))
        self._zip.close()
        return self._sink.take()

    def close(self) -> None:
        """Let go of what is held, also of a file that comes to nothing."""
        if self._waiting and self._waiting[0].opened is not None:
            # A zip is not closed, nor forgotten in silence, while one of its files is written.
            self._waiting[0].opened.close()
        self._zip.close()

    def counts(self) -> Mapping[str, int]:
        """Return how many records and measurements are in it."""
        rows = {one.choice.entity.name: one.rows for one in self._done}
        return {
            "records": rows.get(entity_of(Record).name, 0),
            "measurements": rows.get(entity_of(Measurement).name, 0),
        }

    def contents(self) -> Mapping[str, Any]:
        """Return the files, and which tables and columns are left out, with the reasons."""
        return {
            "tables": {
                one.choice.entity.name: {
                    "file": f"{one.choice.entity.name}.jsonl",
                    "rows": one.rows,
                    "bytes": one.size,
                    "sha256": one.digest.hexdigest(),
                    "columns": list(one.choice.names),
                    "left_out": dict(_columns_left_out(one)),
                }
                for one in self._done
            },
            "tables_left_out": dict(tables_left_out()),
        }

    async def _fitting(self, connection: asyncpg.Connection, viewer: Viewer, listing: Listing) -> Listing:
        """Return what to read of a listing at once: no more bytes than fit, where its texts may be long."""
        longest = sum(listing.entity.columns[name].max_length or 0 for name in listing.columns)
        if listing.limit * longest <= MOST_WEIGHT:
            return listing
        weights = await fetch_weights(connection, viewer, listing)
        return replace(listing, limit=fitting(weight + OF_A_ROW for _, _, weight in weights))

    def _listing(self, file: _File) -> Listing:
        return Listing(
            entity=file.choice.entity,
            columns=file.choice.selected,
            order=_BY_ID,
            limit=self._batch,
            bound=file.bound,
        )


def archived() -> list[Entity]:
    """Return the tables that are in an archive, in the order in which they are put in again."""
    return [one for one in entities() if one.placement is not None and one.name not in LEFT_OUT]


def tables_left_out() -> Iterator[tuple[str, str]]:
    """Yield the tables of which nothing is in an archive, with the reason."""
    for one in entities():
        if one.name in LEFT_OUT:
            yield one.name, LEFT_OUT[one.name]
        elif one.placement is None:
            yield one.name, NOT_SHOWN


def _lacking(choice: Choice, viewer: Viewer) -> dict[str, Permission]:
    """Return the columns of which values may be missing, with what it would take to read all of them.

    A row that is not seen is missing in all of its columns; of a column that is masked there are pseudonyms.
    """
    read = choice.entity.read
    if not has_everywhere(viewer, {read}):
        return dict.fromkeys(choice.names, read)
    guards = {one.name: one.guard for one in choice.shown if one.guard is not None}
    return {name: guard for name, guard in guards.items() if not has_everywhere(viewer, {guard})}


def _columns_left_out(file: _File) -> Iterator[tuple[str, str]]:
    hidden = file.choice.hidden
    for column in file.choice.entity.columns.values():
        if column.name == "organization_id":
            yield column.name, "The organization's own, the same in all rows."
        elif not column.is_in_api:
            yield column.name, NOT_READ
        elif column.name in hidden:
            yield column.name, f"{TAKES} {hidden[column.name]}."
        elif column.name in file.lacking:
            yield column.name, f"{TAKES} {file.lacking[column.name]} everywhere: not all values are there."


def plain(value: Any) -> Any:
    """Return what stands in JSON for a value that JSON has no form of."""
    if isinstance(value, Point):
        return {"latitude": value.latitude, "longitude": value.longitude}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
