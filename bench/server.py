"""The one PostgreSQL of a run: the embedded one, made from nothing, with every target's database in it."""

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import asyncpg

from bench.process import Usage, children_of, usage_of
from fieldward.embedded import EmbeddedPostgres, Endpoint

SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_connections": "200",
    "max_wal_size": "4GB",
    # The log is where statements are counted, for moments in which nothing is timed.
    "allow_alter_system": "on",
    "log_line_prefix": "%m [%p] db=%d ",
}
_BATCH: Final = 20_000
_STATEMENT: Final = re.compile(r" db=(\S*) LOG:  (?:statement|execute [^:]*): ")


class Databases:
    """PostgreSQL for one run, and Fieldward's keys: below `directory`, wiped before and after."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "postgres"
        self._keys = directory / "fieldward"
        self._passwords: dict[str, str] = {}
        self.postgres = EmbeddedPostgres(self._directory, settings=SETTINGS)

    def __enter__(self) -> "Databases":
        if self._directory.exists():
            # A run that was killed may have left its server: this takes it over, and stops it.
            with self.postgres:
                pass
            shutil.rmtree(self._directory)
        # Keys open what is in a database: with it gone, they are of no use.
        shutil.rmtree(self._keys, ignore_errors=True)
        self.postgres.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.postgres.stop()
        shutil.rmtree(self._directory, ignore_errors=True)
        shutil.rmtree(self._keys, ignore_errors=True)

    @asynccontextmanager
    async def superuser(self, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection that may do everything."""
        parameters: dict[str, Any] = dict(self.postgres.superuser(database).dsn_parameters())
        connection = await asyncpg.connect(**parameters)
        try:
            yield connection
        finally:
            await connection.close()

    async def create_role(self, name: str, options: str = "") -> None:
        """Create a role that signs in with a password of this run, unless it is there."""
        if name not in self._passwords:
            self._passwords[name] = secrets.token_hex(16)
            async with self.superuser() as connection:
                await connection.execute(f"create role {name} login {options} password '{self._passwords[name]}'")

    async def create_database(self, name: str, owner: str, *, template: str | None = None) -> None:
        """Create a database, empty or as a copy."""
        async with self.superuser() as connection:
            await connection.execute(
                f"create database {name} owner {owner}" + (f" template {template}" if template else "")
            )

    def endpoint(self, role: str, database: str) -> Endpoint:
        """Return how a role of this run reaches a database."""
        base = self.postgres.superuser(database)
        return Endpoint(base.host, base.port, role, self._passwords[role], database)

    async def settle(self, database: str) -> None:
        """Bring the statistics of a database up to date and its pages to disk, so that no window pays for it."""
        async with self.superuser(database) as connection:
            await connection.execute("vacuum analyze")
            await connection.execute("checkpoint")

    async def checkpoint(self) -> None:
        """Write what is due, so that the next window starts as the one before."""
        async with self.superuser() as connection:
            await connection.execute("checkpoint")

    def usage(self) -> Usage:
        """Return what PostgreSQL's processes that live use."""
        pid = self.postgres.postmaster_pid
        return usage_of([pid, *children_of(pid)] if pid else [])

    async def version(self) -> str:
        """Return the server's version."""
        async with self.superuser() as connection:
            return str(await connection.fetchval("show server_version"))

    @contextmanager
    def counting(self) -> Iterator["StatementCount"]:
        """Have every statement that reaches the server counted, by its log, while the block runs.

        What begins and ends transactions, or resets a connection, counts too: each is a way there and back.
        """
        asyncio.run(self._log_statements("all"))
        try:
            yield StatementCount(self._directory / "postgresql.log")
        finally:
            asyncio.run(self._log_statements("none"))

    async def _log_statements(self, which: str) -> None:
        async with self.superuser() as connection:
            await connection.execute(f"alter system set log_statement = '{which}'")
            await connection.execute("select pg_reload_conf()")
            # The other backends take note when they are signalled, not at once.
            await connection.execute("select pg_sleep(0.5)")


class StatementCount:
    """Counts statements in the server's log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def during(self, database: str, work: Callable[[], object]) -> int:
        """Return how many statements reach a database while the work is done."""
        offset = self._log.stat().st_size
        work()
        # The lines are written before the answers are sent, but what tidies up after an answer comes later.
        time.sleep(0.1)
        with self._log.open("rb") as lines:
            lines.seek(offset)
            text = lines.read().decode(errors="replace")
        return sum(found == database for found in _STATEMENT.findall(text))


async def copy_rows(
    connection: asyncpg.Connection, table: str, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Add rows to a table by COPY, some thousands at a time, so that they are never all in memory."""
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        await connection.copy_records_to_table(table, records=batch, columns=columns)
