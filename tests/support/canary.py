"""Canaries: random words that are given as values, and then looked for wherever they must not be.

Every canary of a run begins with the run's own marker, so that looking for the marker finds all of them, whichever way
one was written: as it is, as hexadecimal, in base64, in UTF-16, escaped, as numbers.
"""

import base64
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MOST_HITS = 50
"""Of one form in one place, that are told."""

_LETTERS = string.ascii_lowercase


def _word(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


@dataclass
class Canaries:
    """What was planted in a run: where, by canary."""

    marker: str = field(default_factory=lambda: _word(14))
    planted: dict[str, str] = field(default_factory=dict)

    def plant(self, where: str) -> str:
        """Return a new canary. where: what it is given as."""
        # Letters alone, as long as a password must be, and no canary the beginning of another.
        canary = f"{self.marker}{_word(8)}{len(self.planted):04d}x"
        self.planted[canary] = where
        return canary

    def within(self, text: str) -> set[str]:
        """Return the canaries in a text, which is as an answer is."""
        found = set()
        for part in text.split(self.marker)[1:]:
            found |= {self.marker + part[:13]} & self.planted.keys()
        return found

    def where(self, content: bytes, at: int) -> str:
        """Return what the canary in the content was given as, where it can be read there."""
        return self.planted.get(content[at : at + 27].decode("latin-1"), "")


def forms(word: str) -> dict[str, bytes]:
    """Return the ways in which a word of small letters may stand in a file, by what they are called."""
    plain = word.encode("ascii")
    found = {
        "plain": plain,
        "upper case": plain.upper(),
        "backwards": plain[::-1],
        "hexadecimal": plain.hex().encode(),
        "HEXADECIMAL": plain.hex().upper().encode(),
        # Without the last zeros, so that either byte order has it.
        "UTF-16": word.encode("utf-16-le")[:-1],
        "UTF-32": word.encode("utf-32-le")[:-3],
        "percent": "".join(f"%{one:02x}" for one in plain).encode(),
        "PERCENT": "".join(f"%{one:02X}" for one in plain).encode(),
        "JSON escapes": "".join(f"\\u{one:04x}" for one in plain).encode(),
        "JSON ESCAPES": "".join(f"\\u{one:04X}" for one in plain).encode(),
        "byte escapes": "".join(f"\\x{one:02x}" for one in plain).encode(),
        "octal escapes": "".join(f"\\{one:03o}" for one in plain).encode(),
        "numbers": " ".join(map(str, plain)).encode(),
        "numbers, listed": ", ".join(map(str, plain)).encode(),
    }
    for offset in range(3):
        found[f"base64 at {offset}"] = _base64_within(plain, offset)
    return found


def _base64_within(plain: bytes, offset: int) -> bytes:
    """Return what of the base64 is the same whatever stands before and after, where so many bytes modulo 3 do."""
    encoded = base64.b64encode(bytes(offset) + plain)
    return encoded[-(-offset * 8 // 6) : (offset + len(plain)) * 8 // 6]


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found: in which place, what, in which form, and what stands around it."""

    place: str
    what: str
    form: str
    around: str


@dataclass
class Scan:
    """Looks for words, and counts how much it looked at.

    words: by name, the forms of what is looked for.
    """

    words: Mapping[str, Mapping[str, bytes]]
    canaries: Canaries
    places: int = 0
    size: int = 0
    hits: list[Hit] = field(default_factory=list)

    def content(self, place: str, content: bytes, *, spared: Iterable[str] = ()) -> None:
        """Look at something. spared: the words that belong there."""
        self.places += 1
        self.size += len(content)
        for name, one in self.words.items():
            if name in spared:
                continue
            for form, sought in one.items():
                at, found = content.find(sought), 0
                while at >= 0 and found < MOST_HITS:
                    around = content[max(0, at - 60) : at + len(sought) + 40].decode("ascii", "backslashreplace")
                    what = self.canaries.where(content, at) or name
                    self.hits.append(Hit(place, what, form, around))
                    at, found = content.find(sought, at + 1), found + 1

    def tree(self, root: Path, *, spared: Mapping[Path, Iterable[str]] | None = None) -> None:
        """Look at every file below a directory. spared: by file, the words that belong there."""
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # PostgreSQL took it away meanwhile.
            self.content(str(path), content, spared=(spared or {}).get(path, ()))
