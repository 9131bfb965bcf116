"""Mutations of roles, in the organization and in projects."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from auth.role import OrganizationRole, ProjectRole
from models.membership import Membership, ProjectMembership
from resolvers.membership import assign_organization_role, assign_project_role, remove_project_role
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.user import User

AT_USER = ("input", "userId")
AT_PROJECT = ("input", "projectId")


@strawberry.input(description="A role in the organization.")
class AssignOrganizationRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    role: OrganizationRole = strawberry.field(description="Which. MEMBER may do only what projects grant.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="The end of a role in the organization.")
class RemoveOrganizationRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="A role in a project.")
class AssignProjectRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    project_id: strawberry.ID = strawberry.field(description="Where.")
    role: ProjectRole = strawberry.field(description="Which, in the place of the one before.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="The end of a role in a project.")
class RemoveProjectRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    project_id: strawberry.ID = strawberry.field(description="Where.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A person after a mutation, or why nothing was done.")
class UserPayload:
    user: User | None = shows(Membership, "The person as you may read them now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class RoleMutation:
    @mutation(
        "Give a person another role in the organization.",
        Action.MEMBERSHIP_ASSIGN,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def assign_organization_role(info: strawberry.Info, input: AssignOrganizationRoleInput) -> UserPayload | None:
        return done(
            await assign_organization_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                role=input.role,
            )
        )

    @mutation(
        "Take a person's role in the organization away: they stay a MEMBER.",
        Action.MEMBERSHIP_REMOVE,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
    )
    async def remove_organization_role(info: strawberry.Info, input: RemoveOrganizationRoleInput) -> UserPayload | None:
        return done(
            await assign_organization_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                role=OrganizationRole.MEMBER,
            )
        )

    @mutation(
        "Give a person a role in a project.",
        Action.PROJECT_MEMBERSHIP_ASSIGN,
        takes=(P.PROJECT_MEMBERSHIP_ASSIGN,),
        entity=ProjectMembership,
        reason_demanded=True,
    )
    async def assign_project_role(info: strawberry.Info, input: AssignProjectRoleInput) -> UserPayload | None:
        return done(
            await assign_project_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                project_id=parse_id(input.project_id, "Project", at=AT_PROJECT),
                role=input.role,
            )
        )

    @mutation(
        "Take a person's role in a project away.",
        Action.PROJECT_MEMBERSHIP_REMOVE,
        takes=(P.PROJECT_MEMBERSHIP_ASSIGN,),
        entity=ProjectMembership,
        reason_demanded=True,
    )
    async def remove_project_role(info: strawberry.Info, input: RemoveProjectRoleInput) -> UserPayload | None:
        return done(
            await remove_project_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                project_id=parse_id(input.project_id, "Project", at=AT_PROJECT),
            )
        )
