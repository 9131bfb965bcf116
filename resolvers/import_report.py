"""What became of the rows of a file: of each row, of a batch, and of all of it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from models.data_import import RowFate
from resolvers.activity_stream import Rejection

MOST_REPORTED: Final = 10_000
"""Rejections that a report holds; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a row. `column` and `reason` are empty but where it was rejected."""

    line: int
    fate: RowFate
    column: str = ""
    reason: str = ""


@dataclass(slots=True)
class Outcome:
    """What became of a batch: each of its rows once, in the order of their lines."""

    fates: list[Fate]
    rejections: list[Rejection]
    records_created: int = 0
    records_known: int = 0
    measurements_created: int = 0
    measurements_known: int = 0

    @property
    def counted(self) -> Counter[RowFate]:
        """How many rows came to what."""
        return Counter(one.fate for one in self.fates)


@dataclass(slots=True)
class ImportReport:
    """What became of a file. Every row is in exactly one of created, known, rejected and blank.

    rejections: the first `MOST_REPORTED` of them.
    """

    rows: int = 0
    created: int = 0
    known: int = 0
    rejected: int = 0
    blank: int = 0
    records_created: int = 0
    records_known: int = 0
    measurements_created: int = 0
    measurements_known: int = 0
    rejections: list[Rejection] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count a batch in."""
        counted = outcome.counted
        self.created += counted[RowFate.CREATED]
        self.known += counted[RowFate.KNOWN]
        self.rejected += counted[RowFate.REJECTED]
        self.blank += counted[RowFate.BLANK]
        for name in ("records_created", "records_known", "measurements_created", "measurements_known"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.rejections += outcome.rejections[: MOST_REPORTED - len(self.rejections)]
