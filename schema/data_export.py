"""Exports: files of what somebody may read, and how far their making is."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import orjson
import strawberry
from strawberry.utils.await_maybe import await_maybe

from auth.permission import Permission
from auth.scope import ORGANIZATION
from models.data_export import DataExport as DataExportModel
from models.data_export import DataExportProgress as DataExportProgressModel
from models.data_export import ExportFormat, ExportStatus
from models.inventory import entity_of
from models.membership import Membership
from models.order import Order
from models.service_account import ServiceAccount as ServiceAccountModel
from models.visibility import scope_of
from schema.connection import OrderDirection, PageArguments, page_of
from schema.context import RequestContext, ResolveInfo
from schema.field import column, derived, link, resolved, stands_for
from schema.filter import EnumFilter, conditions_of, filters
from schema.guard import read_column
from schema.node import Node
from schema.viewer_can import ExportViewerCan, ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.service_account import ServiceAccount
    from schema.user import User


@stands_for(DataExportProgressModel)
@strawberry.type(description="How far an export is. It moves every second or so while the export is made.")
class ExportProgress(Node):
    started_at: datetime | None = column("When its making began; null while it waits for its turn.")
    moved_at: datetime | None = column("When it went on last.")
    rows_total: int | None = column("How many records, or rows of an archive, there are to write.")
    rows_done: int | None = column("How many of them are written.")
    attempts: int | None = column("How often it was begun: again after a server's end, for one.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


_MANIFEST: Final = entity_of(DataExportModel).columns["manifest"]


@stands_for(DataExportModel)
@strawberry.type(
    description="A file of records, or of everything, as whoever asked for it may read it. Its manifest is"
    " fetched from `/exports/ID/manifest.json`, the file itself from `/exports/ID/FILE_NAME`."
)
class Export(Node):
    format: ExportFormat | None = column("What the file is.")
    status: ExportStatus | None = column("Whether there is a file, or why there is none.")
    filter: str | None = column(
        "Which records are in it: the filter as it was given, as JSON, with the words of `search`; null for all. In"
        " place of the name of a collector it has `…`.",
        name="filter_given",
    )
    records: float | None = column("How many records are in it.")
    measurements: float | None = column("How many measurements are in it.")
    file_name: str | None = column("The name of the file: the last part of its address.")
    media_type: str | None = column("The media type of the file.")
    size: float | None = column("Its size in bytes.")
    sha256: str | None = column("The SHA-256 of the file, in hexadecimal.")

    @resolved(
        "What is in the file, of which time and by whom, and what is left out, as JSON. The author's name is told where"
        " you may read the names of people, or it is yours.",
        derived(Permission.EXPORT_READ_CONFIDENTIAL, needs=("manifest",)),
    )
    async def manifest(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        raw: ResolveInfo = info._raw_info
        context: RequestContext = raw.context
        text: str | None = await await_maybe(read_column(context, _MANIFEST, src))
        is_told = (
            context.allows(Permission.MEMBERSHIP_READ_PERSONAL, ORGANIZATION)
            or scope_of(entity_of(DataExportModel), src, context.viewer).is_own
        )
        return text if text is None or is_told else _without_name(text)

    error_code: str | None = column("Why there is no file, where it came to nothing.")
    created_at: datetime | None = column("When it was asked for.")
    finished_at: datetime | None = column("When it was ready, or came to nothing.")
    expires_at: datetime | None = column("When the file is destroyed.")
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who asked for it, if that is a person whom you see.", to=Membership, by="created_by_id"
    )
    service_account: Annotated["ServiceAccount", strawberry.lazy("schema.service_account")] | None = link(
        "The program that asked for it, if it was one.", to=ServiceAccountModel, by="service_account_id"
    )
    progress: ExportProgress | None = link("How far it is.", to=DataExportProgressModel, by="id")

    viewer_can: ExportViewerCan = viewer_can(ExportViewerCan, needs=("status", "created_by_id", "service_account_id"))


@strawberry.input(description="Compares what a file is.")
class ExportFormatFilter(EnumFilter[ExportFormat]):
    pass


@strawberry.input(description="Compares whether there is a file.")
class ExportStatusFilter(EnumFilter[ExportStatus]):
    pass


@filters(DataExportModel)
@strawberry.input(description="Which exports. All that is given must hold.")
class ExportFilter:
    status: ExportStatusFilter | None = strawberry.field(default=None, description="By whether there is a file.")
    format: ExportFormatFilter | None = strawberry.field(default=None, description="By what the file is.")


async def list_exports(
    info: strawberry.Info, filter: ExportFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the exports that the viewer sees, in the order in which they were asked for."""
    return await page_of(
        info,
        DataExportModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, DataExportModel),
    )


def _without_name(manifest: str) -> str:
    """Return a manifest with the id of its author alone."""
    said = orjson.loads(manifest)
    said["author"]["name"] = None
    return orjson.dumps(said, option=orjson.OPT_INDENT_2).decode() + "\n"
