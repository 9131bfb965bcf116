"""The entries to what was measured: projects, sites, devices, records, measurements, and what changes.

What you don't see is answered as what never was: null.
"""

from datetime import datetime
from typing import Annotated

import strawberry

from models.device import Device as DeviceModel
from models.project import Project as ProjectModel
from models.record import Record as RecordModel
from models.site import Site as SiteModel
from resolvers.feed import DEFAULT_PAGE as DEFAULT_CHANGES
from schema.aggregate import Asked, GroupBucket
from schema.change_feed import ChangePage, FirstChanges, OfProject, Since, Types, list_changes
from schema.connection import After, Before, Connection, First, Last, PageArguments
from schema.device import Device, DeviceFilter, DeviceOrder, list_devices
from schema.field import resolved, root
from schema.filter import Search
from schema.measurement_group import MeasurementFilter, MeasurementGroup, MeasurementGroupKey, group_measurements
from schema.measurement_series import DEFAULT_WIDTH, MeasurementSeries, SeriesWindow, list_series
from schema.node import parse_id
from schema.project import Project, ProjectFilter, ProjectOrder, list_projects
from schema.record import Record, RecordFilter, RecordOrder, list_records
from schema.record_group import RecordGroup, RecordGroupKey, group_records
from schema.record_past import PastRecord, load_past
from schema.selection import load_by_id
from schema.site import Site, SiteFilter, SiteOrder, list_sites


@strawberry.type
class DataQuery:
    @resolved("A project by its id.", root())
    async def project(info: strawberry.Info, id: strawberry.ID) -> Project | None:
        return await load_by_id(info, ProjectModel, "Project", id)

    @resolved("The projects that you see.", root())
    async def projects(
        info: strawberry.Info,
        filter: ProjectFilter | None = None,
        search: Search = None,
        order_by: list[ProjectOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Project] | None:
        page = PageArguments(first, after, last, before)
        return await list_projects(info, filter, order_by, page, search=search)

    @resolved("A site by its id.", root())
    async def site(info: strawberry.Info, id: strawberry.ID) -> Site | None:
        return await load_by_id(info, SiteModel, "Site", id)

    @resolved("The sites of all projects that you see.", root())
    async def sites(
        info: strawberry.Info,
        filter: SiteFilter | None = None,
        search: Search = None,
        order_by: list[SiteOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Site] | None:
        page = PageArguments(first, after, last, before)
        return await list_sites(info, filter, order_by, page, search=search)

    @resolved("A device by its id.", root())
    async def device(info: strawberry.Info, id: strawberry.ID) -> Device | None:
        return await load_by_id(info, DeviceModel, "Device", id)

    @resolved("The devices that you see: all of them, or your own.", root())
    async def devices(
        info: strawberry.Info,
        filter: DeviceFilter | None = None,
        search: Search = None,
        order_by: list[DeviceOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Device] | None:
        page = PageArguments(first, after, last, before)
        return await list_devices(info, filter, order_by, page, search=search)

    @resolved("A record by its id.", root())
    async def record(info: strawberry.Info, id: strawberry.ID) -> Record | None:
        return await load_by_id(info, RecordModel, "Record", id)

    @resolved(
        "What a record that you see was at a moment, by the database's clock: null where there was none. A change"
        " counts from when its transaction began, or the one before it if that was later.",
        root(),
    )
    async def record_as_of(info: strawberry.Info, id: strawberry.ID, at: datetime) -> PastRecord | None:
        return await load_past(info, parse_id(id, "Record", at=("id",)), at)

    @resolved("The records of all projects that you see.", root())
    async def records(
        info: strawberry.Info,
        filter: RecordFilter | None = None,
        search: Search = None,
        order_by: list[RecordOrder] | None = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[Record] | None:
        page = PageArguments(first, after, last, before)
        return await list_records(info, filter, order_by, page, search=search)

    @resolved(
        "The records of all projects that you see, counted in groups. A record counts where you may read every column"
        " that is grouped by, filtered by or selected. Without a key there is one group.",
        root(),
    )
    async def record_groups(
        info: strawberry.Info,
        filter: Annotated[RecordFilter | None, strawberry.argument(description="Which records are counted.")] = None,
        search: Search = None,
        by: Annotated[
            list[RecordGroupKey], strawberry.argument(description="What groups are told apart by, and their order.")
        ] = [],  # noqa: B006  (the contract's default; never written to)
        bucket: GroupBucket = None,
    ) -> list[RecordGroup] | None:
        return await group_records(info, filter, Asked(by, bucket), search=search)

    @resolved(
        "The measurements of all records that you see, counted in groups, with the statistics of their values. A"
        " measurement counts where you may read every column that is grouped by, filtered by or selected, of it and of"
        " its record. Without a key there is one group.",
        root(),
    )
    async def measurement_groups(
        info: strawberry.Info,
        filter: Annotated[
            MeasurementFilter | None, strawberry.argument(description="Which measurements are counted.")
        ] = None,
        record: Annotated[
            RecordFilter | None, strawberry.argument(description="Of which records they are counted.")
        ] = None,
        by: Annotated[
            list[MeasurementGroupKey],
            strawberry.argument(description="What groups are told apart by, and their order."),
        ] = [],  # noqa: B006  (the contract's default; never written to)
        bucket: GroupBucket = None,
    ) -> list[MeasurementGroup] | None:
        return await group_measurements(info, filter, record, Asked(by, bucket))

    @resolved(
        "The values of one characteristic over time, as a chart needs them: a series for each project, site, medium,"
        " fraction and unit, of `width` points at the most. A measurement counts where you may read every column that"
        " is touched, of it and of its record; one without a number is left out.",
        root(),
    )
    async def measurement_series(
        info: strawberry.Info,
        characteristic: Annotated[str, strawberry.argument(description="What was measured, letter by letter.")],
        start: Annotated[datetime, strawberry.argument(description="Collected at this moment or later.")],
        end: Annotated[datetime, strawberry.argument(description="Collected before this moment.")],
        width: Annotated[
            int,
            strawberry.argument(
                description="How many points a series has at the most, such as a chart's width in pixels: up to 4000."
            ),
        ] = DEFAULT_WIDTH,
        filter: Annotated[
            MeasurementFilter | None, strawberry.argument(description="Which measurements besides.")
        ] = None,
        record: Annotated[
            RecordFilter | None, strawberry.argument(description="Of which records, such as those of one site.")
        ] = None,
    ) -> list[MeasurementSeries] | None:
        return await list_series(info, SeriesWindow(characteristic, start, end, width), filter, record)

    @resolved(
        "What changed since a cursor, of all that you see; without one nothing, and the cursor of now. Whoever pulls"
        " from cursor to cursor misses no change, however long its transaction took, and is told of none twice.",
        root(),
    )
    async def changes(
        info: strawberry.Info,
        after: Since = None,
        first: FirstChanges = DEFAULT_CHANGES,
        types: Types = None,
        project_id: OfProject = None,
    ) -> ChangePage | None:
        return await list_changes(info, types, project_id, after, first)
