"""The load: a generator in a process of its own, and what it counted.

Where there is `wrk`, it makes the load; what comes at a set pace, and all load where there is none, is made by
`bench/client.py`. Either is held on the machine's last core where `taskset` is there; servers and PostgreSQL are not.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from bench.process import ROOT

_SCRIPT: Final = Path(__file__).resolve().parent / "wrk.lua"
_RESULT: Final = re.compile(r"^RESULT (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)$", re.MULTILINE)
_EXAMPLE: Final = re.compile(r"^EXAMPLE (.*)$", re.MULTILINE)
_PATIENCE_S: Final = 60


class Generator(StrEnum):
    """What makes the load. AUTO is wrk where it is there."""

    AUTO = "auto"
    WRK = "wrk"
    OWN = "own"


class LoadError(Exception):
    """The generator failed, or a request did. The message is for a person."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send where: the bodies in turn, over so many connections, for so long. `rate` is requests/s at a pace."""

    url: str
    headers: dict[str, str]
    bodies: Sequence[bytes]
    connections: int
    seconds: float
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """What a generator counted. Latencies are in milliseconds."""

    requests: int
    seconds: float
    bytes: int
    p50_ms: float
    p99_ms: float
    errors: int
    example: str = ""
    """The beginning of an answer that was an error."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def answer_kb(self) -> float:
        """The mean size of an answer."""
        return self.bytes / max(self.requests, 1) / 1024


def settle_generator(wanted: Generator) -> Generator:
    """Return the generator that will be used.

    Raises:
        LoadError: wrk was asked for and is not there.
    """
    there = shutil.which("wrk") is not None
    if wanted is Generator.WRK and not there:
        raise LoadError("wrk is not installed. On Debian: apt-get install wrk. Or take --generator own.")
    if wanted is Generator.AUTO:
        return Generator.WRK if there else Generator.OWN
    return wanted


def pinned() -> list[str]:
    """Return how a command is held on the last core; nothing where that can't be done, or there is one core only."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return ["taskset", "--cpu-list", str(cores[-1])] if len(cores) > 1 and shutil.which("taskset") else []


def run_load(load: Load, generator: Generator) -> Counted:
    """Make the load and return what was counted.

    Raises:
        LoadError: the generator failed, a request failed, or none was answered.
    """
    counted = _made(load, generator)
    if not counted.requests:
        raise LoadError(f"{load.url} has answered nothing in {load.seconds:g} s. Take longer windows: --seconds.")
    return counted


def warm_up(load: Load, generator: Generator) -> None:
    """Make the load, for what it does to the server.

    Raises:
        LoadError: the generator failed, or a request failed. That none was answered yet is no failure here.
    """
    if load.seconds:
        _made(load, generator)


def _made(load: Load, generator: Generator) -> Counted:
    # A pace is ours alone: wrk sends as fast as it is answered.
    counted = _wrk(load) if generator is Generator.WRK and load.rate is None else _own(load)
    if counted.errors:
        raise LoadError(f"{counted.errors} of {counted.requests} requests to {load.url} failed. {counted.example}")
    return counted


def _wrk(load: Load) -> Counted:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bodies, headers = Path(directory, "bodies"), Path(directory, "headers")
        bodies.write_bytes(b"\n".join(load.bodies) + b"\n")
        # In a file, since a command line is everybody's to read.
        headers.write_text("".join(f"{name}: {value}\n" for name, value in load.headers.items()))
        command = [
            *pinned(),
            *(
                "wrk",
                "--threads",
                "1",
                "--connections",
                str(load.connections),
                "--duration",
                f"{_whole(load.seconds)}s",
            ),
            *("--timeout", "30s", "--script", str(_SCRIPT), load.url, "--", str(bodies), str(headers)),
        ]
        output = _run(command, load.seconds, b"")
    found = _RESULT.search(output)
    if found is None:
        raise LoadError(f"wrk has printed no result: {output[-500:]}")
    requests, microseconds, size, p50, p99, errors = found.groups()
    example = _EXAMPLE.search(output)
    return Counted(
        requests=int(requests),
        seconds=int(microseconds) / 1e6,
        bytes=int(size),
        p50_ms=float(p50) / 1000,
        p99_ms=float(p99) / 1000,
        errors=int(errors),
        example=example.group(1) if example else "",
    )


def _own(load: Load) -> Counted:
    asked: dict[str, Any] = {**asdict(load), "bodies": [body.decode() for body in load.bodies]}
    output = _run([*pinned(), sys.executable, "-m", "bench.client"], load.seconds, orjson.dumps(asked))
    return Counted(**orjson.loads(output))


def _run(command: Sequence[str], seconds: float, given: bytes) -> str:
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, cwd=ROOT, timeout=seconds + _PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"The generator has not ended {_PATIENCE_S} s after its time.") from error
    if done.returncode != 0:
        raise LoadError(f"The generator failed: {done.stderr.decode(errors='replace').strip()[-800:]}")
    return done.stdout.decode()


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
