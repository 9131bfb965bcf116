"""An export's records as a table: one row for each measurement, with the columns of its record beside it.

A record without measurements has one row, in which the measurement's columns are empty. Names are the columns' own,
with `record_` or `measurement_` in front, and so stay what they are when another table gets a column of that name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tortoise import fields

from models.encryption.codec import Place, Point
from models.encryption.column import EncryptedField
from models.inventory import Column, entity_of
from models.measurement import Measurement
from models.record import Record
from resolvers.export_writer import ExportedRecord, ExportHead


class Kind(StrEnum):
    """What a table's column holds."""

    TEXT = "TEXT"
    NUMBER = "NUMBER"
    INTEGER = "INTEGER"
    YES_NO = "YES_NO"
    MOMENT = "MOMENT"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column of the table: its name, and what it holds."""

    name: str
    kind: Kind


class ExportTable:
    """The table that an export's records make. head: what is in it."""

    def __init__(self, head: ExportHead) -> None:
        self._projects = head.projects
        record, measurement = entity_of(Record).columns, entity_of(Measurement).columns
        self._record = [record[name] for name in head.record_columns if name != "project_id"]
        self._measurement = [measurement[name] for name in head.measurement_columns]
        self.columns: Sequence[TableColumn] = (
            TableColumn("project_id", Kind.TEXT),
            TableColumn("project_code", Kind.TEXT),
            TableColumn("project_name", Kind.TEXT),
            *(one for column in self._record for one in _columns("record", column)),
            *(one for column in self._measurement for one in _columns("measurement", column)),
        )
        self._without: list[Any] = [None] * sum(
            1 for column in self._measurement for _ in _columns("measurement", column)
        )
        self._record_parts = [(one.name, _is_place(one)) for one in self._record]
        self._measurement_names = [one.name for one in self._measurement]

    def rows(self, batch: Sequence[ExportedRecord]) -> Iterator[list[Any]]:
        """Yield the rows of the records, each as long as `columns`: texts, numbers, truths, moments, None."""
        for beside, measured in self.parts(batch):
            for one in measured:
                yield [*beside, *one]

    def parts(self, batch: Sequence[ExportedRecord]) -> Iterator[tuple[list[Any], list[list[Any]]]]:
        """Yield of each record what is the same in its rows, and of each of its rows the rest: one at the least."""
        names = self._measurement_names
        for one in batch:
            measured = [
                [value if type(value := values[name]) in _AS_IT_IS else _cell(value) for name in names]
                for values in one.measurements
            ]
            yield self._beside(one), measured or [self._without]

    def _beside(self, one: ExportedRecord) -> list[Any]:
        project_id = one.values.get("project_id")
        code, name = (None, None) if project_id is None else self._projects.get(project_id, (None, None))
        cells: list[Any] = [_cell(project_id), code, name]
        for column, is_place in self._record_parts:
            value = one.values[column]
            if is_place:
                point = value if isinstance(value, Point) else Point(None, None)
                cells += [point.latitude, point.longitude]
            else:
                cells.append(_cell(value))
        return cells


def _cell(value: Any) -> Any:
    if type(value) in _AS_IT_IS:
        return value
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


_AS_IT_IS = frozenset({type(None), str, int, float, bool, datetime})


def _columns(prefix: str, column: Column) -> Iterator[TableColumn]:
    if _is_place(column):
        yield TableColumn(f"{prefix}_exact_latitude", Kind.NUMBER)
        yield TableColumn(f"{prefix}_exact_longitude", Kind.NUMBER)
    else:
        yield TableColumn(f"{prefix}_{column.name}", _kind(column))


def _is_place(column: Column) -> bool:
    return isinstance(column.field, EncryptedField) and column.field.codec is Place


def _kind(column: Column) -> Kind:
    for of, kind in (
        (fields.FloatField, Kind.NUMBER),
        (fields.BooleanField, Kind.YES_NO),
        (fields.DatetimeField, Kind.MOMENT),
        (fields.IntField, Kind.INTEGER),
    ):
        if isinstance(column.field, of):
            return kind
    return Kind.TEXT
