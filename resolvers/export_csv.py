"""Exports as CSV (RFC 4180): UTF-8, CRLF, one row for each measurement.

Spreadsheets take a text that begins in certain ways for a formula and run it. Such a text gets an apostrophe in front,
and so does one that begins with an apostrophe: who takes one apostrophe away wherever a cell begins with one has the
very text again. Plain numbers stay as they are, whatever their sign.
"""

import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from resolvers.export_table import ExportTable
from resolvers.export_writer import ExportedRecord, ExportHead

GUARD: Final = "'"
"""What is put in front of a text that a spreadsheet would run."""

_DANGEROUS: Final = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
"""What a formula begins with, after OWASP's "CSV Injection": full-width forms too, which some programs take for the
others; and what we put in front ourselves."""
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


class CsvWriter:
    """Makes a CSV file."""

    media_type: ClassVar[str] = "text/csv; charset=utf-8; header=present"
    ending: ClassVar[str] = "csv"
    names_places: ClassVar[bool] = False

    def begin(self, head: ExportHead) -> bytes:
        """Return the header row."""
        self._table = ExportTable(head)
        return _written([[column.name for column in self._table.columns]])

    def records(self, batch: Sequence[ExportedRecord]) -> bytes:
        """Return the rows of a batch."""
        rows: list[list[Any]] = []
        for beside, measured in self._table.parts(batch):
            shared = _cells(beside)
            rows += [shared + _cells(one) for one in measured]
        return _written(rows)

    def end(self) -> bytes:
        """Return nothing: there is no end."""
        return b""


def guarded(text: str) -> str:
    """Return the text as no spreadsheet runs it."""
    if text and text[0] in _DANGEROUS and _NUMBER.fullmatch(text) is None:
        return GUARD + text
    return text


def unguarded(cell: str) -> str:
    """Return the text that `guarded` made the cell of."""
    return cell.removeprefix(GUARD)


def _cells(values: Sequence[Any]) -> list[Any]:
    """Return the cells of values. What the writer of the file puts the same way is left to it."""
    return [
        value if (kind := type(value)) in _AS_IT_IS or (kind is str and value[:1] not in _DANGEROUS) else _cell(value)
        for value in values
    ]


# Nothing is written of None, and of a number the shortest text that reads back as the very same.
_AS_IT_IS = frozenset({type(None), int, float})


def _cell(value: Any) -> str:
    if type(value) is str:
        return guarded(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return repr(value)


def _written(rows: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\r\n").writerows(rows)
    return file.getvalue().encode()
