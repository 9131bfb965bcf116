"""The audit trail, as those see it who may: entries, and what each changed.

A value before or after a change is guarded as the column it is of, in the scope of the row it is of, by today's policy.
"""

from dataclasses import dataclass
from datetime import datetime
from inspect import isawaitable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
import strawberry

from auth.classification import Classification
from auth.principal import SYSTEM_ID
from auth.scope import Scope
from models.along import Selected
from models.audit_entry import AuditEntry as AuditEntryModel
from models.audit_entry import EntryKind, Outcome
from models.change import Change as ChangeModel
from models.change import ChangeOperation, stored_bytes
from models.device import Device as DeviceModel
from models.encryption.column import open_light
from models.encryption.envelope import Cell
from models.errors import TamperedError
from models.inventory import Column, InventoryError, entity_named, entity_of
from models.membership import Membership
from models.order import Order
from models.place import CELLS
from models.project import Project as ProjectModel
from models.record import Record as RecordModel
from models.row import Row
from models.service_account import ServiceAccount as ServiceAccountModel
from models.visibility import scope_at
from schema.connection import OrderDirection, PageArguments, page_of
from schema.context import RequestContext, ResolveInfo
from schema.field import column, derived, link, listed, resolved, stands_for, structure
from schema.filter import IdFilter, TextFilter, TimeFilter, conditions_of, filters
from schema.guard import read_value
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


@dataclass(frozen=True, slots=True)
class ChangedValue:
    """One column of a changed row, with all that its guard asks about."""

    change: Row
    column: Column | None
    name: str
    stored: tuple[Any, Any]


@structure
@strawberry.type(description="What a change did to one column. Values are guarded as the column itself is.")
class ColumnChange:
    @resolved("The column's name.", derived())
    def column(src: strawberry.Parent[Any]) -> str:
        value: ChangedValue = src
        return value.name

    @resolved("The value before, as text; null if there was none.", derived())
    async def before(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        return await _shown(src, info, 0)

    @resolved("The value after, as text; null if there is none.", derived())
    async def after(src: strawberry.Parent[Any], info: strawberry.Info) -> str | None:
        return await _shown(src, info, 1)


@stands_for(ChangeModel)
@strawberry.type(description="The change of one row, written by the database itself.")
class Change:
    operation: ChangeOperation | None = column("What was done to the row.")
    entity: str | None = column("The table of the row.")
    entity_id: UUID | None = column("The row.")

    @resolved("The columns that changed.", derived(needs=VALUE_COLUMNS))
    def columns(src: strawberry.Parent[Any]) -> list[ColumnChange]:
        stored = orjson.loads(src["columns"])
        try:
            known = entity_named(src["entity"]).columns
        except InventoryError:
            known = {}
        values: Any = [
            ChangedValue(change=src, column=known.get(name), name=name, stored=(pair[0], pair[1]))
            for name, pair in stored.items()
        ]
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
    operation_name: str | None = column("The GraphQL operation's name.")
    operation_hash: str | None = column(
        "The SHA-256 of the operation's text, texts in it emptied and comments left out."
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
class OutcomeFilter:
    eq: Outcome | None = strawberry.field(default=strawberry.UNSET, description="Equal.")
    in_: list[Outcome] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")


@strawberry.input(description="Compares the kind of an entry.")
class EntryKindFilter:
    eq: EntryKind | None = strawberry.field(default=strawberry.UNSET, description="Equal.")
    in_: list[EntryKind] | None = strawberry.field(name="in", default=strawberry.UNSET, description="One of these.")


@filters(AuditEntryModel)
@strawberry.input(description="Which entries. All that is given must hold.")
class AuditEntryFilter:
    kind: EntryKindFilter | None = strawberry.field(default=None, description="By kind.")
    action: TextFilter | None = strawberry.field(default=None, description="By action.")
    outcome: OutcomeFilter | None = strawberry.field(default=None, description="By outcome.")
    at: TimeFilter | None = strawberry.field(default=None, description="By time.")
    membership_id: IdFilter | None = strawberry.field(name="userId", default=None, description="By person.")
    device_id: IdFilter | None = strawberry.field(default=None, description="By device.")
    entity: TextFilter | None = strawberry.field(default=None, description="By the table acted on or read.")


async def list_audit_entries(
    info: strawberry.Info, filter: AuditEntryFilter | None, direction: OrderDirection, page: PageArguments
) -> Any:
    """Return a page of the trail, in the order of time."""
    return await page_of(
        info,
        AuditEntryModel,
        page,
        order=Order("at", direction is OrderDirection.DESC),
        conditions=await conditions_of(
            info, filter, AuditEntryModel, links={"membership_id": "User", "device_id": "Device"}
        ),
    )


async def _shown(value: ChangedValue, info: strawberry.Info, side: int) -> str | None:
    """Return the stored value as text, if the viewer may read that column in the scope of that row today."""
    raw: ResolveInfo = info._raw_info
    context: RequestContext = raw.context
    stored, column = value.stored[side], value.column
    if column is None or column.classification is Classification.SECRET:
        return None
    entity = entity_named(column.entity)
    if entity.placement is None:
        return None
    scope = scope_at(
        entity.placement,
        context.viewer,
        project_id=value.change["project_id"],
        own_id=value.change["membership_id"],
    )
    if column.guard is not None and not context.allows(column.guard, scope):
        context.deny(raw, column.guard, scope)
        return None
    if stored is None:
        return None
    if column.is_sealed:
        opened = _opened(context, value, column, str(stored))
        return await opened if isawaitable(opened) else opened
    if column.name in CELLS and not await _may_tell_the_place(context, value, scope):
        stored = CELLS[column.name](stored)
    return stored if isinstance(stored, str) else orjson.dumps(stored).decode()


async def _may_tell_the_place(context: RequestContext, value: ChangedValue, scope: Scope) -> bool:
    """Return whether the viewer may know where a record was made, as it is decided today.

    The trail keeps what was written before that was sensitive. Where the project is not the viewer's to see, it is.
    """
    exact = entity_of(RecordModel).columns["exact_location"]
    if exact.guard is None or context.allows(exact.guard, scope):
        return True
    sensitive = Selected(("locations_are_sensitive",))
    project = await context.load_row(entity_of(ProjectModel), sensitive, value.change["project_id"])
    return project is not None and not project["locations_are_sensitive"]


def _opened(context: RequestContext, value: ChangedValue, column: Column, stored: str) -> Any:
    row_id: UUID = value.change["entity_id"]
    try:
        blob = stored_bytes(stored)
    except TamperedError:
        context.read_log.note_broken(column, row_id)
        raise
    placement = entity_named(column.entity).placement
    tenant = value.change["organization_id"] if placement and placement.tenant_column else SYSTEM_ID
    cell = Cell(organization_id=tenant, table=column.entity, column=column.name, row_id=row_id)
    return read_value(context, column, row_id, blob, lambda: open_light(blob, cell))
