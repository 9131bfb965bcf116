"""Asking a device to prove that it has the key with which it was enrolled: at each sign-in on it, and each refresh.

The format of a proof is told in `auth/device_proof.py`.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.device_proof import LONGEST_AGE_S, Binding, DeviceKey, verify_device_proof
from auth.errors import (
    BlockedDeviceError,
    MissingProofError,
    StaleProofError,
    UnauthenticatedError,
    UnenrolledDeviceError,
)
from models.challenge import ChallengeKind
from models.device import Device, DeviceStatus
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.challenge import spend
from resolvers.change import Change, Intent, record_attempt
from resolvers.checking import require_fit
from resolvers.services import Services
from resolvers.standing import BLOCKED
from resolvers.trail import Actor

AT_DEVICE: Final = ("input", "deviceId")
AT_PROOF: Final = ("input", "deviceProof")
_DEVICE: Final = entity_of(Device)
_NOT_YOURS: Final = "This device is not registered for you."
_NOT_ENROLLED: Final = "This device is not enrolled. Ask your administrator for a code to enrol it."
_MISSING: Final = "Expected the device's proof."
_USED: Final = "The device's proof was used before. Make a new one."


async def prove_device(
    services: Services, actor: Actor, *, device_id: UUID, proof: str | None, binding: Binding
) -> str:
    """Have a device prove its key for a sign-in, and return the key's thumbprint, for `resolvers/session.py: Opening`.

    Each proof works once. What is refused leaves its entry.

    actor: the member who signs in, in their organization, as the password or whatever else said.

    Raises:
        UnauthenticatedError: the device is not theirs, blocked or not enrolled, or the proof is missing or not good.
    """
    try:
        async with OneStatement(Tenant(organization_id=actor.organization_id)) as connection:
            row = await connection.fetchrow(
                f'select status, public_key from "{_DEVICE.name}"'
                " where organization_id = $1 and id = $2 and membership_id = $3",
                actor.organization_id,
                device_id,
                actor.membership_id,
            )
        if row is None:
            raise UnauthenticatedError(_NOT_YOURS, field=AT_DEVICE)
        if row["status"] == DeviceStatus.BLOCKED:
            raise BlockedDeviceError(BLOCKED)
        key, jti = _verified(services, row["public_key"], proof, binding)
        lifetime = timedelta(seconds=2 * LONGEST_AGE_S)
        if not await spend(
            ChallengeKind.DEVICE_PROOF, f"{key.thumbprint} {jti}", at=services.clock(), lifetime=lifetime
        ):
            raise StaleProofError(_USED, field=AT_PROOF)
    except Exception as error:
        refused = replace(actor, viewer=None, device_id=device_id)
        await record_attempt(Intent(action=Action.SESSION_SIGN_IN, actor=refused, entity="session"), error)
        raise
    return key.thumbprint


async def lock_device(change: Change, device_id: UUID) -> Device | None:
    """Return a device of the organization, locked: before its sessions are, so that nobody waits in a circle."""
    return await (
        Device.filter(id=device_id, organization_id=change.organization_id)
        .using_db(change.connection)
        .select_for_update()
        .get_or_none()
    )


async def lock_proved_device(change: Change, device_id: UUID, *, membership_id: UUID, thumbprint: str | None) -> Device:
    """Return the device that somebody proved to have, locked, if that still counts.

    Raises:
        UnauthenticatedError: by now it is another's, blocked, or has another key than the one of that thumbprint.
    """
    device = await lock_device(change, device_id)
    if device is None or device.membership_id != membership_id:
        raise UnauthenticatedError(_NOT_YOURS, field=AT_DEVICE)
    if device.status is DeviceStatus.BLOCKED:
        raise BlockedDeviceError(BLOCKED)
    if device.public_key is None or thumbprint != DeviceKey.from_der(device.public_key).thumbprint:
        raise UnenrolledDeviceError(_NOT_ENROLLED, field=AT_DEVICE)
    return device


def require_proof(services: Services, device: Device | None, proof: str | None, binding: Binding) -> Device:
    """Return the device, if it proved its key for this.

    What the proof is bound to works once by itself; the proof is not noted as used.

    Raises:
        UnauthenticatedError: it is not enrolled, or the proof is missing or not good.
    """
    if device is None:
        raise UnenrolledDeviceError(_NOT_ENROLLED)
    _verified(services, device.public_key, proof, binding)
    return device


async def note_seen(change: Change, device: Device, *, app_version: str | None = None) -> None:
    """Note that a device was there just now, and which version of the app it runs, if it said so.

    Raises:
        InvalidInputError: the version is too long, or holds what no text may.
    """
    columns = ["last_seen_at"]
    device.last_seen_at = change.at
    if app_version and app_version != device.app_version:
        require_fit(_DEVICE, {"app_version": app_version}, at=("input",))
        device.app_version = app_version
        columns.append("app_version")
    await device.save(using_db=change.connection, update_fields=columns)


def _verified(
    services: Services, public_key: bytes | None, proof: str | None, binding: Binding
) -> tuple[DeviceKey, str]:
    if public_key is None:
        raise UnenrolledDeviceError(_NOT_ENROLLED, field=AT_DEVICE)
    if not proof:
        raise MissingProofError(_MISSING, field=AT_PROOF)
    key = DeviceKey.from_der(public_key)
    jti = verify_device_proof(proof, key, binding=binding, audience=services.sessions.audience, now=services.clock())
    return key, jti
