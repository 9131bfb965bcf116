"""The order of a list."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, which way. The id breaks ties, the same way. The column is never null."""

    column: str
    descending: bool = False
