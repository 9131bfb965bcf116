"""Known vulnerabilities of what is locked: asked of those who know, if they are to be reached.

pip-audit asks for the Python packages and npm for its own. Where nobody answers, or a package is not looked up, that is
said and is no failure: a build without a network builds on. What was looked at and is no danger here stands in
`supply/accepted.toml`, with why and until when.
"""

import datetime
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from supply.lock import BACKUPS, CLIENTS, DEVELOPED, FAILOVER, PAGES, PROVIDERS, ROOT

ACCEPTED: Final = ROOT / "supply" / "accepted.toml"
TIMEOUT_S: Final = 300
_SEVERE: Final = frozenset({"moderate", "high", "critical"})
"""What npm calls the severities that count."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability that is known of a package: its id, and where it is mended, as far as that is known."""

    package: str
    version: str
    id: str
    mended_in: str


@dataclass(frozen=True, slots=True)
class Audited:
    """What is known of what is locked together. unchecked: packages that were not looked up, each with why."""

    findings: Sequence[Finding]
    unchecked: Mapping[str, str] = field(default_factory=dict)


class NotCheckedError(Exception):
    """Nobody who knows could be asked. The message says why."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What was looked at, why it is no danger here, and until when that holds."""

    id: str
    why: str
    until: datetime.date


def accepted(path: Path = ACCEPTED, *, today: datetime.date) -> Mapping[str, Acceptance]:
    """Return what is accepted on this day, by its id.

    Raises:
        ValueError: an entry is not complete.
    """
    found = {}
    for one in tomllib.loads(path.read_text()).get("accepted", []):
        if not (isinstance(one.get("until"), datetime.date) and one.get("id") and str(one.get("why", "")).strip()):
            raise ValueError(f"{path.name}: expected id, why and until in each entry.")
        if one["until"] >= today:
            found[one["id"]] = Acceptance(one["id"], one["why"], one["until"])
    return found


def python_findings(path: Path) -> Audited:
    """Return what is known of the packages of a requirements file.

    Raises:
        NotCheckedError: nobody could be asked.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--require-hashes", "--disable-pip"]
    output = _answered([*command, "--format", "json", "--progress-spinner", "off"], ROOT)
    try:
        told = json.loads(output)["dependencies"]
        unchecked = {one["name"]: str(one["skip_reason"]) for one in told if "skip_reason" in one}
        return Audited(list(_python(one for one in told if "skip_reason" not in one)), unchecked)
    except (ValueError, KeyError, TypeError):
        raise NotCheckedError("pip-audit was answered nothing") from None


def npm_findings(path: Path) -> Audited:
    """Return what is known of the packages of a package-lock.

    Raises:
        NotCheckedError: nobody could be asked.
    """
    output = _answered(["npm", "audit", "--package-lock-only", "--json"], path.parent)
    try:
        told = json.loads(output)
        return Audited(list(_npm(told["vulnerabilities"])))
    except (ValueError, KeyError, TypeError):
        raise NotCheckedError("npm was answered nothing") from None


def audit() -> int:
    """Print what is known of everything that is locked, and return the exit code: 1 where something is to be done."""
    allowed = accepted(today=datetime.datetime.now(datetime.UTC).date())
    code = 0
    for path, ask in (
        (DEVELOPED, python_findings),
        (PROVIDERS, python_findings),
        (FAILOVER, python_findings),
        (BACKUPS, python_findings),
        (PAGES, npm_findings),
        (CLIENTS, npm_findings),
    ):
        name = path.relative_to(ROOT).as_posix()
        try:
            found = ask(path)
        except NotCheckedError as error:
            print(f"{name}: NOT CHECKED ({error})")
            continue
        open_ones = [one for one in found.findings if one.id not in allowed]
        unchecked = f", {len(found.unchecked)} NOT CHECKED" if found.unchecked else ""
        print(f"{name}: {len(open_ones)} known, {len(found.findings) - len(open_ones)} accepted{unchecked}")
        for one in open_ones:
            code = 1
            print(f"  {one.package} {one.version}: {one.id}, mended in {one.mended_in or 'none yet'}")
        for package, why in found.unchecked.items():
            print(f"  {package}: NOT CHECKED ({why})")
    return code


def _answered(command: Sequence[str], directory: Path) -> str:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise NotCheckedError(f"{Path(command[0]).name} is not installed") from None
    except subprocess.TimeoutExpired:
        raise NotCheckedError("no answer in time") from None
    if not done.stdout.strip():
        raise NotCheckedError("nobody answered")
    return done.stdout


def _python(told: Iterable[Mapping[str, Any]]) -> Iterable[Finding]:
    for one in told:
        for known in one["vulns"]:
            yield Finding(one["name"], one["version"], known["id"], ", ".join(known.get("fix_versions", ())))


def _npm(told: Mapping[str, Mapping[str, Any]]) -> Iterable[Finding]:
    seen = set()
    for name, one in told.items():
        for via in one.get("via", ()):
            # What is a name here is another package's vulnerability, which stands under that one.
            if isinstance(via, dict) and via.get("severity") in _SEVERE and via.get("url") not in seen:
                seen.add(via.get("url"))
                fix = one.get("fixAvailable")
                mended = fix.get("version", "") if isinstance(fix, dict) else "a newer one" if fix else ""
                yield Finding(name, str(one.get("range", "")), str(via.get("url", "")).rpartition("/")[2], mended)
