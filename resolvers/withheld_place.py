"""Places that nobody is shown, since they are being rewritten: what is to be whole waits for them."""

import asyncpg

from auth.principal import Viewer
from models.errors import UnavailableError

_WITHHOLDING = (
    "select exists(select from project where organization_id = $1 and locations_rewriting and locations_are_sensitive)"
)
"""Whether there are any (`models/place.py: AWAITING_ITS_CELL`)."""


async def require_places_shown(connection: asyncpg.Connection, viewer: Viewer) -> None:
    """Raise `UnavailableError` while places of a project of the viewer's organization are withheld."""
    if await connection.fetchval(_WITHHOLDING, viewer.organization_id):
        raise UnavailableError("Places of a project are being rewritten as sensitive ones. Ask when that is through.")
