"""The organization that a sign-in is in. All lists are of that one organization, so they stand on `Query`."""

import strawberry

from models.audit_entry import EntryKind
from models.order import Order
from models.organization import Organization as OrganizationModel
from models.organization import OrganizationStatus
from models.trail_retention import TrailRetention as TrailRetentionModel
from schema.field import column, listed, stands_for
from schema.node import Node
from schema.trail_retention import TrailRetention
from schema.viewer_can import OrganizationViewerCan, viewer_can


@stands_for(OrganizationModel)
@strawberry.type(description="A consultancy, laboratory or agency, with its own people, projects and data.")
class Organization(Node):
    slug: str = column("The name by which the organization is signed in to.")
    name: str = column("The organization's name.")
    status: OrganizationStatus | None = column("Whether the organization is at work.")
    demands_second_factor: bool | None = column(
        "Whether everybody needs a second factor: who signed in without one may do nothing but add one."
    )
    trail_retention: list[TrailRetention] = listed(
        "How long entries of the audit trail are kept, as far as that was decided: all others for good. Empty for those"
        " who may not read the trail.",
        of=TrailRetentionModel,
        by="organization_id",
        order=Order("kind"),
        limit=len(EntryKind),
    )
    viewer_can: OrganizationViewerCan = viewer_can(OrganizationViewerCan)
