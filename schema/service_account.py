"""Service accounts: the identities of programs."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import strawberry

from auth.permission import Permission
from models.membership import Membership
from models.order import Order
from models.service_account import ServiceAccount as ServiceAccountModel
from models.service_account_token import ServiceAccountToken as ServiceAccountTokenModel
from models.service_account_token import ServiceAccountUse as ServiceAccountUseModel
from resolvers.standing import known_permissions
from resolvers.token_expiry import WARNED_BEFORE
from schema.connection import OrderDirection, PageArguments, page_of
from schema.context import context_of
from schema.field import column, derived, link, listed, resolved, stands_for
from schema.filter import IdFilter, TextFilter, TimeFilter, conditions_of, demanding, filters
from schema.node import Node
from schema.viewer_can import ServiceAccountViewerCan, viewer_can

if TYPE_CHECKING:
    from schema.user import User


MOST_TOKENS: Final = 50
"""Tokens of one account that are shown: the newest. Two are good at a time."""


@stands_for(ServiceAccountUseModel)
@strawberry.type(description="The last use of a program's token: noted some seconds after it.")
class ServiceAccountUse:
    used_at: datetime | None = column("When.")
    used_from: str | None = column("From which address.")


@stands_for(ServiceAccountTokenModel)
@strawberry.type(description="A program's token, of which nothing is kept that it could be made from.")
class ServiceAccountToken(Node):
    hint: str | None = column("Its last characters, to tell it from others.")
    expires_at: datetime | None = column("From when it is refused.")
    revoked_at: datetime | None = column("When it was revoked.")
    created_at: datetime | None = column("When it was made.")
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who made it.", to=Membership, by="created_by_id"
    )
    revoked_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who revoked it.", to=Membership, by="revoked_by_id"
    )
    last_use: ServiceAccountUse | None = link(
        "Its last use; null if there was none.", to=ServiceAccountUseModel, by="id"
    )

    @resolved(
        "Whether it is good, and expires within 14 days: time to issue another one.",
        derived(Permission.SERVICE_ACCOUNT_READ, needs=("expires_at", "revoked_at")),
    )
    def expires_soon(src: strawberry.Parent[Any], info: strawberry.Info) -> bool | None:
        now = context_of(info).moment
        return src["revoked_at"] is None and now < src["expires_at"] <= now + WARNED_BEFORE[0]


@stands_for(ServiceAccountModel)
@strawberry.type(description="A program's identity. It may do what its creator may do now, cut down to its scope.")
class ServiceAccount(Node):
    name: str | None = column("What the program is called.")
    expires_at: datetime | None = column("From when its token is refused.")
    revoked_at: datetime | None = column("When it was revoked.")
    created_at: datetime | None = column("When it was made.")
    created_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who made it.", to=Membership, by="created_by_id"
    )
    revoked_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who revoked it.", to=Membership, by="revoked_by_id"
    )
    networks: list[str] | None = column("The networks that it may come from, in CIDR form; null for any.")
    tokens: list[ServiceAccountToken] = listed(
        f"Its tokens, the newest first: {MOST_TOKENS} at the most.",
        of=ServiceAccountTokenModel,
        by="service_account_id",
        order=Order("created_at", True),
        limit=MOST_TOKENS,
    )
    version: int = column("Counts the changes; an update names the one it saw.")

    viewer_can: ServiceAccountViewerCan = viewer_can(ServiceAccountViewerCan, needs=("revoked_at",))

    @resolved("What its token allows at the most.", derived(Permission.SERVICE_ACCOUNT_READ, needs=("permissions",)))
    def permissions(src: strawberry.Parent[Any]) -> list[Permission] | None:
        return sorted(known_permissions(src["permissions"]))

    @resolved(
        "The projects that its token is limited to; null for all that its creator sees.",
        derived(Permission.SERVICE_ACCOUNT_READ, needs=("project_ids",)),
    )
    def project_ids(src: strawberry.Parent[Any]) -> list[strawberry.ID] | None:
        ids = src["project_ids"]
        return None if ids is None else [strawberry.ID(f"Project:{one}") for one in ids]


@filters(ServiceAccountModel)
@strawberry.input(description="Which service accounts. All that is given must hold.")
class ServiceAccountFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    name: TextFilter | None = strawberry.field(default=None, description="By name.")
    created_by_id: IdFilter | None = strawberry.field(
        default=None, description="By the person who made them.", metadata=demanding(Permission.MEMBERSHIP_READ)
    )
    expires_at: TimeFilter | None = strawberry.field(default=None, description="By from when they are refused.")
    revoked_at: TimeFilter | None = strawberry.field(
        default=None, description="By when they were revoked; that it is null finds those that are not."
    )
    created_at: TimeFilter | None = strawberry.field(default=None, description="By when they were made.")


async def list_service_accounts(
    info: strawberry.Info, filter: ServiceAccountFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's service accounts, in the order in which they were made."""
    return await page_of(
        info,
        ServiceAccountModel,
        page,
        order=Order("created_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(
            info, filter, ServiceAccountModel, links={"id": "ServiceAccount", "created_by_id": "User"}
        ),
    )
