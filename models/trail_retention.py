"""How long an organization keeps the entries of its audit trail, by their kind."""

from typing import Final

from tortoise import fields

from auth.classification import Classification as C
from models.audit_entry import EntryKind
from models.base import Kept, Placement, TenantModel, ward

LEAST_DAYS: Final = 90
"""Nobody keeps an entry for less: what happened must have had time to be noticed."""
MOST_DAYS: Final = 36_500
WAITING_DAYS: Final = 7
"""How long nothing of a kind leaves after its period was decided otherwise: a mistake, or a theft, can be undone."""


class TrailRetention(TenantModel):
    """After how many days entries of a kind leave the trail; null, or no row of the kind: never.

    What leaves is decided by the database (`models/migrations/sql/0005_retention.sql`), which holds the same limits.
    """

    noun = "audit"
    kept = Kept("For good: so is what the trail says of it.")
    placement = Placement()

    kind = ward(C.INTERNAL, fields.CharEnumField(EntryKind, max_length=16))
    days = ward(C.INTERNAL, fields.IntField(null=True))

    class Meta:
        table = "trail_retention"
