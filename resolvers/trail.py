"""How an entry of the audit trail is made from who is asking and from where. Written by `change` and `read` alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from auth.principal import Channel, Origin, Viewer
from models.audit_entry import EntryKind, Outcome
from models.audit_writing import SealedEntry, seal_entry
from models.base import new_id
from models.encryption.envelope import KeyOwner
from models.encryption.owner import index_owner, organization_owner, person_owner
from resolvers.flood import Floodgate


@dataclass(frozen=True, slots=True)
class Operation:
    """The GraphQL operation behind a request: its name, and what finds a digest of its text (`schema/operation.py`).

    That is found where an entry is written and not for each request: of a long text it takes milliseconds.
    """

    name: str | None = None
    find_digest: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def digest(self) -> str | None:
        """The digest; None where no operation is behind it."""
        return None if self.find_digest is None else self.find_digest()


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, in which tenant, and from where.

    `user_id` and `membership_id` say who where there is no viewer yet: in a sign-in; `device_id` then is the device
    that was named. `behind` is who really acts where `viewer` is whom they look as, and `acting_as` says as whom.
    `floodgate` bounds the entries of attempts that this actor, or many like it, can cause.
    """

    organization_id: UUID
    origin: Origin
    viewer: Viewer | None = None
    user_id: UUID | None = None
    membership_id: UUID | None = None
    device_id: UUID | None = None
    behind: Viewer | None = None
    acting_as: str | None = None
    operation: Operation = Operation()
    floodgate: Floodgate | None = None

    @property
    def person_id(self) -> UUID | None:
        """The person who acts, if that is known."""
        return self.who.user_id if self.who is not None else self.user_id

    @property
    def who(self) -> Viewer | None:
        """Who really acts, if anybody is signed in."""
        return self.behind or self.viewer

    @property
    def key_owners(self) -> list[KeyOwner]:
        """Whose keys an entry about this actor, and what they make, take."""
        owners = [organization_owner(self.organization_id), index_owner(self.organization_id)]
        if self.person_id is not None:
            owners.append(person_owner(self.person_id))
        return owners


def job_actor(organization_id: UUID) -> Actor:
    """Return the service itself, as who acts in the background: nobody's name, and a request of its own."""
    return Actor(organization_id, Origin(channel=Channel.JOB, request_id=new_id(), client_name="fieldward"))


def new_entry(
    actor: Actor,
    *,
    kind: EntryKind,
    action: str,
    outcome: Outcome,
    error_code: str | None = None,
    repeated: int = 0,
    device_at: datetime | None = None,
    reason: str | None = None,
    entity: str | None = None,
    field: str | None = None,
    entity_ids: Iterable[UUID] = (),
) -> SealedEntry:
    """Return the entry, not yet written. The database sets its time and its transaction."""
    viewer, origin = actor.who, actor.origin
    return seal_entry(
        {
            "id": new_id(),
            "organization_id": actor.organization_id,
            "kind": kind,
            "action": action,
            "outcome": outcome,
            "error_code": error_code,
            "repeated": repeated,
            "device_at": device_at,
            "user_id": actor.person_id,
            "membership_id": viewer.membership_id if viewer else actor.membership_id,
            "service_account_id": viewer.service_account_id if viewer else None,
            "acting_as": actor.acting_as,
            "session_id": viewer.session_id if viewer else None,
            "device_id": viewer.device_id if viewer else actor.device_id,
            "channel": origin.channel,
            "client_name": origin.client_name,
            "client_version": origin.client_version,
            "ip_address": origin.ip_address,
            "user_agent": origin.user_agent,
            "request_id": origin.request_id,
            "trace_id": origin.trace_id,
            "operation_name": actor.operation.name,
            "operation_hash": actor.operation.digest,
            "reason": reason,
            "entity": entity,
            "field": field,
            "entity_ids": list(entity_ids) or None,
        }
    )
