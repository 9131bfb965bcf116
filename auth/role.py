"""Roles, and the one matrix of what each may do.

A viewer's permissions in the scope of a row are those of its organization role joined with those of its role in the
row's project (`auth/access.py`). An organization may define roles of its own, from the permissions named here. Nothing
else grants anything.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from auth.permission import Permission as P


class OrganizationRole(StrEnum):
    """A role in the whole organization. MEMBER may do only what projects grant."""

    OWNER = "OWNER"
    ADMIN = "ADMIN"
    AUDITOR = "AUDITOR"
    MEMBER = "MEMBER"


class ProjectRole(StrEnum):
    """A role in one project."""

    MANAGER = "MANAGER"
    REVIEWER = "REVIEWER"
    COLLECTOR = "COLLECTOR"
    VIEWER = "VIEWER"


_PROJECT_VIEWER: Final = frozenset({P.PROJECT_READ, P.RECORD_READ, P.RECORD_EXPORT, P.SITE_READ})

_PROJECT_COLLECTOR: Final = _PROJECT_VIEWER | {
    P.RECORD_READ_CONFIDENTIAL,
    P.RECORD_READ_PERSONAL,
    P.RECORD_CREATE,
    P.RECORD_UPDATE_OWN,
    P.RECORD_SUBMIT,
    P.SITE_READ_CONFIDENTIAL,
}

_PROJECT_REVIEWER: Final = _PROJECT_VIEWER | {
    P.RECORD_READ_CONFIDENTIAL,
    P.RECORD_READ_PERSONAL,
    P.RECORD_REVIEW,
    P.SITE_READ_CONFIDENTIAL,
}

_PROJECT_MANAGER: Final = (
    _PROJECT_COLLECTOR
    | _PROJECT_REVIEWER
    | {
        P.PROJECT_UPDATE,
        P.PROJECT_MEMBERSHIP_READ,
        P.PROJECT_MEMBERSHIP_ASSIGN,
        P.RECORD_UPDATE,
        P.RECORD_DELETE,
        P.RECORD_IMPORT,
        P.SITE_CREATE,
        P.SITE_UPDATE,
        P.SITE_DELETE,
        P.DATA_IMPORT_READ,
    }
)

_READS: Final = frozenset(p for p in P if p.is_reading)

PROJECT_ROLES: Final[Mapping[ProjectRole, frozenset[P]]] = MappingProxyType(
    {
        ProjectRole.MANAGER: _PROJECT_MANAGER,
        ProjectRole.REVIEWER: _PROJECT_REVIEWER,
        ProjectRole.COLLECTOR: _PROJECT_COLLECTOR,
        ProjectRole.VIEWER: _PROJECT_VIEWER,
    }
)

# The owner and the admin differ in one thing that no permission names: only an owner makes or unmakes owners
# (`auth/escalation.py`). The address and browser of other people in the trail are the auditor's and the owner's, and
# how long there is a trail of what an admin did is the owner's alone. So is what is deleted after which time: an admin
# has something kept for longer, by a legal hold, and does not let go of it.
ORGANIZATION_ROLES: Final[Mapping[OrganizationRole, frozenset[P]]] = MappingProxyType(
    {
        OrganizationRole.OWNER: frozenset(P),
        OrganizationRole.ADMIN: frozenset(P)
        - {P.AUDIT_READ_PERSONAL, P.AUDIT_READ_CONFIDENTIAL, P.AUDIT_SET_RETENTION, P.RETENTION_SET, P.HOLD_LIFT},
        OrganizationRole.AUDITOR: _READS,
        OrganizationRole.MEMBER: frozenset({P.ORGANIZATION_READ, P.ROLE_READ}),
    }
)

# What everyone may do with what is about themselves: their own membership, roles, devices and exports, and requests
# that they be erased.
SELF: Final = frozenset(
    {
        P.MEMBERSHIP_READ,
        P.MEMBERSHIP_READ_PERSONAL,
        P.PROJECT_MEMBERSHIP_READ,
        P.DEVICE_READ,
        P.DEVICE_READ_CONFIDENTIAL,
        P.ERASURE_READ,
        P.ERASURE_READ_CONFIDENTIAL,
        P.ERASURE_READ_PERSONAL,
        P.EXPORT_READ,
        P.EXPORT_READ_CONFIDENTIAL,
        P.EXPORT_DELETE,
    }
)

# What a role of the organization's own may be made of, by its level: what a role in a project can't use there is not
# offered for one.
_IN_PROJECTS: Final = frozenset({"data_import", "project", "project_membership", "record", "site"})
ORGANIZATION_LEVEL: Final = frozenset(P)
PROJECT_LEVEL: Final = frozenset(p for p in P if p.noun in _IN_PROJECTS) - {P.PROJECT_CREATE}

# What a service account may be given at the most. Programs read, bring records and sites, and register what a build is
# made of; people, roles and other programs are people's business, and so is the review of a record: a program is no
# second pair of eyes. A new permission that changes something is not for programs unless it is named here.
SERVICE_ACCOUNT_LEVEL: Final = _READS | {
    P.EXPORT_DELETE,
    P.RECORD_EXPORT,
    P.RECORD_CREATE,
    P.RECORD_UPDATE,
    P.RECORD_SUBMIT,
    P.RECORD_DELETE,
    P.RECORD_IMPORT,
    P.SITE_CREATE,
    P.SITE_UPDATE,
    P.SITE_DELETE,
    P.TRUSTED_DOCUMENT_REGISTER,
}
