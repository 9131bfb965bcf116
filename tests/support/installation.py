"""An installation of its own, with real parts that can fail: a PostgreSQL, keys, and a server process over them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx

from auth.role import OrganizationRole
from fieldward.cli.environment import embedded_databases, operator, services
from fieldward.database import migrate
from fieldward.embedded import EmbeddedPostgres
from fieldward.settings import Settings
from resolvers.account import NewPerson, create_organization
from tests.support.served import Caller
from tests.support.server import ROOT, UNLIMITED, free_port
from tests.support.world import connect

EMAIL, PASSWORD = "olive@basin.example", "a long enough pass phrase of olive"
PROJECT = "mutation($i: CreateProjectInput!) { createProject(input: $i) { project { id } errors { code } } }"
CREATE = "mutation($i: CreateRecordInput!) { createRecord(input: $i) { record { id } errors { code } } }"
SITES = (
    "query($after: String) { records(first: 1000, after: $after) {"
    " nodes { id siteCode } pageInfo { hasNextPage endCursor } } }"
)
READY_S = 240
"""Far more than any start takes: a machine that is busy with others takes long."""


@dataclass
class Installation:
    """What an operator has: databases, a directory with keys, and somebody who signs in."""

    root: Path
    postgres: EmbeddedPostgres
    keys: Path

    def urls(self, address: str | None = None) -> dict[str, str]:
        """Return the service's databases as settings. address: by which name and port they are reached, if not by the
        socket.
        """
        found = {}
        for name, database in (("DATABASE_URL", "fieldward"), ("KEYSTORE_URL", "fieldward_keys")):
            to = self.postgres.service(database)
            password = quote(to.password, safe="")
            end = f"{address}/{database}?sslmode=disable" if address else f"/{database}?host={quote(to.host)}"
            found[f"FIELDWARD_{name}"] = f"postgres://{to.user}:{password}@{end}"
        return found

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the service and of commands beside it."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
        ours = {
            "FIELDWARD_DATA_DIRECTORY": str(self.keys),
            "FIELDWARD_PASSWORD_COST": "test",
            "FIELDWARD_POOL_SIZE": "4",
            **UNLIMITED,
            **self.urls(),
        }
        return {**own, **ours, **more}

    async def superuser(self, database: str = "fieldward") -> asyncpg.Connection:
        """Return a connection that may do everything."""
        return await connect(self.postgres.superuser(database))

    def value(self, query: str, *arguments: Any) -> Any:
        """Return what the superuser finds by a query."""

        async def ask() -> Any:
            superuser = await self.superuser()
            try:
                return await superuser.fetchval(query, *arguments)
            finally:
                await superuser.close()

        return asyncio.run(ask())

    @contextmanager
    def served(
        self,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        before: Sequence[str] = (),
        is_ready: bool = True,
    ) -> Iterator["Served"]:
        """Run `fieldward serve`, and yield it once it is ready, or as soon as it answers.

        before: a command that runs it.
        """
        port = free_port()
        log = self.root / f"serve-{port}.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "fieldward", "serve"],
                cwd=ROOT,
                env=self.environment(FIELDWARD_PORT=str(port), **settings),
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=40) as http:
            served = Served(self, process, http, log)
            try:
                served.wait("/health/ready" if is_ready else "/health/live")
                yield served
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                process.wait(120)


@dataclass
class Served:
    """A server process, and who calls it."""

    installation: Installation
    process: subprocess.Popen[bytes]
    http: httpx.Client
    log: Path
    project: str = ""
    acknowledged: list[str] = field(default_factory=list)

    def wait(self, address: str, timeout_s: float = READY_S) -> float:
        """Return after how many seconds an address answers 200; raises where it does not in time."""
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            if self.process.poll() is not None:
                break
            if self.status(address) == 200:
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"{address} does not answer: {self.log.read_text()}")

    def status(self, address: str) -> int | None:
        """Return the status of an address; None where nobody answers."""
        try:
            return self.http.get(address).status_code
        except httpx.TransportError:
            return None

    def signed_in(self, within_s: float = 0) -> Caller:
        """Return the owner, signed in.

        within_s: for how long it is tried again: the keys of tokens are looked for again a moment after they were away.
        """
        end = time.monotonic() + within_s
        while True:
            caller = Caller(self.http, sign_in={"email": EMAIL, "password": PASSWORD, "organization": "basin"})
            try:
                caller.freshen()
            except AssertionError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)
            else:
                return caller

    def begin(self, caller: Caller, code: str = "FAULT") -> None:
        """Make the project that records are created in."""
        payload = caller.run(PROJECT, {"i": {"code": code, "name": "What fails"}}).data["createProject"]
        self.project = payload["project"]["id"]

    def create(self, caller: Caller, site: str, comment: str = "seen") -> str | None:
        """Create a record; return None where that was acknowledged, else the code of what was answered."""
        given = {
            "projectId": self.project,
            "siteCode": site,
            "collectedAt": "2026-01-05T10:00:00Z",
            "medium": "WATER",
            "comment": comment,
        }
        reply = caller.run(CREATE, {"i": given})
        payload = (reply.data or {}).get("createRecord")
        if payload and payload["record"]:
            self.acknowledged.append(site)
            return None
        errors = [one["extensions"]["code"] for one in reply.errors]
        return str((errors + [one["code"] for one in (payload or {}).get("errors", ())])[0])

    def sites(self, caller: Caller) -> list[str]:
        """Return the site codes of all records, by a query that reads nothing confidential."""
        found: list[str] = []
        page: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
        while page["hasNextPage"]:
            reply = caller.run(SITES, {"after": page["endCursor"]})
            assert reply.errors == [], reply.errors
            found += [one["siteCode"] for one in reply.data["records"]["nodes"]]
            page = reply.data["records"]["pageInfo"]
        return found

    def logged(self, event: str) -> bool:
        """Return whether the log has an event."""
        return f'"{event}"' in self.log.read_text()

    def wait_for_log(self, event: str, timeout_s: float = 30) -> None:
        """Return once the log has an event; raises where it does not in time."""
        end = time.monotonic() + timeout_s
        while not self.logged(event):
            assert time.monotonic() < end, f"{event} is not logged: {self.log.read_text()}"
            time.sleep(0.1)


@contextmanager
def installed(
    *, directory: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Installation]:
    """Make an installation with one organization and its owner.

    directory: where PostgreSQL's data lie. settings: PostgreSQL's own.
    """
    root = Path(tempfile.mkdtemp(prefix="fw"))
    root.chmod(0o755)
    keys = root / "keys"
    postgres = EmbeddedPostgres((directory or root) / "data", settings={"allow_alter_system": "on", **settings})
    own = Settings(data_directory=keys, password_cost="test")
    made = Installation(root, postgres, keys)

    async def begin() -> None:
        await migrate(embedded_databases(postgres, owner=True), own)
        async with services(own, embedded_databases(postgres, owner=False)) as built:
            owner = NewPerson(EMAIL, PASSWORD, "Olive", OrganizationRole.OWNER)
            await create_organization(built, operator(), slug="basin", name="Basin Watch", owner=owner)

    try:
        postgres.start()
        asyncio.run(begin())
        yield made
    finally:
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
