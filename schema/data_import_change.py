"""Mutations of imports: making one, starting it once its file is there, calling it off."""

from dataclasses import asdict

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.data_import import DataImport as DataImportModel
from models.data_import import ImportKind
from resolvers.data_import import NewImport, cancel_import, create_import, start_import
from resolvers.import_running import RUN_IMPORTS
from resolvers.site_geojson import SiteMapping
from schema.context import context_of
from schema.data_import import DataImport
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes

AT_ID = ("input", "id")


@writes(DataImportModel, beside=("code", "name", "kind", "description"))
@strawberry.input(description="In which properties of a GeoJSON feature what is said of a site is.")
class SitePropertiesInput:
    code: str = strawberry.field(default="code", description="The property that holds its code.")
    name: str = strawberry.field(default="name", description="The property that holds its name.")
    kind: str = strawberry.field(default="kind", description="The property that says what it is.")
    description: str = strawberry.field(default="description", description="The property that describes it.")


@writes(DataImportModel, beside=("mapping_id", "site_properties"))
@strawberry.input(description="A file that is to be imported.")
class CreateImportInput:
    project_id: strawberry.ID = strawberry.field(description="The project that it goes into.")
    kind: ImportKind = strawberry.field(description="The format of the file.")
    file_name: str = strawberry.field(description="What the file is called.")
    size: int = strawberry.field(description="Its bytes.")
    mapping_id: strawberry.ID | None = strawberry.field(
        default=None, description="The mapping that it is read by: demanded for kind CSV, and for no other."
    )
    site_properties: SitePropertiesInput | None = strawberry.field(
        default=None,
        description="In which properties its sites are, for kind GEOJSON_SITES; those of the same names, if left out.",
    )


@writes(DataImportModel, dry_run="is_dry_run", drop_switched_off="drops_switched_off")
@strawberry.input(description="Which import runs, and whether only for a look.")
class StartImportInput:
    id: strawberry.ID = strawberry.field(description="Which import.")
    dry_run: bool = strawberry.field(description="Judge each row as the import would, and write nothing.")
    drop_switched_off: bool = strawberry.field(
        default=False,
        description="Leave values out of fields that the project does without. If not, rows with some are rejected.",
    )


@strawberry.input(description="Which import is called off.")
class CancelImportInput:
    id: strawberry.ID = strawberry.field(description="Which import.")


@structure
@strawberry.type(description="An import after a mutation, or why nothing was done.")
class DataImportPayload:
    data_import: DataImport | None = shows(DataImportModel, "The import as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class DataImportMutation:
    @mutation(
        "Make an import. Its file is sent to its `uploadPath` then.",
        Action.DATA_IMPORT_CREATE,
        takes=(P.RECORD_IMPORT,),
        entity=DataImportModel,
    )
    async def create_import(info: strawberry.Info, input: CreateImportInput) -> DataImportPayload | None:
        new = NewImport(
            project_id=parse_id(input.project_id, "Project", at=("input", "projectId")),
            kind=input.kind,
            file_name=input.file_name,
            size=input.size,
            mapping_id=(
                parse_id(input.mapping_id, "ImportMapping", at=("input", "mappingId")) if input.mapping_id else None
            ),
            site_properties=SiteMapping(**asdict(input.site_properties)) if input.site_properties else None,
        )
        largest = context_of(info).services.import_limit
        return done(await create_import(current_change(info), new=new, largest=largest))

    @mutation(
        "Start an import whose file is there, or see by a dry run what would become of each row. It goes on in the"
        " background, by what you may do at each step.",
        Action.DATA_IMPORT_START,
        takes=(P.RECORD_IMPORT,),
        entity=DataImportModel,
        subject="DataImport",
    )
    async def start_import(info: strawberry.Info, input: StartImportInput) -> DataImportPayload | None:
        import_id = parse_id(input.id, "DataImport", at=AT_ID)
        started = await start_import(
            current_change(info),
            import_id=import_id,
            is_dry_run=input.dry_run,
            drops_switched_off=input.drop_switched_off,
        )
        context_of(info).services.wake_afterwards(RUN_IMPORTS)
        return done(started)

    @mutation(
        "Call an import off, and forget its file. Records that it made already stay.",
        Action.DATA_IMPORT_CANCEL,
        takes=(P.RECORD_IMPORT,),
        entity=DataImportModel,
        subject="DataImport",
    )
    async def cancel_import(info: strawberry.Info, input: CancelImportInput) -> DataImportPayload | None:
        import_id = parse_id(input.id, "DataImport", at=AT_ID)
        return done(await cancel_import(current_change(info), import_id=import_id))
