"""The tokens of service accounts, of which one may have two at a time while it goes over from one to the other."""

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward


class ServiceAccountToken(TenantModel):
    """A token of a program, of which only the digest is kept. `hint` is its last characters, to tell it from others."""

    noun = "service_account"
    kept = Kept("For good: a token expires within 366 days or is revoked, and its row stays.")
    placement = Placement()

    service_account_id = ward(C.INTERNAL, fields.UUIDField())
    token_digest = ward(C.SECRET, fields.BinaryField(), holds=Storage.TOKEN_DIGEST)
    hint = ward(C.INTERNAL, fields.CharField(max_length=8))
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    created_by_id = ward(C.INTERNAL, fields.UUIDField())
    revoked_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    revoked_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "service_account_token"


class ServiceAccountUse(TenantModel):
    """When a token was used last, and from where. `id` is the token's.

    Noted a while after the use, by many at once, and not in the trail, which has what a program did.
    """

    noun = "service_account"
    kept = Kept("For good: one row for each token, of its last use.")
    placement = Placement()
    is_audited = False

    used_at = ward(C.INTERNAL, fields.DatetimeField())
    used_from = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))

    class Meta:
        table = "service_account_use"
