"""Telling somebody that an erasure was not done in time, or will not be: 30 days are what was promised."""

from datetime import timedelta
from uuid import UUID

from resolvers.erasure_execution import overdue
from resolvers.incident_judging import Judge, Judged, note_findings
from resolvers.incident_rule import ERASURE_DUE, ERASURE_OVERDUE, Finding, Subject


async def note_overdue(judging: Judge, organization_id: UUID, *, grace: timedelta) -> Judged:
    """Open an incident for each request of an organization that has to be done within a week, or that somebody there
    can confirm for so long only, and another one when what was confirmed is late, unless there is such a one that is
    not closed.

    grace: how long what was confirmed can be taken back.

    Raises:
        UnavailableError: the database is away.
    """
    findings = [
        Finding(rule, Subject(f"erasure:{one.request_id}"))
        for one in await overdue(organization_id, grace=grace)
        for rule in ([ERASURE_DUE, ERASURE_OVERDUE] if one.is_late else [ERASURE_DUE])
    ]
    return await note_findings(judging, organization_id, findings)
