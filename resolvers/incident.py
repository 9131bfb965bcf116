"""What people do about incidents: say that they look into one, and close it with a note."""

from uuid import UUID

from auth.permission import Permission
from auth.policy import require
from auth.scope import ORGANIZATION
from models.errors import ConflictError
from models.incident import Incident, IncidentStatus
from models.inventory import entity_of
from resolvers.change import Change
from resolvers.checking import LONGEST_REASON, require_text
from resolvers.locking import lock_visible, require_version
from resolvers.writing import require_writable

AT_ID = ("input", "id")


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
    if incident.status is IncidentStatus.CLOSED:
        raise ConflictError("The incident is closed already.", field=AT_ID)
    incident.status = IncidentStatus.CLOSED
    incident.closed_by_id = change.viewer.membership_id
    incident.closed_at = change.at
    incident.note = note.strip()
    incident.version += 1
    await incident.save(
        using_db=change.connection, update_fields=["status", "closed_by_id", "closed_at", "note", "version"]
    )
    return incident.id


async def _locked(change: Change, incident_id: UUID, expected_version: int) -> Incident:
    incident = await lock_visible(change, Incident, incident_id)
    require(change.viewer, Permission.INCIDENT_MANAGE, ORGANIZATION)
    require_version(incident.version, expected_version)
    return incident
