"""Ending all exports of an organization at once: when somebody is erased whose name may be in them."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from models.encryption.envelope import KeyOwner
from models.encryption.owner import export_owner
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change

_UNSWEPT: Final = "select id from data_export_progress where organization_id = $1 and swept_at is null"
_END: Final = """
    update data_export
       set status = case status when 'READY' then 'EXPIRED' else 'CANCELLED' end,
           finished_at = coalesce(finished_at, $2), link_digest = null, link_expires_at = null, link_holder = null
     where organization_id = $1 and status in ('PENDING', 'READY')
"""


async def file_owners(organization_id: UUID) -> Sequence[KeyOwner]:
    """Return the owners of the keys of all files that there are, or may be, of the organization's exports."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        rows = await connection.fetch(_UNSWEPT, organization_id)
    return [export_owner(organization_id, row["id"]) for row in rows]


async def end_exports(change: Change) -> None:
    """Stop the exports that are being made, and expire those that are ready. Their pieces go in the background."""
    await fetch(change.connection, _END, change.organization_id, change.at)
