"""Devices: whose they are, what they are, whether they are blocked."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import strawberry

from auth.device_proof import DeviceKey
from auth.permission import Permission
from models.device import Device as DeviceModel
from models.device import DevicePlatform, DeviceStatus
from models.membership import Membership
from models.order import Order
from schema.connection import OrderDirection, PageArguments, page_of
from schema.field import column, derived, link, resolved, stands_for
from schema.filter import (
    EnumFilter,
    ExactTextFilter,
    IdFilter,
    TextFilter,
    TimeFilter,
    conditions_of,
    filters,
    words_of,
)
from schema.node import Node
from schema.order import order_of, which_way
from schema.viewer_can import DeviceViewerCan, viewer_can

if TYPE_CHECKING:
    from schema.user import User


@stands_for(DeviceModel)
@strawberry.type(description="A phone, tablet or logger, mapped to one person.")
class Device(Node):
    platform: DevicePlatform | None = column("What the collecting app runs on.")
    model: str | None = column("The device's model.")
    serial_number: str | None = column("The maker's serial number.")
    app_version: str | None = column("The version of the collecting app, as it last said.")
    last_seen_at: datetime | None = column("When somebody last signed in or refreshed on it, or enrolled it.")
    enrolled_at: datetime | None = column(
        "When it got its key; null until it is enrolled: nobody signs in on it before."
    )
    status: DeviceStatus | None = column("Whether the device may be used.")
    blocked_at: datetime | None = column("When it was blocked.")
    block_reason: str | None = column("Why it was blocked.")
    user: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Whose it is.", to=Membership, by="membership_id"
    )
    blocked_by: Annotated["User", strawberry.lazy("schema.user")] | None = link(
        "Who blocked it.", to=Membership, by="blocked_by_id"
    )
    created_at: datetime | None = column("When it was registered.")
    version: int = column("Counts the changes; an update names the one it saw.")
    viewer_can: DeviceViewerCan = viewer_can(DeviceViewerCan, needs=("status",))

    @resolved(
        "The name of its key, to be compared with what the app shows: the thumbprint of the JWK (RFC 7638).",
        derived(Permission.DEVICE_READ, needs=("public_key",)),
    )
    def key_thumbprint(src: strawberry.Parent[Any]) -> str | None:
        public_key = src["public_key"]
        return None if public_key is None else DeviceKey.from_der(public_key).thumbprint


@strawberry.enum(description="What devices are ordered by.")
class DeviceOrderField(Enum):
    CREATED_AT = strawberry.enum_value("created_at", description="When they were registered.")
    MODEL = strawberry.enum_value("model", description="The model.")
    PLATFORM = strawberry.enum_value("platform", description="The platform, by its name.")
    STATUS = strawberry.enum_value("status", description="The status, by its name.")
    LAST_SEEN_AT = strawberry.enum_value("last_seen_at", description="When they were last seen.")
    ENROLLED_AT = strawberry.enum_value("enrolled_at", description="When they were enrolled.")


@strawberry.input(description="One key of the order of devices.")
class DeviceOrder:
    field: DeviceOrderField = strawberry.field(default=DeviceOrderField.CREATED_AT, description="By what.")
    direction: OrderDirection = which_way()


@strawberry.input(description="Compares what the collecting app runs on.")
class DevicePlatformFilter(EnumFilter[DevicePlatform]):
    pass


@strawberry.input(description="Compares a device's status.")
class DeviceStatusFilter(EnumFilter[DeviceStatus]):
    pass


@filters(DeviceModel)
@strawberry.input(description="Which devices.")
class DeviceFilter:
    id: IdFilter | None = strawberry.field(default=None, description="By id.")
    status: DeviceStatusFilter | None = strawberry.field(default=None, description="By status.")
    platform: DevicePlatformFilter | None = strawberry.field(default=None, description="By platform.")
    model: TextFilter | None = strawberry.field(default=None, description="By model.")
    serial_number: ExactTextFilter | None = strawberry.field(
        default=None,
        description="By the maker's serial number, where you may read it. Each search is in the audit trail.",
    )
    membership_id: IdFilter | None = strawberry.field(name="userId", default=None, description="By whose they are.")
    enrolled_at: TimeFilter | None = strawberry.field(default=None, description="By when they were enrolled.")
    last_seen_at: TimeFilter | None = strawberry.field(default=None, description="By when they were last seen.")


_LINKS = {"id": "Device", "membership_id": "User"}


async def list_devices(
    info: strawberry.Info,
    filter: DeviceFilter | None,
    order: Sequence[DeviceOrder] | None,
    page: PageArguments,
    *,
    search: str | None = None,
) -> Any:
    """Return a page of the devices that the viewer sees: all, or their own."""
    return await page_of(
        info,
        DeviceModel,
        page,
        order=order_of(order, Order("created_at")),
        conditions=[*await conditions_of(info, filter, DeviceModel, links=_LINKS), *words_of(search)],
    )
