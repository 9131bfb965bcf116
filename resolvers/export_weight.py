"""How much of a table is read at once for an export: as many rows as are asked for, and no more bytes than fit.

Rows differ a million times in what they take: a result that was imported keeps its row of the file, with all cells, and
a record up to five hundred of them. So that memory stays flat, what a batch holds is weighed before it is read.
"""

from collections.abc import Iterable
from typing import Final

MOST_WEIGHT: Final = 16 * 1024 * 1024
"""Bytes of a batch, as stored, after which it is full. One row is in it, whatever it weighs."""
OF_A_ROW: Final = 1024
"""About how many bytes a row takes besides its long texts."""


def fitting(weights: Iterable[int]) -> int:
    """Return how many of the rows, of which each weighs so much, are a batch: one at the least, if there is one."""
    total = count = 0
    for weight in weights:
        total += weight
        if count and total > MOST_WEIGHT:
            break
        count += 1
    return count
