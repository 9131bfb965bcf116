"""How far imports are, and what became of each of their rows: read from the blocks that they leave behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
import orjson

from models.data_import import RowFate

_BLOCKS_AT_ONCE: Final = 8
_COUNTED: Final = ("created_rows", "known_rows", "rejected_rows", "blank_rows", "records_created")
_SUMS: Final = ", ".join(f"coalesce(sum(b.{name}), 0)::bigint as {name}" for name in _COUNTED)
_PROGRESS: Final = f"""
    select i.id, b.*, coalesce((select c.start + c.length from import_chunk c
                                 where c.organization_id = i.organization_id and c.import_id = i.id
                                 order by c.start desc limit 1), 0)
             as received_bytes
    from data_import i left join lateral (
      select coalesce(max(b.total_rows), i.total_rows) as total_rows, {_SUMS} from import_block b
       where b.organization_id = i.organization_id and b.import_id = i.id and b.run = i.run) b on true
    where i.organization_id = $1 and i.id = any($2)
"""
_BLOCKS: Final = f"""
    select w.place, b.position, b.fates
    from unnest($2::uuid[], $3::int[], $4::int[]) with ordinality as w(import_id, run, position, place)
    cross join lateral (
      select b.position, b.fates from import_block b
      where b.organization_id = $1 and b.import_id = w.import_id and b.run = w.run and b.position >= w.position
        and ($5::text[] is null or (b.created_rows > 0 and '{RowFate.CREATED}' = any ($5))
             or (b.known_rows > 0 and '{RowFate.KNOWN}' = any ($5))
             or (b.rejected_rows > 0 and '{RowFate.REJECTED}' = any ($5))
             or (b.blank_rows > 0 and '{RowFate.BLANK}' = any ($5)))
      order by b.position limit {_BLOCKS_AT_ONCE}) b
    order by w.place, b.position
"""

Place = tuple[int, int]
"""Where a row's fate stands: the number of its block, and of it among the rows of that."""
BEFORE_ALL: Final[Place] = (0, -1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is. total_rows: None until the file was looked through."""

    received_bytes: int
    total_rows: int | None
    created_rows: int
    known_rows: int
    rejected_rows: int
    blank_rows: int
    records_created: int

    def rows_of(self, fates: Sequence[RowFate] | None) -> int:
        """Return how many rows have one of these fates; of all with None."""
        of = {
            RowFate.CREATED: self.created_rows,
            RowFate.KNOWN: self.known_rows,
            RowFate.REJECTED: self.rejected_rows,
            RowFate.BLANK: self.blank_rows,
        }
        return sum(of[one] for one in set(of if fates is None else fates))

    @property
    def done_rows(self) -> int:
        """Rows of which it is known what became of them."""
        return self.rows_of(None)


@dataclass(frozen=True, slots=True)
class ToldRow:
    """What became of a row; column and reason where it was rejected."""

    line: int
    fate: RowFate
    column: str | None
    reason: str | None
    place: Place


async def load_progress(
    connection: asyncpg.Connection, organization_id: UUID, ids: Sequence[UUID]
) -> Mapping[UUID, Progress]:
    """Return how far each of the imports is: one statement for all of them."""
    rows = await connection.fetch(_PROGRESS, organization_id, list(ids))
    return {
        row["id"]: Progress(row["received_bytes"], row["total_rows"], *(row[name] for name in _COUNTED)) for row in rows
    }


async def load_fates(
    connection: asyncpg.Connection,
    organization_id: UUID,
    runs: Sequence[tuple[UUID, int]],
    *,
    fates: Sequence[RowFate] | None,
    after: Place,
    most: int,
) -> list[list[ToldRow]]:
    """Return of each import what became of the rows behind a place, `most` at the most, in the order in which it was
    decided.

    runs: the imports, each with which of its runs. fates: those of these alone; None for all.

    One statement for all of the imports, and another one where the rows lie in more than so many batches.
    """
    told: list[list[ToldRow]] = [[] for _ in runs]
    left = dict.fromkeys(range(len(runs)), after[0])
    while left:
        places = list(left)
        found = await connection.fetch(
            _BLOCKS,
            organization_id,
            [runs[place][0] for place in places],
            [runs[place][1] for place in places],
            [left[place] for place in places],
            fates,
        )
        blocks: dict[int, list[Any]] = {place: [] for place in places}
        for block in found:
            blocks[places[block["place"] - 1]].append(block)
        for place, of_import in blocks.items():
            rows = told[place]
            for block in of_import:
                rows += _told_in(block, fates, after, most - len(rows))
                left[place] = block["position"] + 1
            if len(of_import) < _BLOCKS_AT_ONCE or len(rows) >= most:
                del left[place]
    return told


def _told_in(block: Any, fates: Sequence[RowFate] | None, after: Place, most: int) -> list[ToldRow]:
    told: list[ToldRow] = []
    index = -1
    if most <= 0:
        return told
    for first_line, last_line, fate, column, reason in orjson.loads(block["fates"]):
        if fates is not None and fate not in fates:
            index += last_line - first_line + 1
            continue
        for line in range(first_line, last_line + 1):
            index += 1
            place = (block["position"], index)
            if place <= after:
                continue
            told.append(ToldRow(line, RowFate(fate), column or None, reason or None, place))
            if len(told) == most:
                return told
    return told
