"""Mutations of service accounts."""

from datetime import datetime

import strawberry

from auth.action import Action
from auth.permission import Permission
from auth.permission import Permission as P
from models.service_account import ServiceAccount as ServiceAccountModel
from models.service_account_token import ServiceAccountToken as ServiceAccountTokenModel
from resolvers.service_account import NewServiceAccount, create_service_account, revoke_service_account
from resolvers.service_account_token import issue_service_account_token, revoke_service_account_token
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.service_account import ServiceAccount, ServiceAccountToken
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
    networks: list[str] | None = strawberry.field(
        default=None,
        description="The networks that it may come from, in CIDR form, such as 192.0.2.0/24; null for any.",
    )
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(ServiceAccountTokenModel)
@strawberry.input(description="Which service account gets another token, and why.")
class IssueServiceAccountTokenInput:
    id: strawberry.ID = strawberry.field(description="Which one.")
    expires_at: datetime = strawberry.field(description="From when the token is refused: no later than the account.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@strawberry.input(description="Which token to end, and why.")
class RevokeServiceAccountTokenInput:
    id: strawberry.ID = strawberry.field(description="Which one.")
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


@structure
@strawberry.type(description="A new token of a service account, or why there is none.")
class IssueServiceAccountTokenPayload:
    service_account_token: ServiceAccountToken | None = shows(
        ServiceAccountTokenModel, "What is known of the token, as you may read it now."
    )
    token: str | None = strawberry.field(
        description="To be sent as `Authorization: Bearer …`. Shown this once.", metadata=derived()
    )
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@structure
@strawberry.type(description="A token of a service account after a mutation, or why nothing was done.")
class ServiceAccountTokenPayload:
    service_account_token: ServiceAccountToken | None = shows(
        ServiceAccountTokenModel, "What is known of the token, as you may read it now."
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
            networks=input.networks,
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

    @mutation(
        "Make another token of a service account: two may be good at a time, while its program goes over.",
        Action.SERVICE_ACCOUNT_ISSUE_TOKEN,
        fresh=True,
        takes=(P.SERVICE_ACCOUNT_CREATE,),
        entity=ServiceAccountModel,
        subject="ServiceAccount",
        reason_demanded=True,
    )
    async def issue_service_account_token(
        info: strawberry.Info, input: IssueServiceAccountTokenInput
    ) -> IssueServiceAccountTokenPayload | None:
        issued = await issue_service_account_token(
            current_change(info),
            service_account_id=parse_id(input.id, "ServiceAccount", at=("input", "id")),
            expires_at=input.expires_at,
        )
        return done(issued.token_id, token=issued.token)

    @mutation(
        "End a token of a service account: it is refused from the next request on.",
        Action.SERVICE_ACCOUNT_REVOKE_TOKEN,
        fresh=True,
        takes=(P.SERVICE_ACCOUNT_REVOKE,),
        entity=ServiceAccountTokenModel,
        subject="ServiceAccountToken",
        reason_demanded=True,
    )
    async def revoke_service_account_token(
        info: strawberry.Info, input: RevokeServiceAccountTokenInput
    ) -> ServiceAccountTokenPayload | None:
        return done(
            await revoke_service_account_token(
                current_change(info), token_id=parse_id(input.id, "ServiceAccountToken", at=("input", "id"))
            )
        )
