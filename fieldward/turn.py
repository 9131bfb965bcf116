"""One organization after another in a job, so that none holds up those behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import structlog

from models.errors import UnavailableError
from models.reading import OneStatement
from models.transaction import Tenant

log = structlog.get_logger()

_THERE: Final = "select 1"


class Turns:
    """Gives each organization its turn, whatever went wrong in another's. One for a round.

    That something was away is told to whoever runs the job, so that it is tried again, but at the end of the round: a
    statement that took too long, a deadlock or a full disk may be of one organization alone. Where the database does
    not answer at all, the round is over at once.

    event: the name under which what goes wrong is logged.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self._away: UnavailableError | None = None

    @asynccontextmanager
    async def of(self, organization_id: UUID) -> AsyncIterator[None]:
        """Do an organization's part in the block.

        Raises:
            UnavailableError: the database is away, for all.
        """
        event = self._event
        try:
            yield
        except UnavailableError as error:
            async with OneStatement(Tenant()) as connection:
                await connection.fetchval(_THERE)
            log.error(event, organization_id=str(organization_id), exc_info=error)
            self._away = self._away or error
        except Exception as error:
            log.error(event, organization_id=str(organization_id), exc_info=error)

    def end(self, *, is_more: bool = False) -> bool:
        """Return whether there is more to do at once.

        Raises:
            UnavailableError: something was away in somebody's turn, and nobody has more to do.
        """
        if self._away is not None and not is_more:
            raise self._away
        return is_more
