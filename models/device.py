"""Devices, each mapped to one named user, and blockable."""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Search, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.blind_index import normalize_code
from models.encryption.column import EncryptedField


class DevicePlatform(StrEnum):
    """What the collecting app runs on."""

    ANDROID = "ANDROID"
    IOS = "IOS"
    WINDOWS = "WINDOWS"
    LOGGER = "LOGGER"


class DeviceStatus(StrEnum):
    """A BLOCKED device's sessions are refused at their next request."""

    ACTIVE = "ACTIVE"
    BLOCKED = "BLOCKED"


class Device(TenantModel):
    """A phone, tablet or logger of one member.

    `public_key` is the public half of a key pair that was made on it (P-256, as SubjectPublicKeyInfo in DER), of which
    it proves to have the other at each sign-in and refresh; None until it is enrolled: nobody signs in on it before.
    `serial_index` is the blind index of the serial number, by which a device is found and of which an organization has
    each once.
    """

    noun = "device"
    kept = Kept(
        "For good: a device is blocked, not deleted.",
        period=Period(DataKind.DEVICE, 90, "its being blocked, once nothing that is kept names it"),
    )
    placement = Placement(own_column="membership_id")

    membership_id = ward(C.INTERNAL, fields.UUIDField())
    platform = ward(C.INTERNAL, fields.CharEnumField(DevicePlatform, max_length=16))
    model = ward(C.INTERNAL, fields.CharField(max_length=100), words=True)
    serial_number = ward(
        C.CONFIDENTIAL,
        EncryptedField(max_length=100, null=True, pad=True),
        search=Search("serial_index", normalize_code),
    )
    serial_index = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)
    public_key = ward(C.INTERNAL, fields.BinaryField(null=True))
    enrolled_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    app_version = ward(C.INTERNAL, fields.CharField(max_length=40, null=True))
    last_seen_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    status = ward(C.INTERNAL, fields.CharEnumField(DeviceStatus, max_length=16, default=DeviceStatus.ACTIVE))
    blocked_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    blocked_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    block_reason = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))
    creation_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.CONTENT_DIGEST)

    class Meta:
        table = "device"
