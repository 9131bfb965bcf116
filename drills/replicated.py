"""The service over a replicated PostgreSQL: it is told of all machines, and finds out which of them takes writes."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

from drills.machine import Machine, Person, found_people
from drills.patroni import PatroniCluster
from fieldward.cli.environment import services
from fieldward.database import Databases, credentials_of, migrate
from fieldward.embedded_roles import DATABASES, OWNER, SERVICE, SUPERUSER
from fieldward.settings import Settings
from models.cluster import Cluster


class ReplicatedMachine(Machine):
    """The machine that serves. cluster: those that keep the data."""

    def __init__(self, directory: Path, cluster: PatroniCluster) -> None:
        super().__init__(directory)
        self.cluster = cluster

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Have the machines of the data run, and at the end stop all."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self.cluster.standing():
            try:
                yield
            finally:
                self.stop()

    async def found(self, *organizations: Sequence[Person]) -> None:
        """Make the tables, and organizations with their people."""
        settings = Settings(data_directory=self.data, password_cost="test")
        await migrate(self._databases(OWNER), settings)
        async with services(settings, self._databases(SERVICE)) as built:
            for people in organizations:
                await found_people(built, people)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service, and of commands beside it."""
        main, keystore = (self.cluster.url(SERVICE, database) for database in DATABASES)
        return super().environment(FIELDWARD_DATABASE_URL=main, FIELDWARD_KEYSTORE_URL=keystore, **more)

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection to the data, on the primary, that may do everything."""
        connection = await Cluster(credentials_of(self.cluster.url(SUPERUSER, DATABASES[0]))).connect()
        try:
            yield connection
        finally:
            await connection.close()

    def _databases(self, role: str) -> Databases:
        return Databases(*(credentials_of(self.cluster.url(role, database)) for database in DATABASES))
