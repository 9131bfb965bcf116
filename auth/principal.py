"""Who is asking, and from where: the frozen values of one request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from auth.role import OrganizationRole, ProjectRole

SYSTEM_ID = UUID(int=0)
"""The organization of what belongs to no tenant: sign-ins that failed, people's own accounts."""


class Channel(StrEnum):
    """The door through which a change came."""

    API = "API"
    COMMAND = "COMMAND"
    JOB = "JOB"


@dataclass(frozen=True, slots=True)
class Origin:
    """How a request came: for the audit trail, never for a decision.

    Every text is cut to 200 characters where it enters; `ip_address` is the peer's, in text form.
    """

    channel: Channel
    request_id: UUID
    client_name: str | None = None
    client_version: str | None = None
    ip_address: str | None = field(default=None, repr=False)
    user_agent: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person in one organization, as of the start of the request.

    Made from rows by `resolvers/session.py` on each request, so that a role taken away counts at once.
    """

    user_id: UUID
    membership_id: UUID
    organization_id: UUID
    session_id: UUID | None
    device_id: UUID | None
    role: OrganizationRole
    project_roles: Mapping[UUID, ProjectRole]
