"""Mutations of sites."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.site import Site as SiteModel
from resolvers.site import NewSite, create_site, delete_site, update_site
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.site import Site
from schema.written import writes, written_values

AT_ID = ("input", "id")
AT_PROJECT = ("input", "projectId")


@writes(SiteModel)
@strawberry.input(
    description='A new site: `{projectId: "Project:01a0…", code: "WELL-7", name: "Well at the gate", kind: "Well"}`.'
)
class CreateSiteInput:
    project_id: strawberry.ID = strawberry.field(description="The project it belongs to.")
    code: str = strawberry.field(description="The site's code, one of its kind in the project.")
    name: str = strawberry.field(description="The site's name.")
    kind: str | None = strawberry.field(default=None, description="What it is, in WQX's words, such as `River/Stream`.")
    latitude: float | None = strawberry.field(
        default=None, description="Degrees north, WGS 84: always of the exact place."
    )
    longitude: float | None = strawberry.field(
        default=None, description="Degrees east, WGS 84: always of the exact place."
    )
    description: str | None = strawberry.field(default=None, description="What there is to know about it.")
    id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUIDv7 that the client made, so that trying again does no harm."
    )
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@writes(SiteModel)
@strawberry.input(description="Changes of a site. What is left out stays.")
class UpdateSiteInput:
    id: strawberry.ID = strawberry.field(description="Which site.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    code: str | None = strawberry.field(
        default=strawberry.UNSET, description="Another code. Records stay with the one that they were made with."
    )
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Another name.")
    kind: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    latitude: float | None = strawberry.field(
        default=strawberry.UNSET, description="Of the exact place. Null takes it away."
    )
    longitude: float | None = strawberry.field(
        default=strawberry.UNSET, description="Of the exact place. Null takes it away."
    )
    description: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    reason: str | None = strawberry.field(default=None, description="Why, for the audit trail.")


@strawberry.input(description="A site at a version, and why.")
class DeleteSiteInput:
    id: strawberry.ID = strawberry.field(description="Which site.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A site after a mutation, or why nothing was done.")
class SitePayload:
    site: Site | None = shows(SiteModel, "The site as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="What was deleted, or why nothing was.")
class DeleteSitePayload:
    deleted_id: strawberry.ID | None = strawberry.field(description="The id of what is gone.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class SiteMutation:
    @mutation(
        "Create a site of a project.", Action.SITE_CREATE, takes=(P.SITE_CREATE,), entity=SiteModel, subject="Site"
    )
    async def create_site(info: strawberry.Info, input: CreateSiteInput) -> SitePayload | None:
        given = written_values(input)
        del given["project_id"]
        return done(
            await create_site(
                current_change(info),
                project_id=parse_id(input.project_id, "Project", at=AT_PROJECT),
                site_id=parse_id(input.id, "Site", at=AT_ID) if input.id is not None else None,
                new=NewSite(**given),
            )
        )

    @mutation("Change a site.", Action.SITE_UPDATE, takes=(P.SITE_UPDATE,), entity=SiteModel, subject="Site")
    async def update_site(info: strawberry.Info, input: UpdateSiteInput) -> SitePayload | None:
        return done(
            await update_site(
                current_change(info),
                site_id=parse_id(input.id, "Site", at=AT_ID),
                expected_version=input.expected_version,
                values=written_values(input),
            )
        )

    @mutation(
        "Delete a site. Its records stay, and the audit trail keeps what it was.",
        Action.SITE_DELETE,
        takes=(P.SITE_DELETE,),
        entity=SiteModel,
        subject="Site",
        reason_demanded=True,
    )
    async def delete_site(info: strawberry.Info, input: DeleteSiteInput) -> DeleteSitePayload | None:
        row_id = await delete_site(
            current_change(info),
            site_id=parse_id(input.id, "Site", at=AT_ID),
            expected_version=input.expected_version,
        )
        return DeleteSitePayload(deleted_id=strawberry.ID(f"Site:{row_id}"), errors=[])
