"""Which entries of the trail are about a row: those that acted on it, read of it, or changed it, or a part of it.

Changes are found by an index. Reads name their rows in `entity_ids`, on which there is none (an index would cost as
much as the rest of an entry, and each page that is read writes one): they are found by looking at each entry of the
tenant, or of the time that is asked for. That takes half a second for 200,000 entries that name 50 rows each, measured
in memory, and grows with how many rows entries name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from uuid import UUID

from auth.principal import Viewer
from models.statement import Statement

_PARTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"record": ("measurement",), "membership": ("user_account",)}
)
"""The tables whose rows are shown as parts of another's: a person is a membership and an account."""


class Touched(NamedTuple):
    """A row, by its table and id."""

    entity: str
    row_id: UUID


def touching(statement: Statement, viewer: Viewer, touched: Touched, alias: str) -> str:
    """Return the SQL condition of the entries that are about the row."""
    row, own = statement.argument(touched.row_id), statement.argument(viewer.organization_id)
    names = statement.argument([touched.entity, *_PARTS.get(touched.entity, ())])
    # Its parts, those among them that are no more: worked out once, and not for each entry.
    ids = (
        f"array(select {row}::uuid"
        f" union all select c.entity_id from change c where c.organization_id = {own} and c.part_of_id = {row}"
        f" union all select m.user_id from membership m where m.organization_id = {own} and m.id = {row})"
    )
    changed = (
        f"select c.entry_id from change c where c.organization_id = {own}"
        f" and c.entity = any({names}::text[]) and c.entity_id = any({ids})"
    )
    return f"(({alias}.entity = any({names}::text[]) and {alias}.entity_ids && {ids}) or {alias}.id in ({changed}))"
