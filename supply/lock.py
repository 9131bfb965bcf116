"""What is locked: the Python packages of the requirements files, and the npm packages of the served pages."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SERVED: Final = ROOT / "requirements.txt"
PROVIDERS: Final = ROOT / "requirements-providers.txt"
DEVELOPED: Final = ROOT / "requirements-dev.txt"
FAILOVER: Final = ROOT / "drills" / "requirements-patroni.txt"
"""What keeps the database's machines, and is drilled with: Patroni, in an environment of its own."""
BACKUPS: Final = ROOT / "drills" / "requirements-barman.txt"
"""What copies and restores a PostgreSQL of an operator's own, and is tested with: Barman, in one as well."""
PAGES: Final = ROOT / "fieldward" / "pages" / "build" / "package-lock.json"
CLIENTS: Final = ROOT / "tests" / "clients" / "package-lock.json"

_PIN: Final = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)[^\\\n]*((?:\\\n\s+--hash=\S+\s*)*)", re.MULTILINE
)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class LockError(ValueError):
    """A file of locked packages holds something that is not locked."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A package of one version. kind: `pypi` or `npm`. hashes: in hexadecimal; of Python one for each of its files.

    licence: as it is said where it is locked; None where that says nothing.
    """

    kind: str
    name: str
    version: str
    algorithm: str
    hashes: Sequence[str]
    licence: str | None = None


def python_packages(path: Path) -> list[Locked]:
    """Return the packages of a requirements file.

    Raises:
        LockError: one has no hash.
    """
    found = []
    for name, version, hashes in _PIN.findall(path.read_text()):
        told = _HASH.findall(hashes)
        if not told:
            raise LockError(f"{path.name}: {name} has no hash.")
        found.append(Locked("pypi", normal(name), version, "SHA-256", told))
    return sorted(found, key=lambda one: one.name)


def npm_packages(path: Path, *, shipped_by: Sequence[str] | None = None) -> list[Locked]:
    """Return the packages of a package-lock.

    shipped_by: what of it is built into what is served, with all that those depend on; None for everything.

    Raises:
        LockError: one has no hash.
    """
    packages: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text())["packages"]
    wanted = {key for key in packages if key} if shipped_by is None else set(_reached(packages, shipped_by))
    found = []
    for key in sorted(wanted):
        one = packages[key]
        if "integrity" not in one:
            raise LockError(f"{path.name}: {key} has no hash.")
        algorithm, _, digest = str(one["integrity"]).partition("-")
        name = str(one.get("name") or key.rpartition("node_modules/")[2])
        hexadecimal = base64.b64decode(digest).hex()
        licence = one.get("license")
        found.append(Locked("npm", name, one["version"], f"SHA-{algorithm[3:]}", [hexadecimal], licence))
    return found


def normal(name: str) -> str:
    """Return a Python package's name in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> Mapping[str, metadata.Distribution]:
    """Return the distributions of this environment, by their names."""
    return {normal(one.metadata["Name"]): one for one in metadata.distributions() if one.metadata["Name"]}


def _reached(packages: Mapping[str, Mapping[str, Any]], roots: Sequence[str]) -> Iterator[str]:
    """Yield the keys of packages that are reached from those named, as Node finds them."""
    seen: set[str] = set()
    waiting = [key for name in roots if (key := _found(packages, "", name)) is not None]
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        yield key
        one = packages[key]
        needed = {**one.get("dependencies", {}), **one.get("peerDependencies", {})}
        waiting += [found for name in needed if (found := _found(packages, key, name)) is not None]


def _found(packages: Mapping[str, Any], within: str, name: str) -> str | None:
    """Return the key of the package that a name means, within another: the nearest one."""
    while True:
        key = f"{within}/node_modules/{name}" if within else f"node_modules/{name}"
        if key in packages:
            return key
        if not within:
            return None
        within = within.rpartition("/node_modules/")[0] if "/node_modules/" in within else ""
