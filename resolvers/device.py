"""Registering and blocking devices. A device is always mapped to one named member."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.base import new_id
from models.device import Device, DevicePlatform, DeviceStatus
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import Membership
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.creating import creation_digest, repeats, require_new_id
from resolvers.locking import lock_visible, require_version
from resolvers.writing import require_writable


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What a device is registered from: whose it is, and what it is."""

    membership_id: UUID
    platform: DevicePlatform
    model: str
    serial_number: str | None = field(default=None, repr=False)
    app_version: str | None = None


async def register_device(change: Change, *, device_id: UUID | None, new: NewDevice) -> UUID:
    """Register a device for a member and return its id.

    Raises:
        ForbiddenError: without `device:register` in the organization.
        NotFoundError: there is no such member.
        ConflictError: the id is taken.
    """
    require(change.viewer, Permission.DEVICE_REGISTER, ORGANIZATION)
    values: dict[str, Any] = {
        "platform": new.platform,
        "model": new.model,
        "serial_number": new.serial_number,
        "app_version": new.app_version,
    }
    require_writable(change, entity_of(Device), ORGANIZATION, values, at=("input",), is_new=True)
    row_id = device_id or new_id()
    require_new_id(row_id)
    digest = creation_digest(change.organization_id, {**values, "membership_id": new.membership_id})
    if await repeats(change, Device, row_id, digest):
        return row_id
    member = await lock_visible(change, Membership, new.membership_id, at=("input", "userId"))
    device = Device(
        id=row_id,
        organization_id=change.organization_id,
        membership_id=member.id,
        created_at=change.at,
        creation_digest=digest,
        **values,
    )
    await device.save(using_db=change.connection, force_create=True)
    return row_id


async def block_device(change: Change, *, device_id: UUID, expected_version: int) -> UUID:
    """Block a device: its sessions are refused from their next request on. The change's reason says why.

    Raises:
        NotFoundError, ForbiddenError: without `device:block`.
        ConflictError: it is at another version, or blocked already.
    """
    device = await lock_visible(change, Device, device_id)
    require(change.viewer, Permission.DEVICE_BLOCK, ORGANIZATION)
    require_version(device.version, expected_version)
    if device.status is DeviceStatus.BLOCKED:
        raise ConflictError("The device is blocked already.", field=("input", "id"))
    device.status = DeviceStatus.BLOCKED
    device.blocked_by_id = change.viewer.membership_id
    device.blocked_at = change.at
    device.block_reason = require_reason(change.intent.reason)
    return await _save_block(change, device)


async def unblock_device(change: Change, *, device_id: UUID, expected_version: int) -> UUID:
    """Let a blocked device in again. The change's reason says why.

    Raises:
        NotFoundError, ForbiddenError: without `device:block`.
        ConflictError: it is at another version, or not blocked.
    """
    device = await lock_visible(change, Device, device_id)
    require(change.viewer, Permission.DEVICE_BLOCK, ORGANIZATION)
    require_version(device.version, expected_version)
    if device.status is not DeviceStatus.BLOCKED:
        raise ConflictError("The device is not blocked.", field=("input", "id"))
    device.status = DeviceStatus.ACTIVE
    device.blocked_by_id = None
    device.blocked_at = None
    device.block_reason = None
    return await _save_block(change, device)


async def _save_block(change: Change, device: Device) -> UUID:
    device.version += 1
    await device.save(
        using_db=change.connection,
        update_fields=["status", "blocked_by_id", "blocked_at", "block_reason", "version"],
    )
    return device.id
