"""Connections: whose they are, which pools there are, and how the schema gets into the database."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
from tortoise import Tortoise
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.migrations.executor import MigrationExecutor

from fieldward.lock_patience import with_patience
from fieldward.settings import Settings
from models.counted_connection import CountedConnection
from models.pool import Connect, Purpose, open_pool

MODELS_APP: Final = {
    "models": [
        "models.organization",
        "models.user",
        "models.custom_role",
        "models.membership",
        "models.project",
        "models.device",
        "models.record",
        "models.measurement",
        "models.site",
        "models.service_account",
        "models.session",
        "models.audit_entry",
        "models.change",
        "models.sealed_batch",
        "models.incident",
        "models.trail_retention",
        "models.authenticator",
        "models.challenge",
        "models.throttle",
        "models.outgoing_mail",
        "models.idempotency_key",
        "models.invitation",
        "models.service_account_token",
        "models.access_review",
        "models.trusted_document",
        "models.data_import",
        "models.data_export",
    ],
    "migrations": "models.migrations",
}
KEYSTORE_APP: Final = {
    "models": ["models.encryption.keystore", "models.encryption.destruction"],
    "migrations": "models.encryption.migrations",
}
MIGRATION_LOCK: Final = 4_614_531_917
"""The advisory lock of migrations: one runs at a time, whoever starts it."""

Credentials = dict[str, Any]


class DatabaseUrlError(ValueError):
    """A database URL is not one. The message never holds the URL: it has a password in it."""


@dataclass(frozen=True, slots=True)
class Databases:
    """How the two databases are reached, as one role: asyncpg's arguments of each."""

    main: Credentials
    keystore: Credentials

    def __repr__(self) -> str:
        return "<databases>"


def credentials_of(url: str) -> Credentials:
    """Return asyncpg's arguments for a PostgreSQL URL; several hosts are separated by commas.

    Of the query, `sslmode`, `host` (a socket's directory) and `target_session_attrs` count.

    Raises:
        DatabaseUrlError: it names no user or database, or is no PostgreSQL URL.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"postgres", "postgresql"}:
        raise DatabaseUrlError("Expected a URL that begins with postgres://.")
    authority, _, path = rest.partition("/")
    user_part, _, host_part = authority.rpartition("@")
    user, _, password = user_part.partition(":")
    split = urlsplit("//host/" + path)
    query = parse_qs(split.query)
    database = split.path.lstrip("/")
    if not user or not database:
        raise DatabaseUrlError("Expected a user and a database in the URL.")
    hosts, ports = [], []
    for one in (query["host"][0] if "host" in query else host_part or "localhost").split(","):
        host, colon, port = one.rpartition(":") if not one.startswith("/") else (one, "", "")
        hosts.append(host if colon else one)
        ports.append(int(port) if colon and port.isdigit() else 5432)
    credentials: Credentials = {
        "host": hosts if len(hosts) > 1 else hosts[0],
        "port": ports if len(ports) > 1 else ports[0],
        "user": unquote(user),
        "password": unquote(password),
        "database": unquote(database),
    }
    if "sslmode" in query:
        credentials["ssl"] = query["sslmode"][0]
    if "target_session_attrs" in query:
        credentials["target_session_attrs"] = query["target_session_attrs"][0]
    return credentials


def pools(databases: Databases, settings: Settings, by: type[CountedConnection] = CountedConnection) -> dict[str, Any]:
    """Return Tortoise's configuration: the pool of changes, and the keystore's. by: the class of connections."""

    def connection(credentials: Credentials, *, largest: int, name: str) -> dict[str, Any]:
        return {
            "engine": "tortoise.backends.asyncpg",
            "credentials": {
                **_connecting(credentials, settings),
                "connection_class": by,
                "minsize": 1,
                "maxsize": largest,
                "application_name": name,
                # Nothing outlives its transaction here, neither settings nor locks, and what was left open is rolled
                # back without this: there is nothing to reset, which would cost a way there and back each time.
                "reset": _leave_as_it_is,
            },
        }

    return {
        "connections": {
            "default": connection(
                databases.main, largest=settings.pool_size - settings.reading_pool_size, name="fieldward"
            ),
            "keystore": connection(databases.keystore, largest=2, name="fieldward keystore"),
        },
        "apps": {
            "models": {**MODELS_APP, "default_connection": "default"},
            "keystore": {**KEYSTORE_APP, "default_connection": "keystore"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Reset nothing."""


@asynccontextmanager
async def open_pools(
    databases: Databases, settings: Settings, by: type[CountedConnection] = CountedConnection
) -> AsyncIterator[None]:
    """Open the pools for as long as the block runs. by: the class of their connections."""
    # Requests run in tasks that do not descend from the one that starts the service.
    await Tortoise.init(config=pools(databases, settings, by), _enable_global_fallback=True)
    try:
        async with open_tenant_pools(databases, settings, by):
            yield
    finally:
        await Tortoise.close_connections()


@asynccontextmanager
async def open_tenant_pools(
    databases: Databases, settings: Settings, by: type[CountedConnection] = CountedConnection
) -> AsyncIterator[None]:
    """Open the pool of what reads, and that of what is appended to the trail although, or before, something else is
    not: refused attempts, the read log."""
    main = databases.main
    reading = opening(main, settings, by, name="fieldward reading", default_transaction_read_only="on")
    appending = opening(main, settings, by, name="fieldward audit")
    async with (
        open_pool(Purpose.READING, reading, largest=settings.reading_pool_size),
        open_pool(Purpose.APPENDING, appending, largest=4),
    ):
        yield


def opening(
    credentials: Credentials,
    settings: Settings,
    by: type[asyncpg.Connection] = asyncpg.Connection,
    *,
    name: str,
    **server_settings: str,
) -> Connect:
    """Return what opens a connection. by: its class. name: what PostgreSQL calls it in `pg_stat_activity`."""
    connecting = _connecting(credentials, settings)
    connecting["server_settings"] |= {"application_name": name, **server_settings}

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(**connecting, connection_class=by)

    return connect


def _connecting(credentials: Credentials, settings: Settings) -> Credentials:
    """Return asyncpg's arguments with the limits that hold for every connection of the service."""
    return {
        **credentials,
        "timeout": 5,
        "command_timeout": settings.statement_timeout_s + 5,
        "server_settings": {
            "statement_timeout": str(int(settings.statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "jit": "off",
        },
    }


@asynccontextmanager
async def _migrating_pools(databases: Databases, settings: Settings) -> AsyncIterator[dict[str, Any]]:
    """Open the pools for migrations, which wait for locks briefly and work for as long as it takes. Yields the apps."""
    config = pools(databases, settings)
    for one in config["connections"].values():
        limits = {
            "lock_timeout": str(int(settings.migration_lock_timeout_s * 1000)),
            "statement_timeout": "0",
        }
        settled = one["credentials"]["server_settings"] | limits
        one["credentials"] |= {"command_timeout": None, "server_settings": settled}
    await Tortoise.init(config=config, _enable_global_fallback=True)
    try:
        yield config["apps"]
    finally:
        await Tortoise.close_connections()


async def migrate(
    databases: Databases, settings: Settings, *, progress: Callable[[str, str, str], object] | None = None
) -> None:
    """Bring both databases to the newest schema, as their owner, one migration at a time across all who try.

    Raises:
        UnavailableError: a migration did not get its locks (`fieldward/lock_patience.py`). Those before it are applied.
    """
    current = ""

    def note(event: str, app: str, name: str) -> None:
        nonlocal current
        current = name
        if progress is not None:
            progress(event, app, name)

    for app, credentials in (("models", databases.main), ("keystore", databases.keystore)):
        lock = await asyncpg.connect(**credentials)
        try:
            await lock.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
            async with _migrating_pools(databases, settings) as apps:
                connection = get_connection(apps[app]["default_connection"])

                async def attempt(app: str = app, connection: BaseDBAsyncClient = connection) -> None:
                    executor = MigrationExecutor(connection, {app: apps[app]})
                    await executor.migrate(direction="forward", progress=note)

                await with_patience(attempt, lambda: current, attempts=settings.migration_attempts)
        finally:
            await lock.close()
