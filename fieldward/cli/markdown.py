"""Tables of the pages that are printed."""

from collections.abc import Sequence


def lean(rows: Sequence[Sequence[str]]) -> str:
    """Return a table without padding, so that a change of one line is a change of one line. Ends without a newline."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
