"""Registering, handing over and blocking devices. A device is always mapped to one named member."""

from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tortoise.exceptions import IntegrityError

from auth.permission import Permission
from auth.policy import require
from auth.principal import SYSTEM_ID
from auth.scope import ORGANIZATION
from models.base import new_id
from models.device import Device, DevicePlatform, DeviceStatus
from models.encryption.blind_index import normalize_code
from models.errors import ConflictError
from models.inventory import entity_of
from models.membership import Membership
from models.searching import index_of, load_index_key
from resolvers.change import Change
from resolvers.checking import require_reason
from resolvers.creating import constraint_of, creation_digest, repeats, require_new_id
from resolvers.device_enrolment import can_have_devices, end_sessions_on, withdraw_codes
from resolvers.locking import lock_visible, require_version
from resolvers.writing import require_writable

AT_USER: Final = ("input", "userId")
_SERIAL_NUMBER = entity_of(Device).columns["serial_number"]


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
        ForbiddenError: without `device:register` in the organization, or, for a serial number, without its reading
            there: who is told that another device has it could have looked.
        NotFoundError: there is no such member.
        ConflictError: the id is taken, or another device of the organization has the serial number.
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
    member = await lock_visible(change, Membership, new.membership_id, at=AT_USER)
    device = Device(
        id=row_id,
        organization_id=change.organization_id,
        membership_id=member.id,
        created_at=change.at,
        creation_digest=digest,
        serial_index=_serial_index(change, new.serial_number),
        **values,
    )
    try:
        await device.save(using_db=change.connection, force_create=True)
    except IntegrityError as error:
        if constraint_of(error) == "device_serial_key":
            raise ConflictError("Another device has this serial number.", field=("input", "serialNumber")) from error
        raise
    return row_id


async def hand_over_device(change: Change, *, device_id: UUID, membership_id: UUID, expected_version: int) -> UUID:
    """Map a device to another member, who has to enrol it anew. The change's reason says why.

    Its key, what is signed in on it, and a code by which it could be enrolled end with the same commit. Records keep
    the device that made them; whose it was then is in the trail. A blocked one stays blocked: it can be handed over
    before it is let in again, so that the one before never gets in between.

    Raises:
        NotFoundError, ForbiddenError: without `device:register`; or there is no such member.
        ConflictError: it is at another version, it is theirs already, or the member can't get in.
    """
    await load_index_key(SYSTEM_ID)
    device = await lock_visible(change, Device, device_id)
    require(change.viewer, Permission.DEVICE_REGISTER, ORGANIZATION)
    require_version(device.version, expected_version)
    member = await lock_visible(change, Membership, membership_id, at=AT_USER)
    if member.id == device.membership_id:
        raise ConflictError("The device is theirs already.", field=AT_USER)
    if not await can_have_devices(change, member):
        raise ConflictError("Somebody who can't get in is given no device.", field=AT_USER)
    await withdraw_codes(change, device)
    device.membership_id = member.id
    device.public_key = None
    device.enrolled_at = None
    device.version += 1
    await device.save(
        using_db=change.connection, update_fields=["membership_id", "public_key", "enrolled_at", "version"]
    )
    await end_sessions_on(change, device.id)
    return device.id


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


def _serial_index(change: Change, serial_number: str | None) -> bytes | None:
    """Return what the serial number is found by: nothing where none is left of it, so that two may have none."""
    if serial_number is None or not normalize_code(serial_number):
        return None
    return index_of(_SERIAL_NUMBER, change.organization_id, serial_number)


async def _save_block(change: Change, device: Device) -> UUID:
    device.version += 1
    await device.save(
        using_db=change.connection,
        update_fields=["status", "blocked_by_id", "blocked_at", "block_reason", "version"],
    )
    return device.id
