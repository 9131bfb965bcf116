"""Signed tree heads: C2SP's signed-note, tlog-checkpoint and tlog-cosignature, with Ed25519 (RFC 8032). Pure.

A checkpoint is a text of three lines, the log's origin, its size and its root, and below an empty line the signatures
of those who stand for it: the log itself, and witnesses who saw that it only grew. Anybody who knows a key by its
verifier key (`name+id+key`) verifies it; signatures of unknown keys are passed over, as the standard wants.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.private_key import StoredKey
from models.ledger.merkle import HASH_LENGTH

MOST_NOTE_BYTES: Final = 131_072
"""A longer note is refused before it is parsed. Sixteen signatures fit, of a kind that no quantum computer breaks."""
MOST_SIGNATURES: Final = 64

_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_DASH: Final = "— "
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")


class CheckpointError(Exception):
    """A note is not well formed, or not signed by who it must be. The message says what was expected."""


class SignatureType(IntEnum):
    """What a key signs: notes as they are, or checkpoints with the time at which they were seen."""

    ED25519 = 1
    COSIGNATURE = 4


@dataclass(frozen=True, slots=True)
class Head:
    """What a log says of itself: its origin, how many leaves it has, and the root of its tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{_encoded(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Return what the text of a checkpoint says; lines after the third are allowed, and mean nothing here.

        Raises:
            CheckpointError: it is none.
        """
        origin, *rest = text.removesuffix("\n").split("\n")
        if not text.endswith("\n") or len(rest) < 2 or not origin or not all(rest):
            raise CheckpointError("Expected an origin, a size and a root, each in a line of its own.")
        if _NUMBER.fullmatch(rest[0]) is None:
            raise CheckpointError("Expected the size of the tree in the second line.")
        root = _decoded(rest[1])
        if len(root) != HASH_LENGTH:
            raise CheckpointError("Expected the root of the tree in the third line.")
        return cls(origin, int(rest[0]), root)


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note: who signed, the short id of their key, and what they signed with it."""

    name: str
    key_id: bytes
    signed: bytes

    @property
    def line(self) -> str:
        """The line, with its end."""
        return f"{_DASH}{self.name} {_encoded(self.key_id + self.signed)}\n"

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """Return what a line without its end says. Raises `CheckpointError` if it is no signature."""
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        stored = _decoded(encoded)
        if not line.startswith(_DASH) or _NAME.fullmatch(name) is None or len(stored) <= _ID_BYTES:
            raise CheckpointError("Expected a dash, the name of a key and a signature.")
        return cls(name, stored[:_ID_BYTES], stored[_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text with the signatures below it."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(one.line for one in self.signatures)

    @classmethod
    def parse(cls, note: str) -> "Note":
        """Return a note, of which nothing is verified yet. Raises `CheckpointError` if it is none."""
        if len(note.encode()) > MOST_NOTE_BYTES:
            raise CheckpointError(f"Expected a note of at most {MOST_NOTE_BYTES} bytes.")
        if re.search(r"[\x00-\x09\x0b-\x1f]", note):
            raise CheckpointError("Expected a note without control characters.")
        text, gap, below = note.rpartition("\n\n")
        if not gap or not below.endswith("\n"):
            raise CheckpointError("Expected a text, an empty line and signatures.")
        lines = below.removesuffix("\n").split("\n")
        if len(lines) > MOST_SIGNATURES:
            raise CheckpointError(f"Expected at most {MOST_SIGNATURES} signatures.")
        return cls(text + "\n", tuple(Signature.parse(line) for line in lines))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key by which others know who signed: its name, what it signs, and its public half."""

    name: str
    type: SignatureType
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature names it."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.type]) + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_encoded(bytes([self.type]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Return the key that a text names, as `str` writes it. Raises `CheckpointError` if it is none."""
        # A base64 text may hold a plus, and a name none.
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        stored = _decoded(encoded)
        if _NAME.fullmatch(name) is None or len(stored) != 33 or stored[0] not in set(SignatureType):
            raise CheckpointError("Expected a verifier key: name+id+key.")
        found = cls(name, SignatureType(stored[0]), stored[1:])
        if found.id.hex() != key_id:
            raise CheckpointError(f"The verifier key of {name} has not the id that it says.")
        return found

    def verify(self, note: Note) -> int | None:
        """Verify that the key signed the note. Returns the time of a cosignature, in seconds since 1970; else None.

        Raises:
            CheckpointError: it did not, or its signature is wrong.
        """
        own = [one for one in note.signatures if (one.name, one.key_id) == (self.name, self.id)]
        if not own:
            raise CheckpointError(f"{self.name} did not sign it.")
        return [self._verify(note.text, one) for one in own][-1]

    def _verify(self, text: str, signature: Signature) -> int | None:
        time, signed = None, signature.signed
        message = text
        if self.type is SignatureType.COSIGNATURE:
            time, signed = int.from_bytes(signed[:_TIME_BYTES], "big"), signed[_TIME_BYTES:]
            message = _cosigned(time, text)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signed, message.encode())
        except (InvalidSignature, ValueError):
            raise CheckpointError(f"The signature of {self.name} is wrong.") from None
        return time


class HeadSigner(StoredKey):
    """Signs heads. One key signs for many logs: for each under its own origin, with a verifier key for each."""

    __slots__ = ()

    def verifier_key(self, name: str, type: SignatureType = SignatureType.ED25519) -> VerifierKey:
        """Return the key by which the signatures under that name are verified."""
        return VerifierKey(name, type, self._private.public_key().public_bytes_raw())

    def sign(self, head: Head) -> Note:
        """Return the head as the log itself signs it."""
        if _NAME.fullmatch(head.origin) is None:
            raise ValueError("Expected an origin without spaces and plus signs.")
        key = self.verifier_key(head.origin)
        return Note(head.text, (Signature(head.origin, key.id, self._private.sign(head.text.encode())),))

    def cosign(self, name: str, text: str, *, time: int) -> Signature:
        """Return a witness's signature of the text of a checkpoint, as of a time in seconds since 1970."""
        key = self.verifier_key(name, SignatureType.COSIGNATURE)
        signed = self._private.sign(_cosigned(time, text).encode())
        return Signature(name, key.id, time.to_bytes(_TIME_BYTES, "big") + signed)

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the signature of a message that no head and no cosignature is.

        Raises:
            ValueError: it has lines, as those do.
        """
        if b"\n" in message:
            raise ValueError("Expected a message of one line.")
        return self._private.sign(message)

    def __repr__(self) -> str:
        return "<HeadSigner>"


def _cosigned(time: int, text: str) -> str:
    return f"cosignature/v1\ntime {time}\n{text}"


def _encoded(stored: bytes) -> str:
    return base64.b64encode(stored).decode()


def _decoded(text: str) -> bytes:
    """Return what a base64 text says, where it is written in the one right way."""
    try:
        stored = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        stored = b""
    if _encoded(stored) != text:
        raise CheckpointError("Expected base64.")
    return stored
