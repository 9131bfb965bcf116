"""Whether what is over is deleted when it is to be: told by the runs, and by nothing that a run has to do itself."""

from typing import Final
from uuid import UUID

from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.incident_judging import Judge, Judged, note_findings
from resolvers.incident_rule import ORGANIZATION_KEY, RETENTION_BEHIND, Finding, Subject

_IS_BEHIND: Final = """
    select exists (
      select from data_retention r
        left join lateral (
          select x.status, x.created_at, x.moved_at from retention_run x
           where x.organization_id = r.organization_id and x.kind = r.kind
           order by x.created_at desc, x.id desc limit 1) n on true
       where r.organization_id = $1
         and fieldward_retention_cutoff(r.organization_id, r.kind) is not null
         and case n.status
               when 'RUNNING' then n.moved_at < now() - interval '1 day'
               else coalesce(
                 n.created_at,
                 (select max(e.at) from change c
                    join audit_entry e on e.organization_id = c.organization_id and e.id = c.entry_id
                   where c.organization_id = r.organization_id and c.entity = 'data_retention' and c.entity_id = r.id)
                   + interval '7 days') < now() - interval '3 days'
             end)
"""


async def retention_is_behind(organization_id: UUID) -> bool:
    """Return whether there is a type of which no run began for three days, or whose run stands still for one."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        return bool(await connection.fetchval(_IS_BEHIND, organization_id))


async def note_retention(judging: Judge, organization_id: UUID) -> Judged:
    """Open an incident of the organization where its data are not deleted, unless there is one that is not closed."""
    if not await retention_is_behind(organization_id):
        return Judged()
    return await note_findings(judging, organization_id, [Finding(RETENTION_BEHIND, Subject(ORGANIZATION_KEY))])
