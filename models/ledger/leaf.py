"""What a leaf of an organization's tree says: one entry of the trail and all that it changed, as one line of JSON.

    {"changes":[{…},{…}],"entry":{…}}

The bytes are the same whenever they are made from the same rows: names in the order of their letters, columns that are
null left out, ids in lower case, moments in UTC with microseconds, bytes as the database writes them (`\\x…`), and a
change's columns in the very text of the database's `jsonb`. Ciphertext stays ciphertext, so that a leaf outlives the
erasure of what it holds. A column that a later version adds is null in what is there, and changes no leaf.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from models.audit_entry import AuditEntry
from models.change import Change
from models.inventory import entity_of
from models.ledger.merkle import LEAF_PREFIX

ENTRY_COLUMNS: Final = tuple(sorted(entity_of(AuditEntry).columns))
CHANGE_COLUMNS: Final = tuple(sorted(entity_of(Change).columns))

SELECT_ENTRY: Final = ", ".join(f"e.{name}" for name in ENTRY_COLUMNS)
"""What to select of an entry `e`."""
SELECT_CHANGE: Final = ", ".join("c.columns::text" if name == "columns" else f"c.{name}" for name in CHANGE_COLUMNS)
"""What to select of a change `c`."""


class Leaf:
    """A leaf that is made piece by piece, so that an entry with a million changes takes no more memory than one.

    The pieces, one after the other, are its bytes. Changes are given in the order of their ids.
    """

    __slots__ = ("_digest", "_is_first")

    def __init__(self) -> None:
        self._digest = hashlib.sha256(LEAF_PREFIX)
        self._is_first = True

    def begun(self) -> bytes:
        """Return the first piece."""
        return self._add(b'{"changes":[')

    def change(self, row: Mapping[str, Any]) -> bytes:
        """Return the piece of the next change."""
        said = _said(row, CHANGE_COLUMNS) | {"columns": orjson.Fragment(row["columns"])}
        comma = b"" if self._is_first else b","
        self._is_first = False
        return self._add(comma + orjson.dumps(said, option=orjson.OPT_SORT_KEYS))

    def ended(self, row: Mapping[str, Any]) -> bytes:
        """Return the last piece: the entry."""
        return self._add(b'],"entry":' + orjson.dumps(_said(row, ENTRY_COLUMNS), option=orjson.OPT_SORT_KEYS) + b"}")

    @property
    def hash(self) -> bytes:
        """The hash of the leaf, once it has ended (RFC 9162, 2.1.1)."""
        return self._digest.digest()

    def _add(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        return piece


def _said(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _written(value) for name in names if (value := row[name]) is not None}


def _written(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    if isinstance(value, list):
        return [str(one) for one in value]
    # asyncpg's ids are a class of their own, which JSON does not know.
    return value if isinstance(value, str | int) else str(value)
