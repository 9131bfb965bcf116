"""The licences of what is served with, and whether each is one that we take."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from typing import Final

from supply.lock import PAGES, PROVIDERS, SERVED, Locked, installed, npm_packages, python_packages

ALLOWED: Final = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "PostgreSQL"),
        # Of files that are used as they are, and not changed.
        "MPL-2.0",
        *("Unlicense", "Zlib", "CC0-1.0", "Python-2.0"),
    }
)
"""Licences, by their names in SPDX, under which something may be served with Fieldward."""

SHIPPED: Final = (
    *("@graphiql/plugin-doc-explorer", "@graphiql/react", "codemirror", "graphiql", "graphql", "graphql-ws"),
    *("react", "react-dom"),
)
"""What of the pages' npm packages is built into what is served."""

_NAMES: Final[Mapping[str, str]] = {
    "mit": "MIT",
    "mit license": "MIT",
    "the mit license (mit)": "MIT",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "apache 2.0": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl-2.0": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "psf": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "postgresql license": "PostgreSQL",
}
"""What packages write instead of the names of SPDX."""
_CLASSIFIER: Final = "License :: OSI Approved :: "

READ_BY_US: Final[Mapping[str, str]] = {}
"""Licences of packages that don't say theirs in a form that is read: as their own files say it."""


@dataclass(frozen=True, slots=True)
class Licensed:
    """A package, and its licence as an expression of SPDX; None where it is not known."""

    package: Locked
    licence: str | None

    @property
    def is_allowed(self) -> bool:
        """Whether we take it: of what may be chosen one part, of what holds together every part."""
        return self.licence is not None and allows(self.licence)


def licences() -> list[Licensed]:
    """Return the licences of what is served with: Python packages that are installed here, and parts of the pages.

    What is locked for other platforms alone is not installed, and not told.
    """
    here = installed()
    pinned = {one.name: one for path in (SERVED, PROVIDERS) for one in python_packages(path)}
    found = [Licensed(one, licence_of(here[name])) for name, one in sorted(pinned.items()) if name in here]
    return found + [Licensed(one, one.licence) for one in npm_packages(PAGES, shipped_by=SHIPPED)]


def licence_of(distribution: Distribution) -> str | None:
    """Return what an installed distribution says its licence is; None where it says nothing that is understood."""
    said = distribution.metadata
    name = str(said["Name"]).lower()
    if name in READ_BY_US:
        return READ_BY_US[name]
    if "License-Expression" in said:
        return str(said["License-Expression"])
    # A whole text, where somebody put it there, is no name.
    named = str(said["License"]).strip() if "License" in said else ""
    if named.lower() in _NAMES:
        return _NAMES[named.lower()]
    if named in ALLOWED or (named and allows(named)):
        return named
    classified = [one.removeprefix(_CLASSIFIER) for one in said.get_all("Classifier") or () if _CLASSIFIER in one]
    known = {_NAMES[one.lower()] for one in classified if one.lower() in _NAMES}
    return " OR ".join(sorted(known)) if known and len(known) == len(set(classified)) else named or None


def allows(expression: str) -> bool:
    """Return whether an expression of SPDX is one that we take."""
    text = expression.strip()
    while text.startswith("(") and _closes_at_end(text):
        text = text[1:-1].strip()
    for operator, holds in (("OR", any), ("AND", all)):
        parts = list(_split(text, operator))
        if len(parts) > 1:
            return holds(allows(part) for part in parts)
    return text.partition(" WITH ")[0] in ALLOWED


def page(told: Iterable[Licensed]) -> str:
    """Return the list as it stands in docs/licences.md."""
    lines = [
        "# Licences",
        "",
        "Of what is served with Fieldward: the Python packages of `requirements.txt` and `requirements-providers.txt`,",
        "and the npm packages that are built into its pages. Printed by `python -m supply licences`.",
        "",
        "| Package | From | Licence |",
        "| --- | --- | --- |",
    ]
    seen = {(one.package.name, one.package.kind, one.licence or "unknown") for one in told}
    lines += [f"| `{name}` | {kind} | {licence} |" for name, kind, licence in sorted(seen)]
    return "\n".join(lines) + "\n"


def _closes_at_end(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _split(text: str, operator: str) -> Iterable[str]:
    """Yield the parts of an expression around an operator that is in no parentheses."""
    depth = 0
    part: list[str] = []
    for word in re.findall(r"\(|\)|[^\s()]+", text):
        depth += (word == "(") - (word == ")")
        if word == operator and depth == 0:
            yield " ".join(part)
            part = []
        else:
            part.append(word)
    yield " ".join(part)
