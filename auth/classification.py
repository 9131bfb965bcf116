"""How sensitive a stored field is, and what follows from that.

Each column of each table names one `Classification`, once, on its model. Storage, guard, read log, masking and the
data inventory are read from here; nothing else decides them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Classification(StrEnum):
    """From what may leave the company to what never leaves the database."""

    PUBLIC = "PUBLIC"
    INTERNAL = "INTERNAL"
    CONFIDENTIAL = "CONFIDENTIAL"
    PERSONAL = "PERSONAL"
    SECRET = "SECRET"  # noqa: S105  (a word, not one)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a classification asks of a column.

    guard_verb: the verb of the permission that reads it, joined to the table's noun (`record:read_personal`); None
        where seeing the object is enough.
    sealed: whether the database may only ever hold ciphertext of it.
    read_is_logged: whether each read leaves an entry in the audit trail.
    in_api: whether it may appear in the GraphQL schema at all.
    """

    guard_verb: str | None
    sealed: bool
    read_is_logged: bool
    in_api: bool


DEMANDS: dict[Classification, Demand] = {
    Classification.PUBLIC: Demand(guard_verb=None, sealed=False, read_is_logged=False, in_api=True),
    Classification.INTERNAL: Demand(guard_verb="read", sealed=False, read_is_logged=False, in_api=True),
    Classification.CONFIDENTIAL: Demand(guard_verb="read_confidential", sealed=True, read_is_logged=True, in_api=True),
    Classification.PERSONAL: Demand(guard_verb="read_personal", sealed=True, read_is_logged=True, in_api=True),
    Classification.SECRET: Demand(guard_verb=None, sealed=False, read_is_logged=False, in_api=False),
}
