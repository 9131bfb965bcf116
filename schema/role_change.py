"""Mutations of roles, in the organization and in projects."""

from datetime import datetime

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from auth.role import OrganizationRole, ProjectRole
from models.membership import Membership, ProjectMembership
from resolvers.membership import (
    AT_CUSTOM_ROLE,
    Assignment,
    assign_organization_role,
    assign_project_role,
    remove_project_role,
)
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.user import User
from schema.written import writes

AT_USER = ("input", "userId")
AT_PROJECT = ("input", "projectId")


@writes(Membership, beside=("user_id",), expires_at="role_expires_at")
@strawberry.input(description="A role in the organization.")
class AssignOrganizationRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    role: OrganizationRole | None = strawberry.field(
        default=None, description="Which built-in one. MEMBER may do only what projects grant."
    )
    custom_role_id: strawberry.ID | None = strawberry.field(
        default=None, description="Or which one of the organization's own, of the level ORGANIZATION."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="From when the person is a MEMBER again; null for good."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(Membership, beside=("user_id",))
@strawberry.input(description="The end of a role in the organization.")
class RemoveOrganizationRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(ProjectMembership, user_id="membership_id")
@strawberry.input(description="A role in a project.")
class AssignProjectRoleInput:
    user_id: strawberry.ID = strawberry.field(description="Whose.")
    project_id: strawberry.ID = strawberry.field(description="Where.")
    role: ProjectRole | None = strawberry.field(
        default=None, description="Which built-in one, in the place of the one before."
    )
    custom_role_id: strawberry.ID | None = strawberry.field(
        default=None, description="Or which one of the organization's own, of the level PROJECT."
    )
    expires_at: datetime | None = strawberry.field(
        default=None, description="From when it gives nothing any more; null for good."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(ProjectMembership, user_id="membership_id")
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
        fresh=True,
    )
    async def assign_organization_role(info: strawberry.Info, input: AssignOrganizationRoleInput) -> UserPayload | None:
        return done(
            await assign_organization_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                given=_given(input),
            )
        )

    @mutation(
        "Take a person's role in the organization away: they stay a MEMBER.",
        Action.MEMBERSHIP_REMOVE,
        takes=(P.MEMBERSHIP_ASSIGN,),
        entity=Membership,
        reason_demanded=True,
        fresh=True,
    )
    async def remove_organization_role(info: strawberry.Info, input: RemoveOrganizationRoleInput) -> UserPayload | None:
        return done(
            await assign_organization_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                given=Assignment(role=OrganizationRole.MEMBER),
            )
        )

    @mutation(
        "Give a person a role in a project.",
        Action.PROJECT_MEMBERSHIP_ASSIGN,
        takes=(P.PROJECT_MEMBERSHIP_ASSIGN,),
        entity=ProjectMembership,
        reason_demanded=True,
        fresh=True,
    )
    async def assign_project_role(info: strawberry.Info, input: AssignProjectRoleInput) -> UserPayload | None:
        return done(
            await assign_project_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                project_id=parse_id(input.project_id, "Project", at=AT_PROJECT),
                given=_given(input),
            )
        )

    @mutation(
        "Take a person's role in a project away.",
        Action.PROJECT_MEMBERSHIP_REMOVE,
        takes=(P.PROJECT_MEMBERSHIP_ASSIGN,),
        entity=ProjectMembership,
        reason_demanded=True,
        fresh=True,
    )
    async def remove_project_role(info: strawberry.Info, input: RemoveProjectRoleInput) -> UserPayload | None:
        return done(
            await remove_project_role(
                current_change(info),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                project_id=parse_id(input.project_id, "Project", at=AT_PROJECT),
            )
        )


def _given(input: AssignOrganizationRoleInput | AssignProjectRoleInput) -> Assignment:
    custom = input.custom_role_id
    return Assignment(
        role=input.role,
        custom_role_id=parse_id(custom, "CustomRole", at=AT_CUSTOM_ROLE) if custom is not None else None,
        expires_at=input.expires_at,
    )
