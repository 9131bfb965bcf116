"""The watch over what is committed: it hears in which organizations, on one connection, and wakes who waits for that.

Each commit of the service is told on a channel, after it. What was not told, or was missed, is found in the trail a
moment later: what somebody wrote past the service, or in a transaction that stayed open for long. Where the connection
is lost, or does not answer, everybody who waits is told within `ROUND_S` and `LONGEST_ANSWER_S`, and nobody is left
waiting for what is not heard.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

import structlog

from models.feed import changed_organizations
from models.pool import Connect
from models.transaction import AWAY, CHANGED
from resolvers.live import Listeners

log = structlog.get_logger()

ROUND_S: Final = 1.0
"""Seconds from one look at the trail to the next."""
LONGEST_ANSWER_S: Final = 2.0
"""Seconds that the connection may take to answer before it counts as lost."""
AGAIN_S: Final = 0.5


@asynccontextmanager
async def watching_changes(listeners: Listeners, connect: Connect) -> AsyncIterator[None]:
    """Watch for as long as the block runs. connect: opens a connection to the database, in no organization."""
    watch = asyncio.create_task(_watch(listeners, connect), name="live watch")
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


async def _watch(listeners: Listeners, connect: Connect) -> None:
    while True:
        try:
            await _listen(listeners, connect)
        except AWAY as error:
            log.warning("live_watch_interrupted", failure=type(error).__name__)
        except Exception as error:
            # Whatever it was, it is listened again.
            log.error("live_watch_failed", failure=type(error).__name__)
        await asyncio.sleep(AGAIN_S)


async def _listen(listeners: Listeners, connect: Connect) -> None:
    """Listen until the connection is lost."""
    connection = await connect()
    lost = asyncio.Event()
    try:

        def hear(*told: Any) -> None:
            # Anybody who reaches the database can say anything.
            with suppress(ValueError):
                listeners.wake(UUID(str(told[-1])))

        def lose(_: Any) -> None:
            lost.set()

        connection.add_termination_listener(lose)
        await connection.add_listener(CHANGED, hear)
        since: int | None = None
        while not lost.is_set():
            async with asyncio.timeout(LONGEST_ANSWER_S):
                # Asked though nobody waits: a connection that is only listened to does not notice that it is lost.
                since, organizations = await changed_organizations(connection, None if listeners.is_empty else since)
            for organization_id in organizations:
                listeners.wake(organization_id)
            listeners.resume()
            with suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), ROUND_S)
    finally:
        listeners.cut()
        with suppress(*AWAY):
            await connection.close(timeout=1)
