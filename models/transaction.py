"""Transactions that write, each of one tenant, and what a database that is away becomes.

Row-level security reads the tenant from a setting that lasts as long as the transaction: outside of these functions
no row of any tenant is seen, whatever the query. What only reads goes by `models/reading.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection, get_connections
from tortoise.exceptions import DBConnectionError

from models.errors import UnavailableError, UnknownOutcomeError

MAIN: Final = "default"
"""The pool of changes."""

CHANGED: Final = "fieldward_changed"
"""The channel on which it is told in which organization something was committed, and nothing else."""

LONGEST_WAIT_S: Final = 5
"""Seconds that a request waits for a connection before it is told to come back."""

AWAY: Final = (
    OSError,
    TimeoutError,
    DBConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What the driver says of a connection that was ended by the server a moment ago.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
)
"""What a database that is away, or takes too long, raises."""


WAIT_S: Final = 0.001
"""Seconds from which on taking a connection is a wait."""


class Waits:
    """How a connection of the pool of changes was waited for in this process: how often so far, for how many seconds in
    all, and by how many now.
    """

    waits = 0
    waited_s = 0.0
    queue = 0


_BE: Final = "select set_config('fieldward.user_id', $1, true)"
_SETTINGS: Final = ("organization_id", "user_id", "email_index", "challenge")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose rows a transaction sees. `email_index` opens one account by its address, to sign in; `challenge` one
    question by the digest of its secret.
    """

    organization_id: UUID | None = None
    user_id: UUID | None = None
    email_index: bytes | None = None
    challenge: bytes | None = None

    def entering(self, *, for_good: bool = False) -> str:
        """Return the statement that makes this the tenant of the transaction, or of the connection from now on.

        For the simple protocol, in which the beginning and this are one way there and back but nothing can be bound:
        what stands in it is the text of UUIDs and hexadecimal digits, made here, and nothing that anyone sent.
        """
        is_local = "false" if for_good else "true"
        return "select " + ", ".join(
            f"set_config('fieldward.{name}', '{value}', {is_local})"
            for name, value in zip(_SETTINGS, self._settings(), strict=True)
        )

    def _settings(self) -> list[str]:
        return [
            str(self.organization_id or ""),
            str(self.user_id or ""),
            self.email_index.hex() if self.email_index else "",
            self.challenge.hex() if self.challenge else "",
        ]


@contextmanager
def database_failures() -> Iterator[None]:
    """Turn the failures of a database that is away into `UnavailableError`."""
    try:
        yield
    except AWAY as error:
        raise unavailable(error) from error


def unavailable(error: BaseException) -> UnavailableError:
    """Return what one of `AWAY` is for whoever asked.

    It does not say that nothing was changed: what could not be read may be what a mutation shows once it is committed.
    """
    if isinstance(error, asyncpg.QueryCanceledError):
        return UnavailableError("The database took too long. Ask for less, or try again.")
    return UnavailableError("The database does not answer. Try again.")


def _unchanged(error: BaseException) -> UnavailableError:
    """Return what one of `AWAY` is for whoever was about to change something."""
    return UnavailableError(f"{unavailable(error).message} Nothing was changed.")


class _Changing(TransactionWrapper):
    """What Tortoise's models write by, in a transaction that is begun and ended outside of it. It has no savepoints."""

    def __init__(self, client: AsyncpgDBClient, connection: asyncpg.Connection) -> None:
        super().__init__(client)
        self._connection = connection


@asynccontextmanager
async def write_transaction(tenant: Tenant) -> AsyncIterator[BaseDBAsyncClient]:
    """Yield a Tortoise connection that writes for the tenant; commit at the end, roll back on any exception.

    Raises:
        UnavailableError: the database went away before the commit. Nothing was changed.
        UnknownOutcomeError: it went away while committing.
    """
    client = cast(AsyncpgDBClient, get_connection(MAIN))
    async with raw_write_transaction(tenant, telling=tenant.organization_id) as connection:
        # A model that is given no connection writes by this one, too.
        token = get_connections().set(MAIN, changing := _Changing(client, connection))
        try:
            yield changing
        finally:
            get_connections().reset(token)


@asynccontextmanager
async def raw_write_transaction(tenant: Tenant, *, telling: UUID | None = None) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection that writes for the tenant, for what no model writes; otherwise as `write_transaction`.

    telling: of which organization those who listen are told that something was committed.
    """
    committing = False
    try:
        async with AsyncExitStack() as stack:
            client = cast(AsyncpgDBClient, get_connection(MAIN))
            connection = await _acquired(stack, client)
            await connection.execute("begin;" + tenant.entering())
            try:
                yield connection
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            committing = True
            await _commit(connection, telling)
    except AWAY as error:
        if committing:
            raise UnknownOutcomeError(
                "The connection was lost while the change was being saved. Look whether it happened before you repeat."
            ) from error
        raise _unchanged(error) from error


async def _acquired(stack: AsyncExitStack, client: AsyncpgDBClient) -> asyncpg.Connection:
    """Return a connection of the pool of changes until the stack ends, and note how long it was waited for."""
    began = time.perf_counter()
    Waits.queue += 1
    try:
        async with asyncio.timeout(LONGEST_WAIT_S):
            connection: asyncpg.Connection = await stack.enter_async_context(client.acquire_connection())
    finally:
        Waits.queue -= 1
        waited_s = time.perf_counter() - began
        if waited_s >= WAIT_S:
            Waits.waits += 1
            Waits.waited_s += waited_s
    return connection


async def _commit(connection: asyncpg.Connection, telling: UUID | None) -> None:
    """Commit, and say so on the same way there and back.

    What is told inside a transaction has all commits of the server wait for one another, until each is on the disk. So
    it is told after that, in a transaction of its own that writes nothing; who misses it finds the change a moment
    later (`fieldward/live_watch.py`).
    """
    if telling is None:
        await connection.execute("commit")
        return
    # Of the simple protocol: what stands in it is the text of a UUID.
    with suppress(asyncpg.ProgramLimitExceededError):
        await connection.execute(f"commit; notify {CHANGED}, '{telling}'")


@asynccontextmanager
async def seeing_as(connection: BaseDBAsyncClient, user_id: UUID) -> AsyncIterator[None]:
    """Have row-level security show, inside a write transaction, what is a person's own in every organization as well.

    What follows it sees again what whoever acts may see.
    """
    (before,) = await fetch(connection, "select current_setting('fieldward.user_id', true) as user_id")
    await fetch(connection, _BE, str(user_id))
    yield
    await fetch(connection, _BE, before["user_id"] or "")


async def fetch(connection: BaseDBAsyncClient, text: str, *arguments: Any) -> list[dict[str, Any]]:
    """Return the rows of a composed statement inside a write transaction."""
    return cast(list[dict[str, Any]], await connection.execute_query_dict(text, list(arguments)))
