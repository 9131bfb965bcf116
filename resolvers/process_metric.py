"""What one process knows of itself without asking anybody: its pools, its keys, what it sent to the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.connection import get_connection

from models.counted_connection import CountedConnection
from models.encryption.keyring import Keyring
from models.pool import pools_here
from models.transaction import CHANGING, MAIN
from models.waiting import Line


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """A pool of connections: how many there may be, are in use, and are waited for now; and the waits so far."""

    name: str
    largest: int
    in_use: int
    queue: int
    waits: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class KeyringFigures:
    """The data keys in memory, and how often they were asked for, fetched, and could not be."""

    held: int
    asked: int
    fetched: int
    failures: int


def pool_figures() -> Sequence[PoolFigures]:
    """Return the figures of the pools of this process."""
    found = [
        PoolFigures(purpose.lower(), pool.largest, pool.in_use, *_waited(pool.line))
        for purpose, pool in pools_here().items()
    ]
    pool = cast(AsyncpgDBClient, get_connection(MAIN))._pool
    if pool is not None:
        # asyncpg tells how many it has and how many of those nobody holds.
        in_use = pool.get_size() - pool.get_idle_size()
        found.append(PoolFigures("changing", pool.get_max_size(), in_use, *_waited(CHANGING)))
    return found


def _waited(line: Line) -> tuple[int, int, float]:
    return line.length, line.waits, line.waited_s


def keyring_figures(keyring: Keyring) -> KeyringFigures:
    """Return the figures of a keyring."""
    return KeyringFigures(keyring.held, keyring.asked, keyring.fetched, keyring.failures)


def statements_sent() -> int:
    """Return how many statements this process sent to its databases."""
    return CountedConnection.sent
