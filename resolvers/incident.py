"""What people do about incidents: say that they look into one, and close it with a note.

Those of an organization are its people's. Those of the installation, which no organization sees, are the operator's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from auth.action import Action
from auth.errors import NotFoundError
from auth.permission import Permission
from auth.policy import require
from auth.principal import SYSTEM_ID
from auth.scope import ORGANIZATION
from models.errors import ConflictError
from models.incident import Incident, IncidentStatus
from models.inventory import entity_of
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.checking import LONGEST_REASON, require_text
from resolvers.locking import lock_visible, require_version
from resolvers.trail import Actor
from resolvers.writing import require_writable

AT_ID = ("input", "id")

_LISTED: Final = f"""
    select i.id, i.organization_id, (select o.slug from organization o where o.id = i.organization_id) as slug,
           i.rule, i.severity, i.status, i.count, i.first_seen_at, i.last_seen_at, i.opened_at,
           coalesce((select json_object_agg(lower(a.channel), lower(a.state)) from alarm_delivery a
                      where a.organization_id = i.organization_id and a.incident_id = i.id), '{{}}')::text as alarms
    from incident i where i.organization_id = $1 and ($2 or i.status <> '{IncidentStatus.CLOSED}')
"""


async def acknowledge_incident(change: Change, *, incident_id: UUID, expected_version: int) -> UUID:
    """Note that the viewer looks into the incident, and return its id.

    Raises:
        NotFoundError, ForbiddenError: without `incident:manage`.
        ConflictError: it is at another version, or not open any more.
    """
    incident = await _locked(change, incident_id, expected_version)
    if incident.status is not IncidentStatus.OPEN:
        raise ConflictError("Somebody looks into the incident already, or closed it.", field=AT_ID)
    incident.status = IncidentStatus.ACKNOWLEDGED
    incident.acknowledged_by_id = change.viewer.membership_id
    incident.acknowledged_at = change.at
    incident.version += 1
    await incident.save(
        using_db=change.connection,
        update_fields=["status", "acknowledged_by_id", "acknowledged_at", "version"],
    )
    return incident.id


async def close_incident(change: Change, *, incident_id: UUID, expected_version: int, note: str) -> UUID:
    """Close the incident with a note of what it was, and return its id. What happens again is another one.

    Raises:
        NotFoundError, ForbiddenError: without `incident:manage`, or the reading of notes.
        InvalidInputError: the note is blank or too long.
        ConflictError: it is at another version, or closed already.
    """
    incident = await _locked(change, incident_id, expected_version)
    require_writable(change, entity_of(Incident), ORGANIZATION, {"note": note}, at=("input",))
    require_text(note, at=("input", "note"), longest=LONGEST_REASON)
    await _close(change, incident, note)
    return incident.id


@dataclass(frozen=True, slots=True)
class ListedIncident:
    """An incident as an operator is shown it: ids and figures, and how its alarms went, by channel.

    slug: the organization's; None for the installation.
    """

    id: UUID
    organization_id: UUID
    slug: str | None
    rule: str
    severity: str
    status: str
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    opened_at: datetime
    alarms: dict[str, str]


async def list_for_operator(organization_ids: Iterable[UUID], *, with_closed: bool = False) -> list[ListedIncident]:
    """Return the incidents of these organizations, the nil UUID being the installation, newest first."""
    found: list[ListedIncident] = []
    for organization_id in organization_ids:
        async with OneStatement(Tenant(organization_id=organization_id)) as connection:
            rows = await connection.fetch(_LISTED, organization_id, with_closed)
        found += [ListedIncident(**{**row, "alarms": orjson.loads(row["alarms"])}) for row in rows]
    return sorted(found, key=lambda one: one.opened_at, reverse=True)


async def close_for_installation(actor: Actor, *, incident_id: UUID, note: str) -> None:
    """Close an incident that no organization sees.

    actor: the operator, outside of the organizations.

    Raises:
        InvalidInputError: the note is blank or too long.
        NotFoundError: the installation has no such incident.
        ConflictError: it is closed already.
    """
    require_text(note, at=("note",), longest=LONGEST_REASON)

    async def work(change: Change) -> None:
        incident = await (
            Incident.filter(id=incident_id, organization_id=SYSTEM_ID)
            .using_db(change.connection)
            .select_for_update()
            .get_or_none()
        )
        if incident is None:
            raise NotFoundError("The installation has no such incident.", field=("id",))
        await _close(change, incident, note)

    intent = Intent(Action.INCIDENT_CLOSE, actor, entity=entity_of(Incident).name, subjects=[incident_id])
    await commit_change(intent, work)


async def _close(change: Change, incident: Incident, note: str) -> None:
    if incident.status is IncidentStatus.CLOSED:
        raise ConflictError("The incident is closed already.", field=AT_ID)
    viewer = change.intent.actor.viewer
    incident.status = IncidentStatus.CLOSED
    incident.closed_by_id = viewer.membership_id if viewer is not None else None
    incident.closed_at = change.at
    incident.note = note.strip()
    incident.version += 1
    await incident.save(
        using_db=change.connection, update_fields=["status", "closed_by_id", "closed_at", "note", "version"]
    )


async def _locked(change: Change, incident_id: UUID, expected_version: int) -> Incident:
    incident = await lock_visible(change, Incident, incident_id)
    require(change.viewer, Permission.INCIDENT_MANAGE, ORGANIZATION)
    require_version(incident.version, expected_version)
    return incident
