"""A real server process, started as the README says, on a free port and a data directory of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from fieldward.embedded import Endpoint

ROOT = Path(__file__).resolve().parents[2]
SIGN_IN = re.compile(r"^\s+([A-Z]+)\s+(\S+@\S+)\s+(\S+)$")


UNLIMITED = {
    f"FIELDWARD_{who}{what}": "0"
    for who in ("", "ANONYMOUS_")
    for what in ("RATE_LIMIT_REQUESTS", "RATE_LIMIT_COST", "CONCURRENCY")
}
"""No limits of how much may be asked for in a while, or at once: tests ask faster than anybody does."""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A demo that runs. `sign_ins` maps the roles of the first organization to address and password.

    printed: what it writes to its standard output.
    """

    process: subprocess.Popen[str]
    url: str
    sign_ins: Mapping[str, tuple[str, str]]
    log: Path
    printed: Path

    @property
    def errors(self) -> str:
        """What the process has written to its standard error."""
        return self.log.read_text()

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def environment(directory: Path, **more: str) -> dict[str, str]:
    """Return a process environment in which only the given settings are ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
    ours = {"FIELDWARD_DATA_DIRECTORY": str(directory), "FIELDWARD_PASSWORD_COST": "test", **UNLIMITED}
    return {**inherited, **ours, **more}


def start_demo(directory: Path, port: int, **more: str) -> Server:
    """Start the demo, with more settings, and return once it has printed its sign-ins.

    Its log and what it prints are beside its directory.
    """
    log, printed = (directory.with_name(f"{directory.name}-{port}.{ending}") for ending in ("log", "out"))
    with log.open("w") as errors, printed.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldward", "demo"],
            cwd=ROOT,
            env=environment(directory, FIELDWARD_PORT=str(port), **more),
            stdout=output,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    while "Press Ctrl-C" not in (said := printed.read_text()):
        if process.poll() is not None:
            raise AssertionError(f"the demo ended: {said}{log.read_text()}")
        time.sleep(0.05)
    lines = said.splitlines()
    found = [match.groups() for line in lines if (match := SIGN_IN.match(line))]
    return Server(
        process=process,
        url=f"http://127.0.0.1:{port}",
        sign_ins={role.lower(): (email, password) for role, email, password in reversed(found)},
        log=log,
        printed=printed,
    )


@dataclass
class Process:
    """One of several server processes over the same databases and keys."""

    process: subprocess.Popen[str]
    url: str
    log: Path

    def stop(self) -> int:
        """Press Ctrl-C and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def own_data_directory(of: Path, made: Path) -> Path:
    """Copy a data directory with its keys, without the heads that were signed: those are of another database."""
    shutil.copytree(of, made, ignore=shutil.ignore_patterns("signed-heads*"))
    return made


def start_process(directory: Path, urls: Mapping[str, str], log: Path) -> Process:
    """Start `serve` on a free port, over databases that are there and the keys in the directory; return at once."""
    port = free_port()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fieldward", "serve"],
            cwd=ROOT,
            env=environment(directory, FIELDWARD_PORT=str(port), **urls),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    return Process(process, f"http://127.0.0.1:{port}", log)


def wait_until_ready(one: Process, *, timeout_s: float = 30) -> None:
    """Return once the process answers; raises where it ended, or does not answer in time."""
    deadline = time.monotonic() + timeout_s
    while "Serving on" not in one.log.read_text():
        if one.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the server did not start: {one.log.read_text()}")
        time.sleep(0.05)


def database_url(endpoint: Endpoint) -> str:
    """Return the URL of a database that is reached over its socket."""
    password = quote(endpoint.password, safe="")
    return f"postgres://{endpoint.user}:{password}@/{endpoint.database}?host={quote(endpoint.host)}"
