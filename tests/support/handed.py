"""Server processes that are handed the socket which they serve on, as systemd does it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Template
from tests.support.served import url_of
from tests.support.server import ROOT, UNLIMITED, own_data_directory
from tests.support.world import World

# The service is run in the place of this, and has its process id.
HAND_OVER = """
import os, sys
handed = int(sys.argv[1])
if handed != 3:
    os.dup2(handed, 3)
    os.close(handed)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "fieldward", "serve"])
"""


@contextmanager
def held_socket() -> Iterator[socket.socket]:
    """A socket that listens for as long as the block runs, whoever takes connections from it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(1024)
        yield held


@dataclass
class Handed:
    """A server process, what it writes to its log, and what it tells who started it."""

    process: subprocess.Popen[bytes]
    log: Path
    told: socket.socket

    def wait_until_ready(self) -> None:
        """Return once it says that it is ready."""
        self.told.settimeout(60)
        assert self.told.recv(100) == b"READY=1", self.log.read_text()

    def terminate(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, *, within_s: float = 60) -> int:
        """Return its exit code."""
        return self.process.wait(within_s)


@contextmanager
def handed(
    template: Template, world: World, directory: Path, held: socket.socket, name: str, **settings: str
) -> Iterator[Handed]:
    """Start a server process on a socket, over a world's databases. It is ended with the block at the latest.

    directory: of the test. What its processes sign of the trail is kept there: what another test's had signed would be
        of the same organizations, and this one's database would be one that was set back.
    """
    data = directory / "data"
    if not data.exists():
        own_data_directory(template.settings.data_directory, data)
    own = {key: value for key, value in os.environ.items() if not key.startswith("FIELDWARD_")}
    log = directory / f"{name}.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"\0fieldward-test-{os.getpid()}-{name}-{time.monotonic_ns()}")
        environment = {
            **own,
            **UNLIMITED,
            "FIELDWARD_DATA_DIRECTORY": str(data),
            "FIELDWARD_DATABASE_URL": url_of(world.service),
            "FIELDWARD_KEYSTORE_URL": url_of(world.keystore),
            "FIELDWARD_PASSWORD_COST": "test",
            "NOTIFY_SOCKET": f"@{told.getsockname()[1:].decode()}",
            **settings,
        }
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, str(held.fileno())],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[held.fileno()],
                start_new_session=True,
            )
        try:
            yield Handed(process, log, told)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(60)
