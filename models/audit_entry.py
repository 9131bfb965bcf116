"""The audit trail: who did or tried what, when, how, why, and with which outcome.

Written by `resolvers/change.py` and `resolvers/read_log.py` alone. The database forces `at` and `transaction_id`,
refuses every later change, lets an entry go only after a period that its organization set for its kind
(`models/trail_retention.py`), and lets no audited table change in a transaction without an entry of kind CHANGE.
"""

from enum import StrEnum
from uuid import UUID

from tortoise import fields
from tortoise.contrib.postgres.fields import ArrayField

from auth.classification import Classification as C
from models.base import Kept, Placement, WardModel, new_id, ward
from models.encryption.column import EncryptedField


class EntryKind(StrEnum):
    """CHANGE: what happened, committed with it. ATTEMPT: what was refused or failed. READ: who saw what."""

    CHANGE = "CHANGE"
    ATTEMPT = "ATTEMPT"
    READ = "READ"


class Outcome(StrEnum):
    """DONE: it is so. DENIED: the policy said no. FAILED: it was wrong, or it broke."""

    DONE = "DONE"
    DENIED = "DENIED"
    FAILED = "FAILED"


class AuditEntry(WardModel):
    """One act of one principal. `entity_ids` are the rows acted on or read, where they are known.

    Where somebody was, with what, and why in their own words is sealed under their own key, and goes with them.

    `acting_as` says as whom somebody looked who looked as another: `User:…`, or a role.

    `repeated` counts attempts like this one that came before it and have no entry of their own.

    `device_at` is when it was done by the device's own clock, where a client sent later what it did before; nothing is
    ordered or decided by it. `trace_id` is the trace that the request was part of (W3C Trace Context).
    """

    noun = "audit"
    kept = Kept(
        "For good, where no owner set a period for entries of its kind; else until that ends (never under 90 days), and"
        " then its leaf hash stays. But for that, a trigger refuses every change and deletion."
    )
    placement = Placement()
    is_audited = False

    id = ward(C.PUBLIC, fields.UUIDField(primary_key=True, default=new_id))
    organization_id = ward(C.PUBLIC, fields.UUIDField())
    kind = ward(C.INTERNAL, fields.CharEnumField(EntryKind, max_length=16))
    action = ward(C.INTERNAL, fields.CharField(max_length=64))
    outcome = ward(C.INTERNAL, fields.CharEnumField(Outcome, max_length=16))
    repeated = ward(C.INTERNAL, fields.IntField(default=0))
    error_code = ward(C.INTERNAL, fields.CharField(max_length=32, null=True))
    at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    device_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    transaction_id = ward(C.INTERNAL, fields.BigIntField(default=0))
    user_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    service_account_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    acting_as = ward(C.INTERNAL, fields.CharField(max_length=120, null=True))
    session_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    channel = ward(C.INTERNAL, fields.CharField(max_length=16))
    client_name = ward(C.INTERNAL, fields.CharField(max_length=200, null=True))
    client_version = ward(C.INTERNAL, fields.CharField(max_length=200, null=True))
    ip_address = ward(C.PERSONAL, EncryptedField(max_length=64, null=True, owner_column="user_id", pad=True))
    user_agent = ward(C.PERSONAL, EncryptedField(max_length=200, null=True, owner_column="user_id"))
    request_id = ward(C.INTERNAL, fields.UUIDField())
    trace_id = ward(C.INTERNAL, fields.CharField(max_length=32, null=True))
    operation_name = ward(C.INTERNAL, fields.CharField(max_length=200, null=True))
    operation_hash = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    reason = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True, owner_column="user_id"))
    entity = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    field = ward(C.INTERNAL, fields.CharField(max_length=64, null=True))
    entity_ids: fields.Field[list[UUID]] = ward(C.INTERNAL, ArrayField("uuid", null=True))

    class Meta:
        table = "audit_entry"
