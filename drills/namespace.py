"""Machines of a drill: network namespaces of this one, joined by a bridge, each of which can be cut off.

Linux alone, and as root. Nothing of it listens where anybody else can reach it.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from drills.error import DrillError
from fieldward.os_access import is_alive

_GONE_S: Final = 15


def why_not() -> str | None:
    """Return why this machine can't be made into several; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces are made by root alone"
    for program in ("ip", "setpriv"):
        if shutil.which(program) is None:
            return f"there is no program {program}"
    name = f"fwp{secrets.token_hex(3)}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
        _ip("link", "add", name, "type", "bridge")
        _ip("link", "delete", name)
    except DrillError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Namespace:
    """One of the machines: its name, its address, and the link that leads to it."""

    name: str
    address: str
    link: str

    def command(self, *command: str) -> list[str]:
        """Return what runs a command on the machine."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self) -> None:
        """Let nothing in or out."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Let everything in and out."""
        _ip("link", "set", self.link, "up")

    def signal(self, number: signal.Signals) -> None:
        """Send all processes of the machine a signal at once."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def pids(self) -> Sequence[int]:
        """Return the processes of the machine."""
        return [int(one) for one in _ip("netns", "pids", self.name).split()]

    def kill(self) -> None:
        """End every process of the machine by SIGKILL, and return once none is left.

        Raises:
            DrillError: one outlives it.
        """
        deadline = time.monotonic() + _GONE_S
        while self.pids():
            self.signal(signal.SIGKILL)
            if time.monotonic() > deadline:
                raise DrillError(f"Processes of {self.name} outlive a SIGKILL.")
            time.sleep(0.05)


@contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Yield so many machines with a network of their own; at the end, all of their processes and they are gone."""
    _remove_left_over()
    run = f"{os.getpid():x}"
    bridge, taken = f"fwd{run}", _ip("-4", "-o", "address")
    network = next(
        one
        for one in (f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}" for _ in range(1000))
        if f" {one}." not in taken
    )
    made = [
        Namespace(f"fwd{run}-{number}", f"{network}.{10 + number}", f"fwd{run}v{number}")
        for number in range(1, count + 1)
    ]
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for one in made:
            _ip("netns", "add", one.name)
            _ip("link", "add", one.link, "type", "veth", "peer", "name", "eth0", "netns", one.name)
            _ip("link", "set", one.link, "master", bridge, "up")
            _ip("-n", one.name, "address", "add", f"{one.address}/24", "dev", "eth0")
            _ip("-n", one.name, "link", "set", "eth0", "up")
            _ip("-n", one.name, "link", "set", "lo", "up")
        yield made
    finally:
        for one in made:
            with suppress(DrillError):
                one.kill()
            with suppress(DrillError):
                _ip("netns", "delete", one.name)
            with suppress(DrillError):
                _ip("link", "delete", one.link)
        with suppress(DrillError):
            _ip("link", "delete", bridge)


def _remove_left_over() -> None:
    """Remove the machines of a drill whose process is gone: one that was killed cleans nothing up."""
    for name, run in re.findall(r"^(fwd([0-9a-f]+)-\d+)", _ip("netns", "list"), re.MULTILINE):
        if not is_alive(int(run, 16)):
            left = Namespace(name, "", f"fwd{run}v{name.rpartition('-')[2]}")
            left.kill()
            for arguments in (
                ("netns", "delete", name),
                ("link", "delete", left.link),
                ("link", "delete", f"fwd{run}"),
            ):
                with suppress(DrillError):
                    _ip(*arguments)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DrillError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
