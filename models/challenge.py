"""What is asked of somebody, or was sent to them, and is answered once: the second step of a sign-in, a link in a mail.

Rows lie outside the tenants, since most are of people who are not signed in: row-level security shows one to who has
its secret, or whose it is. They are swept away some time after their end.
"""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Storage, WardModel, new_id, ward


class ChallengeKind(StrEnum):
    """What the answer is good for. A DEVICE_PROOF asks nothing: it was used, and is not to be used again."""

    SIGN_IN = "SIGN_IN"
    PASSKEY_SIGN_IN = "PASSKEY_SIGN_IN"
    PASSKEY_REGISTRATION = "PASSKEY_REGISTRATION"
    PASSKEY_PROOF = "PASSKEY_PROOF"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105  (a word, not one)
    DEVICE_ENROLMENT = "DEVICE_ENROLMENT"
    DEVICE_PROOF = "DEVICE_PROOF"


class Challenge(WardModel):
    """One such question. `digest` is the keyed digest of the secret that names it; `nonce` what a passkey signs.

    `tenant_id`, `membership_id`, `device_id` and `session_id` say what it was chosen for; there are no keys to them,
    since it outlives none of them by more than its few minutes. `device_key` is the thumbprint of the key that the
    device proved to have.
    """

    noun = "membership"
    kept = Kept("A day after it is over.")
    is_audited = False

    id = ward(C.PUBLIC, fields.UUIDField(primary_key=True, default=new_id))
    kind = ward(C.INTERNAL, fields.CharEnumField(ChallengeKind, max_length=24))
    digest = ward(C.SECRET, fields.BinaryField(), holds=Storage.TOKEN_DIGEST)
    user_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    tenant_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    session_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_key = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    nonce = ward(C.INTERNAL, fields.BinaryField(null=True))
    attempts = ward(C.INTERNAL, fields.IntField(default=0))
    created_at = ward(C.INTERNAL, fields.DatetimeField())
    expires_at = ward(C.INTERNAL, fields.DatetimeField())
    answered_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "challenge"
