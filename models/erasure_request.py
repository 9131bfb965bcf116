"""Requests for erasure: who asked for what, who confirmed it, until when it can be withdrawn, and what was done.

What a request says in words, names and a reason, lies under a key of the request's own, which is destroyed when it is
carried out or withdrawn: a request to forget somebody remembers nobody.
"""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, Storage, TenantModel, ward
from models.encryption.column import EncryptedField
from models.encryption.envelope import OwnerKind

MOST_NAMES = 20
"""Spellings that one request names."""
LONGEST_CERTIFICATE = 1_000_000
"""Characters of a certificate: it names each key that was destroyed."""


class ErasureKind(StrEnum):
    """PERSON: an account, with all names of the person, in every organization that they belong to. NAME: somebody whom
    records name as their collector, and who need have no account. ORGANIZATION: all that it has sealed.
    """

    PERSON = "PERSON"
    NAME = "NAME"
    ORGANIZATION = "ORGANIZATION"


class ErasureStatus(StrEnum):
    """REQUESTED → CONFIRMED → EXECUTING → DONE; until it is EXECUTING it can be WITHDRAWN. LAPSED: nobody confirmed it
    in time, or there was nothing left to confirm.
    """

    REQUESTED = "REQUESTED"
    CONFIRMED = "CONFIRMED"
    EXECUTING = "EXECUTING"
    DONE = "DONE"
    WITHDRAWN = "WITHDRAWN"
    LAPSED = "LAPSED"


class ErasureRequest(TenantModel):
    """One request: what is to be erased, and how far that is.

    `membership_id` and `user_id` are the person that it is about; null where it is about none with an account. `named`
    holds the spellings of a name, as JSON, and `name_indexes` their blind indexes, one behind the other, by which it is
    carried out; they are forgotten when it is. Those that a person told of themselves are asked for in requests of
    their own. `records` is how many records had a name when it was asked for; null where it is about a person. From
    `execute_after` on it is carried out, and at `due_at` it has to be. One that is REQUESTED and has a `confirmed_at`
    was confirmed before the database was restored, and is to be once more. `held_at`: since when a legal hold keeps it.
    Of the link by which the person confirms it only a digest is kept. `certificate` says, signed, what was done, and
    holds no personal data.
    """

    noun = "erasure"
    kept = Kept("For good: that something was erased, without whom. Names and reason go with it.")
    placement = Placement(own_column="membership_id")

    kind = ward(C.INTERNAL, fields.CharEnumField(ErasureKind, max_length=16))
    status = ward(C.INTERNAL, fields.CharEnumField(ErasureStatus, max_length=16, default=ErasureStatus.REQUESTED))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    user_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    requested_by_id = ward(C.INTERNAL, fields.UUIDField(), names="membership")
    confirmed_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    withdrawn_by_id = ward(C.INTERNAL, fields.UUIDField(null=True), names="membership")
    named = ward(
        C.PERSONAL,
        EncryptedField(max_length=10_000, null=True, owner_column="id", owner_kind=OwnerKind.ERASURE, pad=True),
    )
    reason = ward(
        C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True, owner_column="id", owner_kind=OwnerKind.ERASURE)
    )
    name_indexes = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.BLIND_INDEX)
    records = ward(C.INTERNAL, fields.BigIntField(null=True))
    due_at = ward(C.INTERNAL, fields.DatetimeField())
    confirmed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    execute_after = ward(C.INTERNAL, fields.DatetimeField(null=True))
    held_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    started_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    finished_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    token_digest = ward(C.SECRET, fields.BinaryField(null=True), holds=Storage.TOKEN_DIGEST)
    certificate = ward(C.INTERNAL, fields.CharField(max_length=LONGEST_CERTIFICATE, null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "erasure_request"
