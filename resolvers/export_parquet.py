"""Exports as Apache Parquet: one row for each measurement, in row groups of bounded size, compressed by Zstandard.

Moments are timestamps of microseconds in UTC. Repeated texts, such as a site's, are kept once in each row group.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import pyarrow
from pyarrow import parquet

from resolvers.export_table import ExportTable, Kind
from resolvers.export_weight import MOST_WEIGHT
from resolvers.export_writer import ExportedRecord, ExportHead

ROWS_IN_GROUP: Final = 20_000
"""Rows that are held back until they are written together."""
MOST_HELD: Final = 4 * MOST_WEIGHT
"""About how many bytes are held back, whatever the number of their rows."""

_TYPES: Final[Mapping[Kind, pyarrow.DataType]] = {
    Kind.TEXT: pyarrow.string(),
    Kind.NUMBER: pyarrow.float64(),
    Kind.INTEGER: pyarrow.int64(),
    Kind.YES_NO: pyarrow.bool_(),
    Kind.MOMENT: pyarrow.timestamp("us", tz="UTC"),
}


class Sink(io.RawIOBase):
    """Where a file is written to that nobody keeps: what was written since is taken out."""

    def __init__(self) -> None:
        self._written: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, content: Any) -> int:
        taken = bytes(content)
        self._written.append(taken)
        self._length += len(taken)
        return len(taken)

    def take(self) -> bytes:
        taken, self._written = b"".join(self._written), []
        return taken


class ParquetWriter:
    """Makes a Parquet file."""

    media_type: ClassVar[str] = "application/vnd.apache.parquet"
    ending: ClassVar[str] = "parquet"
    names_places: ClassVar[bool] = False

    def begin(self, head: ExportHead) -> bytes:
        """Return what opens the file."""
        self._table = ExportTable(head)
        self._schema = pyarrow.schema([(one.name, _TYPES[one.kind]) for one in self._table.columns])
        self._sink = Sink()
        self._waiting: list[list[Any]] = []
        self._weight = 0
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd", compression_level=1)
        return self._sink.take()

    def records(self, batch: Sequence[ExportedRecord]) -> bytes:
        """Return the row groups that are full now."""
        self._waiting.extend(self._table.rows(batch))
        weight = sum(one.weight for one in batch)
        self._weight += weight
        while len(self._waiting) >= ROWS_IN_GROUP:
            self._write(self._waiting[:ROWS_IN_GROUP])
            del self._waiting[:ROWS_IN_GROUP]
            # What is left is of this batch.
            self._weight = weight
        if self._weight > MOST_HELD:
            self._write(self._waiting)
            self._waiting, self._weight = [], 0
        return self._sink.take()

    def end(self) -> bytes:
        """Return the last row group, and what closes the file."""
        if self._waiting:
            self._write(self._waiting)
            self._waiting = []
        self._writer.close()
        return self._sink.take()

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        columns = [
            pyarrow.array(values, type=one.type)
            for values, one in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema), row_group_size=ROWS_IN_GROUP)
