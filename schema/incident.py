"""Incidents: what the rules found in the trail, for those who answer them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from models.audit_entry import AuditEntry as AuditEntryModel
from models.device import Device as DeviceModel
from models.incident import Incident as IncidentModel
from models.incident import IncidentEvidence as IncidentEvidenceModel
from models.incident import IncidentSeverity, IncidentStatus
from models.membership import Membership
from models.order import Order
from models.service_account import ServiceAccount as ServiceAccountModel
from resolvers.incident_judging import MOST_EVIDENCE
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, link, listed, stands_for
from schema.filter import EnumFilter, TextFilter, TimeFilter, conditions_of, filters
from schema.node import Node
from schema.viewer_can import IncidentViewerCan, ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.audit import AuditEntry
    from schema.device import Device
    from schema.service_account import ServiceAccount
    from schema.user import User


@stands_for(IncidentEvidenceModel)
@strawberry.type(description="An entry of the audit trail that an incident stands on.")
class IncidentEvidence(Node):
    entry: Annotated["AuditEntry", strawberry.lazy("schema.audit")] | None = link(
        "The entry; null for who does not see the trail, and once the trail has let go of it.",
        to=AuditEntryModel,
        by="entry_id",
    )
    created_at: datetime | None = column("When the incident took it in.")

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)


@stands_for(IncidentModel)
@strawberry.type(description="Something in the audit trail that somebody has to look at.")
class Incident(Node):
    rule: str | None = column("The rule that found it, such as refresh_reuse.")
    severity: IncidentSeverity | None = column("How soon somebody should look.")
    status: IncidentStatus | None = column("Whether somebody looks into it, or is done with it.")
    count: int | None = column("How many attempts, rows read or failures were found.")
    first_seen_at: datetime | None = column("When the first of them was, by the database's clock.")
    last_seen_at: datetime | None = column("When the last of them was.")
    opened_at: datetime | None = column("When the incident was opened.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Whom it is about.", to=Membership, by="membership_id"
    )
    device: Annotated["Device", strawberry.lazy("schema.device")] | None = link(
        "Which device it is about.", to=DeviceModel, by="device_id"
    )
    service_account: Annotated["ServiceAccount", strawberry.lazy("schema.service_account")] | None = link(
        "Which program it is about.", to=ServiceAccountModel, by="service_account_id"
    )
    newest_entry: Annotated["AuditEntry", strawberry.lazy("schema.audit")] | None = link(
        "The last entry of the trail that it stands on.", to=AuditEntryModel, by="newest_entry_id"
    )
    acknowledged_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who looks into it.", to=Membership, by="acknowledged_by_id"
    )
    acknowledged_at: datetime | None = column("Since when.")
    closed_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who closed it.", to=Membership, by="closed_by_id"
    )
    closed_at: datetime | None = column("When it was closed.")
    note: str | None = column("What it turned out to be.")
    version: int = column("Counts the changes by people; an answer names the one it saw.")

    viewer_can: IncidentViewerCan = viewer_can(IncidentViewerCan, needs=("status",))

    evidence: list[IncidentEvidence] = listed(
        "The entries that it stands on: the first of them.",
        of=IncidentEvidenceModel,
        by="incident_id",
        order=Order("id"),
        limit=MOST_EVIDENCE,
    )


@strawberry.input(description="Compares whether an incident is open.")
class IncidentStatusFilter(EnumFilter[IncidentStatus]):
    pass


@strawberry.input(description="Compares how soon somebody should look.")
class IncidentSeverityFilter(EnumFilter[IncidentSeverity]):
    pass


@filters(IncidentModel)
@strawberry.input(description="Which incidents. All that is given must hold.")
class IncidentFilter:
    status: IncidentStatusFilter | None = strawberry.field(default=None, description="By status.")
    severity: IncidentSeverityFilter | None = strawberry.field(default=None, description="By severity.")
    rule: TextFilter | None = strawberry.field(default=None, description="By the rule that found it.")
    opened_at: TimeFilter | None = strawberry.field(default=None, description="By when it was opened.")


async def list_incidents(
    info: strawberry.Info, filter: IncidentFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the organization's incidents, in the order in which they were opened."""
    return await page_of(
        info,
        IncidentModel,
        page,
        order=Order("opened_at", direction is OrderDirection.DESC),
        conditions=await conditions_of(info, filter, IncidentModel),
    )
