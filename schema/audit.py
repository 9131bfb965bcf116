"""The audit trail, as those see it who may: entries, and what each changed.

A value before or after a change is guarded as the column it is of, in the scope of the row it is of, by today's policy.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
import strawberry

from auth.permission import Permission
from auth.policy import has_everywhere
from models.audit_entry import AuditEntry as AuditEntryModel
from models.audit_entry import EntryKind, Outcome
from models.change import Change as ChangeModel
from models.change import ChangeOperation
from models.device import Device as DeviceModel
from models.membership import Membership
from models.order import Order
from models.service_account import ServiceAccount as ServiceAccountModel
from schema.column_change import ChangedRow, ColumnChange, changed_values
from schema.connection import OrderDirection, PageArguments, page_of
from schema.context import context_of
from schema.field import column, derived, link, listed, resolved, stands_for
from schema.filter import EnumFilter, IdFilter, TextFilter, TimeFilter, UuidFilter, conditions_of, demanding, filters
from schema.node import Node
from schema.proof import PROVEN, InclusionProof, prove_inclusion
from schema.viewer_can import ViewerCanRead, viewer_can

if TYPE_CHECKING:
    from schema.device import Device
    from schema.service_account import ServiceAccount
    from schema.user import User

VALUE_COLUMNS = ("entity", "entity_id", "project_id", "membership_id", "columns")
MOST_CHANGES = 5000
"""Changed rows shown of one entry; an import's batch stays below."""


@stands_for(ChangeModel)
@strawberry.type(description="The change of one row, written by the database itself.")
class Change:
    operation: ChangeOperation | None = column("What was done to the row.")
    entity: str | None = column("The table of the row.")
    entity_id: UUID | None = column("The row.")

    @resolved("The columns that changed.", derived(needs=VALUE_COLUMNS))
    def columns(src: strawberry.Parent[Any]) -> list[ColumnChange]:
        row = ChangedRow(
            entity=src["entity"],
            entity_id=src["entity_id"],
            organization_id=src["organization_id"],
            project_id=src["project_id"],
            membership_id=src["membership_id"],
        )
        values: Any = changed_values(row, orjson.loads(src["columns"]))
        return values


@stands_for(AuditEntryModel)
@strawberry.type(description="Who did or tried what, when, how and why.")
class AuditEntry(Node):
    kind: EntryKind | None = column("A change, an attempt that changed nothing, or a read.")
    action: str | None = column("What was done, such as record.approve.")
    outcome: Outcome | None = column("How it ended.")
    error_code: str | None = column("Why it did not happen.")
    repeated: int | None = column("Attempts like this one that came before it and have no entry of their own.")
    at: datetime | None = column("When, by the database's clock.")
    device_at: datetime | None = column("When, by the device's own clock, where it said so.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link("Who.", to=Membership, by="membership_id")
    device: Annotated["Device", strawberry.lazy("schema.device")] | None = link(
        "On which device.", to=DeviceModel, by="device_id"
    )
    service_account: Annotated["ServiceAccount", strawberry.lazy("schema.service_account")] | None = link(
        "Which program.", to=ServiceAccountModel, by="service_account_id"
    )
    acting_as: str | None = column("As whom somebody looked who looked as another.")
    session_id: UUID | None = column("In which sign-in.")
    channel: str | None = column("Through which door.")
    client_name: str | None = column("The client's name for itself.")
    client_version: str | None = column("The client's version.")
    ip_address: str | None = column("The address that the request came from.")
    user_agent: str | None = column("The browser or program, in its own words.")
    request_id: UUID | None = column("The request, as in the log.")
    trace_id: str | None = column("The trace that the request was part of, as in a W3C traceparent.")
    operation_name: str | None = column("The GraphQL operation's name.")
    operation_hash: str | None = column(
        "The SHA-256 of the operation's text, texts and broken numbers in it emptied, comments left out."
    )
    reason: str | None = column("Why.")
    entity: str | None = column("The table of the rows acted on or read.")
    field: str | None = column("The column that was read.")
    entity_ids: list[UUID] | None = column("The rows acted on or read.")

    @resolved("The proof that it is in the organization's tree; null until it is sealed, seconds later.", PROVEN)
    async def proof(src: strawberry.Parent[Any], info: strawberry.Info) -> InclusionProof | None:
        return await prove_inclusion(info, src["id"])

    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)

    changes: list[Change] = listed(
        "What it changed, row by row.", of=ChangeModel, by="entry_id", order=Order("id"), limit=MOST_CHANGES
    )


@strawberry.input(description="Compares how an act ended.")
class OutcomeFilter(EnumFilter[Outcome]):
    pass


@strawberry.input(description="Compares the kind of an entry.")
class EntryKindFilter(EnumFilter[EntryKind]):
    pass


@strawberry.input(description="Says which object entries are about.")
class ObjectFilter:
    has: strawberry.ID | None = strawberry.field(
        default=None,
        description="This one, or what is part of it: a record's measurements, a person's account. By its global id."
        " Each entry of the time that is asked for is looked at, so long trails want `at` beside it.",
    )


@filters(AuditEntryModel)
@strawberry.input(description="Which entries. All that is given must hold.")
class AuditEntryFilter:
    kind: EntryKindFilter | None = strawberry.field(default=None, description="By kind.")
    action: TextFilter | None = strawberry.field(default=None, description="By action.")
    outcome: OutcomeFilter | None = strawberry.field(default=None, description="By outcome.")
    at: TimeFilter | None = strawberry.field(default=None, description="By time.")
    membership_id: IdFilter | None = strawberry.field(
        name="userId", default=None, description="By person.", metadata=demanding(Permission.MEMBERSHIP_READ)
    )
    service_account_id: IdFilter | None = strawberry.field(
        default=None, description="By program.", metadata=demanding(Permission.SERVICE_ACCOUNT_READ)
    )
    device_id: IdFilter | None = strawberry.field(
        default=None, description="By device.", metadata=demanding(Permission.DEVICE_READ)
    )
    session_id: UuidFilter | None = strawberry.field(default=None, description="By sign-in.")
    request_id: UuidFilter | None = strawberry.field(default=None, description="By request.")
    entity: TextFilter | None = strawberry.field(default=None, description="By the table acted on or read.")
    field: TextFilter | None = strawberry.field(default=None, description="By the column that was read.")
    entity_ids: ObjectFilter | None = strawberry.field(
        default=None, description="By an object: it was acted on or read, or it or a part of it was changed."
    )


_LINKS = {"membership_id": "User", "service_account_id": "ServiceAccount", "device_id": "Device"}


async def list_audit_entries(
    info: strawberry.Info, filter: AuditEntryFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the trail, in the order of time. That it was asked for is in the trail, too."""
    context = context_of(info)
    if has_everywhere(context.viewer, {Permission.AUDIT_READ}):
        context.read_log.note_entries(())
    conditions = await conditions_of(info, filter, AuditEntryModel, links=_LINKS)
    order = Order("at", direction is OrderDirection.DESC)
    return await page_of(info, AuditEntryModel, page, order=order, conditions=conditions)
