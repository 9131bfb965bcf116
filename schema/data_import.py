"""Imports of files: what is imported into which project, how far it is, and what became of each row."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import strawberry

from auth.permission import Permission as P
from models.data_import import DataImport as DataImportModel
from models.data_import import ImportKind, ImportStatus, RowFate
from models.encryption.owner import index_owner
from models.errors import InvalidInputError
from models.membership import Membership
from models.order import Bound, Order
from models.project import Project as ProjectModel
from models.row import Row
from models.service_account import ServiceAccount as ServiceAccountModel
from resolvers.import_progress import BEFORE_ALL, Place, Progress, ToldRow, load_fates, load_progress
from schema.connection import DEFAULT_PAGE, LARGEST_PAGE, After, First, OrderDirection, PageArguments, PageInfo, page_of
from schema.context import RequestContext, context_of
from schema.cursor import open_cursor, seal_cursor
from schema.field import column, derived, link, resolved, stands_for, structure
from schema.filter import EnumFilter, IdFilter, TimeFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import DataImportViewerCan, viewer_can

if TYPE_CHECKING:
    from schema.project import Project
    from schema.service_account import ServiceAccount
    from schema.user import User

_ORDER: Final = Order("position")


@structure
@strawberry.type(description="How far an import is: as it goes, and when it is over as it went.")
class ImportProgress:
    received_bytes: int = strawberry.field(
        description="Bytes of the file that are there; none once it was forgotten.", metadata=derived()
    )
    total_rows: int | None = strawberry.field(
        description="Rows of the file; null until it was looked through.", metadata=derived()
    )
    done_rows: int = strawberry.field(description="Rows of which it is known what became of them.", metadata=derived())
    created_rows: int = strawberry.field(description="Those of which something was new.", metadata=derived())
    known_rows: int = strawberry.field(description="Those of which all was there before.", metadata=derived())
    rejected_rows: int = strawberry.field(description="Those that became nothing, for a reason.", metadata=derived())
    blank_rows: int = strawberry.field(description="Those that say nothing.", metadata=derived())
    records_created: int = strawberry.field(
        description="Records that were made, or in a dry run would be.", metadata=derived()
    )


@structure
@strawberry.type(description="What became of a row of the file, or in a dry run would.")
class ImportRow:
    line: int = strawberry.field(
        description="The line of the file that the row begins on; of a file of sites, the number of the feature.",
        metadata=derived(),
    )
    fate: RowFate = strawberry.field(description="What became of it.", metadata=derived())
    column: str | None = strawberry.field(
        description="The column at fault, or the member of the feature, where it was rejected for one.",
        metadata=derived(),
    )
    reason: str | None = strawberry.field(description="Why it was rejected.", metadata=derived())


@structure
@strawberry.type(description="A page of what became of the rows of a file, in the order in which that was decided.")
class ImportRowPage:
    nodes: list[ImportRow] = strawberry.field(description="The rows.", metadata=derived())
    page_info: PageInfo = strawberry.field(description="Where the page lies.", metadata=derived())

    @resolved("How many rows there are by now, all pages together.", derived())
    async def total_count(src: strawberry.Parent[Any], info: strawberry.Info) -> int | None:
        context = context_of(info)
        found = await context.loader(("import progress",), lambda ids: _progress(context, ids)).load(src.import_id)
        return None if found is None else found.rows_of(src.fates)


@stands_for(DataImportModel)
@strawberry.type(description="A file that is, or was, imported into a project.")
class DataImport(Node):
    kind: ImportKind | None = column("The format of the file.")
    status: ImportStatus | None = column("How far it is.")
    file_name: str | None = column("What the file is called.")
    size: int | None = column("The file's bytes, as they were announced.")
    mapping: str | None = column("The mapping that it is read by, as JSON, where its kind takes one.")
    dry_run: bool | None = column("Whether the last run judges the rows and writes nothing.", name="is_dry_run")
    drops_switched_off: bool | None = column(
        "Whether the last run leaves values out of fields that the project does without; if not, it rejects their rows."
    )
    created_at: datetime | None = column("When it was made.")
    started_at: datetime | None = column("When it was started last.")
    ended_at: datetime | None = column("When that run was over.")
    total_rows: int | None = column("Rows of the file, when the run was over.")
    created_rows: int | None = column("Rows of which something was new.")
    known_rows: int | None = column("Rows of which all was there before.")
    rejected_rows: int | None = column("Rows that became nothing, for a reason.")
    blank_rows: int | None = column("Rows that say nothing.")
    records_created: int | None = column("Records that were made, or in a dry run would be.")
    error_code: str | None = column("What ended the run before its time: a code of errors.")
    error_message: str | None = column("What to do about it.")
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project that it goes into.", to=ProjectModel, by="project_id"
    )
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who made it, if you see the organization's people.", to=Membership, by="created_by_id"
    )
    started_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "In whose name it runs, if you see the organization's people.", to=Membership, by="started_by_id"
    )
    started_by_program: Annotated["ServiceAccount", strawberry.lazy("schema.service_account")] | None = link(
        "The program in whose name it runs.", to=ServiceAccountModel, by="started_by_program_id"
    )

    viewer_can: DataImportViewerCan = viewer_can(DataImportViewerCan, needs=("status", "kind"))

    @resolved("Where its file is sent to, by PUT.", derived(P.DATA_IMPORT_READ, needs=("id",)))
    def upload_path(src: strawberry.Parent[Any]) -> str | None:
        return f"/imports/{src['id']}/content"

    @resolved("How far it is at this moment.", derived(P.DATA_IMPORT_READ, needs=("id",)))
    async def progress(src: strawberry.Parent[Any], info: strawberry.Info) -> ImportProgress | None:
        context = context_of(info)
        found: Any = await context.loader(("import progress",), lambda ids: _progress(context, ids)).load(src["id"])
        return found

    @resolved(
        "What became of each row in the last run, or in a dry run would.",
        derived(P.DATA_IMPORT_READ, needs=("id", "run")),
    )
    async def rows(
        src: strawberry.Parent[Any],
        info: strawberry.Info,
        fate: Annotated[list[RowFate] | None, strawberry.argument(description="Those of these fates alone.")] = None,
        first: First = None,
        after: After = None,
    ) -> ImportRowPage | None:
        found: Any = await _rows(context_of(info), src, fate, DEFAULT_PAGE if first is None else first, after)
        return found


@strawberry.input(description="Compares how far an import is.")
class ImportStatusFilter(EnumFilter[ImportStatus]):
    pass


@filters(DataImportModel)
@strawberry.input(description="Which imports. All that is given must hold.")
class DataImportFilter:
    project_id: IdFilter | None = strawberry.field(default=None, description="By project.")
    status: ImportStatusFilter | None = strawberry.field(default=None, description="By how far they are.")
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were made.")


async def list_imports(
    info: strawberry.Info, filter: DataImportFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the imports that the viewer sees, in the order in which they were made."""
    return await page_of(
        info,
        DataImportModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, DataImportModel, links={"project_id": "Project"}),
    )


@dataclass(frozen=True, slots=True)
class _Info:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@dataclass(frozen=True, slots=True)
class _RowPage:
    nodes: Sequence[ToldRow]
    page_info: _Info
    import_id: UUID
    fates: Sequence[RowFate] | None


async def _progress(context: RequestContext, ids: Sequence[UUID]) -> list[Progress | None]:
    async with context.reader.use() as connection:
        found = await load_progress(connection, context.viewer.organization_id, ids)
    return [found.get(one) for one in ids]


async def _rows(
    context: RequestContext, found: Row, fates: Sequence[RowFate] | None, first: int, after: str | None
) -> _RowPage:
    if not 0 <= first <= LARGEST_PAGE:
        raise InvalidInputError(f"Expected a number from 0 to {LARGEST_PAGE}.", field=("first",))
    await context.services.keyring.load([index_owner(context.viewer.organization_id)])
    begin = BEFORE_ALL if after is None else _opened(context, found, after)
    key = ("import rows", tuple(fates or ()), fates is None, begin, first)

    async def load(runs: Sequence[tuple[UUID, int]]) -> list[list[ToldRow]]:
        async with context.reader.use() as connection:
            return await load_fates(
                connection, context.viewer.organization_id, runs, fates=fates, after=begin, most=first + 1
            )

    told: list[ToldRow] = await context.loader(key, load).load((found["id"], found["run"]))
    nodes = told[:first]
    start, end = (_sealed(context, found, one[0]) if one else None for one in (nodes[:1], nodes[-1:]))
    return _RowPage(nodes, _Info(len(told) > first, after is not None, start, end), found["id"], fates)


def _sealed(context: RequestContext, found: Row, row: ToldRow) -> str:
    bound = Bound((found["run"], *row.place), found["id"])
    return seal_cursor(context.services.keyring, context.viewer, "import_block", _ORDER, bound)


def _opened(context: RequestContext, found: Row, cursor: str) -> Place:
    bound = open_cursor(context.services.keyring, context.viewer, "import_block", _ORDER, cursor, at=("after",))
    run, position, index = bound.values
    if bound.row_id != found["id"] or run != found["run"]:
        raise InvalidInputError("Expected a cursor of this import's last run.", field=("after",))
    return position, index
