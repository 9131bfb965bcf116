"""Sign-ins: one per user, organization and device or browser."""

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward


class Session(TenantModel):
    """A sign-in of one person.

    Its refresh token rotates: only the digest of the newest and of the one before it are kept. The one before is kept
    so that its reuse is known for what it is, a stolen token, and ends the session.

    `wrong_proofs` counts the wrong passwords that were given within it to sign something: a few of them end it.
    """

    noun = "membership"
    kept = Kept("For good: a sign-in ends 12 hours after it began at the latest, and its row stays.")
    placement = Placement(own_column="membership_id")

    user_id = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField())
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    refresh_digest = ward(C.SECRET, fields.BinaryField(), holds=Storage.TOKEN_DIGEST)
    spent_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    refreshed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    revoked_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    wrong_proofs = ward(C.INTERNAL, fields.IntField(default=0))

    class Meta:
        table = "session"
