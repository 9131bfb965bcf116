"""What a log asks of a witness: C2SP's tlog-witness, `add-checkpoint`. Pure.

The body of the request: from which size, the hashes that prove that the log only grew since, and the checkpoint.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from models.ledger.checkpoint import MOST_NOTE_BYTES, CheckpointError, Note
from models.ledger.merkle import HASH_LENGTH

MOST_HASHES: Final = 63
MOST_BYTES: Final = MOST_NOTE_BYTES + 64 * (MOST_HASHES + 1)
"""A longer body is refused."""
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"

_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The request, of which nothing is verified yet."""

    old_size: int
    proof: Sequence[bytes]
    note: Note

    def __str__(self) -> str:
        lines = "".join(base64.b64encode(one).decode() + "\n" for one in self.proof)
        return f"old {self.old_size}\n{lines}\n{self.note}"

    @classmethod
    def parse(cls, body: str) -> "AddCheckpoint":
        """Return what a body says. Raises `CheckpointError` if it is none."""
        head, gap, note = body.partition("\n\n")
        old, *lines = head.split("\n")
        found = _OLD.fullmatch(old)
        if not gap or found is None or len(lines) > MOST_HASHES:
            raise CheckpointError("Expected an old size, the hashes of a proof, an empty line and a checkpoint.")
        return cls(int(found[1]), tuple(_hash(line) for line in lines), Note.parse(note))


def _hash(line: str) -> bytes:
    try:
        found = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_LENGTH or base64.b64encode(found).decode() != line:
        raise CheckpointError("Expected a hash in each line of the proof.")
    return found
