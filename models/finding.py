"""What a verification of the trail finds wrong."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

MOST_FINDINGS: Final = 1000
"""Findings that are named; what is found beyond is counted."""


class FindingKind(StrEnum):
    """What is wrong.

    CHANGED: an entry, or what it changed, is another than was sealed. DELETED: it was sealed, and is gone unsaid.
    GAP: a number of the tree has no leaf. REORDERED: a leaf was sealed behind younger ones. UNSEALED: an entry has no
    leaf although it is time. LATE: one is of a transaction that was sealed already, or claims so. STRAY: a change
    belongs to no entry. EXPIRED: a leaf's entry left before its time, or no entry of the trail says that it did.
    TRUNCATED: a tree is smaller than a head that was signed. FORKED: its root at a head's size is another. HEAD: a
    head is missing, or is not the one that the tree of heads holds. SIGNATURE: one is not signed by this
    installation. COSIGNATURE: a witness's signature is wrong. NODE: a stored hash is not the one that follows from
    the leaves. ROW_CHANGED, ROW_DELETED, ROW_INSERTED: a row is not what the trail says of it. BROKEN_OFF: a change
    of a row does not go on from the one before. WALL: a trigger that holds the trail is missing or switched off, or
    row-level security is. UNTOLD: what was found could not be written into the trail.
    """

    CHANGED = "CHANGED"
    DELETED = "DELETED"
    GAP = "GAP"
    REORDERED = "REORDERED"
    UNSEALED = "UNSEALED"
    LATE = "LATE"
    STRAY = "STRAY"
    EXPIRED = "EXPIRED"
    TRUNCATED = "TRUNCATED"
    FORKED = "FORKED"
    HEAD = "HEAD"
    SIGNATURE = "SIGNATURE"
    COSIGNATURE = "COSIGNATURE"
    NODE = "NODE"
    ROW_CHANGED = "ROW_CHANGED"
    ROW_DELETED = "ROW_DELETED"
    ROW_INSERTED = "ROW_INSERTED"
    BROKEN_OFF = "BROKEN_OFF"
    WALL = "WALL"
    UNTOLD = "UNTOLD"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong in an organization's trail or rows.

    what: the entry, number, head or row, in words. table, row_id: the row that it is about, where there is one.
    Expected and got hold hashes, sizes and names of columns, and no value of a row.
    """

    kind: FindingKind
    organization_id: UUID
    what: str
    expected: str = ""
    got: str = ""
    table: str | None = None
    row_id: UUID | None = None

    def __str__(self) -> str:
        said = f"{self.kind}: {self.what}"
        return f"{said}: expected {self.expected}, got {self.got}" if self.expected or self.got else said


@dataclass(slots=True)
class Findings:
    """What was found in one organization, up to a bound, and how much more there was."""

    organization_id: UUID
    named: list[Finding] = field(default_factory=list)
    more: int = 0

    def add(
        self,
        kind: FindingKind,
        what: str,
        *,
        expected: object = "",
        got: object = "",
        table: str | None = None,
        row_id: UUID | None = None,
    ) -> None:
        """Name a finding, or count it where there are many already."""
        if len(self.named) == MOST_FINDINGS:
            self.more += 1
            return
        self.named.append(Finding(kind, self.organization_id, what, str(expected), str(got), table, row_id))

    def __len__(self) -> int:
        return len(self.named) + self.more
