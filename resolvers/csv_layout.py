"""The layout of a table that a mapping describes: its rows, read into results.

Nothing is guessed: what the mapping does not name is kept in the source row and read by nobody; a date in another
order, a time that there was not, or was twice, in its time zone, and a number that is none are faults.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TextIO
from uuid import UUID
from zoneinfo import ZoneInfo

from resolvers.csv_mapping import WIDTHS, CsvMapping, Delimiter, Encoding, ImportField
from resolvers.csv_moment import moment_of
from resolvers.wqx_row import Facts, FileColumns, ReportedMeasurement, Result
from resolvers.wqx_table import CellError, TableRow, read_table, require_columns
from resolvers.wqx_value import Moment, Position, digest, number

_F = ImportField
_DELIMITERS: Final = {Delimiter.COMMA: ",", Delimiter.SEMICOLON: ";", Delimiter.TAB: "\t", Delimiter.PIPE: "|"}
_ENCODINGS: Final = {
    Encoding.UTF_8: "utf-8",
    Encoding.UTF_16: "utf-16",
    Encoding.WINDOWS_1252: "cp1252",
    Encoding.ISO_8859_1: "latin-1",
}
_NO_ID: Final = UUID(int=0)
_OF_ALL: Final = frozenset(
    {_F.FRACTION, _F.UNIT, _F.QUALIFIER, _F.RESULT_METHOD, _F.RESULT_STATUS, _F.VALUE_TYPE, _F.RESULT_COMMENT}
)
"""What is said of every result of a row, of those in columns of their own as well."""
_VISIT: Final = {
    "site_code": _F.SITE_CODE,
    "site_name": _F.SITE_NAME,
    "activity_type": _F.ACTIVITY_TYPE,
    "medium": _F.MEDIUM,
    "method": _F.METHOD,
    "collector": _F.COLLECTOR,
    "comment": _F.COMMENT,
}


class CsvLayout:
    """The layout of a table that a mapping describes (`resolvers/wqx_layout.py: Layout`)."""

    def __init__(self, mapping: CsvMapping) -> None:
        self._mapping = mapping
        self._columns = {one.field: one.column.strip() for one in mapping.columns}
        self._constants = {one.field: one.value.strip() for one in mapping.constants}
        self._missing = frozenset(one.strip() for one in mapping.missing)
        self._zone = ZoneInfo(mapping.time_zone)
        self._wanted = tuple(dict.fromkeys([*self._columns.values(), *(one.column.strip() for one in mapping.results)]))
        self.encoding = _ENCODINGS[mapping.encoding]
        is_whole = _F.COLLECTED_AT in self._columns or _F.COLLECTED_AT in self._constants
        self._day = _F.COLLECTED_AT if is_whole else _F.DATE
        self.columns = FileColumns(
            {
                **{name: self._name(one) for name, one in _VISIT.items()},
                "date": self._name(self._day),
                "time": self._name(_F.COLLECTED_AT if is_whole else _F.TIME),
            },
            {"method": self._name(_F.RESULT_METHOD), "comment": self._name(_F.RESULT_COMMENT)},
        )

    def rows(self, stream: TextIO) -> Iterator[TableRow]:
        """Yield the rows below the header."""
        return read_table(stream, self._require_header, delimiter=_DELIMITERS[self._mapping.delimiter])

    def key_of(self, cells: Mapping[str, str]) -> str:
        """Return what tells the row's visit apart: as it is read, so that 8:00 and 08:00 are one moment."""
        try:
            return self._visit(cells, self._moment(cells))
        except CellError:
            return "\0".join(cells.values())

    def results(self, row: TableRow) -> Sequence[Result]:
        """Return the results of a row, in the order of the file's columns."""
        cells = row.cells
        facts = self._facts(cells)
        visit = self._visit(cells, facts.moment)
        source = {
            name: cell for name, cell in cells.items() if cell.strip() and name != self._columns.get(_F.COLLECTOR)
        }
        found = [
            Result(
                organization="",
                activity=visit,
                facts=facts,
                identity=("csv", one.characteristic, one.fraction or "", one.unit or "", one.method or ""),
                content=_content_of(one),
                measurement=one,
            )
            for one in self._measurements(row.line, cells, source)
        ]
        if not found:
            raise CellError("", "has no result")
        return found

    def _visit(self, cells: Mapping[str, str], moment: Moment) -> str:
        if (activity := self._said(cells, _F.ACTIVITY)) is not None:
            return activity
        parts = (self._said(cells, _F.SITE_CODE), moment.at.isoformat(), self._said(cells, _F.ACTIVITY_TYPE))
        return "|".join((part or "").replace("%", "%25").replace("|", "%7C") for part in parts)

    def _facts(self, cells: Mapping[str, str]) -> Facts:
        site = self._text(cells, _F.SITE_CODE)
        if site is None:
            raise CellError(self._name(_F.SITE_CODE), "is missing")
        self._text(cells, _F.ACTIVITY)
        return Facts(
            site_code=site,
            moment=self._moment(cells),
            position=self._position(cells),
            site_name=self._text(cells, _F.SITE_NAME),
            activity_type=self._text(cells, _F.ACTIVITY_TYPE),
            medium=self._text(cells, _F.MEDIUM),
            method=self._text(cells, _F.METHOD),
            collector=self._text(cells, _F.COLLECTOR),
            comment=self._text(cells, _F.COMMENT),
        )

    def _moment(self, cells: Mapping[str, str]) -> Moment:
        name = self._day
        return moment_of(
            self._said(cells, name) or "",
            None if name is _F.COLLECTED_AT else self._said(cells, _F.TIME) or "",
            self._said(cells, _F.TIME_ZONE) or "",
            order=self._mapping.date_order,
            zone=self._zone,
            names=(self._name(name), self._name(_F.TIME), self._name(_F.TIME_ZONE)),
        )

    def _position(self, cells: Mapping[str, str]) -> Position | None:
        found = []
        for one, bound in ((_F.LATITUDE, 90), (_F.LONGITUDE, 180)):
            text = self._said(cells, one)
            degrees = None if text is None else self._number(text)
            if text is not None and (degrees is None or abs(degrees) > bound):
                raise CellError(self._name(one), f"is not a number of degrees from -{bound} to {bound}", text)
            found.append(degrees)
        north, east = found
        if north is None and east is None:
            return None
        if north is None or east is None:
            name = self._name(_F.LATITUDE if north is None else _F.LONGITUDE)
            raise CellError(name, "is missing beside the other half of the place")
        return Position(north, east, self._name(_F.LATITUDE))

    def _measurements(
        self, line: int, cells: Mapping[str, str], source: Mapping[str, str]
    ) -> Iterator[ReportedMeasurement]:
        shared = {one: self._text(cells, one) for one in _OF_ALL}
        condition = self._text(cells, _F.DETECTION_CONDITION)
        value = self._said(cells, _F.VALUE)
        if value is not None or condition is not None:
            characteristic = self._text(cells, _F.CHARACTERISTIC)
            if characteristic is None:
                raise CellError(self._name(_F.CHARACTERISTIC), "is missing")
            yield ReportedMeasurement(
                line=line,
                id=_NO_ID,
                characteristic=characteristic,
                fraction=shared[_F.FRACTION],
                value=None if value is None else self._number(value),
                value_reported=self._text(cells, _F.VALUE),
                unit=shared[_F.UNIT],
                speciation=None,
                qualifier=shared[_F.QUALIFIER],
                detection_condition=condition,
                detection_limit=self._limit(cells),
                detection_limit_unit=self._text(cells, _F.DETECTION_LIMIT_UNIT),
                detection_limit_type=self._text(cells, _F.DETECTION_LIMIT_TYPE),
                method=shared[_F.RESULT_METHOD],
                result_status=shared[_F.RESULT_STATUS],
                value_type=shared[_F.VALUE_TYPE],
                comment=shared[_F.RESULT_COMMENT],
                source=source,
            )
        for one in self._mapping.results:
            text = self._kept(cells[one.column.strip()])
            if text is None:
                continue
            if len(text) > WIDTHS[_F.VALUE]:
                raise CellError(one.column, f"is longer than {WIDTHS[_F.VALUE]} characters", text)
            yield ReportedMeasurement(
                line=line,
                id=_NO_ID,
                characteristic=one.characteristic.strip(),
                fraction=one.fraction or shared[_F.FRACTION],
                value=self._number(text),
                value_reported=text,
                unit=one.unit or shared[_F.UNIT],
                speciation=None,
                qualifier=shared[_F.QUALIFIER],
                detection_condition=None,
                detection_limit=None,
                detection_limit_unit=None,
                detection_limit_type=None,
                method=one.method or shared[_F.RESULT_METHOD],
                result_status=shared[_F.RESULT_STATUS],
                value_type=shared[_F.VALUE_TYPE],
                comment=shared[_F.RESULT_COMMENT],
                source=source,
            )

    def _limit(self, cells: Mapping[str, str]) -> Any:
        text = self._said(cells, _F.DETECTION_LIMIT)
        limit = None if text is None else self._number(text)
        if text is not None and limit is None:
            raise CellError(self._name(_F.DETECTION_LIMIT), "is not a number", text)
        return limit

    def _number(self, text: str) -> Any:
        # Beside a comma, a point would stand for thousands, or for nothing that is certain.
        if self._mapping.decimal_comma:
            text = "" if "." in text else text.replace(",", ".")
        return number(text)

    def _text(self, cells: Mapping[str, str], one: ImportField) -> str | None:
        text = self._said(cells, one)
        if text is not None and len(text) > (width := WIDTHS.get(one, 10_000)):
            raise CellError(self._name(one), f"is longer than {width} characters", text)
        return text

    def _said(self, cells: Mapping[str, str], one: ImportField) -> str | None:
        column = self._columns.get(one)
        return self._constants.get(one) if column is None else self._kept(cells[column])

    def _kept(self, cell: str) -> str | None:
        text = cell.strip()
        return None if not text or text in self._missing else text

    def _name(self, one: ImportField) -> str:
        return self._columns.get(one, str(one))

    def _require_header(self, header: Sequence[str]) -> None:
        require_columns(header, wanted=self._wanted, optional=frozenset())


def _content_of(one: ReportedMeasurement) -> bytes:
    """Return a digest of what tells results of one identity apart.

    It is what is read of it alone, not its row, where other results stand that may be corrected. How far its review has
    come is not of it, nor what is sealed where it is stored (`resolvers/wqx_row.py`).
    """
    said = (
        one.value_reported,
        one.qualifier,
        one.detection_condition,
        None if one.detection_limit is None else str(one.detection_limit),
        one.detection_limit_unit,
        one.detection_limit_type,
        one.value_type,
    )
    return digest(text or "" for text in said)
