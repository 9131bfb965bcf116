"""What people prove beside or instead of a password: generators of codes, passkeys, recovery codes.

Named as in NIST SP 800-63B. Somebody's are theirs in every organization; each stands, with its changes, in the
organization in which it was added.
"""

from enum import StrEnum

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward
from models.encryption.column import EncryptedField


class AuthenticatorKind(StrEnum):
    """TOTP: an app that shows codes (RFC 6238). PASSKEY: a key of a device, by WebAuthn. RECOVERY_CODE: for once."""

    TOTP = "TOTP"
    PASSKEY = "PASSKEY"
    RECOVERY_CODE = "RECOVERY_CODE"


class Authenticator(TenantModel):
    """Something that one person has. It counts from `confirmed_at` on.

    `secret` is a code generator's seed; `credential` and `public_key` are a passkey's; `digest` a recovery code's.
    """

    noun = "membership"
    kept = Kept("Until its person removes it, or it is replaced. The trail keeps that there was one.")
    placement = Placement(own_column="membership_id")

    user_id = ward(C.INTERNAL, fields.UUIDField())
    membership_id = ward(C.INTERNAL, fields.UUIDField())
    kind = ward(C.INTERNAL, fields.CharEnumField(AuthenticatorKind, max_length=16))
    name = ward(C.PERSONAL, EncryptedField(max_length=100, null=True, owner_column="user_id", pad=True))
    secret = ward(C.SECRET, EncryptedField(max_length=64, null=True, owner_column="user_id"))
    credential = ward(C.INTERNAL, fields.BinaryField(null=True))
    public_key = ward(C.INTERNAL, fields.BinaryField(null=True))
    transports: fields.Field[list[str]] = ward(C.INTERNAL, ArrayField("text", null=True))
    digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    confirmed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "authenticator"


class AuthenticatorUse(TenantModel):
    """How far an authenticator was used, so that nothing of it works twice. `id` is the authenticator's.

    `step` is the newest time step of which a code was taken (RFC 6238), `sign_count` a passkey's own count. Not in the
    trail: the sign-in is.
    """

    noun = "membership"
    kept = Kept("As long as the authenticator: one row for each, of its last use.")
    placement = Placement()
    is_audited = False

    user_id = ward(C.INTERNAL, fields.UUIDField())
    step = ward(C.INTERNAL, fields.BigIntField(null=True))
    sign_count = ward(C.INTERNAL, fields.BigIntField(null=True))
    used_at = ward(C.INTERNAL, fields.DatetimeField())

    class Meta:
        table = "authenticator_use"
