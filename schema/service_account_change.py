"""Mutations of service accounts."""

from datetime import datetime

import strawberry

from auth.action import Action
from auth.permission import Permission
from auth.permission import Permission as P
from models.service_account import ServiceAccount as ServiceAccountModel
from resolvers.service_account import NewServiceAccount, create_service_account, revoke_service_account
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.service_account import ServiceAccount
from schema.written import writes


@writes(ServiceAccountModel)
@strawberry.input(description="A new service account.")
class CreateServiceAccountInput:
    name: str = strawberry.field(description="What the program is called.")
    permissions: list[Permission] = strawberry.field(
        description="What its token allows at the most: reading, and what is done to records; nothing that you may not."
    )
    expires_at: datetime = strawberry.field(description="From when its token is refused: within a year.")
    project_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="The projects that it is limited to; null for all that you see."
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="Which service account to end, and why.")
class RevokeServiceAccountInput:
    id: strawberry.ID = strawberry.field(description="Which one.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A service account after a mutation, or why nothing was done.")
class ServiceAccountPayload:
    service_account: ServiceAccount | None = shows(ServiceAccountModel, "The account as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="A new service account and its token, or why there is none.")
class CreateServiceAccountPayload:
    service_account: ServiceAccount | None = shows(ServiceAccountModel, "The account as you may read it now.")
    token: str | None = strawberry.field(
        description="To be sent as `Authorization: Bearer …`. Shown this once.", metadata=derived()
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class ServiceAccountMutation:
    @mutation(
        "Make an identity for a program.",
        Action.SERVICE_ACCOUNT_CREATE,
        takes=(P.SERVICE_ACCOUNT_CREATE,),
        entity=ServiceAccountModel,
        subject="ServiceAccount",
        reason_demanded=True,
        fresh=True,
    )
    async def create_service_account(
        info: strawberry.Info, input: CreateServiceAccountInput
    ) -> CreateServiceAccountPayload | None:
        projects = input.project_ids
        new = NewServiceAccount(
            name=input.name,
            permissions=input.permissions,
            expires_at=input.expires_at,
            project_ids=None
            if projects is None
            else [parse_id(one, "Project", at=("input", "projectIds", index)) for index, one in enumerate(projects)],
        )
        created = await create_service_account(current_change(info), new=new)
        return done(created.service_account_id, token=created.token)

    @mutation(
        "End a service account: its token is refused from the next request on.",
        Action.SERVICE_ACCOUNT_REVOKE,
        takes=(P.SERVICE_ACCOUNT_REVOKE,),
        entity=ServiceAccountModel,
        subject="ServiceAccount",
        reason_demanded=True,
        fresh=True,
    )
    async def revoke_service_account(
        info: strawberry.Info, input: RevokeServiceAccountInput
    ) -> ServiceAccountPayload | None:
        return done(
            await revoke_service_account(
                current_change(info),
                service_account_id=parse_id(input.id, "ServiceAccount", at=("input", "id")),
                expected_version=input.expected_version,
            )
        )
