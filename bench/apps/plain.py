"""The plain way of writing this: strawberry over Tortoise, one object for each row, one resolver for each value.

No guards, no encryption, no read log. What hangs below a record comes by data loaders, as strawberry's own guide
advises, so that a page is four statements and not a hundred and fifty.
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import strawberry
import uuid_utils.compat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader
from tortoise import Tortoise, fields
from tortoise.models import Model
from tortoise.transactions import in_transaction


class ProjectRow(Model):
    id = fields.UUIDField(primary_key=True)
    organization_id = fields.UUIDField()
    name = fields.TextField()

    class Meta:
        table = "project"


class DeviceRow(Model):
    id = fields.UUIDField(primary_key=True)
    model = fields.TextField()

    class Meta:
        table = "device"


class RecordRow(Model):
    id = fields.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    organization_id = fields.UUIDField()
    project_id = fields.UUIDField()
    device_id = fields.UUIDField()
    site_code = fields.TextField()
    site_name = fields.TextField()
    latitude = fields.FloatField()
    longitude = fields.FloatField()
    collected_at = fields.DatetimeField()
    medium = fields.TextField()
    activity_type = fields.TextField()
    method = fields.TextField()
    status = fields.TextField(default="DRAFT")
    comment = fields.TextField()
    version = fields.IntField(default=1)

    class Meta:
        table = "record"


class MeasurementRow(Model):
    id = fields.UUIDField(primary_key=True)
    record_id = fields.UUIDField()
    position = fields.IntField()
    characteristic = fields.TextField()
    value = fields.FloatField()
    unit = fields.TextField()

    class Meta:
        table = "measurement"


class AuditEntryRow(Model):
    id = fields.UUIDField(primary_key=True, default=uuid_utils.compat.uuid7)
    organization_id = fields.UUIDField()
    actor = fields.TextField()
    action = fields.TextField()
    object_type = fields.TextField()
    object_id = fields.UUIDField()
    change: Any = fields.JSONField()

    class Meta:
        table = "audit_entry"


async def _projects(ids: list[UUID]) -> list[ProjectRow]:
    found = {row.id: row for row in await ProjectRow.filter(id__in=ids)}
    return [found[one] for one in ids]


async def _devices(ids: list[UUID]) -> list[DeviceRow]:
    found = {row.id: row for row in await DeviceRow.filter(id__in=ids)}
    return [found[one] for one in ids]


async def _measurements(ids: list[UUID]) -> list[list[MeasurementRow]]:
    found: dict[UUID, list[MeasurementRow]] = {one: [] for one in ids}
    for row in await MeasurementRow.filter(record_id__in=ids).order_by("position"):
        found[row.record_id].append(row)
    return [found[one] for one in ids]


@dataclass
class Loaders:
    """One request's data loaders."""

    projects: DataLoader[UUID, ProjectRow] = field(default_factory=lambda: DataLoader(_projects))
    devices: DataLoader[UUID, DeviceRow] = field(default_factory=lambda: DataLoader(_devices))
    measurements: DataLoader[UUID, list[MeasurementRow]] = field(default_factory=lambda: DataLoader(_measurements))


Info = strawberry.Info[Loaders, None]


@strawberry.type
class Project:
    name: str


@strawberry.type
class Device:
    model: str


@strawberry.type
class Measurement:
    characteristic: str
    value: float
    unit: str


@strawberry.type
class Record:
    id: UUID
    site_code: str
    site_name: str
    latitude: float
    longitude: float
    collected_at: datetime
    medium: str
    activity_type: str
    method: str
    status: str
    comment: str
    version: int

    @strawberry.field
    async def project(root: strawberry.Parent[RecordRow], info: Info) -> Project:
        return cast(Project, await info.context.projects.load(root.project_id))

    @strawberry.field
    async def device(root: strawberry.Parent[RecordRow], info: Info) -> Device:
        return cast(Device, await info.context.devices.load(root.device_id))

    @strawberry.field
    async def measurements(root: strawberry.Parent[RecordRow], info: Info) -> list[Measurement]:
        return cast(list[Measurement], await info.context.measurements.load(root.id))


@strawberry.type
class PageInfo:
    has_next_page: bool
    end_cursor: str | None


@strawberry.type
class RecordPage:
    nodes: list[Record]
    page_info: PageInfo


@strawberry.type
class Query:
    @strawberry.field
    async def records(self, project: UUID, first: int, after: UUID | None = None) -> RecordPage:
        query = RecordRow.filter(project_id=project)
        if after is not None:
            query = query.filter(id__gt=after)
        found = await query.order_by("id").limit(first + 1)
        nodes = found[:first]
        info = PageInfo(has_next_page=len(found) > first, end_cursor=str(nodes[-1].id) if nodes else None)
        return RecordPage(nodes=cast(list[Record], nodes), page_info=info)

    @strawberry.field
    async def record(self, id: UUID) -> Record | None:
        return cast(Record | None, await RecordRow.get_or_none(id=id))


@strawberry.input
class RecordInput:
    project_id: UUID
    device_id: UUID
    site_code: str
    site_name: str
    latitude: float
    longitude: float
    collected_at: datetime
    medium: str
    activity_type: str
    method: str
    comment: str


@strawberry.type
class RecordPayload:
    record: Record


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def create_record(self, input: RecordInput) -> RecordPayload:
        given = dict(vars(input))
        async with in_transaction() as connection:
            project = await ProjectRow.get(id=input.project_id, using_db=connection)
            tenant = project.organization_id
            record = await RecordRow.create(using_db=connection, organization_id=tenant, **given)
            await AuditEntryRow.create(
                using_db=connection,
                organization_id=tenant,
                actor="mara",
                action="INSERT",
                object_type="record",
                object_id=record.id,
                change={name: str(value) for name, value in given.items()},
            )
        return RecordPayload(record=cast(Record, record))


class View(GraphQL[Loaders, None]):
    """Strawberry's own view, with data loaders as the context."""

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Loaders:
        return Loaders()


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    size = int(os.environ["BENCH_POOL_SIZE"])
    credentials = {**json.loads(os.environ["BENCH_DATABASE"]), "minsize": size, "maxsize": size}
    await Tortoise.init(
        config={
            "connections": {"default": {"engine": "tortoise.backends.asyncpg", "credentials": credentials}},
            "apps": {"models": {"models": [__name__]}},
            "use_tz": True,
            "timezone": "UTC",
        },
        _enable_global_fallback=True,
    )
    yield
    await Tortoise.close_connections()


_view = View(strawberry.Schema(Query, Mutation), graphql_ide=None)
application = Starlette(routes=[Route("/graphql", _view)], lifespan=_lifespan)
