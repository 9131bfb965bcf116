"""Heads that somebody kept, in files in which checkpoints stand one below the other."""

from dataclasses import dataclass

from models.ledger.checkpoint import CheckpointError, Note

_DASH = "— "


@dataclass(frozen=True, slots=True)
class KeptHead:
    """A checkpoint that was kept. source: where, for who is told that the trail does not go on from it."""

    note: Note
    source: str


def parse_kept(text: str, *, source: str) -> list[KeptHead]:
    """Return the checkpoints of a text, at least one, of which nothing is verified yet.

    Raises:
        CheckpointError: it holds something else, or nothing.
    """
    notes: list[list[str]] = [[]]
    for line in text.split("\n"):
        note = notes[-1]
        if note and note[-1].startswith(_DASH) and not line.startswith(_DASH):
            notes.append([])
        if line or notes[-1]:
            notes[-1].append(line)
    found = [KeptHead(Note.parse("\n".join(note) + "\n"), source) for note in notes if note]
    if not found:
        raise CheckpointError("Expected a signed head.")
    return found
