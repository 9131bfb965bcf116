"""Mail to people, on its way: what for and to whom, and never what stands in it, which is made when it is sent."""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward


class MailKind(StrEnum):
    """What a mail is for."""

    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105  (a word, not one)
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
    AUTHENTICATOR_ADDED = "AUTHENTICATOR_ADDED"
    AUTHENTICATOR_REMOVED = "AUTHENTICATOR_REMOVED"
    RECOVERY_CODE_USED = "RECOVERY_CODE_USED"
    SIGN_IN_UNUSUAL = "SIGN_IN_UNUSUAL"
    INVITATION = "INVITATION"
    TOKEN_EXPIRES = "TOKEN_EXPIRES"  # noqa: S105
    ACCESS_REVIEW_DUE = "ACCESS_REVIEW_DUE"
    ERASURE_ASKED = "ERASURE_ASKED"
    ERASURE_CONFIRM = "ERASURE_CONFIRM"
    ERASURE_SCHEDULED = "ERASURE_SCHEDULED"
    ERASURE_WITHDRAWN = "ERASURE_WITHDRAWN"


class MailState(StrEnum):
    """PENDING: to be sent, or sent again. DROPPED: nobody was to get it. GIVEN_UP: it was tried for a day."""

    PENDING = "PENDING"
    SENT = "SENT"
    DROPPED = "DROPPED"
    GIVEN_UP = "GIVEN_UP"


class OutgoingMail(TenantModel):
    """One mail. It goes to `user_id`'s address, or to that of the account whose blind index is `email_index`.

    No address lies here: it is read from the account, or from what the mail is about, when it is sent. The index is
    forgotten then. `about` is the row that it is about. What belongs to no organization lies under the nil UUID.
    """

    noun = "membership"
    kept = Kept("For good: to whom what was sent when; the index of an address until then.")
    placement = Placement(of_nobody=True)
    is_audited = False

    kind = ward(C.INTERNAL, fields.CharEnumField(MailKind, max_length=32))
    user_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    email_index = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)
    about = ward(C.INTERNAL, fields.UUIDField(null=True))
    state = ward(C.INTERNAL, fields.CharEnumField(MailState, max_length=16, default=MailState.PENDING))
    attempts = ward(C.INTERNAL, fields.IntField(default=0))
    next_attempt_at = ward(C.INTERNAL, fields.DatetimeField())
    last_error = ward(C.INTERNAL, fields.CharField(max_length=100, null=True))
    sent_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "outgoing_mail"
