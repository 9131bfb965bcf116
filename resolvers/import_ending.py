"""Ending all imports of an organization at once: when somebody is erased whose name may be in their files."""

from typing import Final

from models.data_import import ImportStatus
from models.transaction import fetch
from resolvers.change import Change
from resolvers.data_import import KEPT

_END: Final = f"""
    update data_import set status = '{ImportStatus.EXPIRED}', ended_at = coalesce(ended_at, $2)
     where organization_id = $1 and status = any($3)
"""
_FORGET: Final = "delete from import_chunk where organization_id = $1"


async def end_imports(change: Change) -> None:
    """End the imports that have a file, or wait for one, and forget their files: none writes a name once more."""
    await fetch(change.connection, _END, change.organization_id, change.at, list(KEPT))
    await fetch(change.connection, _FORGET, change.organization_id)
