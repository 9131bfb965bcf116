"""Incidents: what the rules found in the sealed trail, the alarms about it, and how far the trail was looked through.

Opened and counted by `resolvers/incident.py` alone, acknowledged and closed by people. Incidents of what belongs to no
organization, such as sign-ins of accounts that nobody has, lie under the nil UUID: no tenant sees them.
"""

from enum import StrEnum

from tortoise import fields

from auth.classification import Classification as C
from models.base import Kept, Placement, TenantModel, ward
from models.encryption.column import EncryptedField


class IncidentSeverity(StrEnum):
    """How soon somebody should look: LOW when there is time, CRITICAL at once."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class IncidentStatus(StrEnum):
    """OPEN: nobody has said that they look into it. CLOSED: what happens again from then on is another incident."""

    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CLOSED = "CLOSED"


class Channel(StrEnum):
    """By which an alarm leaves."""

    EMAIL = "EMAIL"
    WEBHOOK = "WEBHOOK"


class DeliveryState(StrEnum):
    """PENDING: to be tried, or tried again. GIVEN_UP: it was tried for a day."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    GIVEN_UP = "GIVEN_UP"


_FOR_GOOD = Kept("For good: an incident is closed, not deleted.")


class Incident(TenantModel):
    """Something in the trail that somebody has to look at. `key` says about whom or what: one that is not closed takes
    in whatever the rule finds about the same.

    `count` is how many attempts, rows read or failures were found, among them those that only a count in the trail
    tells of. `newest_entry_id` is the last of them. What the service counts leaves `version` as it is: who answers an
    incident is not overtaken by what goes on.
    """

    noun = "incident"
    kept = _FOR_GOOD
    placement = Placement()

    rule = ward(C.INTERNAL, fields.CharField(max_length=64))
    severity = ward(C.INTERNAL, fields.CharEnumField(IncidentSeverity, max_length=16))
    status = ward(C.INTERNAL, fields.CharEnumField(IncidentStatus, max_length=16, default=IncidentStatus.OPEN))
    key = ward(C.INTERNAL, fields.CharField(max_length=200))
    opened_at = ward(C.INTERNAL, fields.DatetimeField())
    first_seen_at = ward(C.INTERNAL, fields.DatetimeField())
    last_seen_at = ward(C.INTERNAL, fields.DatetimeField())
    count = ward(C.INTERNAL, fields.BigIntField())
    user_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    membership_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    device_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    service_account_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    newest_entry_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    acknowledged_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    acknowledged_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    closed_by_id = ward(C.INTERNAL, fields.UUIDField(null=True))
    closed_at = ward(C.INTERNAL, fields.DatetimeField(null=True))
    note = ward(C.CONFIDENTIAL, EncryptedField(max_length=2000, null=True))
    version = ward(C.PUBLIC, fields.IntField(default=1))

    class Meta:
        table = "incident"


class IncidentEvidence(TenantModel):
    """An entry of the trail that an incident stands on: the first ones, of which there may be many more."""

    noun = "incident"
    kept = _FOR_GOOD
    placement = Placement()

    incident_id = ward(C.INTERNAL, fields.UUIDField())
    entry_id = ward(C.INTERNAL, fields.UUIDField())

    class Meta:
        table = "incident_evidence"


class IncidentCursor(TenantModel):
    """How far an organization's sealed trail was judged: `leaf_index` is the first leaf that was not.

    It moves in the transaction that opens what was found before it. It is not in the trail, which would have no end.
    """

    noun = "incident"
    kept = Kept("For good: one row for each organization, which moves on.")
    placement = Placement()
    is_audited = False

    leaf_index = ward(C.INTERNAL, fields.BigIntField())
    judged_at = ward(C.INTERNAL, fields.DatetimeField())

    class Meta:
        table = "incident_cursor"


class AlarmDelivery(TenantModel):
    """An alarm on its way through one channel, written with its incident; then the log of how it went.

    `id` travels with the alarm, so that who gets it twice knows. `destination` names where it went, without a secret;
    `last_error` is the kind of what went wrong last. Its changes are not in the trail: they are nobody's data.
    """

    noun = "incident"
    kept = _FOR_GOOD
    placement = Placement()
    is_audited = False

    incident_id = ward(C.INTERNAL, fields.UUIDField())
    channel = ward(C.INTERNAL, fields.CharEnumField(Channel, max_length=16))
    state = ward(C.INTERNAL, fields.CharEnumField(DeliveryState, max_length=16, default=DeliveryState.PENDING))
    count = ward(C.INTERNAL, fields.BigIntField())
    attempts = ward(C.INTERNAL, fields.IntField(default=0))
    next_attempt_at = ward(C.INTERNAL, fields.DatetimeField())
    destination = ward(C.INTERNAL, fields.CharField(max_length=300, null=True))
    last_error = ward(C.INTERNAL, fields.CharField(max_length=100, null=True))
    delivered_at = ward(C.INTERNAL, fields.DatetimeField(null=True))

    class Meta:
        table = "alarm_delivery"
