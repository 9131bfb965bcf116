"""The organization that a sign-in is in. All lists are of that one organization, so they stand on `Query`."""

from typing import Any

import strawberry

from auth.permission import Permission as P
from models.audit_entry import EntryKind
from models.order import Order
from models.organization import DocumentPolicy, OrganizationStatus
from models.organization import Organization as OrganizationModel
from models.trail_retention import TrailRetention as TrailRetentionModel
from schema.field import column, derived, listed, resolved, stands_for
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

    @resolved(
        "What is run for people beside trusted documents.", derived(P.ORGANIZATION_READ, needs=("people_documents",))
    )
    def people_documents(src: strawberry.Parent[Any]) -> DocumentPolicy | None:
        return src["people_documents"] or DocumentPolicy.ANY

    @resolved(
        "What is run for service accounts beside trusted documents.",
        derived(P.ORGANIZATION_READ, needs=("program_documents",)),
    )
    def program_documents(src: strawberry.Parent[Any]) -> DocumentPolicy | None:
        return src["program_documents"] or DocumentPolicy.ANY

    trail_retention: list[TrailRetention] = listed(
        "How long entries of the audit trail are kept, as far as that was decided: all others for good. Empty for those"
        " who may not read the trail.",
        of=TrailRetentionModel,
        by="organization_id",
        order=Order("kind"),
        limit=len(EntryKind),
    )
    viewer_can: OrganizationViewerCan = viewer_can(OrganizationViewerCan)
