"""Transactions that write, each of one tenant, and what a database that is away becomes.

Row-level security reads the tenant from a setting that lasts as long as the transaction: outside of these functions
no row of any tenant is seen, whatever the query. What only reads goes by `models/reading.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from uuid import UUID

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection, get_connections
from tortoise.exceptions import DBConnectionError, TransactionManagementError

from models.cluster import NoPrimaryError
from models.errors import UnavailableError, UncommittedError, UnknownOutcomeError
from models.waiting import LONGEST_WAIT_S, Line

MAIN: Final = "default"
"""The pool of changes."""

CHANGED: Final = "fieldward_changed"
"""The channel on which it is told in which organization something was committed, and nothing else."""

LONGEST_COMMIT_S: Final = 15
"""Seconds that a commit is waited for: on the disk, and with synchronous replication on a standby's.

More than an operator of servers needs to put another standby in the place of one that was lost.
"""
NEVER_S: Final = 24 * 3600.0
"""The driver's own patience with a commit: it would have the server cancel what can't be cancelled."""
RETRY_AFTER_S: Final = 5
"""Seconds after which somebody who found no server that takes writes may ask again."""

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
    asyncpg.IdleSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    # No room, on its disk or in its memory: what was asked for did not happen.
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.QueryCanceledError,
)
"""What a database that is away, or takes too long, raises."""

DEMOTED: Final = asyncpg.ReadOnlySQLTransactionError
"""What a server raises that took writes when the connection was opened, and now follows another."""
IN_THE_WAY: Final = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""What two transactions raise of which one was rolled back for the other."""
_NO_CURE: Final = (TimeoutError, NoPrimaryError, asyncpg.QueryCanceledError, asyncpg.TooManyConnectionsError)
"""What is not better for being tried again at once."""

_UNKNOWN: Final = (
    "The connection was lost while the change was being saved: it may have been. Send the same again under the same"
    " Idempotency-Key, or with the same id of what it makes: it is done once, whatever became of it. Without either,"
    " look whether it happened before you repeat."
)
# What writes to the log has its commit wait for the standby; anybody may write this, and nobody reads it.
_MARK: Final = "select pg_logical_emit_message(true, 'fieldward', '')"
CHANGING: Final = Line("The service has too much to do. Try again in a moment. Nothing was changed.")
"""Who waits in this process for a connection of the pool of changes."""

_BE: Final = "select set_config('fieldward.user_id', $1, true)"
_SETTINGS: Final = ("organization_id", "user_id", "email_index", "challenge")


class UnreplicatedError(ConnectionError):
    """A change is committed on one server, and on no standby: it is lost where that server is."""


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
    except TransactionManagementError as error:
        if not isinstance(error.__cause__, DEMOTED):
            raise
        raise unavailable(error) from error


def unavailable(error: BaseException) -> UnavailableError:
    """Return what one of `AWAY` is for whoever asked.

    It does not say that nothing was changed: what could not be read may be what a mutation shows once it is committed.
    """
    if isinstance(error, asyncpg.QueryCanceledError):
        return UnavailableError("The database took too long. Ask for less, or try again.")
    if isinstance(error, NoPrimaryError):
        return UnavailableError("The database takes no writes at the moment. Try again.", retry_after_s=RETRY_AFTER_S)
    if isinstance(error, asyncpg.DiskFullError | asyncpg.OutOfMemoryError):
        return UnavailableError("The database has no room for this. Try again later.")
    return UnavailableError("The database does not answer. Try again.")


def _uncommitted(error: BaseException) -> UncommittedError:
    """Return what a transaction that failed before its commit is for whoever was about to change something."""
    if isinstance(error, IN_THE_WAY):
        return UncommittedError("Another change was in the way. Try again. Nothing was changed.", may_pass=True)
    told = unavailable(error)
    return UncommittedError(
        f"{told.message} Nothing was changed.",
        retry_after_s=told.retry_after_s,
        may_pass=not isinstance(error, _NO_CURE),
    )


def _is_demoted(error: BaseException) -> bool:
    """Return whether the server follows another one by now. Tortoise wraps what it is told of that."""
    return isinstance(error, DEMOTED) or (
        isinstance(error, TransactionManagementError) and isinstance(error.__cause__, DEMOTED)
    )


class _Changing(TransactionWrapper):
    """What Tortoise's models write by, in a transaction that is begun and ended outside of it. It has no savepoints."""

    def __init__(self, client: AsyncpgDBClient, connection: asyncpg.Connection) -> None:
        super().__init__(client)
        self._connection = connection


@asynccontextmanager
async def write_transaction(tenant: Tenant) -> AsyncIterator[BaseDBAsyncClient]:
    """Yield a Tortoise connection that writes for the tenant; commit at the end, roll back on any exception.

    Raises:
        CrowdedError: too many wait for a connection. Nothing was begun.
        UncommittedError: the database went away before the commit, or had to roll it back. Nothing was changed.
        UnknownOutcomeError: it went away while committing, or the commit takes too long.
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
            connection = await _acquired(stack, client, tenant)
            await connection.execute("begin;" + tenant.entering())
            try:
                yield connection
            except BaseException as error:
                if _is_demoted(error):
                    # It would be given to the next one, who would fare no better.
                    connection.terminate()
                if not connection.is_closed():
                    await connection.execute("rollback")
                raise
            committing = True
            await _commit(connection, telling)
    except AWAY as error:
        if committing:
            raise UnknownOutcomeError(_UNKNOWN) from error
        raise _uncommitted(error) from error
    except (*IN_THE_WAY, DEMOTED, TransactionManagementError) as error:
        if isinstance(error, TransactionManagementError) and not _is_demoted(error):
            raise
        # A server that says so has rolled it back, also when it was asked to commit.
        raise _uncommitted(error) from error


async def settle_before() -> None:
    """Return once all that was committed before this is where the server has to keep it: on a standby, too.

    What a crashed server finds in its own log is shown when it runs again, whether a standby has it or not. Who is told
    of something that it was done has to be sure of it; the log is kept in order, and so is what stands before this.

    Raises:
        UnavailableError, UnknownOutcomeError: the database went away.
    """
    async with raw_write_transaction(Tenant()) as connection:
        await connection.execute(_MARK)


async def _acquired(stack: AsyncExitStack, client: AsyncpgDBClient, tenant: Tenant) -> asyncpg.Connection:
    """Return a connection of the pool of changes until the stack ends."""
    with CHANGING.waiting(tenant.organization_id):
        async with asyncio.timeout(LONGEST_WAIT_S):
            connection: asyncpg.Connection = await stack.enter_async_context(client.acquire_connection())
    return connection


async def _commit(connection: asyncpg.Connection, telling: UUID | None) -> None:
    """Commit, and say so on the same way there and back.

    What is told inside a transaction has all commits of the server wait for one another, until each is on the disk. So
    it is told after that, in a transaction of its own that writes nothing; who misses it finds the change a moment
    later (`fieldward/live_watch.py`).

    A commit is never cancelled. A server that is told to, while it waits for its standby, waits no longer, shows what
    it has, and says that it was committed; with a warning. So who waits too long goes away without a word.

    Raises:
        TimeoutError: it takes longer than `LONGEST_COMMIT_S`.
        UnreplicatedError: somebody else had the server wait no longer.
    """
    # Of the simple protocol: what stands in it is the text of a UUID.
    text = "commit" if telling is None else f"commit; notify {CHANGED}, '{telling}'"
    warnings: list[Any] = []

    def hear(_: object, message: Any) -> None:
        if message.severity_en == "WARNING":
            warnings.append(message)

    connection.add_log_listener(hear)
    committing = asyncio.ensure_future(connection.execute(text, timeout=NEVER_S))
    try:
        async with asyncio.timeout(LONGEST_COMMIT_S):
            await asyncio.shield(committing)
    except asyncpg.ProgramLimitExceededError:
        # Too much is waiting to be told. It is committed.
        if telling is None:
            raise
    except BaseException:
        if not committing.done():
            committing.add_done_callback(_forget)
            connection.terminate()
        raise
    finally:
        if not connection.is_closed():
            connection.remove_log_listener(hear)
    if warnings:
        connection.terminate()
        raise UnreplicatedError("The server waited no longer for its standby.")


def _forget(task: "asyncio.Future[str]") -> None:
    """Look at how a commit ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


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
