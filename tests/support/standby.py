"""Two PostgreSQL servers of which one follows the other, and the service over both: it is told of both sockets."""

import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any
from urllib.parse import quote

import asyncpg

from bench.process import children_of
from drills.machine import Machine, Person, found_people
from fieldward.cli.environment import services
from fieldward.database import Databases, credentials_of, migrate
from fieldward.embedded import EmbeddedPostgres, Endpoint
from fieldward.settings import Settings


class Standby(EmbeddedPostgres):
    """A server that follows another one, until it is promoted. It has what that one has, roles and passwords too."""

    def _psql(self, text: str) -> None:
        """Make nothing: it takes no writes."""

    def copy(self, primary: EmbeddedPostgres) -> None:
        """Begin as a copy of the primary, which it follows from then on."""
        self._directory.mkdir(mode=0o755, parents=True)
        copyfile(primary._directory / "database.json", self._directory / "database.json")
        (self._directory / "database.json").chmod(0o600)
        self._settle_user()
        made = self._directory / "postgres"
        made.mkdir(mode=0o700)
        self._give(made)
        self._run(
            "pg_basebackup",
            f"--pgdata={made}",
            f"--dbname={_conninfo(primary.superuser())}",
            "--write-recovery-conf",
            "--checkpoint=fast",
        )

    def promote(self) -> None:
        """Follow nobody any more."""
        self._run("pg_ctl", "promote", "--wait", "--silent", f"--pgdata={self.data_directory}")


class PairedMachine(Machine):
    """The service over a primary and its standby, each below a directory of its own."""

    def __init__(self, directory: Path, **settings: str) -> None:
        super().__init__(directory, **settings)
        self.primary = EmbeddedPostgres(directory / "a")
        self.standby = Standby(directory / "b")

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Have both run; at the end stop whatever runs."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            self.primary.start()
            self.standby.copy(self.primary)
            self.standby.start()
            yield
        finally:
            self.stop()
            self.signal_standby(signal.SIGCONT)
            self.signal_primary(signal.SIGCONT)
            self.standby.stop()
            self.primary.stop()

    def require_standby(self) -> None:
        """Have nothing be committed from now on that the standby does not have on its disk."""
        with (self.primary._directory / "postgresql.conf").open("a") as settings:
            settings.write("synchronous_standby_names = 'standby'\n")
        self.primary._run("pg_ctl", "reload", "--silent", f"--pgdata={self.primary.data_directory}")

    def signal_standby(self, number: signal.Signals) -> None:
        """Send all of the standby's processes a signal, as far as it runs."""
        _signal(self.standby, number)

    def signal_primary(self, number: signal.Signals) -> None:
        """Send all of the primary's processes a signal, as far as it runs."""
        _signal(self.primary, number)

    async def found(self, *organizations: Sequence[Person]) -> None:
        """Make the tables, and organizations with their people."""
        settings = Settings(data_directory=self.data, password_cost="test")
        await migrate(self.databases("owner"), settings)
        async with services(settings, self.databases("service")) as built:
            for people in organizations:
                await found_people(built, people)

    def databases(self, role: str) -> Databases:
        """Return how both databases are reached as a role, on whichever server takes writes."""
        return Databases(*(credentials_of(self._url(role, name)) for name in ("fieldward", "fieldward_keys")))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service."""
        urls = {"FIELDWARD_DATABASE_URL": "fieldward", "FIELDWARD_KEYSTORE_URL": "fieldward_keys"}
        return super().environment(**{name: self._url("service", base) for name, base in urls.items()}, **more)

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection to the primary's data that may do everything."""
        parameters: dict[str, Any] = dict(self.primary.superuser("fieldward").dsn_parameters())
        connection = await asyncpg.connect(**parameters)
        try:
            yield connection
        finally:
            await connection.close()

    def _url(self, role: str, database: str) -> str:
        one: Endpoint = getattr(self.primary, role)(database)
        hosts = ",".join(str(server.socket_directory) for server in (self.primary, self.standby))
        return (
            f"postgres://{quote(one.user)}:{quote(one.password, safe='')}@/{database}"
            f"?host={quote(hosts)}&target_session_attrs=read-write"
        )


def _signal(server: EmbeddedPostgres, number: signal.Signals) -> None:
    pid = server.postmaster_pid
    for one in [] if pid is None else [pid, *children_of(pid)]:
        os.kill(one, number)


def _conninfo(endpoint: Endpoint) -> str:
    return (
        f"host={endpoint.host} port={endpoint.port} user={endpoint.user} password={endpoint.password}"
        " application_name=standby"
    )
