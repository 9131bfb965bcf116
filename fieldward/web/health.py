"""Whether the process lives, and whether it can serve."""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.errors import UnavailableError
from models.transaction import Tenant, read_transaction


def health_routes() -> list[Route]:
    """Return `live` and `ready`. Neither tells anything about data or versions."""
    return [Route("/live", _live), Route("/ready", _ready)]


async def _live(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _ready(_: Request) -> JSONResponse:
    try:
        async with asyncio.timeout(5), read_transaction(Tenant()) as connection:
            await connection.fetchval("select 1")
    except (UnavailableError, TimeoutError):
        return JSONResponse({"status": "unavailable"}, status_code=503)
    return JSONResponse({"status": "ok"})
