"""Server processes: started apart from the terminal, ended by their id whatever happens, and looked at from outside."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
START_TIMEOUT_S: Final = 120
STOP_TIMEOUT_S: Final = 15


class ProcessError(Exception):
    """A process did not do what it was started for. The message is for a person, with the end of its log."""


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environment(**more: str) -> dict[str, str]:
    """Return the environment of a process: without settings of ours that the caller's shell may hold."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FIELDWARD_")}
    # What is measured is how fast the service is, and not how fast it lets one caller be.
    inherited |= {
        f"FIELDWARD_{who}{what}": "0"
        for who in ("", "ANONYMOUS_")
        for what in ("RATE_LIMIT_REQUESTS", "RATE_LIMIT_COST", "CONCURRENCY")
    }
    return {**inherited, **more}


class Process:
    """One server process. Use it as a context manager, or call `stop`."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, log: Path) -> None:
        self._process = process
        self.name = name
        self.log = log

    @classmethod
    def start(
        cls, name: str, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str], directory: Path
    ) -> "Process":
        """Start a process that Ctrl-C in the terminal does not reach, with its output in a log."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(one) for one in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=directory,
                env=dict(environment),
                start_new_session=True,
            )
        return cls(process, name, log)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once the process is ready.

        Raises:
            ProcessError: it ended, or takes too long.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self._process.poll() is not None:
                raise ProcessError(f"{self.name} ended with {self._process.returncode}:\n{self.last_lines()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{self.name} is not ready after {timeout_s:.0f} s:\n{self.last_lines()}")
            time.sleep(0.05)

    def wait(self, timeout_s: float) -> None:
        """Return once the process has done its work and ended well.

        Raises:
            ProcessError: it ended otherwise, or takes too long.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{self.name} takes longer than {timeout_s:.0f} s:\n{self.last_lines()}") from None
        if code != 0:
            raise ProcessError(f"{self.name} ended with {code}:\n{self.last_lines()}")

    def last_lines(self, count: int = 15) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask the process to end, and end it if it doesn't in time. Harmless where it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """End the process by SIGKILL: it closes nothing, and hands nothing back."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes have used: seconds of processor time, and the memory they hold now."""

    cpu_s: float
    rss_mb: float


def usage_of(pids: Iterable[int]) -> Usage:
    """Return what the processes use together, their ended children too. Reads `/proc`, so Linux alone."""
    ticks, pages = 0, 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # Its own time, and that of its children which have ended: a backend that closes takes nothing with it.
            ticks += sum(int(one) for one in fields[11:15])
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            continue
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
