"""How long the organization keeps the entries of its audit trail."""

from datetime import datetime

import strawberry

from models.audit_entry import EntryKind
from models.trail_retention import TrailRetention as TrailRetentionModel
from schema.field import column, stands_for
from schema.node import Node
from schema.viewer_can import ViewerCanRead, viewer_can


@stands_for(TrailRetentionModel)
@strawberry.type(description="After how long entries of a kind leave the audit trail. Their leaf hashes stay.")
class TrailRetention(Node):
    kind: EntryKind | None = column("Which entries.")
    days: int | None = column("After how many days they leave; null for never.")
    created_at: datetime | None = column("When it was first decided.")
    viewer_can: ViewerCanRead = viewer_can(ViewerCanRead)
