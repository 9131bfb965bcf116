"""The watch over a server's keys in memory: it hears which ended, wipes what has expired, and tells of seals.

Of a key that was destroyed a server hears at once, by the keystore's channel, and wipes it. If the connection was lost,
every key in memory is looked up when it is back, since a word may have been missed. While it is away, keys end with
their lifetime as ever. The keys of access tokens are looked for anew from time to time, and when one of them ended.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import UUID

import structlog

from models.encryption.keyring import Keyring
from models.encryption.keystore import CHANNEL
from models.encryption.signing import SigningKeys
from models.errors import UnavailableError
from models.pool import Connect
from models.transaction import AWAY

log = structlog.get_logger()

ROUND_S: Final = 2.0
"""Seconds from one round to the next: for so long a key may outlast its lifetime on a server that nobody asks."""


@asynccontextmanager
async def watching_keys(keyring: Keyring, signing_keys: SigningKeys, connect: Connect) -> AsyncIterator[None]:
    """Watch over the keys for as long as the block runs, and wipe them at the end.

    Those of access tokens are known when it begins, if they can be had.

    connect: opens a connection to the keystore.
    """
    await signing_keys.keep()
    watch = asyncio.create_task(_watch(keyring, signing_keys, connect), name="key watch")
    try:
        yield
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        with suppress(UnavailableError):
            await keyring.tell_seals()
        keyring.wipe()


async def _watch(keyring: Keyring, signing_keys: SigningKeys, connect: Connect) -> None:
    while True:
        try:
            await _listen(keyring, signing_keys, connect)
        except (*AWAY, UnavailableError) as error:
            log.warning("key_watch_interrupted", failure=type(error).__name__)
        except Exception as error:
            # Whatever it was, keys are watched over again.
            log.error("key_watch_failed", failure=type(error).__name__)
        keyring.wipe_expired()
        await asyncio.sleep(ROUND_S)


async def _listen(keyring: Keyring, signing_keys: SigningKeys, connect: Connect) -> None:
    """Listen until the connection is lost."""
    connection = await connect()
    try:

        def hear(*told: Any) -> None:
            _hear(keyring, signing_keys, str(told[-1]))

        await connection.add_listener(CHANNEL, hear)
        await keyring.look_again()
        await signing_keys.keep()
        while True:
            await asyncio.sleep(ROUND_S)
            keyring.wipe_expired()
            await signing_keys.keep()
            await keyring.tell_seals()
            # A connection that is only listened to does not notice that nobody is there any more.
            await connection.execute("select 1")
    finally:
        with suppress(*AWAY):
            await connection.close(timeout=1)


def _hear(keyring: Keyring, signing_keys: SigningKeys, told: str) -> None:
    what, _, said = told.partition(" ")
    try:
        key_id = UUID(said)
    except ValueError:
        # Anybody who reaches the database can say anything.
        log.warning("key_watch_told_nonsense")
        return
    signing_keys.hear(key_id)
    if what == "destroyed":
        keyring.let_go(key_id)
    elif what == "retired":
        keyring.hear_retired(key_id)
