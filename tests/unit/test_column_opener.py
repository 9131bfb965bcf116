"""Opening a column of many rows is opening each of its values, whatever stands next to it."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from models.encryption import envelope
from models.encryption.envelope import Algorithm, Cell, DataKey, KeyOwner, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.errors import SealedError, TamperedError
from models.inventory import entity_of
from models.record import Record
from models.row import ColumnOpener

MINE, THEIRS = UUID(int=1), UUID(int=2)
COMMENT = entity_of(Record).columns["comment"]


def _key(key_id: int, organization_id: UUID = MINE, algorithm: Algorithm = Algorithm.AES_256_GCM_SIV) -> DataKey:
    owner = KeyOwner(OwnerKind.ORGANIZATION, organization_id)
    return DataKey(UUID(int=key_id), owner, bytes([key_id]) * 32, algorithm=algorithm)


HELD: Final = {
    "first": _key(1),
    "second": _key(2),
    "other mode": _key(1, algorithm=Algorithm.AES_256_GCM),
    "theirs": _key(4, THEIRS),
}
AWAY: Final = _key(9)
KINDS: Final = (*HELD, "none", "away", "moved", "changed", "cut", "odd layout", "odd text")


def _stored(kind: str, row_id: UUID, text: str) -> bytes | None:
    """Return a value as it is stored: sealed under the key of that name, or wrong in the way of that name."""
    cell = Cell(THEIRS if kind == "theirs" else MINE, "record", "comment", row_id)
    if kind in HELD:
        return seal(HELD[kind], cell, text, pad=len(text) % 2 == 0)
    blob = seal(AWAY if kind == "away" else HELD["first"], cell, text)
    if kind == "moved":
        return seal(HELD["first"], Cell(MINE, "record", "comment", UUID(int=99)), text)
    if kind.startswith("odd"):
        content = b"\x07" + text.encode() if kind == "odd layout" else b"\x00\xff"
        cipher = AESGCMSIV(HELD["first"].derive(b"envelope AES_256_GCM_SIV"))
        header = blob[:46]
        return header + cipher.encrypt(header[34:], content, envelope._associated(HELD["first"], cell, header))
    return {"none": None, "away": blob, "changed": blob[:-1] + bytes([blob[-1] ^ 1]), "cut": blob[:20]}[kind]


def _alone(blob: bytes, organization_id: UUID, row_id: UUID) -> Any:
    """Return what opening the value by itself comes to."""
    by_id = {key.id.bytes: key for key in HELD.values() if key is not HELD["other mode"]}
    try:
        if (key := by_id.get(blob[2:18])) is None:
            return TamperedError if len(blob) < 63 else SealedError
        return open_sealed(key, Cell(organization_id, "record", "comment", row_id), blob)
    except TamperedError as error:
        return type(error)


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    """A keyring that holds the keys, and reaches no store."""
    made = Keyring(KeyStore(), FileKeyProvider(bytes(32)), lifetime_s=1000)
    for name in ("first", "second", "theirs"):
        made.add(HELD[name])
    return made


@given(
    kinds=st.lists(st.sampled_from(KINDS) | st.just("first"), min_size=1, max_size=12),
    text=st.text(max_size=40),
    chosen=st.sets(st.integers(0, 11)),
)
def test_a_column_opens_as_its_values_do(keyring: Keyring, kinds: Sequence[str], text: str, chosen: set[int]) -> None:
    row_ids = [UUID(int=100 + place) for place in range(len(kinds))]
    columns: dict[str, list[Any]] = {
        "id": row_ids,
        "organization_id": [THEIRS if kind == "theirs" else MINE for kind in kinds],
        "comment": [_stored(kind, row_id, text) for kind, row_id in zip(kinds, row_ids, strict=True)],
    }
    places = [place for place in range(len(kinds)) if place in chosen]

    with keyring.activate():
        opened = ColumnOpener(COMMENT, entity_of(Record)).open_all(columns.__getitem__, places)

    alone = {
        place: _alone(columns["comment"][place], columns["organization_id"][place], row_ids[place])
        for place in places
        if columns["comment"][place] is not None
    }
    texts = [alone[place] if isinstance(alone.get(place), str) else None for place in range(len(kinds))]
    assert opened.values == texts
    assert opened.sealed == [place for place, outcome in alone.items() if outcome is SealedError]
    broken = [one for one in alone.items() if not isinstance(one[1], str) and one[1] is not SealedError]
    assert [(place, type(error)) for place, error in opened.broken] == broken


def test_one_broken_value_keeps_no_other_from_opening(keyring: Keyring) -> None:
    kinds = ["first", "first", "changed", "first", "none", "second", "away", "other mode", "theirs", "first"]
    row_ids = [UUID(int=100 + place) for place in range(len(kinds))]
    columns: dict[str, list[Any]] = {
        "id": row_ids,
        "organization_id": [MINE] * len(kinds),
        "comment": [_stored(kind, row_id, kind) for kind, row_id in zip(kinds, row_ids, strict=True)],
    }

    with keyring.activate():
        opened = ColumnOpener(COMMENT, entity_of(Record)).open_all(columns.__getitem__, range(len(kinds)))

    shown = ["first", "first", None, "first", None, "second", None, "other mode", None, "first"]
    assert opened.values == shown
    assert opened.sealed == [6]
    # What was sealed for another organization does not open in this one, although its key is in memory.
    assert [place for place, error in opened.broken if isinstance(error, TamperedError)] == [2, 8]
