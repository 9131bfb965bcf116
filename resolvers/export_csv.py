"""Exports as CSV (RFC 4180): UTF-8, CRLF, one row for each measurement.

Spreadsheets take a text that begins in certain ways for a formula and run it. Where lists are separated by semicolons,
as in much of Europe, they begin a cell behind each semicolon of the file, and a row behind each line's end, whatever
the quotes around them; and quotes that a cell begins with are a part that is empty, as each is doubled in the file. So
what begins in such a way gets an apostrophe in front, at the beginning of a text and behind what would part it, and so
does an apostrophe there: who takes one away wherever it stands so has the very text again.
Plain numbers stay as they are, whatever their sign.
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

_BEGIN: Final = "=+\\-@'\uff1d\uff0b\uff0d\uff20"
"""What a formula begins with, after OWASP's "CSV Injection": full-width forms too, which some programs take for the
others; and what we put in front ourselves."""
_PART: Final = ";\t\r\n"
"""What parts cells or rows for some programs, whatever the quotes around it. At the beginning of a text, all but the
semicolon are dangerous as well."""
_FIRST: Final = frozenset("=+-@'\uff1d\uff0b\uff0d\uff20\t\r\n")
_INSIDE: Final = re.compile(f'[{_PART}]"*[{_BEGIN}]')
_DANGEROUS: Final = re.compile(rf'\A(?=[{_BEGIN}\t\r\n])|(?<=[{_PART}])(?="*[{_BEGIN}])')
_GUARDED: Final = re.compile(rf"(?:\A|(?<=[{_PART}])){GUARD}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


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
    if _is_harmless(text) or _NUMBER.fullmatch(text) is not None:
        return text
    return _DANGEROUS.sub(GUARD, text)


def unguarded(cell: str) -> str:
    """Return the text that `guarded` made the cell of."""
    return _GUARDED.sub("", cell)


def _is_harmless(text: str) -> bool:
    return text[:1] not in _FIRST and _INSIDE.search(text) is None


def _cells(values: Sequence[Any]) -> list[Any]:
    """Return the cells of values. What the writer of the file puts the same way is left to it."""
    return [
        value if (kind := type(value)) in _AS_IT_IS or (kind is str and _is_harmless(value)) else _cell(value)
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
