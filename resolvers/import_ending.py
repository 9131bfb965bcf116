"""Ending all imports of an organization at once: when somebody is erased whose name may be in their files."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from models.data_import import ImportStatus
from models.encryption.envelope import KeyOwner
from models.encryption.owner import import_owner
from models.reading import OneStatement
from models.transaction import Tenant, fetch
from resolvers.change import Change
from resolvers.data_import import KEPT

_END: Final = f"""
    update data_import set status = '{ImportStatus.EXPIRED}', ended_at = coalesce(ended_at, $2)
     where organization_id = $1 and status = any($3)
"""
_FORGET: Final = "delete from import_chunk where organization_id = $1"
_FILES: Final = "select id from data_import where organization_id = $1"


async def imported_owners(organization_id: UUID) -> Sequence[KeyOwner]:
    """Return the owners of the keys of all files that the organization ever imported: older copies still hold them."""
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        rows = await connection.fetch(_FILES, organization_id)
    return [import_owner(organization_id, row["id"]) for row in rows]


async def end_imports(change: Change) -> None:
    """End the imports that have a file, or wait for one, and forget their files: none writes a name once more."""
    await fetch(change.connection, _END, change.organization_id, change.at, list(KEPT))
    await fetch(change.connection, _FORGET, change.organization_id)
