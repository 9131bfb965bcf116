"""Records and their measurements, batch by batch, for an export.

Records come in the order of their ids, which never change, so that one that is changed meanwhile is in the file once:
as it was when its batch was read. One that is made after the export began is not in it. Memory holds one batch.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from auth.permission import Permission
from auth.policy import can, require
from auth.principal import Viewer
from auth.scope import ORGANIZATION, Scope
from models.condition import Condition, Criterion, Operator, leaves_of
from models.inventory import entity_of
from models.listing import Listing, fetch_by_id, fetch_count, fetch_listing, fetch_weights
from models.measurement import Measurement
from models.membership import Membership
from models.order import Bound, Order
from models.organization import Organization
from models.project import Project
from models.record import Record
from models.row import Row
from models.site import Site
from resolvers.export_site import OF_SITE, export_sites
from resolvers.export_weight import OF_A_ROW, fitting
from resolvers.export_writer import ExportedRecord, ExportedSite, ExportHead, ExportWriter
from resolvers.read_log import ReadLog
from resolvers.record import MOST_MEASUREMENTS
from resolvers.showing import Choice, choose, places_used, rights_used, show

BATCH: Final = 1000
"""Records that are read together, at the most (`resolvers/export_weight.py`)."""
MOST_PROJECTS: Final = 100_000

_RECORD: Final = entity_of(Record)
_MEASUREMENT: Final = entity_of(Measurement)
_SITE: Final = entity_of(Site)
_NEEDED: Final = frozenset({Permission.RECORD_EXPORT})
_BY_ID: Final = Order("id")
_OF_THE_RECORD: Final = frozenset({"record_id", "project_id"})


class RecordSource:
    """The records that the conditions find, as the writer's file.

    of_measurements: what of them is in it, where that is not all: of a record without any, nothing is.
    started_at: the moment before which records were made that are in it. batch: how many are read together.
    """

    is_of_one_moment = False

    def __init__(
        self,
        writer: ExportWriter,
        conditions: Sequence[Criterion],
        of_measurements: Sequence[Criterion] = (),
        *,
        started_at: datetime,
        batch: int = BATCH,
    ) -> None:
        self.media_type, self.ending = writer.media_type, writer.ending
        self.rows_total: int | None = None
        self.rows_done = 0
        self.used: set[tuple[UUID | None, Permission]] = set()
        self.places: set[tuple[UUID | None, Permission]] = set()
        self._writer = writer
        self._conditions = [*conditions, Condition("created_at", Operator.LESS_THAN, started_at)]
        self._started_at = started_at
        self._batch = self._limit = batch
        self._bound: Bound | None = None
        self._is_over = False
        self._writing: asyncio.Future[bytes] | None = None
        self._records = self._measurements = 0
        self._of_measurements = of_measurements
        self._touched = sorted(set(_columns_of(conditions)))
        self._touched_of_measurements = sorted(set(_columns_of(of_measurements)))

    async def begin(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes:
        """Return what comes before the first record.

        Raises:
            ForbiddenError: the viewer may not ask by what the conditions ask by.
        """
        for name in self._touched:
            if (takes := _RECORD.columns[name].names) is not None:
                # As where the filter was given: beside somebody's id, or a device's, a pseudonym would be none.
                require(viewer, takes, ORGANIZATION)
                self.used.add((None, takes))
        self._record = choose(_RECORD, viewer)
        chosen = choose(_MEASUREMENT, viewer)
        self._measurement = replace(chosen, shown=tuple(one for one in chosen.shown if one.name not in _OF_THE_RECORD))
        counted = await fetch_count(connection, viewer, self._listing(self._record))
        self.rows_total = counted[None]
        projects, sites = await _projects(connection, viewer), await self._sites(connection, viewer)
        if self._writer.names_places:
            within = {one.project_id for one in sites}
            projects = {project_id: named for project_id, named in projects.items() if project_id in within}
        if self._writer.names_places:
            # A submission is an organization's, and says whose.
            require(viewer, Permission.ORGANIZATION_READ, ORGANIZATION)
            self.used.add((None, Permission.ORGANIZATION_READ))
        name, slug = await _organization_of(connection, viewer)
        head = ExportHead(
            organization_name=name,
            made_at=self._started_at,
            author=await author_of(connection, viewer, log),
            record_columns=self._record.names,
            measurement_columns=self._measurement.names,
            projects=projects,
            organization_slug=slug,
            sites=sites,
        )
        return self._writer.begin(head)

    async def next(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> bytes | None:
        """Return the bytes of the batch before the next; None where there is none left.

        While one is read, the one before becomes bytes, in a thread: requests of the same process get their turn too.
        """
        before, self._writing = self._writing, None
        batch = None if self._is_over else await self._read(connection, viewer, log)
        if batch is None:
            return None if before is None else await before
        content = b"" if before is None else await before
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._writer.records, batch))
        return content

    def end(self) -> bytes:
        """Return what comes after the last record."""
        return self._writer.end()

    async def _read(self, connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> list[ExportedRecord] | None:
        listing = replace(self._listing(self._record), bound=self._bound)
        rows = await fetch_listing(connection, viewer, listing)
        if not rows:
            return None
        weights = await self._weighed(connection, viewer, rows)
        kept = fitting(weights)
        self._is_over = kept == len(rows) < self._limit
        # What was read and does not fit is read again, as it is then: so little of it, where much is heavy.
        self._limit = min(self._batch, 2 * kept)
        rows, weights = rows[:kept], weights[:kept]
        self._bound = Bound((rows[-1]["id"],), rows[-1]["id"])
        self.rows_done += len(rows)
        measured = await self._measured(connection, viewer, rows, log)
        heavy = {row["id"]: weight for row, weight in zip(rows, weights, strict=True)}
        if self._of_measurements:
            rows = [row for row in rows if row["id"] in measured]
        self._records += len(rows)
        self._note_used(viewer, rows)
        shown = await show(self._record, viewer, rows, log)
        return [
            ExportedRecord(values, measured.get(row["id"], ()), heavy[row["id"]])
            for row, values in zip(rows, shown, strict=True)
        ]

    def close(self) -> None:
        """Let go of what is held, which is nothing."""

    def counts(self) -> Mapping[str, int]:
        """Return how many records and measurements are in it."""
        return {"records": self._records, "measurements": self._measurements}

    def contents(self) -> Mapping[str, Any]:
        """Return which columns are in it, which may be masked, and which may be read nowhere."""
        return {
            "columns": {one.entity.name: list(one.names) for one in (self._record, self._measurement)},
            "masked": {
                one.entity.name: [column.name for column in one.shown if column.masked_by is not None]
                for one in (self._record, self._measurement)
            },
            "left_out": {
                one.entity.name: {name: str(permission) for name, permission in one.hidden.items()}
                for one in (self._record, self._measurement)
            },
        }

    async def _sites(self, connection: asyncpg.Connection, viewer: Viewer) -> Sequence[ExportedSite]:
        """Return the sites of all that will be in the file, where the format names them."""
        if not self._writer.names_places:
            return ()
        sites = await export_sites(connection, viewer, self._conditions, self._of_measurements, also=_NEEDED)
        guards = {_SITE.read, *(_SITE.columns[name].guard for name in OF_SITE)} - {None}
        exact = {one.project_id for one in sites if one.latitude is not None and not one.is_coarse}
        for project_id in {one.project_id for one in sites}:
            scope = Scope(project_id)
            # What a site says is asked for again when the file is taken, wherever it could be read.
            self.used |= {(project_id, one) for one in guards if one is not None and can(viewer, one, scope)}
            if project_id in exact:
                where_from = (_RECORD, _SITE) if can(viewer, _SITE.read, scope) else (_RECORD,)
                places = {entity.columns["exact_location"].guard for entity in where_from}
                self.places |= {(project_id, one) for one in places if one is not None}
        return sites

    async def _weighed(self, connection: asyncpg.Connection, viewer: Viewer, rows: Sequence[Row]) -> list[int]:
        """Return about how many bytes each record takes in a file, in which it may stand beside each measurement."""
        sealed = [name for name in self._record.selected if _RECORD.columns[name].is_sealed]
        found = await fetch_weights(connection, viewer, self._results(rows))
        results = {record_id: (count, weight) for record_id, count, weight in found}
        weights = []
        for row in rows:
            count, weight = results.get(row["id"], (0, 0))
            own = OF_A_ROW + sum(len(row[name] or b"") for name in sealed)
            weights.append(max(1, count) * own + weight)
        return weights

    async def _measured(
        self, connection: asyncpg.Connection, viewer: Viewer, rows: Sequence[Row], log: ReadLog
    ) -> Mapping[UUID, list[Mapping[str, Any]]]:
        found = await fetch_listing(connection, viewer, self._results(rows))
        self._measurements += len(found)
        measured: dict[UUID, list[Mapping[str, Any]]] = {}
        for row, values in zip(found, await show(self._measurement, viewer, found, log), strict=True):
            measured.setdefault(row["parent"], []).append(values)
        return measured

    def _results(self, rows: Sequence[Row]) -> Listing:
        return results_of(self._measurement, rows, self._of_measurements)

    def _listing(self, choice: Choice) -> Listing:
        return Listing(
            entity=choice.entity,
            columns=choice.selected,
            order=_BY_ID,
            limit=self._limit,
            conditions=self._conditions,
            also=_NEEDED,
        )

    def _note_used(self, viewer: Viewer, rows: Sequence[Row]) -> None:
        self.places |= places_used(self._record, rows)
        self.used |= rights_used(self._record, viewer, rows) | rights_used(self._measurement, viewer, rows)
        asked = {_RECORD.columns[name].guard for name in self._touched}
        asked |= {_MEASUREMENT.columns[name].guard for name in self._touched_of_measurements}
        for project_id in {row["project_id"] for row in rows}:
            self.used.add((project_id, Permission.RECORD_EXPORT))
            self.used |= {(project_id, guard) for guard in asked if guard is not None}
            if can(viewer, Permission.PROJECT_READ, Scope(project_id)):
                self.used.add((project_id, Permission.PROJECT_READ))


def results_of(choice: Choice, records: Sequence[Row], conditions: Sequence[Criterion] = ()) -> Listing:
    """Return the listing of the measurements of these records, each record's in their order."""
    return Listing(
        entity=_MEASUREMENT,
        columns=choice.selected,
        order=Order("position"),
        limit=MOST_MEASUREMENTS,
        parent_column="record_id",
        parents=[row["id"] for row in records],
        conditions=conditions,
    )


async def author_of(connection: asyncpg.Connection, viewer: Viewer, log: ReadLog) -> str | None:
    """Return the viewer's own name; None of a program."""
    if viewer.membership_id is None:
        return None
    entity = entity_of(Membership)
    chosen = choose(entity, viewer)
    name = replace(chosen, shown=tuple(one for one in chosen.shown if one.name == "name"))
    found = await fetch_by_id(connection, viewer, entity, name.selected, [viewer.membership_id])
    shown = await show(name, viewer, list(found.values()), log)
    author: str | None = shown[0].get("name") if shown else None
    return author


async def _organization_of(connection: asyncpg.Connection, viewer: Viewer) -> tuple[str, str]:
    """Return the organization's name and its short name; both empty where the viewer may not read them."""
    entity = entity_of(Organization)
    found = (await fetch_by_id(connection, viewer, entity, ["name", "slug"], [viewer.organization_id])).values()
    return next(((str(row["name"]), str(row["slug"])) for row in found), ("", ""))


async def _projects(connection: asyncpg.Connection, viewer: Viewer) -> Mapping[UUID, tuple[str, str]]:
    listing = Listing(entity=entity_of(Project), columns=("code", "name"), order=_BY_ID, limit=MOST_PROJECTS)
    return {row["id"]: (row["code"], row["name"]) for row in await fetch_listing(connection, viewer, listing)}


def _columns_of(conditions: Sequence[Criterion]) -> Iterator[str]:
    """Yield the columns that conditions touch, however they are put together."""
    for one in leaves_of(conditions):
        if isinstance(one, Condition):
            yield one.column
        else:
            yield from (column.name for column in _RECORD.word_columns)
