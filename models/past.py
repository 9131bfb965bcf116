"""Rows as they were at a moment: their changes laid one over the other, and made rows of their table again.

What is encrypted stays ciphertext, bound to the cell that it stood in: it is opened as it is in the row of today. Of
SECRET columns the trail holds no values, so rows of the past have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from auth.classification import Classification
from models.change import ChangeOperation
from models.inventory import Entity, entity_named
from models.row import Row, row_type

AS_OF: Final = "as_of"
"""Under which name a row of the past holds the moment that it is of."""

State = dict[str, Any]
"""What a row held, by column, as JSON has it. A column that was null may be missing."""


class Told(NamedTuple):
    """The change of a row. columns: before and after, as `models/change.py` keeps them."""

    operation: str
    entity: str
    row_id: str
    columns: Mapping[str, Sequence[Any]]


def fold(changes: Iterable[Told]) -> dict[str, list[State]]:
    """Return the rows that there were after these changes, by table. changes: in their order, from the first on."""
    rows: dict[tuple[str, str], State] = {}
    for operation, entity, row_id, columns in changes:
        after = {name: pair[1] for name, pair in columns.items()}
        if operation == ChangeOperation.INSERT:
            rows[entity, row_id] = after
        elif operation == ChangeOperation.DELETE:
            rows.pop((entity, row_id), None)
        elif (entity, row_id) in rows:
            rows[entity, row_id] |= after
    found: dict[str, list[State]] = {}
    for (entity, _), state in rows.items():
        found.setdefault(entity, []).append(_without_secrets(entity_named(entity), state))
    return found


async def fetch_past(
    connection: asyncpg.Connection, entity: Entity, columns: Sequence[str], states: Sequence[State], moment: datetime
) -> list[Row]:
    """Return rows of the table that hold what is said of them, in the same order, and the moment under `AS_OF`.

    Raises:
        LookupError: the table has no column of that name.
    """
    text = _text(entity, tuple(columns))
    return await connection.fetch(text, orjson.dumps(states).decode(), moment, record_class=row_type(entity))


@lru_cache(maxsize=1024)
def _text(entity: Entity, wanted: tuple[str, ...]) -> str:
    names = dict.fromkeys((*entity.scope_columns, *wanted))
    unknown = [name for name in names if name not in entity.columns]
    if unknown:
        raise LookupError(f"The table {entity.name} has no column {unknown[0]!r}.")
    shown = ", ".join(f't."{name}"' for name in names)
    # Without the schema, `record` would be a type of PostgreSQL's own.
    return (
        f"select {shown}, $2::timestamptz as {AS_OF}"
        f" from jsonb_array_elements($1::jsonb) with ordinality j(state, place)"
        f' cross join lateral jsonb_populate_record(null::public."{entity.name}", j.state) t order by j.place'
    )


def _without_secrets(entity: Entity, state: State) -> State:
    return {
        name: value
        for name, value in state.items()
        if name in entity.columns and entity.columns[name].classification is not Classification.SECRET
    }
