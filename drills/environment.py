"""Environments of their own for what is run beside the service, from the locked requirements next to this."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent


def programs_of(name: str) -> Path:
    """Return the directory of the programs of an environment, made anew where its requirements changed.

    name: `patroni` for requirements-patroni.txt, in which all that is wanted stands: nothing else is looked for.
    """
    requirements = _HERE / f"requirements-{name}.txt"
    environment = _HERE / f".{name}"
    stamp = environment / hashlib.sha256(requirements.read_bytes()).hexdigest()
    programs = environment / "bin"
    with (_HERE / f".{name}.lock").open("w") as lock:
        # Tests of several processes may want it at the same time, and one of them makes it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            _make(environment, requirements)
            stamp.touch()
    return programs


def _make(environment: Path, requirements: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    subprocess.run(
        [
            *(str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--no-deps", "-r", str(requirements)),
        ],
        check=True,
    )
