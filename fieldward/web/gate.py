"""The gate before the first request: erasures are done again before anything is served.

What passes it shut tells nothing that is stored of anybody: whether the process lives, its figures, public keys, and
pages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg
import structlog
from tortoise.exceptions import OperationalError

from auth.principal import SYSTEM_ID
from fieldward.background import Job
from fieldward.check.deployment import RefusedStartError
from fieldward.container import require_own_key_file
from models.encryption.provider import WrappingKeyError
from models.errors import UnavailableError
from resolvers.erasure import apply_erasures
from resolvers.services import Services
from resolvers.trail import job_actor

log = structlog.get_logger()

RETRY_S: Final = 1.0

_UNMIGRATED: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
_MIGRATE: Final = "The database's schema is not the one of this version: run `fieldward migrate`."
_LATER: Final = (UnavailableError, OperationalError, *_UNMIGRATED)
"""A database that is away, or not yet of this version's schema."""

Requirement = Callable[[], Awaitable[None]]


class Gate:
    """Closed while a server starts, until what was erased is erased in the data that are there."""

    def __init__(self) -> None:
        self._is_open = True
        self._require: Requirement | None = None

    def require_open(self) -> None:
        """Raise `UnavailableError` while it is closed."""
        if not self._is_open:
            raise UnavailableError("The service is starting. Try again in a moment.")

    def behind(self, job: Job) -> Job:
        """Return the job, which finds nothing to do while it is closed: it would seal anew what is to be erased."""

        async def held() -> bool:
            return self._is_open and await job()

        return held

    @asynccontextmanager
    async def opening(self, services: Services, require: Requirement | None = None) -> AsyncIterator[None]:
        """Close, and open as soon as every erasure is applied; where a database is away, once it is back.

        require: what is looked at before, on the live connections.

        Raises:
            Whatever `require` raises but that a database is away. Nothing is served.
            OSError, ValueError: the log of destroyed keys can't be read. Nothing is served.
            WrappingKeyError: the key file is not the keystore's. Nothing is served.
        """
        self._is_open = False
        self._require = require
        trying: asyncio.Task[None] | None = None
        if not await self._try(services):
            trying = asyncio.create_task(self._keep_trying(services), name="erasures")
        try:
            yield
        finally:
            if trying is not None:
                trying.cancel()
                with suppress(asyncio.CancelledError):
                    await trying

    async def _keep_trying(self, services: Services) -> None:
        is_done = False
        while not is_done:
            await asyncio.sleep(RETRY_S)
            is_done = await self._try(services)

    async def _try(self, services: Services) -> bool:
        try:
            if self._require is not None:
                await self._require()
            with services.keyring.activate():
                await require_own_key_file(services)
                applied = await apply_erasures(services, job_actor(SYSTEM_ID))
        except RefusedStartError as error:
            log.error("start_refused", said=[one.refusal for one in error.findings])
            raise
        except WrappingKeyError as error:
            log.error("key_file_refused", said=str(error))
            raise
        except _LATER as error:
            if _is_unmigrated(error):
                log.warning("erasures_not_applied", failure=type(error).__name__, said=_MIGRATE)
            else:
                log.warning("erasures_not_applied", failure=type(error).__name__)
            return False
        if applied:
            log.warning("erasures_applied", count=applied)
        self._is_open = True
        return True


def _is_unmigrated(error: BaseException) -> bool:
    """Return whether a schema that is not there, or is another version's, is behind an error."""
    return isinstance(error, _UNMIGRATED) or isinstance(error.__cause__, _UNMIGRATED)
