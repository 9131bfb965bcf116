"""Who is asking, and from where: the frozen values of one request."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from auth.access import Access, Grant
from auth.permission import Permission
from auth.role import OrganizationRole

SYSTEM_ID = UUID(int=0)
"""The organization of what belongs to no tenant: sign-ins that failed, people's own accounts."""


class Channel(StrEnum):
    """The door through which a change came."""

    API = "API"
    COMMAND = "COMMAND"
    JOB = "JOB"


@dataclass(frozen=True, slots=True)
class Origin:
    """How a request came: for the audit trail, for how fast may be guessed, and for from where a program may come;
    never for what may be done.

    Every text is cut to 200 characters where it enters; `ip_address` is the peer's, in text form. `trace_id` is the
    trace that the request says it is part of: 32 hexadecimal digits. `client_token` is what the client brought to show
    that somebody signed in from it before (`resolvers/throttle.py`); it is kept nowhere.
    """

    channel: Channel
    request_id: UUID
    client_name: str | None = None
    client_version: str | None = None
    ip_address: str | None = field(default=None, repr=False)
    user_agent: str | None = field(default=None, repr=False)
    trace_id: str | None = None
    client_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks in one organization, as of the start of the request: a person who signed in, or a service account.

    Made from rows by `resolvers/standing.py` on each request, so that a role taken away counts at once.

    user_id, membership_id: of a person; None for a service account.
    role: the person's role in the organization; MEMBER where they have one of the organization's own, or none that
        still holds; None for a service account.
    grants: where the permissions come from, those that have expired among them. For explanations.
    access: what may be done. For decisions.
    token_id: of a service account, the token that it came by.
    token_scope: of a service account that came by an access token, what that was cut down to; None for all.
    maker_id: of a service account, the membership of who made it.
    factors, authenticated_at: by what the person proved who they are in this session, and when; None without one.
    is_enrolling: has to add a second factor before anything else is allowed.
    is_reading_only: refused every mutation: somebody who looks at what another would see.
    runs_trusted_only: nothing is run for them but the organization's trusted documents, and our own pages'.
    documents_version: at which version those trusted documents are.
    """

    user_id: UUID | None
    membership_id: UUID | None
    organization_id: UUID
    session_id: UUID | None
    device_id: UUID | None
    role: OrganizationRole | None
    grants: tuple[Grant, ...]
    access: Access
    service_account_id: UUID | None = None
    token_id: UUID | None = None
    token_scope: frozenset[Permission] | None = None
    maker_id: UUID | None = None
    factors: tuple[str, ...] = ()
    authenticated_at: datetime | None = None
    is_enrolling: bool = False
    is_reading_only: bool = False
    runs_trusted_only: bool = False
    documents_version: int = 0

    @property
    def hands(self) -> frozenset[UUID]:
        """Whose hand it is when the viewer does something: a program's is its maker's, too."""
        return frozenset(one for one in (self.membership_id, self.service_account_id, self.maker_id) if one is not None)

    @property
    def principal_id(self) -> UUID:
        """The membership or the service account: whoever had a hand in something."""
        found = self.membership_id or self.service_account_id
        if found is None:
            raise LookupError("A viewer is a person or a service account.")
        return found
