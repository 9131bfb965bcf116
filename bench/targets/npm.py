"""What comes from npm, by its ordinary client, kept below the run's directory: the peers, and a Node new enough."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.process import Process, ProcessError, plain_environment
from bench.seed_peers import PEERS
from bench.targets.base import UnavailableTargetError

NEEDED_NODE: Final = 22
_NODE_VERSION: Final = "22.23.3"
"""Of the packages that hold Node itself, for a machine whose own is older."""
_INSTALL_TIMEOUT_S: Final = 900
_ARCHITECTURES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def install(peer: str, directory: Path) -> Path:
    """Install a peer's packages and copy its own files; return the folder, from which it runs.

    What a run before has installed is kept, as long as the same is asked for.

    Raises:
        UnavailableTargetError: there is no npm, or it can't get them.
    """
    folder = directory / "npm" / peer
    manifest = (PEERS / peer / "package.json").read_text()
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != manifest:
        shutil.copytree(PEERS / peer, folder, dirs_exist_ok=True)
        _npm_install(peer, folder)
        stamp.write_text(manifest)
    for file in (PEERS / peer).glob("*.mjs"):
        shutil.copy(file, folder / file.name)
    return folder


def declared_version(peer: str) -> str:
    """Return the version of a peer that is installed."""
    return str(json.loads((PEERS / peer / "package.json").read_text())["dependencies"][peer])


def node(directory: Path) -> Path:
    """Return a Node of the needed version: the machine's own, or one from npm.

    Raises:
        UnavailableTargetError: there is none.
    """
    own = shutil.which("node")
    if own is not None and _major(own) >= NEEDED_NODE:
        return Path(own)
    architecture = _ARCHITECTURES.get(platform.machine().lower())
    if architecture is None or sys.platform not in {"linux", "darwin"}:
        raise UnavailableTargetError(f"Node {NEEDED_NODE} is not installed.")
    package = f"node-{sys.platform}-{architecture}"
    folder = directory / "npm" / "node"
    binary = folder / "node_modules" / package / "bin" / "node"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": {package: _NODE_VERSION}}))
        _npm_install("node", folder)
    return binary


def _npm_install(name: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UnavailableTargetError("npm is not installed.")
    # Without install scripts: what the peers need of binaries lies in the packages.
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    log = folder.with_name(f"{name}-install.log")
    with Process.start(
        f"npm install for {name}", command, log=log, environment=plain_environment(), directory=folder
    ) as process:
        try:
            process.wait(_INSTALL_TIMEOUT_S)
        except ProcessError as error:
            raise UnavailableTargetError(str(error)) from error


def _major(binary: str) -> int:
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    number = done.stdout.strip().removeprefix("v").partition(".")[0]
    return int(number) if number.isdigit() else 0
