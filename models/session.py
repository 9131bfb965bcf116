"""Sign-ins: one per user, organization and device or browser."""

from enum import StrEnum

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward
from models.data_kind import DataKind, Period
from models.encryption.column import EncryptedField


class Factor(StrEnum):
    """By what somebody proved who they are. A PASSKEY that was unlocked by its owner is two factors in one."""

    PASSWORD = "PASSWORD"  # noqa: S105  (a word, not one)
    TOTP = "TOTP"
    PASSKEY = "PASSKEY"
    RECOVERY_CODE = "RECOVERY_CODE"


class Session(TenantModel):
    """A sign-in of one person.

    A program that signs in for somebody holds a refresh token, which rotates: only the digest of the newest and of the
    one before it are kept. The one before is kept so that its reuse is known for what it is, a stolen token, and ends
    the session; older ones are known by the trail. A browser holds a cookie instead, of which the digest is kept.

    `factors` are those that it stands on, as of `authenticated_at`, the last time that they were proved. It ends at
    `expires_at`, or at `idle_expires_at` if it was not used until then; `refreshed_at` is when that was last put off.
    `name` is the person's own word for the device or browser, or what that says of itself.
    `wrong_proofs` counts what proved nothing within it, to sign something or to be fresh: a few of those end it.
    """

    noun = "membership"
    kept = Kept(
        "For good: a sign-in ends when the settings say, and its row stays.",
        period=Period(DataKind.SESSION, 90, "its end"),
    )
    placement = Placement(own_column="membership_id")

    user_id = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField())
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    name = ward(C.PERSONAL, EncryptedField(max_length=200, null=True, owner_column="user_id", pad=True))
    factors: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text"))
    authenticated_at = ward(C.INTERNAL, fields.DatetimeField())
    refresh_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    spent_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    cookie_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    refreshed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    idle_expires_at = ward(C.INTERNAL, fields.DatetimeField())
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    revoked_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    wrong_proofs = ward(C.INTERNAL, fields.IntField(default=0))

    class Meta:
        table = "session"
