"""Connections: whose they are, which pools there are, and how the schema gets into the database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import asyncpg
from tortoise import Tortoise
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection

from fieldward.lock_patience import with_patience
from fieldward.migrating import Migrating
from fieldward.settings import Settings
from models.cluster import Cluster, Credentials, requires_writes
from models.counted_connection import CountedConnection
from models.pool import Connect, Purpose, open_pool
from resolvers.export_source import AT_ONCE

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
        "models.retention",
        "models.legal_hold",
        "models.erasure_request",
    ],
    "migrations": "models.migrations",
}
KEYSTORE_APP: Final = {
    "models": ["models.encryption.keystore", "models.encryption.destruction"],
    "migrations": "models.encryption.migrations",
}
MIGRATION_LOCK: Final = 4_614_531_917
"""The advisory lock of migrations: one runs at a time, whoever starts it."""


class DatabaseUrlError(ValueError):
    """A database URL is not one. The message never holds the URL: it has a password in it."""


@dataclass(frozen=True, slots=True)
class Databases:
    """How the two databases are reached, as one role: asyncpg's arguments of each.

    main_cluster, keystore_cluster: their servers, and which of them takes writes: shared by all who connect.
    """

    main: Credentials
    keystore: Credentials
    main_cluster: Cluster = field(init=False, compare=False)
    keystore_cluster: Cluster = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "main_cluster", Cluster(self.main))
        object.__setattr__(self, "keystore_cluster", Cluster(self.keystore))

    def __repr__(self) -> str:
        return "<databases>"


def credentials_of(url: str) -> Credentials:
    """Return asyncpg's arguments for a PostgreSQL URL; several hosts are separated by commas.

    Of the query, `sslmode`, `sslrootcert`, `host` (a socket's directory) and `target_session_attrs` count.

    Raises:
        DatabaseUrlError: it names no user or database, or is no PostgreSQL URL; or it asks for a server that takes no
            writes.
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
        # An address of IPv6 is in brackets, and has colons of its own.
        is_named = not colon or host.endswith("]") or ":" not in host
        host = (host if colon and is_named and not one.endswith("]") else one).removeprefix("[").removesuffix("]")
        hosts.append(host)
        ports.append(int(port) if port.isdigit() else 5432)
    credentials: Credentials = {
        "host": hosts if len(hosts) > 1 else hosts[0],
        "port": ports if len(ports) > 1 else ports[0],
        "user": unquote(user),
        "password": unquote(password),
        "database": unquote(database),
    }
    if "sslmode" in query:
        credentials["ssl"] = query["sslmode"][0]
    if "sslrootcert" in query:
        # asyncpg takes it in a URL alone; what is given besides counts more than what is missing there.
        kept: dict[str, object] = {name: query[name][0] for name in ("sslmode", "sslrootcert") if name in query}
        credentials["dsn"] = f"postgresql://?{urlencode(kept)}"
        credentials.pop("ssl", None)
    if "target_session_attrs" in query:
        attributes = query["target_session_attrs"][0]
        if not requires_writes(attributes):
            raise DatabaseUrlError("Expected target_session_attrs=read-write: the service writes.")
        credentials["target_session_attrs"] = attributes
    return credentials


def tls_mode(credentials: Credentials) -> str | None:
    """Return what a database URL says of TLS (`sslmode`); None where it says nothing."""
    if "dsn" in credentials:
        return parse_qs(urlsplit(credentials["dsn"]).query).get("sslmode", [None])[0]
    mode: str | None = credentials.get("ssl")
    return mode


def pools(databases: Databases, settings: Settings, by: type[CountedConnection] = CountedConnection) -> dict[str, Any]:
    """Return Tortoise's configuration: the pool of changes, and the keystore's. by: the class of connections."""

    def connection(cluster: Cluster, credentials: Credentials, *, largest: int, name: str) -> dict[str, Any]:
        first = cluster.servers[0]
        return {
            "engine": "tortoise.backends.asyncpg",
            "credentials": {
                **{key: credentials[key] for key in ("user", "password", "database") if key in credentials},
                **_limits(settings),
                # Where it connects is for the cluster to say; Tortoise wants one host and one port.
                "host": first.host,
                "port": first.port,
                "connect": _reaching(cluster),
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
                databases.main_cluster,
                databases.main,
                largest=settings.changing_pool_size,
                name="fieldward",
            ),
            "keystore": connection(
                databases.keystore_cluster, databases.keystore, largest=2, name="fieldward keystore"
            ),
        },
        "apps": {
            "models": {**MODELS_APP, "default_connection": "default"},
            "keystore": {**KEYSTORE_APP, "default_connection": "keystore"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


def _reaching(cluster: Cluster) -> Callable[..., Awaitable[asyncpg.Connection]]:
    """Return what opens a connection of asyncpg's own pool, at the server of the cluster that takes writes."""

    async def connect(*_: Any, **given: Any) -> asyncpg.Connection:
        return await cluster.connect(**{key: value for key, value in given.items() if key not in {"host", "port"}})

    return connect


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
    not: refused attempts, the read log; and those that keep a moment for an archive."""
    cluster, read_only = databases.main_cluster, {"default_transaction_read_only": "on"}
    reading = opening(cluster, settings, by, name="fieldward reading", **read_only)
    appending = opening(cluster, settings, by, name="fieldward audit")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_pool(Purpose.READING, reading, largest=settings.reading_pool_size))
        await stack.enter_async_context(open_pool(Purpose.APPENDING, appending, largest=4))
        # Apart from those that read, of which there may be one: whoever keeps a moment reads besides.
        keeping = opening(cluster, settings, by, name="fieldward keeping", **read_only)
        await stack.enter_async_context(open_pool(Purpose.KEEPING, keeping, largest=AT_ONCE))
        if cluster.has_several:
            limits = limits_of(settings, name="fieldward standby", **read_only)

            async def standing_by() -> asyncpg.Connection:
                return await cluster.connect_standby(connection_class=by, **limits)

            pool = open_pool(Purpose.STANDBY, standing_by, largest=settings.reading_pool_size)
            await stack.enter_async_context(pool)
        yield


def opening(
    cluster: Cluster,
    settings: Settings,
    by: type[asyncpg.Connection] = asyncpg.Connection,
    *,
    name: str,
    **server_settings: str,
) -> Connect:
    """Return what opens a connection to the server that takes writes. by: its class. name: see `limits_of`."""
    limits = limits_of(settings, name=name, **server_settings)

    async def connect() -> asyncpg.Connection:
        return await cluster.connect(connection_class=by, **limits)

    return connect


def limits_of(settings: Settings, *, name: str, **server_settings: str) -> Credentials:
    """Return asyncpg's arguments for a connection with the limits that hold for every one of the service.

    name: what PostgreSQL calls it in `pg_stat_activity`.
    """
    limits = _limits(settings)
    limits["server_settings"] |= {"application_name": name, **server_settings}
    return limits


def _limits(settings: Settings) -> Credentials:
    return {
        "timeout": 5,
        "command_timeout": settings.statement_timeout_s + 5,
        "server_settings": {
            "statement_timeout": str(int(settings.statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": "60000",
            "jit": "off",
            # All digits of a double, whatever somebody set for the role or the database.
            "extra_float_digits": "1",
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

    for app, cluster in (("models", databases.main_cluster), ("keystore", databases.keystore_cluster)):
        lock = await cluster.connect()
        try:
            await lock.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
            async with _migrating_pools(databases, settings) as apps:
                connection = get_connection(apps[app]["default_connection"])

                async def attempt(app: str = app, connection: BaseDBAsyncClient = connection) -> None:
                    await Migrating(connection, {app: apps[app]}).forward(note)

                await with_patience(attempt, lambda: current, attempts=settings.migration_attempts)
        finally:
            await lock.close()
