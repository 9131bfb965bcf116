"""Mutations of projects."""

from datetime import date

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.project import Project as ProjectModel
from models.record_field import RecordField
from resolvers.field_emptying import EMPTY_FIELDS
from resolvers.location_rewrite import REWRITE_LOCATIONS
from resolvers.project import (
    NewProject,
    archive_project,
    create_project,
    set_fields_off,
    set_location_sensitivity,
    update_project,
)
from schema.context import context_of
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.project import Project
from schema.written import writes, written_values

AT_ID = ("input", "id")


@writes(ProjectModel)
@strawberry.input(description="A new project.")
class CreateProjectInput:
    code: str = strawberry.field(description="The project's code, one of its kind in the organization.")
    name: str = strawberry.field(description="The project's name.")
    description: str | None = strawberry.field(default=None, description="What the project is about.")
    starts_on: date | None = strawberry.field(default=None, description="Its first day.")
    ends_on: date | None = strawberry.field(default=None, description="Its last day.")
    id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUIDv7 that the client made, so that trying again does no harm."
    )


@writes(ProjectModel)
@strawberry.input(description="Changes of a project. What is left out stays.")
class UpdateProjectInput:
    id: strawberry.ID = strawberry.field(description="Which project.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    code: str | None = strawberry.field(default=strawberry.UNSET, description="Another code.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Another name.")
    description: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    starts_on: date | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    ends_on: date | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@strawberry.input(description="The end of a project.")
class ArchiveProjectInput:
    id: strawberry.ID = strawberry.field(description="Which project.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(ProjectModel, sensitive="locations_are_sensitive")
@strawberry.input(
    description="Whether the places of a project's records and sites are to be kept from those who read no secrets."
)
class SetLocationSensitivityInput:
    id: strawberry.ID = strawberry.field(description="Which project.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    sensitive: bool = strawberry.field(
        description="True: the place is encrypted, and its cell shown. False: who reads the record or site is shown it."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(ProjectModel, beside=("empty_kept",))
@strawberry.input(description="Which fields of its records a project does without; all others are asked and kept.")
class SetProjectFieldsInput:
    id: strawberry.ID = strawberry.field(description="Which project.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    fields_off: list[RecordField] = strawberry.field(
        description="All that are switched off. Whoever writes one of them is refused, and so are rows of imports."
    )
    empty_kept: bool = strawberry.field(
        description="True: what was kept of them before is emptied, in the background, and can't be brought back."
        " False: it stays as it is."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A project after a mutation, or why nothing was done.")
class ProjectPayload:
    project: Project | None = shows(ProjectModel, "The project as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class ProjectMutation:
    @mutation(
        "Create a project.", Action.PROJECT_CREATE, takes=(P.PROJECT_CREATE,), entity=ProjectModel, subject="Project"
    )
    async def create_project(info: strawberry.Info, input: CreateProjectInput) -> ProjectPayload | None:
        new = NewProject(**written_values(input))
        project_id = parse_id(input.id, "Project", at=AT_ID) if input.id is not None else None
        return done(await create_project(current_change(info), project_id=project_id, new=new))

    @mutation(
        "Change a project.", Action.PROJECT_UPDATE, takes=(P.PROJECT_UPDATE,), entity=ProjectModel, subject="Project"
    )
    async def update_project(info: strawberry.Info, input: UpdateProjectInput) -> ProjectPayload | None:
        values = written_values(input)
        return done(
            await update_project(
                current_change(info),
                project_id=parse_id(input.id, "Project", at=AT_ID),
                expected_version=input.expected_version,
                values=values,
            )
        )

    @mutation(
        "Declare whether a project's locations are sensitive. It counts at once; records and sites that are"
        " there are rewritten in the background. To take it back takes `record:read_confidential` and"
        " `site:read_confidential` there, too.",
        Action.PROJECT_SET_LOCATION_SENSITIVITY,
        takes=(P.PROJECT_UPDATE,),
        entity=ProjectModel,
        subject="Project",
        reason_demanded=True,
    )
    async def set_location_sensitivity(
        info: strawberry.Info, input: SetLocationSensitivityInput
    ) -> ProjectPayload | None:
        project_id = await set_location_sensitivity(
            current_change(info),
            project_id=parse_id(input.id, "Project", at=AT_ID),
            expected_version=input.expected_version,
            is_sensitive=input.sensitive,
        )
        context_of(info).services.wake_afterwards(REWRITE_LOCATIONS)
        return done(project_id)

    @mutation(
        "Decide which fields of its records a project does without. It counts at once for what is written. To empty"
        " what was kept takes `record:delete` there, too; what a legal hold keeps is emptied once that is lifted.",
        Action.PROJECT_SET_FIELDS,
        takes=(P.PROJECT_UPDATE,),
        entity=ProjectModel,
        subject="Project",
        reason_demanded=True,
        fresh=True,
    )
    async def set_project_fields(info: strawberry.Info, input: SetProjectFieldsInput) -> ProjectPayload | None:
        project_id = await set_fields_off(
            current_change(info),
            project_id=parse_id(input.id, "Project", at=AT_ID),
            expected_version=input.expected_version,
            off=input.fields_off,
            empties=input.empty_kept,
        )
        context_of(info).services.wake_afterwards(EMPTY_FIELDS)
        return done(project_id)

    @mutation(
        "Close a project: it is read, and takes no more changes.",
        Action.PROJECT_ARCHIVE,
        takes=(P.PROJECT_ARCHIVE,),
        entity=ProjectModel,
        subject="Project",
        reason_demanded=True,
    )
    async def archive_project(info: strawberry.Info, input: ArchiveProjectInput) -> ProjectPayload | None:
        return done(
            await archive_project(
                current_change(info),
                project_id=parse_id(input.id, "Project", at=AT_ID),
                expected_version=input.expected_version,
            )
        )
