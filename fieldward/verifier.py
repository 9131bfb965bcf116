"""Verifies an exported audit trail, with nothing but the bundle, the public key, and heads that were kept earlier.

    python verify.py bundle.zip --key KEY [--head FILE …] [--witness KEY …] [--json]

Needs Python 3.11 and `cryptography`, and nothing else of Fieldward: whoever verifies can read all of it. It recomputes
the tree of RFC 9162 over the lines of the bundle and compares it with each signed head (C2SP tlog-checkpoint, Ed25519)
in the bundle, and with each that was kept earlier. KEY is a verifier key, `name+id+key`, had from elsewhere than the
bundle: without one, nobody can say who signed.

Exit codes: 0 verified; 1 something is wrong, and is named; 2 it could not be verified.
Memory is bounded, whatever is in the bundle; on disk it takes some 200 bytes for each entry while it runs.
"""

import argparse
import base64
import binascii
import hashlib
import io
import json
import re
import sqlite3
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, NoReturn
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT: Final = "fieldward-audit-bundle/1"
MANIFEST, ENTRIES, LEAVES, HEADS, ABOVE = (
    "manifest.json",
    "entries.jsonl",
    "leaves.bin",
    "heads.txt",
    "tree-of-heads.json",
)
README, VERIFIER = "README.txt", "verify.py"
MEMBERS: Final = (ENTRIES, LEAVES, HEADS, ABOVE, MANIFEST, README, VERIFIER)

VERIFIED, WRONG, UNVERIFIED = 0, 1, 2

HASH_LENGTH: Final = 32
MOST_PARSED: Final = 16 * 2**20
"""Bytes of a line that is looked into. A longer one, an entry with very many changes, is hashed as it goes by."""
MOST_NOTE: Final = 65_536
MOST_SMALL_FILE: Final = 2**20
MOST_FINDINGS: Final = 50
LONGEST_TRANSACTION: Final = timedelta(hours=1)
LEAST_DAYS: Final = 90
"""Days that every entry is kept."""
WAITING: Final = timedelta(days=7)
"""How long a period was decided before entries leave by it."""
WINDOW: Final = 4096
"""Lines among which a line is looked for that stands in another's place."""

_CHUNK: Final = 65_536
_DASH: Final = "— "
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_GENERATION: Final = re.compile(r"(/heads|/organization/[0-9a-f-]{36})/[1-9][0-9]*\Z")
_LOG: Final = re.compile(r"(/heads|/organization/[0-9a-f-]{36})(/[1-9][0-9]*)?\Z")
_HEX_HASH: Final = re.compile(r"[0-9a-f]{64}")
_ED25519, _COSIGNATURE = 1, 4


class BundleError(Exception):
    """A file is not what it should be. The message says what was expected."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong.

    kind: changed, removed, added, reordered, truncated, forked, expired, signature, cosignature or malformed.
    line: the first line of the entries that it is about, from 1; None where it is about no line.
    """

    kind: str
    what: str
    line: int | None = None


@dataclass(slots=True)
class Report:
    """What was verified, and what is wrong."""

    origin: str = ""
    entries: int = 0
    expired: int = 0
    heads: int = 0
    root: str = ""
    earlier_heads: int = 0
    cosigned: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    more: int = 0
    is_authenticated: bool = False

    @property
    def code(self) -> int:
        """The exit code."""
        if self.findings:
            return WRONG
        return VERIFIED if self.is_authenticated else UNVERIFIED

    def add(self, kind: str, what: str, line: int | None = None) -> None:
        """Name a finding, or count it where there are many already."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(kind, what, line))
        else:
            self.more += 1


# ------------------------------------------------------------------ the tree (RFC 9162, 2.1.1)


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows: of it are kept the roots of its complete subtrees, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []

    def add(self, hashed: bytes) -> None:
        """Append a leaf, given as its hash."""
        self.size += 1
        self._subtrees.append(hashed)
        rest = self.size
        while rest % 2 == 0:
            rest //= 2
            right = self._subtrees.pop()
            self._subtrees[-1] = node_hash(self._subtrees[-1], right)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self._subtrees:
            return hashlib.sha256().digest()
        root = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            root = node_hash(left, root)
        return root


def root_by_path(leaf: bytes, index: int, size: int, path: Iterable[bytes]) -> bytes | None:
    """Return the root to which an inclusion proof leads (RFC 9162, 2.1.3.2); None where it has another length."""
    if not 0 <= index < size:
        return None
    here, last, found = index, size - 1, leaf
    for hashed in path:
        if last == 0:
            return None
        if here % 2 or here == last:
            found = node_hash(hashed, found)
            while here % 2 == 0 and here:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, hashed)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


# ------------------------------------------------------------------ signed heads (C2SP signed-note, tlog-checkpoint)


@dataclass(frozen=True, slots=True)
class Key:
    """A verifier key: whose it is, what it signs, and its public half."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names it."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key of a text, `name+id+key`. Raises `BundleError` if it is none."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        stored = _decoded(encoded)
        if not name or len(stored) != 33 or stored[0] not in {_ED25519, _COSIGNATURE}:
            raise BundleError("expected a verifier key: name+id+key")
        key = cls(name, stored[0], stored[1:])
        if key.id.hex() != key_id:
            raise BundleError(f"the verifier key of {name} has not the id that it says")
        return key

    def verify(self, head: "Head") -> bool | None:
        """Return whether its signature below the head is right; None where there is none of it."""
        own = [signed for name, key_id, signed in head.signatures if (name, key_id) == (self.name, self.id)]
        return all(self._is_right(head.text, signed) for signed in own) if own else None

    def _is_right(self, text: str, signed: bytes) -> bool:
        if self.kind == _COSIGNATURE:
            text, signed = f"cosignature/v1\ntime {int.from_bytes(signed[:8], 'big')}\n{text}", signed[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signed, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head, of which nothing is verified yet."""

    text: str
    origin: str
    size: int
    root: bytes
    signatures: tuple[tuple[str, bytes, bytes], ...]


def parse_head(note: str) -> Head:
    """Return the head that a note says. Raises `BundleError` if it is none."""
    text, gap, below = note.rpartition("\n\n")
    lines = text.split("\n")
    if not gap or not below.endswith("\n") or len(lines) < 3 or not all(lines) or not _NUMBER.fullmatch(lines[1]):
        raise BundleError("expected a checkpoint: origin, size, root, an empty line and signatures")
    root = _decoded(lines[2])
    if len(root) != HASH_LENGTH:
        raise BundleError("expected the root of the tree in the third line of a checkpoint")
    signatures = []
    for line in below.removesuffix("\n").split("\n"):
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        stored = _decoded(encoded)
        if not line.startswith(_DASH) or not name or not space or len(stored) <= 4:
            raise BundleError("expected signatures below a checkpoint")
        signatures.append((name, stored[:4], stored[4:]))
    return Head(text + "\n", lines[0], int(lines[1]), root, tuple(signatures))


def parse_heads(lines: Iterable[str]) -> Iterator[Head]:
    """Yield the heads of a text in which checkpoints stand below each other. Raises `BundleError` at what is none."""
    note: list[str] = []
    length = 0
    for line in lines:
        if note and note[-1].startswith(_DASH) and not line.startswith(_DASH):
            yield parse_head("".join(note))
            note, length = [], 0
        if line == "\n" and not note:
            continue
        note.append(line)
        length += len(line)
        if length > MOST_NOTE:
            raise BundleError(f"expected a checkpoint of at most {MOST_NOTE} bytes")
    if note:
        yield parse_head("".join(note))


def _decoded(text: str) -> bytes:
    try:
        stored = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        stored = b""
    if base64.b64encode(stored).decode() != text:
        raise BundleError("expected base64")
    return stored


# ------------------------------------------------------------------ reading the bundle, bounded


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn all that a damaged archive can raise into `BundleError`."""
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        KeyError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
        sqlite3.Error,
    ) as error:
        raise BundleError(f"{name} can't be read ({type(error).__name__})") from error


class Bundle:
    """The files of a bundle."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        names = [info.filename for info in archive.infolist()]
        if len(set(names)) != len(names):
            raise BundleError("two files of the bundle have one name")
        if unknown := sorted(set(names) - set(MEMBERS)):
            raise BundleError(f"expected no other files in the bundle than {', '.join(MEMBERS)}; got {unknown[0]!r}")
        if missing := sorted({MANIFEST, ENTRIES, LEAVES, HEADS} - set(names)):
            raise BundleError(f"the bundle has no {missing[0]}")
        self.names = frozenset(names)

    def small(self, name: str) -> Any:
        """Return what a small file of JSON says."""
        with reading(name):
            with self._archive.open(name) as file:
                content = file.read(MOST_SMALL_FILE + 1)
            if len(content) > MOST_SMALL_FILE:
                raise BundleError(f"expected at most {MOST_SMALL_FILE} bytes in {name}")
            return json.loads(content)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a file's content piece by piece."""
        with reading(name), self._archive.open(name) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def heads(self) -> Iterator[Head]:
        """Yield the signed heads of the bundle."""
        return parse_heads(_text_lines(self.chunks(HEADS)))


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the entries: its leaf's hash, and its content where that is short enough to be looked into."""

    hash: bytes
    content: bytes | None = field(repr=False)
    is_ended: bool


def entry_lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines, hashing them as they go by."""
    digest, kept, length, is_open = hashlib.sha256(b"\x00"), bytearray(), 0, False
    for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            piece = chunk[start:end]
            digest.update(piece)
            length += len(piece)
            kept += piece if length <= MOST_PARSED else b""
            yield Line(digest.digest(), bytes(kept) if length <= MOST_PARSED else None, True)
            digest, kept, length, is_open = hashlib.sha256(b"\x00"), bytearray(), 0, False
            start = end + 1
        if rest := chunk[start:]:
            is_open = True
            digest.update(rest)
            length += len(rest)
            if length <= MOST_PARSED:
                kept += rest
            else:
                kept.clear()
    if is_open:
        yield Line(digest.digest(), bytes(kept) if length <= MOST_PARSED else None, False)


def _text_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield _text(line) + "\n"
        if len(rest) > MOST_NOTE:
            raise BundleError(f"expected lines of at most {MOST_NOTE} bytes")
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise BundleError("expected text") from None


# ------------------------------------------------------------------ what the entries say of each other


class Periods:
    """What an organization decided of how long it keeps entries, as the trail tells it."""

    def __init__(self) -> None:
        self._days: dict[str, Any] = {}
        self._decided: dict[str, datetime] = {}

    def decide(self, row: str, columns: dict[str, Any], at: datetime) -> None:
        """Take up the change of a period."""
        if "days" in columns:
            self._days[row] = columns["days"][1]
        self._decided[row] = at

    def cutoff(self, moment: datetime) -> datetime | None:
        """Return before when an entry was written that may leave at a moment, whatever its kind; None: none may."""
        ends = [
            moment - timedelta(days=max(days, LEAST_DAYS))
            for row, days in self._days.items()
            if isinstance(days, int) and self._decided[row] < moment - WAITING
        ]
        return max(ends, default=None)


class Entries:
    """What must be so among entries: that ids are unique, their order, and that what left the trail is named by it."""

    def __init__(self, report: Report, organization_id: str) -> None:
        self._report = report
        self._organization_id = organization_id
        # A database on disk, that is gone when it is closed: for as many entries as there are.
        self._seen = sqlite3.connect("")
        self._seen.executescript(
            "pragma journal_mode = off; pragma synchronous = off;"
            "create table line (id blob primary key, number integer, expired_by blob, since real) without rowid;"
            "create table named (id blob, expired_by blob, cutoff real, primary key (id, expired_by)) without rowid;"
        )
        self._last: tuple[int, datetime] | None = None
        self._newest: datetime | None = None
        self._periods = Periods()
        self.unparsed = 0

    def add(self, number: int, line: Line) -> bytes:
        """Take up a line, and return the hash of its leaf."""
        if line.content is None:
            self.unparsed += 1
            return line.hash
        try:
            said = json.loads(line.content)
            if isinstance(said, dict) and said.keys() == {"by", "expired", "id"}:
                return self._expired(number, said)
            if not isinstance(said, dict) or said.keys() != {"changes", "entry"}:
                raise BundleError("expected an entry and its changes")
            self._entry(number, said["entry"], said["changes"])
        except (BundleError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            what = str(error) if isinstance(error, BundleError) else "it is no JSON of an entry"
            self._report.add("malformed", f"line {number}: {what}", number)
        return line.hash

    def end(self) -> None:
        """Compare what left the trail with what it says of that."""
        seen = self._seen
        for number, entry_id in seen.execute(
            "select l.number, l.id from line l where l.expired_by is not null and not exists"
            " (select 1 from named n join line x on x.id = n.expired_by"
            "   where n.id = l.id and n.expired_by = l.expired_by and x.number > l.number) order by l.number"
        ):
            what = f"line {number}: no later entry audit.expire says that entry {UUID(bytes=entry_id)} left the trail"
            self._report.add("expired", what, number)
        for number, entry_id in seen.execute(
            "select l.number, l.id from line l join named n on n.id = l.id and n.expired_by = l.expired_by"
            " where n.cutoff is null or l.since >= n.cutoff order by l.number"
        ):
            what = f"line {number}: no period that was decided a week before let entry {UUID(bytes=entry_id)} leave"
            self._report.add("expired", what, number)
        for entry_id, act_id in seen.execute(
            "select n.id, n.expired_by from named n where not exists (select 1 from line l where l.id = n.id)"
        ):
            what = f"entry {UUID(bytes=act_id)} says that entry {UUID(bytes=entry_id)} left, of which there is no line"
            self._report.add("expired", what)
        seen.close()

    def _expired(self, number: int, said: dict[str, Any]) -> bytes:
        if not isinstance(said["expired"], str) or not _HEX_HASH.fullmatch(said["expired"]):
            raise BundleError("expected the hash of the leaf of an entry that left the trail")
        self._note(number, UUID(said["id"]), UUID(said["by"]).bytes)
        self._report.expired += 1
        return bytes.fromhex(said["expired"])

    def _entry(self, number: int, entry: Any, changes: Any) -> None:
        entry_id = UUID(entry["id"])
        if entry["organization_id"] != self._organization_id:
            raise BundleError("it is an entry of another organization")
        if not isinstance(changes, list) or any(one["entry_id"] != entry["id"] for one in changes):
            raise BundleError("its changes are of another entry")
        self._note(number, entry_id, None)
        transaction, at = int(entry["transaction_id"]), datetime.fromisoformat(entry["at"])
        if not 0 <= transaction < 2**63:
            raise BundleError("expected the number of a transaction")
        # Numbers of transactions begin anew on another server, and then what is later is later by the clock.
        if self._last is not None and transaction < self._last[0] and at + LONGEST_TRANSACTION < self._last[1]:
            what = f"line {number}: transaction {transaction} stands behind transaction {self._last[0]}, a younger one"
            self._report.add("reordered", what, number)
        elif self._newest is not None and at + LONGEST_TRANSACTION < self._newest:
            what = f"line {number}: it says {at:%Y-%m-%d %H:%M:%S} and stands behind {self._newest:%Y-%m-%d %H:%M:%S}"
            self._report.add("reordered", what, number)
        else:
            self._last = transaction, at
            self._newest = at if self._newest is None else max(at, self._newest)
        for change in changes:
            if change.get("entity") == "trail_retention":
                self._periods.decide(str(change["entity_id"]), change["columns"], at)
        if entry["action"] == "audit.expire" and entry["outcome"] == "DONE":
            end = self._periods.cutoff(at)
            cutoff = None if end is None else end.timestamp()
            ids = [(UUID(one).bytes, entry_id.bytes, cutoff) for one in entry.get("entity_ids", ())]
            self._seen.executemany("insert or ignore into named values (?, ?, ?)", ids)

    def _note(self, number: int, entry_id: UUID, expired_by: bytes | None) -> None:
        # When what left was written is known by what stands before it.
        since = (self._newest - LONGEST_TRANSACTION).timestamp() if self._newest is not None else float("-inf")
        try:
            self._seen.execute("insert into line values (?, ?, ?, ?)", (entry_id.bytes, number, expired_by, since))
        except sqlite3.IntegrityError:
            self._report.add("malformed", f"line {number}: entry {entry_id} is there twice", number)


# ------------------------------------------------------------------ the verification


class Hashes:
    """The hashes of leaves, one after the other, on disk."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self.count = 0

    def add(self, hashed: bytes) -> None:
        """Append one."""
        self._file.write(hashed)
        self.count += 1

    def window(self, start: int, end: int) -> list[bytes]:
        """Return those from one place up to, and without, another, as far as there are any."""
        start, end = min(start, self.count), min(end, self.count)
        self._file.seek(start * HASH_LENGTH)
        stored = self._file.read((end - start) * HASH_LENGTH)
        return [stored[at : at + HASH_LENGTH] for at in range(0, len(stored), HASH_LENGTH)]

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


@dataclass(slots=True)
class Trust:
    """By which keys is verified: those that were given, or the bundle's own, of which nobody knows whose it is.

    One key signs for all logs of an installation, each under the log's own origin: whoever trusts it by the name of the
    installation, or of one log, knows it in all. A log that was begun anew after a loss has a number behind its origin.
    """

    keys: list[Key]
    witnesses: list[Key]

    def key_of(self, origin: str) -> Key | None:
        """Return the key that signs for a log."""
        named = [key for key in self.keys if key.name == origin]
        same = [key for key in self.keys if _installation(key.name) == _installation(origin)]
        return named[0] if named else Key(origin, _ED25519, same[0].public) if same else None


def _installation(origin: str) -> str:
    return _LOG.sub("", origin)


def _log(origin: str) -> str:
    """Return the origin of a log as it was in the beginning."""
    return _GENERATION.sub(r"\1", origin)


def verify(path: Path, keys: list[Key], earlier: list[tuple[str, Head]], witnesses: list[Key]) -> Report:
    """Verify a bundle.

    keys: of the logs that are trusted. earlier: heads that were kept, and where. witnesses: who must have cosigned.

    Raises:
        BundleError: it is no bundle, or one that can't be read.
    """
    report = Report()
    with reading(path.name), zipfile.ZipFile(path) as archive:
        bundle = Bundle(archive)
        manifest = bundle.small(MANIFEST)
        organization_id = _manifest_fits(manifest)
        report.origin = manifest["origin"]
        of_log = {_log(report.origin), _installation(report.origin)}
        report.is_authenticated = any(key.kind == _ED25519 and _log(key.name) in of_log for key in keys)
        trusted = [key for key in keys if key.kind == _ED25519]
        if not keys:
            trusted = [Key.parse(manifest["verifier_key"])]
            report.notes.append("no key was given: it is verified by the bundle's own, and nobody knows whose that is")
        elif not report.is_authenticated:
            report.add("signature", f"the bundle is of {report.origin}, and no key of that log was given")
        try:
            _verify(bundle, report, manifest, organization_id, Trust(trusted, witnesses), earlier)
        except BundleError as error:
            report.add("malformed", str(error))
    return report


def _manifest_fits(manifest: Any) -> str:
    """Return the organization of the manifest. Raises `BundleError` where it is not one of this format."""
    wanted = {"format": str, "organization_id": str, "origin": str, "verifier_key": str, "size": int, "root": str}
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(name), kind) for name, kind in wanted.items()):
        raise BundleError(f"expected {', '.join(wanted)} in {MANIFEST}")
    if manifest["format"] != FORMAT:
        raise BundleError(f"expected a bundle of the format {FORMAT}; this verifier is of another version")
    organization_id: str = manifest["organization_id"]
    if not _log(manifest["origin"]).endswith(f"/organization/{organization_id}"):
        raise BundleError("the origin is not that of the organization")
    return organization_id


def _verify(
    bundle: Bundle,
    report: Report,
    manifest: dict[str, Any],
    organization_id: str,
    trust: Trust,
    earlier: list[tuple[str, Head]],
) -> None:
    mine = _earlier_heads(report, trust, earlier)
    leaves, lines = Hashes(), Hashes()
    try:
        last, certified = _read_heads(bundle, report, trust, mine, leaves)
        entries = Entries(report, organization_id)
        reached = _read_entries(bundle, report, entries, mine, lines)
        entries.end()
        if entries.unparsed:
            report.notes.append(f"{entries.unparsed} lines are too long to be looked into; they were hashed")
        report.entries, report.root = lines.count, reached.root.hex()
        _compare_lines(report, leaves, lines, certified, reached, last)
        if last is not None and (manifest["size"], manifest["root"]) != (last.size, last.root.hex()):
            report.add("malformed", f"{MANIFEST} says another size or root than the last signed head")
        if last is None:
            report.add("truncated" if report.entries else "malformed", "the bundle has no signed head")
        else:
            _verify_above(bundle, report, trust, last, earlier)
        for witness in trust.witnesses:
            if witness.name not in report.cosigned:
                report.add("cosignature", f"{witness.name} cosigned none of the heads")
    finally:
        leaves.close()
        lines.close()


def _earlier_heads(report: Report, trust: Trust, earlier: list[tuple[str, Head]]) -> list[tuple[str, Head]]:
    """Return those of the bundle's log that are rightly signed, by their size."""
    mine = []
    for source, head in earlier:
        if _log(head.origin) == _heads_origin(report.origin):
            continue
        if _log(head.origin) != _log(report.origin):
            report.add("signature", f"{source} is a head of {head.origin}, the bundle one of {report.origin}")
        elif _is_signed(report, trust, head, source):
            mine.append((source, head))
            report.earlier_heads += 1
    return sorted(mine, key=lambda one: one[1].size)


def _read_heads(
    bundle: Bundle, report: Report, trust: Trust, mine: list[tuple[str, Head]], leaves: Hashes
) -> tuple[Head | None, int]:
    """Verify the signatures of all heads, and which of them the bundle's list of leaves gives.

    Returns the last head that is rightly signed, and up to which leaf the list is the one that was signed.
    """
    tree, certified = Tree(), 0
    hashes = _hashes_in(bundle)
    last: Head | None = None
    before = -1

    def grow(size: int) -> bool:
        while tree.size < size and (hashed := next(hashes, None)) is not None:
            leaves.add(hashed)
            tree.add(hashed)
        return tree.size == size

    for head in bundle.heads():
        report.heads += 1
        what = f"the signed head of {head.size} entries"
        if _log(head.origin) != _log(report.origin):
            report.add("malformed", f"{what} is one of {head.origin}")
            continue
        if head.size <= before:
            report.add("malformed", f"{what} does not stand behind smaller ones")
            continue
        before = head.size
        if not _is_signed(report, trust, head, what):
            continue
        last = head
        for source, other in [one for one in mine if one[1].size == head.size and one[1].root != head.root]:
            what = f"{source} and the bundle have two signed heads of {head.size} entries with different roots"
            report.add("forked", what)
            mine.remove((source, other))
        if grow(head.size) and tree.root == head.root:
            certified = head.size
    for hashed in hashes:
        leaves.add(hashed)
    return last, certified


@dataclass(slots=True)
class Reached:
    """How far the lines are those of the signed heads: up to `right`, and not at `wrong`, the first that differs.

    largest: the largest head that the lines do not reach.
    """

    right: int = 0
    wrong: int = 0
    largest: int = 0
    root: bytes = b""


def _read_entries(
    bundle: Bundle, report: Report, entries: Entries, mine: list[tuple[str, Head]], lines: Hashes
) -> Reached:
    """Recompute the tree from the lines, and compare it with each head."""
    tree, reached = Tree(), Reached()
    heads = (head for head in bundle.heads() if _log(head.origin) == _log(report.origin))
    coming = next(heads, None)
    waiting = list(mine)
    differing: list[tuple[str, Head]] = []

    def meet() -> None:
        nonlocal coming
        while coming is not None and coming.size <= tree.size:
            if coming.root == tree.root and coming.size == tree.size and not reached.wrong:
                reached.right = coming.size
            elif coming.size == tree.size:
                reached.wrong = reached.wrong or coming.size
            coming = next(heads, None)
        while waiting and waiting[0][1].size <= tree.size:
            source, head = waiting.pop(0)
            if head.root != tree.root:
                differing.append((source, head))

    meet()
    for number, line in enumerate(entry_lines(bundle.chunks(ENTRIES)), 1):
        if not line.is_ended:
            report.add("truncated", f"line {number} does not end", number)
        hashed = entries.add(number, line)
        lines.add(hashed)
        tree.add(hashed)
        meet()
    while coming is not None:
        reached.largest = max(reached.largest, coming.size)
        coming = next(heads, None)
    reached.root = tree.root
    for source, head in differing:
        # Where the bundle's own signed heads fit its lines, there are two histories; else the lines were touched.
        if reached.right >= head.size:
            report.add("forked", f"{source} is a signed head of {head.size} entries with another root")
        else:
            report.add("changed", f"the first {head.size} lines are not those of {source}", reached.right + 1)
    for source, head in waiting:
        what = f"the bundle has {lines.count} entries, and {source} is a signed head of {head.size}"
        report.add("truncated", what, lines.count + 1)
    return reached


def _compare_lines(
    report: Report, leaves: Hashes, lines: Hashes, certified: int, reached: Reached, last: Head | None
) -> None:
    """Name the first lines that are not those of the leaves that were signed, and what became of them."""
    size = last.size if last is not None else 0
    if lines.count > size >= reached.right and not reached.wrong:
        report.add("added", f"lines {size + 1} to {lines.count} are behind the last signed head", size + 1)
    if reached.right == size and not reached.largest:
        if not certified == leaves.count == size:
            report.add("malformed", f"{LEAVES} is not the list of the leaves that were signed")
        return
    found = list(located(leaves.window, lines.window, certified, lines.count))
    for one in found:
        report.add(one.kind, one.what, one.line)
    # Where the list of leaves does not help, the heads say between which two of them it is.
    if reached.wrong and not found:
        what = (
            f"lines {reached.right + 1} to {reached.wrong} are not those of the signed head of {reached.wrong} entries"
        )
        report.add("changed", what, reached.right + 1)
    if reached.largest and not found:
        what = f"the bundle has {lines.count} entries, and a signed head of {reached.largest}"
        report.add("truncated", what, lines.count + 1)


def located(
    leaves: Callable[[int, int], list[bytes]], lines: Callable[[int, int], list[bytes]], certified: int, count: int
) -> Iterator[Finding]:
    """Yield which lines are not the signed leaves, by the hashes of both, at most some of them.

    certified: how many leaves the list has that were signed. count: how many lines there are.
    """
    leaf = line = found = 0
    while leaf < certified and line < count and found < 20:
        signed = leaves(leaf, min(leaf + WINDOW, certified))
        there = lines(line, line + WINDOW)
        same = next((at for at, (one, other) in enumerate(zip(signed, there, strict=False)) if one != other), None)
        if same is None:
            step = min(len(signed), len(there))
            leaf, line = leaf + step, line + step
            continue
        leaf, line, signed, there = leaf + same, line + same, signed[same:], there[same:]
        found += 1
        number = line + 1
        later_leaf = signed.index(there[0]) if there[0] in signed else None
        later_line = there.index(signed[0]) if signed[0] in there else None
        if later_leaf is not None and later_line is not None:
            yield Finding("reordered", f"line {number} holds entry {leaf + later_leaf + 1}", number)
            leaf, line = leaf + 1, line + 1
        elif later_leaf is not None:
            yield Finding("removed", f"{_entries(leaf + 1, leaf + later_leaf)} before line {number}", number)
            leaf += later_leaf
        elif later_line is not None:
            last = number + later_line - 1
            yield Finding("added", f"lines {number} to {last} are no signed entries, or are there before", number)
            line += later_line
        else:
            moved = there[0] in leaves(max(0, leaf - WINDOW), leaf)
            kind = "reordered" if moved else "changed"
            yield Finding(kind, f"line {number} is not the entry that was signed", number)
            leaf, line = leaf + 1, line + 1
    if line >= count and leaf < certified and found < 20:
        yield Finding("truncated", f"{_entries(leaf + 1, certified)} at the end", line + 1)


def _entries(first: int, last: int) -> str:
    return f"entry {first} is missing" if first == last else f"entries {first} to {last} are missing"


def _hashes_in(bundle: Bundle) -> Iterator[bytes]:
    rest = b""
    for chunk in bundle.chunks(LEAVES):
        stored = rest + chunk
        whole = len(stored) // HASH_LENGTH * HASH_LENGTH
        yield from (stored[at : at + HASH_LENGTH] for at in range(0, whole, HASH_LENGTH))
        rest = stored[whole:]
    if rest:
        raise BundleError(f"expected hashes of {HASH_LENGTH} bytes in {LEAVES}")


def _verify_above(bundle: Bundle, report: Report, trust: Trust, last: Head, earlier: list[tuple[str, Head]]) -> None:
    """Verify that the last head is in the tree over the heads of all organizations."""
    if ABOVE not in bundle.names:
        report.add("malformed", f"the bundle has no {ABOVE}")
        return
    said = bundle.small(ABOVE)
    try:
        leaf, index, path = str(said["leaf"]), int(said["index"]), [bytes.fromhex(one) for one in said["path"]]
        head, told = parse_head(str(said["checkpoint"])), json.loads(leaf)
        is_about = (told["origin"], told["size"], told["root"]) == (last.origin, last.size, last.root.hex())
    except (BundleError, ValueError, TypeError, KeyError, RecursionError):
        report.add("malformed", f"{ABOVE} is no proof")
        return
    if not is_about:
        report.add("malformed", f"{ABOVE} is not about the last signed head")
    elif _log(head.origin) != _heads_origin(report.origin):
        report.add("malformed", f"{ABOVE} leads to a head of {head.origin}")
    elif _is_signed(report, trust, head, f"the head in {ABOVE}") and head.root != root_by_path(
        leaf_hash(leaf.encode()), index, head.size, path
    ):
        report.add("forked", "the last signed head is not in the tree of heads")
    for source, kept in earlier:
        if _log(kept.origin) != _heads_origin(report.origin) or not _is_signed(report, trust, kept, source):
            continue
        report.earlier_heads += kept.size >= head.size
        if kept.size > head.size:
            report.add("truncated", f"{source} is a head of {kept.size} heads, and the bundle knows {head.size}")
        elif kept.size == head.size and kept.root != head.root:
            report.add("forked", f"{source} is a signed head of {kept.size} heads with another root")
        elif kept.size < head.size:
            report.notes.append(
                f"{source} is an older head of the tree of heads, which a bundle can't be compared with"
            )


def _is_signed(report: Report, trust: Trust, head: Head, what: str) -> bool:
    """Verify whose signatures a head has."""
    key = trust.key_of(head.origin)
    is_right = key.verify(head) if key is not None else None
    if not is_right:
        said = "no key of its log is known" if key is None else "is wrong" if is_right is False else "is missing"
        report.add("signature", f"{what}: the signature {said}" if key is not None else f"{what}: {said}")
        return False
    for witness in trust.witnesses:
        verdict = witness.verify(head)
        if verdict is False:
            report.add("cosignature", f"{what}: the signature of {witness.name} is wrong")
        elif verdict:
            report.cosigned[witness.name] = max(head.size, report.cosigned.get(witness.name, 0))
    return True


def _heads_origin(origin: str) -> str:
    return f"{_installation(origin)}/heads"


# ------------------------------------------------------------------ the command


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"verify: {message}", file=sys.stderr)
        sys.exit(UNVERIFIED)


def _given(arguments: list[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="verify",
        description="Verify an exported audit trail. --key, --head and --witness may be repeated.",
        epilog="Example: python verify.py bundle.zip --key name+id+key --head kept.txt. "
        "Exit codes: 0 verified; 1 something is wrong, and is named; 2 it could not be verified.",
    )
    parser.add_argument("bundle", type=Path, help="the bundle, a ZIP file")
    parser.add_argument(
        "--key", action="append", default=[], help="the verifier key of the log or of its installation, name+id+key"
    )
    parser.add_argument("--head", action="append", default=[], type=Path, help="a file with heads that were kept")
    parser.add_argument("--witness", action="append", default=[], help="a witness's verifier key")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(arguments)


def _kept_heads(path: Path) -> Iterator[tuple[str, Head]]:
    if path.stat().st_size > MOST_SMALL_FILE:
        raise BundleError(f"{path.name}: expected at most {MOST_SMALL_FILE} bytes of heads")
    found = False
    for head in parse_heads(_text_lines([path.read_bytes()])):
        found = True
        yield path.name, head
    if not found:
        raise BundleError(f"{path.name}: expected a signed head")


def _said(report: Report) -> Iterator[str]:
    gone = f", {report.expired} of them expired" if report.expired else ""
    yield f"{report.origin}: {report.entries} entries{gone}, {report.heads} signed heads, root {report.root}"
    if report.earlier_heads:
        yield f"compared with {report.earlier_heads} earlier heads"
    for name, size in report.cosigned.items():
        yield f"cosigned by {name} up to {size}"
    yield from (f"note: {one}" for one in report.notes)
    yield from (f"{one.kind.upper()}: {one.what}" for one in report.findings)
    if report.more:
        yield f"and {report.more} more"
    yield {VERIFIED: "verified", WRONG: "NOT verified", UNVERIFIED: "NOT verified: by whose key?"}[report.code]


def _printable(text: str) -> str:
    """Return a text without what a terminal would take for something else than text."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def main(arguments: list[str] | None = None) -> int:
    """Verify the bundle that the arguments name, and print what came out. Returns the exit code."""
    given = _given(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        keys, witnesses = [Key.parse(one) for one in given.key], [Key.parse(one) for one in given.witness]
        earlier = [one for path in given.head for one in _kept_heads(path)]
        report = verify(given.bundle, keys, earlier, witnesses)
    except BundleError as error:
        failure = str(error)
    except OSError as error:
        failure = f"{error.filename or given.bundle}: {error.strerror}"
    except Exception as error:
        # What nobody expected of a file is no reason to show where.
        failure = f"it can't be verified ({type(error).__name__})"
    else:
        if given.json:
            print(json.dumps({"verified": report.code == VERIFIED, **asdict(report)}))
        else:
            for line in _said(report):
                print(_printable(line))
        return report.code
    if given.json:
        print(json.dumps({"verified": False, "error": failure}))
    print(_printable(f"verify: {failure}"), file=sys.stderr)
    return UNVERIFIED


if __name__ == "__main__":
    sys.exit(main())
