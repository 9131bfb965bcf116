"""Mutations of mappings."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.data_import import ImportMapping as ImportMappingModel
from resolvers.import_mapping import create_mapping, delete_mapping, update_mapping
from schema.field import derived, structure
from schema.import_mapping import ImportMapping, ImportTableInput, given_mapping
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes

AT_ID = ("input", "id")


@writes(ImportMappingModel)
@strawberry.input(description="A new mapping.")
class CreateImportMappingInput:
    project_id: strawberry.ID = strawberry.field(description="The project that it is for.")
    name: str = strawberry.field(description="What it is called.")
    mapping: ImportTableInput = strawberry.field(description="How a table is read by it.")


@writes(ImportMappingModel)
@strawberry.input(description="Changes of a mapping. What is left out stays. Imports that were made by it stay too.")
class UpdateImportMappingInput:
    id: strawberry.ID = strawberry.field(description="Which mapping.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    name: str | None = strawberry.field(default=None, description="Another name.")
    mapping: ImportTableInput | None = strawberry.field(default=None, description="Another way to read a table.")


@strawberry.input(description="The end of a mapping. Imports that were made by it keep it.")
class DeleteImportMappingInput:
    id: strawberry.ID = strawberry.field(description="Which mapping.")
    expected_version: int = strawberry.field(description="The version that you saw.")


@structure
@strawberry.type(description="A mapping after a mutation, or why nothing was done.")
class ImportMappingPayload:
    import_mapping: ImportMapping | None = shows(ImportMappingModel, "The mapping as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="Which mapping is gone, or why none is.")
class DeleteImportMappingPayload:
    deleted_id: strawberry.ID | None = strawberry.field(description="The id of what is gone.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class ImportMappingMutation:
    @mutation(
        "Save how files of a layout are read, for a project.",
        Action.IMPORT_MAPPING_CREATE,
        takes=(P.RECORD_IMPORT,),
        entity=ImportMappingModel,
    )
    async def create_import_mapping(
        info: strawberry.Info, input: CreateImportMappingInput
    ) -> ImportMappingPayload | None:
        return done(
            await create_mapping(
                current_change(info),
                project_id=parse_id(input.project_id, "Project", at=("input", "projectId")),
                name=input.name,
                mapping=given_mapping(input.mapping),
            )
        )

    @mutation(
        "Change a mapping.",
        Action.IMPORT_MAPPING_UPDATE,
        takes=(P.RECORD_IMPORT,),
        entity=ImportMappingModel,
        subject="ImportMapping",
    )
    async def update_import_mapping(
        info: strawberry.Info, input: UpdateImportMappingInput
    ) -> ImportMappingPayload | None:
        return done(
            await update_mapping(
                current_change(info),
                mapping_id=parse_id(input.id, "ImportMapping", at=AT_ID),
                expected_version=input.expected_version,
                name=input.name,
                mapping=given_mapping(input.mapping) if input.mapping is not None else None,
            )
        )

    @mutation(
        "Delete a mapping.",
        Action.IMPORT_MAPPING_DELETE,
        takes=(P.RECORD_IMPORT,),
        entity=ImportMappingModel,
        subject="ImportMapping",
    )
    async def delete_import_mapping(
        info: strawberry.Info, input: DeleteImportMappingInput
    ) -> DeleteImportMappingPayload | None:
        row_id = await delete_mapping(
            current_change(info),
            mapping_id=parse_id(input.id, "ImportMapping", at=AT_ID),
            expected_version=input.expected_version,
        )
        return DeleteImportMappingPayload(deleted_id=strawberry.ID(f"ImportMapping:{row_id}"), errors=[])
