"""Everything of one person as one archive: a zip with a file of JSON for each kind of thing.

Asked for by the person alone, of the organization that they are signed in to. What is about themselves they are given
as theirs: their account, memberships, roles, devices, sign-ins, letters, and their own entries of the trail, whatever
their role. What they made, records above all, they are given as they may read it now, like everybody else. Of others an
id may stand in it, and no name. A table that is added tomorrow is named here, in the archive or left out of it, or a
test fails. Memory holds one batch.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from auth.access import Access
from auth.errors import ForbiddenError
from auth.permission import Permission
from auth.policy import has_everywhere
from auth.principal import Viewer
from models.condition import Condition, Criterion, Operator
from models.inventory import Entity, entity_named, entity_of
from models.listing import Listing, fetch_count, fetch_listing, fetch_weights
from models.measurement import Measurement
from models.membership import Membership
from models.order import Bound, Order
from models.record import Record
from models.row import Row
from resolvers.archive import BATCH, MANIFEST, NOT_READ, plain
from resolvers.collector import COLLECTOR
from resolvers.erasure_owner import indexes_of_names
from resolvers.export_parquet import Sink
from resolvers.export_weight import OF_A_ROW, fitting
from resolvers.read_log import ReadLog
from resolvers.record_export import results_of
from resolvers.showing import Choice, choose, places_used, rights_used, show
from resolvers.withheld_place import require_places_shown

PERSON_ARCHIVE_VERSION: Final = 1
"""The version of what such an archive looks like."""
MOST_MEASUREMENTS: Final = 100_000
"""Measurements of one record."""


class Whose(Enum):
    """By what a row is the person's."""

    USER = "user_id"
    MEMBERSHIP = "membership_id"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing in the archive: rows of a table whose `column` names the person.

    is_theirs: it is about the person themselves, and given to them whatever their role.
    """

    file: str
    table: str
    column: str
    whose: Whose = Whose.MEMBERSHIP
    is_theirs: bool = True


KINDS: Final[tuple[Kind, ...]] = (
    Kind("account", "user_account", "id", Whose.USER),
    Kind("memberships", "membership", "id"),
    Kind("roles", "project_membership", "membership_id"),
    Kind("devices", "device", "membership_id"),
    Kind("sign_ins", "session", "membership_id"),
    Kind("factors", "authenticator", "membership_id"),
    Kind("trail", "audit_entry", "user_id", Whose.USER),
    Kind("letters", "outgoing_mail", "user_id", Whose.USER),
    Kind("invitations", "invitation", "membership_id"),
    Kind("access_reviews", "access_review_item", "membership_id"),
    Kind("erasure_requests", "erasure_request", "membership_id"),
    Kind("exports", "data_export", "created_by_id"),
    Kind("programs", "service_account", "created_by_id", is_theirs=False),
    Kind("imports", "data_import", "created_by_id", is_theirs=False),
    Kind("import_mappings", "import_mapping", "created_by_id", is_theirs=False),
    Kind("records", "record", "created_by_id", is_theirs=False),
    Kind("records_collected", "record", "collector", is_theirs=False),
)
"""What there is of a person, in this order."""

MEASUREMENTS: Final = "measurements"
"""The file of what was measured in their records."""

_ORGANIZATIONS: Final = "It is the organization's, and about nobody."
_TRAIL: Final = (
    "The trail's own proofs and values. What they did is in `trail`; what they made, in the file of its kind."
)
LEFT_OUT: Final[Mapping[str, str]] = {
    "organization": _ORGANIZATIONS,
    "custom_role": _ORGANIZATIONS,
    "project": _ORGANIZATIONS,
    "site": _ORGANIZATIONS,
    "trail_retention": _ORGANIZATIONS,
    "trusted_document": _ORGANIZATIONS,
    "data_retention": _ORGANIZATIONS,
    "retention_run": "How much was deleted because its time was over; it names nobody.",
    "legal_hold": "What is kept for a dispute, and why, would be told to who may be a party to it.",
    "access_review": _ORGANIZATIONS,
    "change": _TRAIL,
    "sealed_leaf": _TRAIL,
    "sealed_node": _TRAIL,
    "sealed_batch": _TRAIL,
    "cosignature": _TRAIL,
    "publication": _TRAIL,
    "incident": "What is looked into, and by whom, would not be found again if it were told.",
    "incident_evidence": "What is looked into, and by whom, would not be found again if it were told.",
    "incident_cursor": "How far this installation looked through the trail.",
    "alarm_delivery": "How alarms left this installation.",
    "authenticator_use": "How far a factor was used, so that nothing works twice; `trail` says when.",
    "challenge": "It is good for minutes, and answered once.",
    "throttle": "It names nobody.",
    "idempotency_key": "A key is good for a day, and names nobody.",
    "service_account_token": "It opens something; its program is in `programs`.",
    "service_account_use": "It is about a program.",
    "data_export_progress": "How far exports are.",
    "data_export_piece": "Files that they took have what is in this one.",
    "import_chunk": "A file that waits to be imported is with whoever sent it.",
    "import_block": "What became of each row of an import; how many, `imports` says.",
}
"""Tables of which nothing is in such an archive, with the reason."""

README: Final = """\
Everything of you in one organization of Fieldward, as far as it is yours, and as you may read it.

  NAME.json       one kind of thing, as a list of JSON objects in the order of their ids
  manifest.json   what this is and when it was made, each file with its size, rows and SHA-256, and what is left out

Times are UTC (RFC 3339), bytes are base64, a place is an object of latitude and longitude (WGS 84, degrees). If you
belong to other organizations, sign in there and ask for yours of each. Letters of which nobody knew yet that they were
for you, such as those about a new password, are in no organization.
"""

_BY_ID: Final = Order("id")
_RECORD: Final = entity_of(Record)
_MEASUREMENT: Final = entity_of(Measurement)


@dataclass(slots=True)
class _File:
    """A file of the archive, as far as it is written. of_records: whose measurements it holds, if it is theirs."""

    name: str
    choice: Choice
    reader: Viewer
    conditions: tuple[Criterion, ...]
    is_theirs: bool = False
    of_records: bool = False
    rows: int = 0
    size: int = 0
    digest: Any = None
    opened: Any = None
    bound: Bound | None = None


class PersonSource:
    """All that is a person's in the organization, as the bytes of a zip.

    started_at: when the export began. batch: how many rows are read together.
    """

    is_of_one_moment = False
    media_type = "application/zip"
    ending = "zip"

    def __init__(self, *, started_at: datetime, batch: int = BATCH) -> None:
        self.rows_total: int | None = None
        self.rows_done = 0
        self.used: set[tuple[UUID | None, Permission]] = set()
        self.places: set[tuple[UUID | None, Permission]] = set()
        self._started_at = started_at
        self._batch = batch
        self._sink = Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        self._waiting: list[_File] = []
        self._done: list[_File] = []

    async def begin(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes:
        """Return what comes before the first row.

        Raises:
            ForbiddenError: it is a program that asks, which is nobody.
            UnavailableError: places of a project are withheld, as they are being rewritten.
        """
        if viewer.membership_id is None or viewer.user_id is None:
            raise ForbiddenError("A program is nobody whose data there could be.")
        await require_places_shown(connection, viewer)
        own_name = await _own_name(connection, viewer, log)
        indexes = [] if own_name is None else await indexes_of_names(viewer.organization_id, [own_name])
        self._waiting = list(_files(viewer, indexes))
        total = 0
        for one in self._waiting:
            if not one.of_records:
                counted = await fetch_count(connection, one.reader, self._listing(one))
                total += counted[None]
        self.rows_total = total
        self._zip.writestr("README.txt", README)
        return self._sink.take()

    async def next(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes | None:
        """Return the bytes of the next batch; None where there is none left. Raises `UnavailableError` as `begin`."""
        if not self._waiting:
            return None
        await require_places_shown(connection, viewer)
        file = self._waiting[0]
        # What they may do is asked for with each batch; it is no less than when it began.
        file.reader = _reader(viewer) if file.is_theirs else viewer
        if file.opened is None:
            file.digest = sha256()
            file.opened = self._zip.open(f"{file.name}.json", "w", force_zip64=True)
            _write(file, b"[")
        rows = await fetch_listing(connection, file.reader, self._listing(file))
        is_over = len(rows) < self._batch
        if rows:
            shown: Sequence[Row] = rows
            if file.of_records:
                kept = await self._fitting(connection, file, rows)
                is_over = is_over and kept == len(rows)
                rows = rows[:kept]
                shown = await fetch_listing(connection, file.reader, results_of(file.choice, rows))
            file.bound = Bound((rows[-1]["id"],), rows[-1]["id"])
            await self._add(file, shown, log)
        if is_over:
            _write(file, b"\n]\n" if file.rows else b"]\n")
            file.opened.close()
            self._done.append(self._waiting.pop(0))
        return self._sink.take()

    def end(self) -> bytes:
        """Return the manifest of the files, and what closes the zip."""
        said = {
            "person_archive_version": PERSON_ARCHIVE_VERSION,
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
        rows = {one.name: one.rows for one in self._done}
        return {"records": rows.get("records", 0), "measurements": rows.get(MEASUREMENTS, 0)}

    def contents(self) -> Mapping[str, Any]:
        """Return the files, and which tables and columns are left out, with the reasons."""
        return {
            "kinds": {
                one.name: {
                    "file": f"{one.name}.json",
                    "table": one.choice.entity.name,
                    "rows": one.rows,
                    "bytes": one.size,
                    "sha256": one.digest.hexdigest(),
                    "columns": list(one.choice.names),
                    "left_out": dict(_columns_left_out(one.choice)),
                }
                for one in self._done
            },
            "tables_left_out": dict(LEFT_OUT),
        }

    async def _add(self, file: _File, rows: Sequence[Row], log: ReadLog) -> None:
        if not rows:
            return
        if not file.is_theirs:
            self.used |= rights_used(file.choice, file.reader, rows)
            self.places |= places_used(file.choice, rows)
        for one in await show(file.choice, file.reader, rows, log):
            _write(file, (b",\n" if file.rows else b"\n") + orjson.dumps(one, option=orjson.OPT_UTC_Z, default=plain))
            file.rows += 1
        self.rows_done += len(rows)

    async def _fitting(self, connection: asyncpg.Connection, file: _File, records: Sequence[Row]) -> int:
        """Return of how many of the records the measurements are read at once."""
        found = await fetch_weights(connection, file.reader, results_of(file.choice, records))
        weights = {record_id: count * OF_A_ROW + weight for record_id, count, weight in found}
        return fitting(weights.get(row["id"], 0) for row in records)

    def _listing(self, file: _File) -> Listing:
        return Listing(
            entity=_RECORD if file.of_records else file.choice.entity,
            columns=("id",) if file.of_records else file.choice.selected,
            order=_BY_ID,
            limit=self._batch,
            conditions=file.conditions,
            bound=file.bound,
        )


def tables_given() -> frozenset[str]:
    """Return the tables of which there is something in such an archive."""
    return frozenset((*(one.table for one in KINDS), _MEASUREMENT.name))


def _files(viewer: Viewer, name_indexes: Sequence[bytes]) -> Iterator[_File]:
    own = {Whose.USER: viewer.user_id, Whose.MEMBERSHIP: viewer.membership_id}
    for kind in KINDS:
        entity = entity_named(kind.table)
        reader = _reader(viewer) if kind.is_theirs else viewer
        condition = Condition(kind.column, Operator.EQUALS, own[kind.whose])
        if kind.column == COLLECTOR.name:
            condition = Condition(kind.column, Operator.IN, list(name_indexes))
        choice = _without_others(choose(entity, reader), viewer)
        yield _File(kind.file, choice, reader, (condition,), kind.is_theirs)
    made = Condition("created_by_id", Operator.EQUALS, viewer.membership_id)
    yield _File(MEASUREMENTS, choose(_MEASUREMENT, viewer), viewer, (made,), of_records=True)


def _reader(viewer: Viewer) -> Viewer:
    """Return the viewer as who reads what is about them: a condition on each list keeps it to that."""
    nouns = {entity_named(kind.table).noun for kind in KINDS if kind.is_theirs}
    theirs = frozenset(one for one in Permission if one.is_reading and one.noun in nouns)
    access = viewer.access
    return replace(
        viewer,
        access=Access(
            everywhere=access.everywhere | theirs,
            projects=MappingProxyType({project: held | theirs for project, held in access.projects.items()}),
            own=access.own,
        ),
    )


def _without_others(choice: Choice, viewer: Viewer) -> Choice:
    """Return the choice without ids of people and devices whom the viewer does not see otherwise."""
    own = {"id", "user_id", "membership_id"}
    named = {
        one.name: one.names
        for one in choice.shown
        if one.names is not None and one.name not in own and not has_everywhere(viewer, {one.names})
    }
    return Choice(
        choice.entity,
        tuple(one for one in choice.shown if one.name not in named),
        {**choice.hidden, **named},
    )


async def _own_name(connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> str | None:
    """Return the viewer's own name; None where it can't be read."""
    entity: Entity = entity_of(Membership)
    chosen = choose(entity, viewer)
    name = replace(chosen, shown=tuple(one for one in chosen.shown if one.name == "name"))
    listing = Listing(
        entity=entity,
        columns=name.selected,
        order=_BY_ID,
        limit=1,
        conditions=(Condition("id", Operator.EQUALS, viewer.membership_id),),
    )
    shown = await show(name, viewer, await fetch_listing(connection, viewer, listing), log)
    found: str | None = shown[0].get("name") if shown else None
    return found


def _columns_left_out(choice: Choice) -> Iterator[tuple[str, str]]:
    for column in choice.entity.columns.values():
        if column.name in choice.hidden:
            yield column.name, f"Takes the permission {choice.hidden[column.name]}."
        elif not column.is_in_api:
            yield column.name, NOT_READ


def _write(file: _File, content: bytes) -> None:
    file.opened.write(content)
    file.digest.update(content)
    file.size += len(content)
