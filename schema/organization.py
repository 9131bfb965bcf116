"""The organization that a sign-in is in. All lists are of that one organization, so they stand on `Query`."""

import strawberry

from models.organization import Organization as OrganizationModel
from models.organization import OrganizationStatus
from schema.field import column, stands_for
from schema.node import Node
from schema.viewer_can import OrganizationViewerCan, viewer_can


@stands_for(OrganizationModel)
@strawberry.type(description="A consultancy, laboratory or agency, with its own people, projects and data.")
class Organization(Node):
    slug: str = column("The name by which the organization is signed in to.")
    name: str = column("The organization's name.")
    status: OrganizationStatus | None = column("Whether the organization is at work.")
    viewer_can: OrganizationViewerCan = viewer_can(OrganizationViewerCan)
