"""Mappings of tables: how files of a layout of their own are read, for one project."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.permission import Permission as P
from models.data_import import ImportMapping as ImportMappingModel
from models.membership import Membership
from models.order import Order
from models.project import Project as ProjectModel
from resolvers.csv_mapping import (
    CsvMapping,
    Delimiter,
    Encoding,
    ImportField,
    MappedColumn,
    MappedConstant,
    ResultColumn,
)
from resolvers.csv_mapping_text import saved_mapping
from resolvers.csv_moment import NO_ZONE, DateOrder
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, derived, link, resolved, stands_for, structure
from schema.filter import IdFilter, TextFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import ImportMappingViewerCan, viewer_can
from schema.written import writes

if TYPE_CHECKING:
    from schema.project import Project
    from schema.user import User


@structure
@strawberry.type(description="A column of a file, and what it is.")
class ImportMappedColumn:
    column: str = strawberry.field(description="Its name in the header.", metadata=derived())
    field: ImportField = strawberry.field(description="What it is.", metadata=derived())


@structure
@strawberry.type(description="What is the same in every row.")
class ImportMappedConstant:
    field: ImportField = strawberry.field(description="What it is.", metadata=derived())
    value: str = strawberry.field(description="What it says.", metadata=derived())


@structure
@strawberry.type(description="A column whose cells are values of one characteristic.")
class ImportResultColumn:
    column: str = strawberry.field(description="Its name in the header.", metadata=derived())
    characteristic: str = strawberry.field(description="What was measured.", metadata=derived())
    unit: str | None = strawberry.field(description="The unit of the values.", metadata=derived())
    fraction: str | None = strawberry.field(description="Which part of the sample.", metadata=derived())
    method: str | None = strawberry.field(description="The analytical method.", metadata=derived())


@structure
@strawberry.type(description="How a table is read.")
class ImportTable:
    columns: list[ImportMappedColumn] = strawberry.field(description="What its columns are.", metadata=derived())
    constants: list[ImportMappedConstant] = strawberry.field(
        description="What is the same in every row.", metadata=derived()
    )
    results: list[ImportResultColumn] = strawberry.field(
        description="The columns that are results of their own.", metadata=derived()
    )
    delimiter: Delimiter = strawberry.field(description="What stands between cells.", metadata=derived())
    encoding: Encoding = strawberry.field(description="What the file's bytes are text in.", metadata=derived())
    decimal_comma: bool = strawberry.field(
        description="Whether numbers have a comma where others have a point.", metadata=derived()
    )
    date_order: DateOrder = strawberry.field(
        description="In which order year, month and day stand.", metadata=derived()
    )
    time_zone: str = strawberry.field(description="The zone of times that do not say theirs.", metadata=derived())
    missing: list[str] = strawberry.field(description="Cells that say that there is nothing.", metadata=derived())


@stands_for(ImportMappingModel)
@strawberry.type(description="How files of a layout are read that is nobody else's, saved for a project.")
class ImportMapping(Node):
    name: str | None = column("What it is called, one of its kind in the project.")
    created_at: datetime | None = column("When it was made.")
    version: int = column("Counts the changes; an update names the one it saw.")
    project: Annotated["Project", strawberry.lazy("schema.project")] | None = link(
        "The project that it is for.", to=ProjectModel, by="project_id"
    )
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who made it, if you see the organization's people.", to=Membership, by="created_by_id"
    )

    viewer_can: ImportMappingViewerCan = viewer_can(ImportMappingViewerCan)

    @resolved("How a table is read by it.", derived(P.DATA_IMPORT_READ, needs=("mapping",)))
    def mapping(src: strawberry.Parent[Any]) -> ImportTable | None:
        found: Any = saved_mapping(src["mapping"])
        return found


def _all_of(*names: str) -> dict[str, str]:
    """Return that all these fields are parts of one column."""
    return dict.fromkeys(names, "mapping")


@filters(ImportMappingModel)
@strawberry.input(description="Which mappings. All that is given must hold.")
class ImportMappingFilter:
    project_id: IdFilter | None = strawberry.field(default=None, description="By project.")
    name: TextFilter | None = strawberry.field(default=None, description="By what they are called.")


@writes(ImportMappingModel, beside=(), **_all_of("column", "field"))
@strawberry.input(description="A column of the file, and what it is.")
class MappedColumnInput:
    column: str = strawberry.field(description="Its name in the header.")
    field: ImportField = strawberry.field(description="What it is.")


@writes(ImportMappingModel, beside=(), **_all_of("field", "value"))
@strawberry.input(description="What is the same in every row.")
class MappedConstantInput:
    field: ImportField = strawberry.field(description="What it is.")
    value: str = strawberry.field(description="What it says.")


@writes(ImportMappingModel, beside=(), **_all_of("column", "characteristic", "unit", "fraction", "method"))
@strawberry.input(description="A column whose cells are values of one characteristic; an empty one is no result.")
class ResultColumnInput:
    column: str = strawberry.field(description="Its name in the header.")
    characteristic: str = strawberry.field(description="What was measured.")
    unit: str | None = strawberry.field(default=None, description="The unit of the values.")
    fraction: str | None = strawberry.field(default=None, description="Which part of the sample.")
    method: str | None = strawberry.field(default=None, description="The analytical method.")


@writes(
    ImportMappingModel,
    beside=(),
    **_all_of(
        "columns",
        "constants",
        "results",
        "delimiter",
        "encoding",
        "decimal_comma",
        "date_order",
        "time_zone",
        "missing",
    ),
)
@strawberry.input(
    description="How a table is read: long, with a row for each result, by CHARACTERISTIC and VALUE; wide, with a"
    " column for each, by `results`; or both. It says what SITE_CODE is, and COLLECTED_AT or DATE."
)
class ImportTableInput:
    columns: list[MappedColumnInput] = strawberry.field(description="What the columns of the file are.")
    constants: list[MappedConstantInput] = strawberry.field(
        default_factory=list, description="What is the same in every row."
    )
    results: list[ResultColumnInput] = strawberry.field(
        default_factory=list, description="The columns that are results of their own."
    )
    delimiter: Delimiter = strawberry.field(default=Delimiter.COMMA, description="What stands between cells.")
    encoding: Encoding = strawberry.field(default=Encoding.UTF_8, description="What the file's bytes are text in.")
    decimal_comma: bool = strawberry.field(
        default=False, description="Whether numbers have a comma where others have a point."
    )
    date_order: DateOrder = strawberry.field(
        default=DateOrder.YMD, description="In which order year, month and day stand in a date."
    )
    time_zone: str = strawberry.field(
        default=NO_ZONE, description="The zone of times that do not say theirs, by its IANA name: Europe/Berlin."
    )
    missing: list[str] = strawberry.field(
        default_factory=list, description="Cells that say that there is nothing, such as NA."
    )


def given_mapping(given: ImportTableInput) -> CsvMapping:
    """Return the mapping that an input says."""
    return CsvMapping(
        columns=[MappedColumn(one.column, one.field) for one in given.columns],
        constants=[MappedConstant(one.field, one.value) for one in given.constants],
        results=[
            ResultColumn(one.column, one.characteristic, one.unit, one.fraction, one.method) for one in given.results
        ],
        delimiter=given.delimiter,
        encoding=given.encoding,
        decimal_comma=given.decimal_comma,
        date_order=given.date_order,
        time_zone=given.time_zone,
        missing=list(given.missing),
    )


async def list_mappings(
    info: strawberry.Info, filter: ImportMappingFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the mappings that the viewer sees, by name."""
    return await page_of(
        info,
        ImportMappingModel,
        page,
        order=Order("name", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, ImportMappingModel, links={"project_id": "Project"}),
    )
