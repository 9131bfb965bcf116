"""Mutations of devices."""

import strawberry

from auth.action import Action
from auth.permission import Permission as P
from models.device import Device as DeviceModel
from models.device import DevicePlatform
from resolvers.device import AT_USER, NewDevice, block_device, hand_over_device, register_device, unblock_device
from schema.device import Device
from schema.field import derived, structure
from schema.mutation import UserError, current_change, done, mutation, shows
from schema.node import parse_id
from schema.written import writes, written_values

AT_ID = ("input", "id")


@writes(DeviceModel, user_id="membership_id")
@strawberry.input(description="A device, and whose it is.")
class RegisterDeviceInput:
    user_id: strawberry.ID = strawberry.field(description="Whose it is.")
    platform: DevicePlatform = strawberry.field(description="What the collecting app runs on.")
    model: str = strawberry.field(description="The device's model.")
    serial_number: str | None = strawberry.field(default=None, description="The maker's serial number.")
    app_version: str | None = strawberry.field(default=None, description="The app's version.")
    id: strawberry.ID | None = strawberry.field(
        default=None, description="A UUIDv7 that the client made, so that trying again does no harm."
    )


@strawberry.input(description="Which device to block or let in again, and why.")
class BlockDeviceInput:
    id: strawberry.ID = strawberry.field(description="Which device.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@writes(DeviceModel, user_id="membership_id")
@strawberry.input(description="Which device to hand over, to whom, and why.")
class HandOverDeviceInput:
    id: strawberry.ID = strawberry.field(description="Which device.")
    user_id: strawberry.ID = strawberry.field(description="Whose it is from now on.")
    expected_version: int = strawberry.field(description="The version that you saw.")
    reason: str | None = strawberry.field(default=None, description="Why. Demanded.")


@structure
@strawberry.type(description="A device after a mutation, or why nothing was done.")
class DevicePayload:
    device: Device | None = shows(DeviceModel, "The device as you may read it now.")
    errors: list[UserError] = strawberry.field(description="Why nothing was done.", metadata=derived())


@strawberry.type
class DeviceMutation:
    @mutation(
        "Register a device for a person.",
        Action.DEVICE_REGISTER,
        takes=(P.DEVICE_REGISTER,),
        entity=DeviceModel,
        subject="Device",
    )
    async def register_device(info: strawberry.Info, input: RegisterDeviceInput) -> DevicePayload | None:
        given = written_values(input)
        given["membership_id"] = parse_id(input.user_id, "User", at=AT_USER)
        new = NewDevice(**given)
        device_id = parse_id(input.id, "Device", at=AT_ID) if input.id is not None else None
        return done(await register_device(current_change(info), device_id=device_id, new=new))

    @mutation(
        "Hand a device over to another person: its key and its sessions end, and the new one enrols it anew.",
        Action.DEVICE_HAND_OVER,
        takes=(P.DEVICE_REGISTER,),
        entity=DeviceModel,
        subject="Device",
        reason_demanded=True,
    )
    async def hand_over_device(info: strawberry.Info, input: HandOverDeviceInput) -> DevicePayload | None:
        return done(
            await hand_over_device(
                current_change(info),
                device_id=parse_id(input.id, "Device", at=AT_ID),
                membership_id=parse_id(input.user_id, "User", at=AT_USER),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Block a device: its sessions are refused from their next request on.",
        Action.DEVICE_BLOCK,
        takes=(P.DEVICE_BLOCK,),
        entity=DeviceModel,
        subject="Device",
        reason_demanded=True,
    )
    async def block_device(info: strawberry.Info, input: BlockDeviceInput) -> DevicePayload | None:
        return done(
            await block_device(
                current_change(info),
                device_id=parse_id(input.id, "Device", at=AT_ID),
                expected_version=input.expected_version,
            )
        )

    @mutation(
        "Let a blocked device in again.",
        Action.DEVICE_UNBLOCK,
        takes=(P.DEVICE_BLOCK,),
        entity=DeviceModel,
        subject="Device",
        reason_demanded=True,
    )
    async def unblock_device(info: strawberry.Info, input: BlockDeviceInput) -> DevicePayload | None:
        return done(
            await unblock_device(
                current_change(info),
                device_id=parse_id(input.id, "Device", at=AT_ID),
                expected_version=input.expected_version,
            )
        )
