"""What a row must be by what the trail says of it: its changes, one laid over the other. Pure.

Values are compared in the words of the trail, the database's `jsonb`: ciphertext as bytes, an imprint of a token or of
a password by its digest. Of a keyed fingerprint the trail says only whether there was one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from auth.classification import Classification
from models.base import Storage
from models.change import ChangeOperation
from models.inventory import Column, Entity

UNTOLD: Final = "secret"
"""What the trail says of a value of which it says nothing but that it is there."""
DIGEST_PREFIX: Final = "sha256:"

_BY_DIGEST: Final = frozenset({Storage.TOKEN_DIGEST, Storage.PASSWORD_HASH})


def is_told_by_digest(column: Column) -> bool:
    """Return whether the trail holds a digest of the column's values: of what is random, or hashed with a salt.

    A digest of a keyed fingerprint would outlive the erasure of what it is of.
    """
    return column.storage in _BY_DIGEST


def told(entity: Entity, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row, given as the database's `to_jsonb`, as the trail tells it: without what is null."""
    untold, digested = _secrets(entity)
    return {
        name: UNTOLD if name in untold else _digest(value) if name in digested else value
        for name, value in row.items()
        if value is not None
    }


@dataclass(slots=True)
class Trace:
    """A row, as it becomes known change by change, in the order in which they happened.

    is_whole: whether the trail still holds all changes; else the first that is left says what was before it, and of the
        other columns nothing is known but what later ones say.
    departed: the columns in which a change does not go on from the one before it.
    """

    is_whole: bool = True
    values: dict[str, Any] | None = None
    departed: set[str] = field(default_factory=set)
    _is_begun: bool = False
    _known: set[str] | None = None

    def follow(self, operation: str, columns: Mapping[str, Any]) -> None:
        """Take up the next change. columns: `[before, after]` by name. What has no such form departs from all."""
        pairs = {name: pair for name, pair in columns.items() if isinstance(pair, list) and len(pair) == 2}
        self.departed |= columns.keys() - pairs.keys()
        values = self.values if self.values is not None else {}
        if not self._is_begun and not self.is_whole and operation != ChangeOperation.INSERT:
            values = {name: before for name, (before, _) in pairs.items() if before is not None}
            self._known = set(pairs)
        elif (self.values is None) is not (operation == ChangeOperation.INSERT):
            # It came although it was there, or changed although it was not.
            self.departed.add("id")
        self._is_begun = True
        told = pairs if self._known is None else pairs.keys() & self._known
        self.departed |= {name for name in told if pairs[name][0] != values.get(name)}
        self._known = self._known | pairs.keys() if self._known is not None else None
        values = values | {name: after for name, (_, after) in pairs.items()}
        left = {name: value for name, value in values.items() if value is not None}
        if operation == ChangeOperation.DELETE:
            # It tells all that there was, so that what is left was there and is not told of.
            self.departed |= left.keys()
            self.values = None
        else:
            self.values = left

    def differences(self, row: Mapping[str, Any] | None) -> list[str]:
        """Return in which columns a row, as `told`, is another one than the trail says. None: there is no such row."""
        if row is None or self.values is None:
            return [] if row is self.values else ["id"]
        names = row.keys() | self.values.keys()
        return sorted(name for name in names if row.get(name) != self.values.get(name))


@cache
def _secrets(entity: Entity) -> tuple[frozenset[str], frozenset[str]]:
    secrets = [one for one in entity.columns.values() if one.classification is Classification.SECRET]
    digested = frozenset(one.name for one in secrets if is_told_by_digest(one))
    return frozenset(one.name for one in secrets) - digested, digested


def _digest(value: Any) -> str:
    return DIGEST_PREFIX + hashlib.sha256(str(value).encode()).hexdigest()
