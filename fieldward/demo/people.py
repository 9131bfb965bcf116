"""Who is in the demo: two organizations, and in the first one person for each role."""

from dataclasses import dataclass
from typing import Final

from auth.role import OrganizationRole, ProjectRole


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A person of the demo. `project_role` counts in the first project of their organization."""

    key: str
    organization: str
    email: str
    name: str
    role: OrganizationRole
    project_role: ProjectRole | None = None


@dataclass(frozen=True, slots=True)
class DemoProject:
    """A project of the demo, and whose results of the file it gets: the portal's organization identifiers."""

    organization: str
    code: str
    name: str
    providers: frozenset[str]


ORGANIZATIONS: Final = {"clearwater": "Clearwater Consulting", "suncoast": "Suncoast Laboratory"}

PROJECTS: Final = (
    DemoProject("clearwater", "CANAL", "Canal and river stations", frozenset({"STF_WQX", "USGS-FL"})),
    DemoProject("clearwater", "PARKS", "Park waters", frozenset({"11NPSWRD_WQX"})),
    DemoProject("suncoast", "LAKES", "Lakes and estuaries survey", frozenset({"NARS_WQX", "mock-test-data"})),
)

PROGRAM: Final = "Open data portal"
"""The name of the first organization's service account, which reads the first project."""

PEOPLE: Final = (
    DemoPerson("owner", "clearwater", "owner@clearwater.example", "Olive Owens", OrganizationRole.OWNER),
    DemoPerson("admin", "clearwater", "admin@clearwater.example", "Adam Adler", OrganizationRole.ADMIN),
    DemoPerson("auditor", "clearwater", "auditor@clearwater.example", "Aude Audran", OrganizationRole.AUDITOR),
    DemoPerson(
        "manager",
        "clearwater",
        "manager@clearwater.example",
        "Mara Mann",
        OrganizationRole.MEMBER,
        ProjectRole.MANAGER,
    ),
    DemoPerson(
        "reviewer",
        "clearwater",
        "reviewer@clearwater.example",
        "Rafi Reyes",
        OrganizationRole.MEMBER,
        ProjectRole.REVIEWER,
    ),
    DemoPerson(
        "collector",
        "clearwater",
        "collector@clearwater.example",
        "Cleo Cole",
        OrganizationRole.MEMBER,
        ProjectRole.COLLECTOR,
    ),
    DemoPerson(
        "viewer",
        "clearwater",
        "viewer@clearwater.example",
        "Vito Vance",
        OrganizationRole.MEMBER,
        ProjectRole.VIEWER,
    ),
    DemoPerson("member", "clearwater", "member@clearwater.example", "Mina Moss", OrganizationRole.MEMBER),
    DemoPerson("other-owner", "suncoast", "owner@suncoast.example", "Sol Sanders", OrganizationRole.OWNER),
)
