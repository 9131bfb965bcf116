"""An installation of its own for canaries: an embedded PostgreSQL, real commands, and a real server process over it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from fieldward.embedded import EmbeddedPostgres
from tests.support.canary import Canaries
from tests.support.error_reporting import CONTROL
from tests.support.served import Caller
from tests.support.server import ROOT, database_url, environment, free_port
from tests.support.world import connect

TALKATIVE: Final[Mapping[str, str]] = {
    "log_statement": "all",
    "log_duration": "on",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_error_verbosity": "verbose",
    "log_min_error_statement": "debug5",
    "log_connections": "all",
    "log_disconnections": "on",
    "log_lock_waits": "on",
    "log_temp_files": "0",
    "work_mem": "64kB",
    "log_checkpoints": "on",
    "log_line_prefix": "%m %p %u@%d %a %h %x ",
    "track_activity_query_size": "65536",
    "track_functions": "all",
    "track_io_timing": "on",
    "wal_log_hints": "on",
}
"""Everything that PostgreSQL tells where it is let to, but what says the same once more."""


def _to_nobody() -> Mapping[str, str]:
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(free_port()),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "fieldward@fieldward.example",
        "PUBLIC_URL": "https://fieldward.example",
    }


@dataclass
class House:
    """Where a run takes place. All that it writes is below `root`.

    told: what was answered, by who asked: an answer's text each.
    control: the word by which it is seen that errors are reported; None where they are not.
    mail: how letters leave. Nobody takes them, so that each is made, and what became of it told, several times.
    """

    root: Path
    postgres: EmbeddedPostgres
    canaries: Canaries
    control: str | None = None
    told: dict[str, list[str]] = field(default_factory=dict)
    mail: Mapping[str, str] = field(default_factory=_to_nobody)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def data(self) -> Path:
        """The data directory: the database, its log and passwords, and our keys."""
        return self.root / "data"

    @property
    def temporary(self) -> Path:
        """Where our processes put what is temporary."""
        return self.root / "tmp"

    @property
    def output(self) -> Path:
        """What our processes print."""
        return self.root / "output"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of our processes."""
        main, keys = "fieldward", "fieldward_keys"
        urls = {
            "DATABASE_URL": self.postgres.service(main),
            "KEYSTORE_URL": self.postgres.service(keys),
            "OWNER_DATABASE_URL": self.postgres.owner(main),
            "OWNER_KEYSTORE_URL": self.postgres.owner(keys),
        }
        settings = {f"FIELDWARD_{name}": database_url(endpoint) for name, endpoint in urls.items()}
        settings |= {f"FIELDWARD_{name}": value for name, value in self.mail.items()}
        if self.control is not None:
            more[CONTROL] = self.control
        return environment(self.data, TMPDIR=str(self.temporary), PYTHONFAULTHANDLER="1", **settings, **more)

    @property
    def reports(self) -> Path:
        """What was reported of errors."""
        return self.output / "reports"

    def _program(self) -> list[str]:
        if self.control is None:
            return [sys.executable, "-m", "fieldward"]
        return [sys.executable, "-m", "tests.support.error_reporting", str(self.reports)]

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, and keep what it writes to its standard error. Its standard output is an answer."""
        done = subprocess.run(
            [*self._program(), *arguments],
            cwd=ROOT,
            env=self.environment(),
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        place = self.output / f"command-{arguments[0]}-{time.monotonic_ns()}.err"
        place.write_text(done.stderr)
        self.told.setdefault("command", []).append(done.stdout)
        return done

    def serve(self) -> str:
        """Start a server and return where it listens, once it is ready."""
        port = free_port()
        log = self.output / f"server-{port}.err"
        with log.open("wb") as errors, (self.output / f"server-{port}.out").open("wb") as printed:
            process = subprocess.Popen(
                [*self._program(), "serve"],
                cwd=ROOT,
                env=self.environment(FIELDWARD_PORT=str(port)),
                stdout=printed,
                stderr=errors,
                start_new_session=True,
            )
        self.processes.append(process)
        deadline = time.monotonic() + 60
        while b"Serving on" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start: {log.read_text()}")
            time.sleep(0.05)
        return f"http://127.0.0.1:{port}"

    def stop(self, number: int) -> int:
        """Send the server that was started last a signal, and return its exit code."""
        process = self.processes[-1]
        process.send_signal(number)
        return process.wait(30)

    def caller(self, who: str, url: str, *, sign_in: Mapping[str, str] | None = None, **headers: str) -> Caller:
        """Return somebody whose answers are kept."""
        answers = self.told.setdefault(who, [])

        def keep(response: httpx.Response) -> None:
            response.read()
            answers.append(response.text)

        named = {name.replace("_", "-"): value for name, value in headers.items()}
        http = httpx.Client(base_url=url, timeout=60, headers=named, event_hooks={"response": [keep]})
        self.clients.append(http)
        return Caller(http, sign_in=sign_in)

    async def sql(self, text: str, *arguments: Any, database: str = "fieldward") -> list[asyncpg.Record]:
        """Run a statement as the superuser."""
        connection = await connect(self.postgres.superuser(database))
        try:
            rows: list[asyncpg.Record] = await connection.fetch(text, *arguments)
            return rows
        finally:
            await connection.close()

    def dump(self, database: str) -> bytes:
        """Return what `pg_dump` writes of a database."""
        endpoint = self.postgres.superuser(database)
        return subprocess.run(
            [
                self.postgres.bin_directory / "pg_dump",
                f"--host={endpoint.host}",
                f"--port={endpoint.port}",
                f"--username={endpoint.user}",
                database,
            ],
            env={"PATH": os.defpath, "PGPASSWORD": endpoint.password},
            capture_output=True,
            check=True,
        ).stdout

    def pids(self) -> Sequence[int]:
        """Return the processes that run of ours: the server's, and PostgreSQL's with all its children."""
        parents = {process.pid for process in self.processes if process.poll() is None}
        parents |= {self.postgres.postmaster_pid or 0}
        found = set(parents) - {0}
        for place in Path("/proc").glob("[0-9]*/stat"):
            try:
                stat = place.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) in parents:
                found.add(int(place.parent.name))
        return sorted(found)


@contextmanager
def house(root: Path, settings: Mapping[str, str] | None) -> Iterator[House]:
    """Yield an installation with an empty database; nothing of it runs afterwards.

    settings: PostgreSQL's, over ours; None for exactly those that the service writes.
    """
    made = House(root, EmbeddedPostgres(root / "data", settings=settings), Canaries())
    for directory in (made.temporary, made.output):
        directory.mkdir(parents=True)
    made.postgres.start()
    try:
        yield made
    finally:
        for client in made.clients:
            client.close()
        for process in made.processes:
            if process.poll() is None:
                process.kill()
            process.wait(30)
        made.postgres.stop()


def until(happens: Callable[[], bool], *, within_s: float = 10) -> None:
    """Return once something is so."""
    deadline = time.monotonic() + within_s
    while not happens():
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)
