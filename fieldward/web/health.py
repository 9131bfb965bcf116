"""Whether the process lives, and whether it can serve.

Anybody may ask, as often as they like, and nobody's quota is spent: so the database is asked once for all who wait, and
its answer is kept for a moment. A flood of such questions takes no connection from who is served.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tortoise.exceptions import OperationalError

from fieldward.web.draining import Draining
from fieldward.web.gate import Gate
from models.encryption.keyring import active_keyring
from models.encryption.owner import SYSTEM
from models.errors import UnavailableError
from models.reading import OneStatement
from models.transaction import Tenant
from resolvers.stale_reads import StaleReads

KEPT_S: Final = 1.0
"""Seconds for which an answer is given again."""

_UNAVAILABLE: Final = "unavailable"
_NOT_READY = (
    UnavailableError,
    TimeoutError,
    OperationalError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)


def health_routes(gate: Gate, draining: Draining, stale_reads: StaleReads) -> list[Route]:
    """Return `/health/live` and `/health/ready`. Neither tells anything about data or versions."""

    looked = _Looked(lambda: _readiness(gate, stale_reads))

    async def ready(_: Request) -> JSONResponse:
        if draining.is_ending:
            return JSONResponse({"status": "ending"}, status_code=503)
        status = await looked()
        return JSONResponse({"status": status}, status_code=503 if status == _UNAVAILABLE else 200)

    return [Route("/health/live", _live), Route("/health/ready", ready)]


async def _live(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


class _Looked:
    """What was found by a look, for all who ask while it is under way and for a moment after. look: finds it."""

    def __init__(self, look: Callable[[], Awaitable[str]]) -> None:
        self._look = look
        self._found = ""
        self._until = -math.inf
        self._under_way = asyncio.Lock()

    async def __call__(self) -> str:
        if time.monotonic() >= self._until:
            async with self._under_way:
                if time.monotonic() >= self._until:
                    self._found = await self._look()
                    self._until = time.monotonic() + KEPT_S
        return self._found


async def _readiness(gate: Gate, stale_reads: StaleReads) -> str:
    try:
        gate.require_open()
        if stale_reads.is_read_only:
            # Taken out of service it would answer nobody, and there is something that it can answer.
            return "read-only"
        async with asyncio.timeout(5), OneStatement(Tenant()) as connection:
            # The newest table of this version: a database that was not migrated is not ready.
            await connection.fetchval("select certificate from erasure_request limit 0")
            await active_keyring().load([SYSTEM])
    except _NOT_READY:
        return _UNAVAILABLE
    return "ok"
