"""How long the organization keeps the entries of its audit trail."""

import strawberry

from models.audit_entry import EntryKind
from models.trail_retention import TrailRetention as TrailRetentionModel
from schema.field import column, stands_for


@stands_for(TrailRetentionModel)
@strawberry.type(description="After how long entries of a kind leave the audit trail. Their leaf hashes stay.")
class TrailRetention:
    kind: EntryKind | None = column("Which entries.")
    days: int | None = column("After how many days they leave; null for never.")
