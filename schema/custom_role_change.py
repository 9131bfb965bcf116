"""Mutations of the organization's own roles."""

import strawberry

from auth.action import Action
from auth.permission import Permission
from auth.permission import Permission as P
from models.custom_role import CustomRole as CustomRoleModel
from models.custom_role import RoleLevel
from resolvers.custom_role import NewRole, create_role, delete_role, update_role
from schema.custom_role import CustomRole
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes, written_values

AT_ID = ("input", "id")


@writes(CustomRoleModel)
@strawberry.input(description="A new role of the organization's own.")
class CreateRoleInput:
    name: str = strawberry.field(description="The role's name.")
    level: RoleLevel = strawberry.field(description="Whether it is given in the organization or in projects.")
    permissions: list[Permission] = strawberry.field(description="What it may do: nothing that you may not.")
    description: str | None = strawberry.field(default=None, description="What the role is for.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")
    id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUIDv7 that the client made, so that trying again does no harm."
    )


@writes(CustomRoleModel)
@strawberry.input(description="Changes of a role. What is left out stays. They count at once for all who have it.")
class UpdateRoleInput:
    id: strawberry.ID = strawberry.field(description="Which role.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    name: str | None = strawberry.field(default=strawberry.UNSET, description="Another name.")
    permissions: list[Permission] | None = strawberry.field(
        default=strawberry.UNSET, description="All that it may do from now on."
    )
    description: str | None = strawberry.field(default=strawberry.UNSET, description="Null takes it away.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="The end of a role that nobody has any more.")
class DeleteRoleInput:
    id: strawberry.ID = strawberry.field(description="Which role.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A role after a mutation, or why nothing was done.")
class RolePayload:
    role: CustomRole | None = shows(CustomRoleModel, "The role as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="Which role is gone, or why none is.")
class DeleteRolePayload:
    deleted_id: strawberry.ID | None = strawberry.field(description="The id of what is gone.", metadata=derived())
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class CustomRoleMutation:
    @mutation(
        "Define a role of the organization's own.",
        Action.ROLE_CREATE,
        takes=(P.ROLE_DEFINE,),
        entity=CustomRoleModel,
        subject="CustomRole",
        reason_demanded=True,
        fresh=True,
    )
    async def create_role(info: strawberry.Info, input: CreateRoleInput) -> RolePayload | None:
        new = NewRole(**written_values(input))
        role_id = parse_id(input.id, "CustomRole", at=AT_ID) if input.id is not None else None
        return done(await create_role(current_change(info), role_id=role_id, new=new))

    @mutation(
        "Change what a role may do.",
        Action.ROLE_UPDATE,
        takes=(P.ROLE_DEFINE,),
        entity=CustomRoleModel,
        subject="CustomRole",
        reason_demanded=True,
        fresh=True,
    )
    async def update_role(info: strawberry.Info, input: UpdateRoleInput) -> RolePayload | None:
        return done(
            await update_role(
                current_change(info),
                role_id=parse_id(input.id, "CustomRole", at=AT_ID),
                expected_version=input.expected_version,
                values=written_values(input),
            )
        )

    @mutation(
        "Delete a role that nobody has.",
        Action.ROLE_DELETE,
        takes=(P.ROLE_DEFINE,),
        entity=CustomRoleModel,
        subject="CustomRole",
        reason_demanded=True,
        fresh=True,
    )
    async def delete_role(info: strawberry.Info, input: DeleteRoleInput) -> DeleteRolePayload | None:
        row_id = await delete_role(
            current_change(info),
            role_id=parse_id(input.id, "CustomRole", at=AT_ID),
            expected_version=input.expected_version,
        )
        return DeleteRolePayload(deleted_id=strawberry.ID(f"CustomRole:{row_id}"), errors=[])
