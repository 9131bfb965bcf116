"""One machine as an operator has it: `fieldward serve` with its embedded PostgreSQL. It is killed, and started again.

What a killed service leaves running of PostgreSQL is taken over by the next one, as `fieldward/embedded.py` promises.
"""

import os
import random
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from auth.role import OrganizationRole
from bench.process import ROOT, Process, children_of, free_port, plain_environment
from drills.error import DrillError
from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.database import migrate
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from resolvers.account import NewPerson, create_organization, create_person
from resolvers.services import Services

ORGANIZATION: Final = "basin"
_GONE_S: Final = 15
_CLIENT: Final = b" [local] "
"""What PostgreSQL calls a process that serves a client over the socket, beside its own kinds."""


class Kill(StrEnum):
    """What is ended by SIGKILL."""

    SERVICE = "the service"
    POSTGRES = "PostgreSQL, all its processes"
    BACKEND = "one of PostgreSQL's processes"
    BOTH = "the service and PostgreSQL"


@dataclass(frozen=True, slots=True)
class Person:
    """Who signs in."""

    email: str
    role: OrganizationRole
    password: str = field(default_factory=lambda: secrets.token_urlsafe(15), repr=False)
    organization: str = ORGANIZATION


class Machine:
    """The service and its PostgreSQL below a directory of their own."""

    def __init__(self, directory: Path, **settings: str) -> None:
        """settings: more of the service's, by the names of their variables."""
        self.directory = directory
        self.settings = settings
        self.logs: list[Path] = []
        self.data = directory / "data"
        self._service: Process | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where the service takes GraphQL."""
        return f"http://127.0.0.1:{self._port}/graphql"

    @property
    def pid(self) -> int:
        """The service's process."""
        if self._service is None:
            raise DrillError("The service does not run.")
        return self._service.pid

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Yield, and at the end stop whatever of it runs."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            yield
        finally:
            self.stop()
            if self.data.exists():
                with EmbeddedPostgres(self.data):
                    # Takes over what is left running, and stops it.
                    pass

    async def found(self, *organizations: Sequence[Person]) -> None:
        """Make the databases, and organizations with their people: the first one of each founds it."""
        settings = Settings(data_directory=self.data, password_cost="test")
        with EmbeddedPostgres(self.data) as postgres:
            await migrate(embedded_databases(postgres, owner=True), settings)
            async with services(settings, embedded_databases(postgres, owner=False)) as built:
                for people in organizations:
                    await found_people(built, people)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service, and of commands beside it."""
        ours = {"FIELDWARD_DATA_DIRECTORY": str(self.data), "FIELDWARD_PASSWORD_COST": "test"}
        return plain_environment(**(ours | self.settings | more))

    def start(self) -> None:
        """Start the service, and with it PostgreSQL; return once it serves."""
        self._port = free_port()
        self.logs.append(self.directory / f"service-{len(self.logs)}.log")
        self._service = Process.start(
            "the service",
            [sys.executable, "-m", "fieldward", "serve"],
            log=self.logs[-1],
            environment=self.environment(FIELDWARD_PORT=str(self._port)),
            directory=ROOT,
        )
        self.wait()

    def stop(self) -> None:
        """Have the service end, and PostgreSQL with it. Harmless where it does not run."""
        if self._service is not None:
            self._service.stop()

    def wait(self) -> None:
        """Return once the service serves.

        Raises:
            ProcessError: it ended, or does not serve in time.
        """
        assert self._service is not None
        self._service.wait_until(self._is_ready)

    def kill(self, what: Kill, chance: random.Random) -> None:
        """End it by SIGKILL, now."""
        assert self._service is not None
        if what is Kill.BACKEND:
            self._kill_backend(chance)
            return
        # Of both, either goes first.
        ends = [self._service.kill] if what in {Kill.SERVICE, Kill.BOTH} else []
        ends += [self._kill_postgres] if what in {Kill.POSTGRES, Kill.BOTH} else []
        chance.shuffle(ends)
        for end in ends:
            end()

    def revive(self, what: Kill) -> None:
        """Bring back what was killed, as an operator would, and return once it serves.

        A PostgreSQL that lost one of its processes recovers by itself, below a service that goes on. One that is gone
        takes its service with it: that one owns it, and is told to end, and started again.
        """
        if what is Kill.BACKEND:
            self.wait()
            return
        if what is Kill.POSTGRES:
            assert self._service is not None
            self._service.stop()
        self.start()

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a connection to the data that may do everything."""
        parameters: dict[str, Any] = dict(self.joined().superuser("fieldward").dsn_parameters())
        connection = await asyncpg.connect(**parameters)
        try:
            yield connection
        finally:
            await connection.close()

    def joined(self) -> EmbeddedPostgres:
        """Return its PostgreSQL, as a process beside the service reaches it."""
        postgres = EmbeddedPostgres(self.data)
        postgres.join()
        return postgres

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/health/ready", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def _postmaster(self) -> int:
        pid = self.joined().postmaster_pid
        if pid is None:
            raise DrillError("PostgreSQL was to be killed, and does not run.")
        return pid

    def _kill_postgres(self) -> None:
        postmaster = self._postmaster()
        processes = [postmaster, *children_of(postmaster)]
        for pid in processes:
            # The postmaster first: it would make new ones in their place.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _GONE_S
        while any(_lives(pid) for pid in processes):
            if time.monotonic() > deadline:
                raise DrillError("PostgreSQL's processes outlive a SIGKILL.")
            time.sleep(0.01)

    def _kill_backend(self, chance: random.Random) -> None:
        serving = [pid for pid in children_of(self._postmaster()) if _CLIENT in _command_of(pid)]
        if not serving:
            raise DrillError("PostgreSQL serves nobody.")
        os.kill(chance.choice(serving), signal.SIGKILL)


async def found_people(built: Services, people: Sequence[Person]) -> None:
    """Make an organization with its people: the first one founds it."""
    slug = people[0].organization
    first, *others = [NewPerson(one.email, one.password, one.email.partition("@")[0], one.role) for one in people]
    organization_id, _ = await create_organization(
        built, operator(), slug=slug, name=f"{slug.title()} Watch", owner=first
    )
    for one in others:
        await create_person(built, operator(), organization_id=organization_id, new=one)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _lives(pid: int) -> bool:
    # A zombie has no command any more.
    return bool(_command_of(pid))
