"""The types of data that an organization sets a period for, and what each period may be."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_DAYS: Final = 36_500
"""The longest period: a hundred years."""
WAITING_DAYS: Final = 7
"""How long nothing of a type is deleted after its period was decided otherwise: a mistake, or theft, is undone."""


class DataKind(StrEnum):
    """RECORD: records with their measurements. SITE: sites that no record names. SESSION: sign-ins that are over.
    DEVICE: devices that are blocked. MEMBERSHIP: people who left or were erased. INVITATION: those that are over.
    DATA_IMPORT and EXPORT: what is said of files that came and went; the files themselves go sooner.
    """

    RECORD = "RECORD"
    SITE = "SITE"
    SESSION = "SESSION"
    DEVICE = "DEVICE"
    MEMBERSHIP = "MEMBERSHIP"
    INVITATION = "INVITATION"
    DATA_IMPORT = "DATA_IMPORT"
    EXPORT = "EXPORT"


@dataclass(frozen=True, slots=True)
class Period:
    """That an organization may set a period after which rows of a table are deleted, with what belongs to them.

    least_days: the shortest one. counts_from: from when it counts, for people.
    """

    kind: DataKind
    least_days: int
    counts_from: str
