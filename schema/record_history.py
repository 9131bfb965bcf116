"""The history of a record: what became of it and of its measurements, transaction by transaction.

Whoever sees the record sees its history, and of each change what they may read of the record today. What else the trail
holds, and the history of a record that was deleted, is found in `auditEntries`, by those who read that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
import strawberry

from auth.permission import Permission
from models.along import Selected
from models.audit_entry import AuditEntry
from models.change import ChangeOperation
from models.device import Device as DeviceModel
from models.inventory import entity_of
from models.membership import Membership
from models.order import Order
from models.record_version import RecordVersion as RecordVersionModel
from models.service_account import ServiceAccount as ServiceAccountModel
from schema.column_change import ChangedRow, ChangedValue, ColumnChange, changed_values, may_read
from schema.connection import OrderDirection, PageArguments, Parent, page_of
from schema.context import RequestContext, context_of
from schema.field import column, derived, link, resolved, stands_for, structure
from schema.guard import read_column

if TYPE_CHECKING:
    from schema.device import Device
    from schema.service_account import ServiceAccount
    from schema.user import User

REASON = "reason"
_TOLD = ("changes", "organization_id", "project_id", "locations_are_sensitive")


@dataclass(frozen=True, slots=True)
class ToldRow:
    """The change of one row, and of its columns those that the viewer may read."""

    row: ChangedRow
    operation: ChangeOperation
    columns: Sequence[ChangedValue]


@structure
@strawberry.type(description="What became of the record itself, or of one of its measurements.")
class RowChange:
    @resolved("What was done to the row.", derived())
    def operation(src: strawberry.Parent[Any]) -> ChangeOperation:
        told: ToldRow = src
        return told.operation

    @resolved("The table of the row: record or measurement.", derived())
    def entity(src: strawberry.Parent[Any]) -> str:
        told: ToldRow = src
        return told.row.entity

    @resolved("The row.", derived())
    def entity_id(src: strawberry.Parent[Any]) -> UUID:
        told: ToldRow = src
        return told.row.entity_id

    @resolved(
        "The columns that changed, of those that you may read. Who somebody is, is told to who sees the organization's"
        " people.",
        derived(),
    )
    def columns(src: strawberry.Parent[Any]) -> list[ColumnChange]:
        told: ToldRow = src
        values: Any = told.columns
        return values


@stands_for(RecordVersionModel)
@strawberry.type(
    description="A version of a record: what one transaction made of it and its measurements, who did it, when and how."
)
class RecordVersion:
    version: int | None = column(
        "The record's `version` as this left it: the same as before where nothing was changed of what it says, as when"
        " keys were replaced."
    )
    entry_id: UUID | None = column("The entry of the audit trail.", name="id")
    at: datetime | None = column("When its transaction began, by the database's clock.")
    action: str | None = column("What was done, such as record.approve.")
    channel: str | None = column("Through which door.")
    request_id: UUID | None = column("The request, as in the log.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who, if you see the organization's people.", to=Membership, by="membership_id"
    )
    service_account: Annotated["ServiceAccount", strawberry.lazy("schema.service_account")] | None = link(
        "Which program, if you see the organization's.", to=ServiceAccountModel, by="service_account_id"
    )
    device: Annotated["Device", strawberry.lazy("schema.device")] | None = link(
        "On which device, if you see that device.", to=DeviceModel, by="device_id"
    )

    @resolved("Why, if you read the audit trail.", derived(Permission.AUDIT_READ_CONFIDENTIAL, needs=("id",)))
    async def reason(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        context, entity = context_of(info), entity_of(AuditEntry)
        entry = await context.load_row(entity, Selected((REASON, "organization_id")), src["id"])
        if entry is None:
            return None
        shown = read_column(context, entity.columns[REASON], entry)
        found: str | None = await shown if hasattr(shown, "__await__") else shown
        return found

    @resolved("What changed, row by row, in order.", derived(needs=_TOLD))
    def changes(src: strawberry.Parent[Any], info: strawberry.Info) -> list[RowChange]:
        context = context_of(info)
        told: Any = [_told(context, src, *one) for one in orjson.loads(src["changes"])]
        return told


async def list_versions(info: strawberry.Info, record_id: UUID, direction: OrderDirection, page: PageArguments) -> Any:
    """Return a page of a record's versions, in the order in which they were made."""
    order = Order("place", direction is OrderDirection.DESC)
    return await page_of(info, RecordVersionModel, page, order=order, parent=Parent("record_id", record_id))


def _told(context: RequestContext, version: Any, operation: str, entity: str, entity_id: str, columns: Any) -> ToldRow:
    row = ChangedRow(
        entity=entity,
        entity_id=UUID(entity_id),
        organization_id=version["organization_id"],
        project_id=version["project_id"],
        is_sensitive=version["locations_are_sensitive"],
    )
    values = [one for one in changed_values(row, columns) if may_read(context, one)]
    return ToldRow(row, ChangeOperation(operation), values)
