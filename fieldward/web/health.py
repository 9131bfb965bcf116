"""Whether the process lives, and whether it can serve."""

import asyncio

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

_NOT_READY = (
    UnavailableError,
    TimeoutError,
    OperationalError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
)


def health_routes(gate: Gate, draining: Draining, stale_reads: StaleReads) -> list[Route]:
    """Return `/health/live` and `/health/ready`. Neither tells anything about data or versions."""

    async def ready(_: Request) -> JSONResponse:
        if draining.is_ending:
            return JSONResponse({"status": "ending"}, status_code=503)
        return await _ready(gate, stale_reads)

    return [Route("/health/live", _live), Route("/health/ready", ready)]


async def _live(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _ready(gate: Gate, stale_reads: StaleReads) -> JSONResponse:
    try:
        gate.require_open()
        if stale_reads.is_read_only:
            # Taken out of service it would answer nobody, and there is something that it can answer.
            return JSONResponse({"status": "read-only"})
        async with asyncio.timeout(5), OneStatement(Tenant()) as connection:
            # The newest table and column of this version: a database that was not migrated is not ready.
            await connection.fetchval("select count(days) from trail_retention")
            await active_keyring().load([SYSTEM])
    except _NOT_READY:
        return JSONResponse({"status": "unavailable"}, status_code=503)
    return JSONResponse({"status": "ok"})
