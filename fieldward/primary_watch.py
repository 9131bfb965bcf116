"""The watch over which server takes writes: it asks the primary how it is, and looks for another where it says nothing.

Where the servers are several. Until it has found one, writing is refused at once, and nobody waits for a connection
that leads nowhere. What still waits for a server that is not the primary any more is cut off, so that it fails, and is
tried again elsewhere: a machine that was cut off, or a server that was stopped, says nothing for as long as one waits.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg
import structlog

from models.cluster import Cluster, Credentials
from models.transaction import AWAY

log = structlog.get_logger()

ROUND_S: Final = 1.0
"""Seconds from one question to the next."""
AGAIN_S: Final = 1.0
"""Seconds after which it goes on where it failed itself."""

_UNREACHED: Final = (*AWAY, asyncpg.PostgresError)


@asynccontextmanager
async def watching_primary(cluster: Cluster, name: str, limits: Credentials) -> AsyncIterator[None]:
    """Watch for as long as the block runs; nothing is to be watched where there is one server.

    name: of the database, for the log. limits: asyncpg's further arguments for the watch's own connection.
    """
    if not cluster.has_several:
        yield
        return
    watch = asyncio.create_task(_watch(cluster, name, limits), name=f"primary watch {name}")
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(cluster: Cluster, name: str, limits: Credentials) -> None:
    connection: asyncpg.Connection | None = None
    known = cluster.primary
    try:
        while True:
            try:
                was_lost = cluster.is_lost
                connection = await cluster.look(**limits)
                if cluster.primary != known or was_lost:
                    known = cluster.primary
                    cut = cluster.cut_others()
                    log.info("primary_found", database=name, port=known and known.port, cut=cut)
                await _stay(cluster, connection)
                log.warning("primary_stepped_down", database=name)
            except _UNREACHED as error:
                if connection is None:
                    if not cluster.is_lost:
                        log.error("primary_lost", database=name, failure=type(error).__name__)
                        cluster.lose()
                else:
                    log.warning("primary_silent", database=name, failure=type(error).__name__)
            except Exception as error:
                # Whatever it was, it is watched again.
                log.error("primary_watch_failed", database=name, failure=type(error).__name__)
                await asyncio.sleep(AGAIN_S)
            if connection is not None:
                connection.terminate()
                connection = None
    finally:
        if connection is not None:
            connection.terminate()


async def _stay(cluster: Cluster, connection: asyncpg.Connection) -> None:
    """Return as soon as the server of a connection takes no writes any more."""
    while True:
        if not await cluster.note(connection):
            return
        await asyncio.sleep(ROUND_S)
