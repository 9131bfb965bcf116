"""Enrolling a device: somebody who may gives a code, and the device answers it with the key that it made.

The code goes to whoever has the device in hand, on a screen or read aloud. It names the device, works once and for ten
minutes, and a newer one ends it. From then on the device is known by its key alone (`resolvers/device_proof.py`).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.device_proof import DeviceKey, DeviceKeyError, for_enrolment, verify_device_proof
from auth.enrolment_code import new_code, plain_code
from auth.errors import BlockedDeviceError, DeviceProofError, UnauthenticatedError
from auth.permission import Permission
from auth.policy import require
from auth.principal import SYSTEM_ID
from auth.scope import ORGANIZATION
from models.challenge import Challenge, ChallengeKind
from models.device import Device, DeviceStatus
from models.errors import ConflictError, InvalidInputError
from models.inventory import entity_of
from models.membership import Membership, MembershipStatus
from models.searching import load_index_key
from models.session import Session
from models.user import User, UserStatus
from resolvers.challenge import About, ask, find, note_wrong, take, withdraw
from resolvers.change import Change, Intent, commit_change, record_attempt
from resolvers.checking import require_fit
from resolvers.device_proof import lock_device
from resolvers.locking import lock_visible
from resolvers.services import Services
from resolvers.standing import BLOCKED
from resolvers.throttle import Guess, Guessing, guessing
from resolvers.trail import Actor

CODE_LIFETIME: Final = timedelta(minutes=10)
_KIND: Final = ChallengeKind.DEVICE_ENROLMENT
_DEVICE: Final = entity_of(Device)
_REFUSED: Final = "This code is not valid, or not any more. Ask for a new one."


@dataclass(frozen=True, slots=True)
class EnrolmentCode:
    """A code for a device: shown once, and kept nowhere."""

    code: str = field(repr=False)
    expires_at: datetime


async def start_enrolment(change: Change, *, device_id: UUID) -> EnrolmentCode:
    """Return a code by which a device can be enrolled, or enrolled anew; the one before it ends.

    Nothing about the device changes before it is used.

    Raises:
        NotFoundError, ForbiddenError: without `device:register`.
        ConflictError: the device is blocked, or its member can't get in.
    """
    await load_index_key(SYSTEM_ID)
    device = await lock_visible(change, Device, device_id)
    require(change.viewer, Permission.DEVICE_REGISTER, ORGANIZATION)
    if device.status is DeviceStatus.BLOCKED:
        raise ConflictError("The device is blocked. Let it in again first.", field=("input", "id"))
    member = await _member(change, device.membership_id)
    if not await can_have_devices(change, member):
        raise ConflictError("Whose device it is can't get in. Hand it over first.", field=("input", "id"))
    await withdraw(change.connection, _KIND, user_id=member.user_id, device_id=device.id)
    code = new_code()
    expires_at = await ask(
        change.connection,
        _KIND,
        secret=plain_code(code) or code,
        at=change.at,
        lifetime=CODE_LIFETIME,
        about=About(
            user_id=member.user_id,
            tenant_id=change.organization_id,
            membership_id=member.id,
            device_id=device.id,
        ),
    )
    return EnrolmentCode(code, expires_at)


async def enrol_device(
    services: Services, actor: Actor, *, code: str, public_key: str, proof: str, app_version: str | None = None
) -> UUID:
    """Give a device the key that it made, by a code, and return the device's id. Who has the code needs no sign-in.

    What was signed in on the device ends, and a key from before is replaced. The entry says that the device did it,
    in its member's name.

    public_key: the public half as a JWK. proof: made by the private one, for this code.

    Raises:
        InvalidInputError: the key is none, or the version of the app does not fit.
        RateLimitedError: too many were tried in vain.
        UnauthenticatedError: there is no such code, or it is over; the proof is not by the key and for the code; the
            device is blocked or another's by now.
    """
    intent = Intent(
        action=Action.DEVICE_ENROL, actor=replace(actor, organization_id=SYSTEM_ID, viewer=None), entity=_DEVICE.name
    )
    try:
        key = _key(public_key)
        require_fit(_DEVICE, {"app_version": app_version or None}, at=("input",))
        async with guessing(Guess(Guessing.ENROLMENT_CODE, actor.origin)):
            challenge = await _challenge(code)
        if challenge.tenant_id is None or challenge.device_id is None:
            raise UnauthenticatedError(_REFUSED, field=("input", "code"))
        device_id = challenge.device_id
        member = replace(
            intent.actor,
            organization_id=challenge.tenant_id,
            user_id=challenge.user_id,
            membership_id=challenge.membership_id,
            device_id=device_id,
        )
        intent = replace(intent, actor=member, subjects=[device_id])
        await _require_proof(services, key, code=code, proof=proof)
    except Exception as error:
        await record_attempt(intent, error)
        raise

    async def enrol(change: Change) -> UUID:
        device = await lock_device(change, device_id)
        if device is None or device.membership_id != challenge.membership_id:
            raise UnauthenticatedError(_REFUSED, field=("input", "code"))
        if device.status is DeviceStatus.BLOCKED:
            raise BlockedDeviceError(BLOCKED)
        if not await can_have_devices(change, await _member(change, device.membership_id)):
            raise UnauthenticatedError(_REFUSED, field=("input", "code"))
        await take(change.connection, _KIND, plain_code(code) or code)
        device.public_key = key.to_der()
        device.enrolled_at = device.last_seen_at = change.at
        device.app_version = app_version or device.app_version
        device.version += 1
        columns = ["public_key", "enrolled_at", "last_seen_at", "app_version", "version"]
        await device.save(using_db=change.connection, update_fields=columns)
        await end_sessions_on(change, device.id)
        return device.id

    return await commit_change(intent, enrol)


async def withdraw_codes(change: Change, device: Device) -> None:
    """End the code by which the device could be enrolled, if there is one."""
    member = await _member(change, device.membership_id)
    await withdraw(change.connection, _KIND, user_id=member.user_id, device_id=device.id)


async def end_sessions_on(change: Change, device_id: UUID) -> None:
    """End what is signed in on a device. The device is locked."""
    await (
        Session.filter(device_id=device_id, organization_id=change.organization_id, revoked_at__isnull=True)
        .using_db(change.connection)
        .update(revoked_at=change.at)
    )


async def can_have_devices(change: Change, member: Membership) -> bool:
    """Return whether the member, and the person, can get in: nobody else is given a device to sign in on."""
    person = await User.get_or_none(id=member.user_id, using_db=change.connection)
    return member.status is MembershipStatus.ACTIVE and person is not None and person.status is UserStatus.ACTIVE


async def _member(change: Change, membership_id: UUID) -> Membership:
    return await Membership.get(id=membership_id, organization_id=change.organization_id, using_db=change.connection)


def _key(public_key: str) -> DeviceKey:
    try:
        return DeviceKey.from_jwk(public_key)
    except DeviceKeyError as error:
        raise InvalidInputError(str(error), field=("input", "publicKey")) from error


async def _challenge(code: str) -> Challenge:
    """Return what the code was given for. Each call is one guess at a code: who limits guesses does it around this."""
    plain = plain_code(code)
    if plain is None:
        raise UnauthenticatedError(_REFUSED, field=("input", "code"))
    try:
        return await find(_KIND, plain)
    except UnauthenticatedError as error:
        raise UnauthenticatedError(_REFUSED, field=("input", "code")) from error


async def _require_proof(services: Services, key: DeviceKey, *, code: str, proof: str) -> None:
    try:
        verify_device_proof(
            proof, key, binding=for_enrolment(code), audience=services.sessions.audience, now=services.clock()
        )
    except DeviceProofError:
        await note_wrong(_KIND, plain_code(code) or code)
        raise
