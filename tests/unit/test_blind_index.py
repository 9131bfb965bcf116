"""What a blind index tells, and what it does not."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encryption.blind_index import blind_index, normalize_email, subkey
from models.encryption.envelope import DataKey, KeyOwner, OwnerKind
from models.errors import SealedError

OWNER = KeyOwner(OwnerKind.ORGANIZATION, UUID(int=1))
KEY = DataKey(UUID(int=5), OWNER, bytes(range(32)))
OTHER_KEY = DataKey(UUID(int=6), OWNER, bytes(32))
WHERE: dict[str, Any] = {"table": "record", "column": "collector", "organization_id": UUID(int=1)}


def test_equal_texts_have_equal_indexes_of_16_bytes() -> None:
    index = blind_index(KEY, **WHERE, text="Ana Ruiz")

    assert len(index) == 16
    assert index == blind_index(KEY, **WHERE, text="Ana Ruiz")
    assert index != blind_index(KEY, **WHERE, text="Ana Ruis")


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"table": "device"},
        {"column": "comment"},
        {"organization_id": UUID(int=2)},
        {"table": "recordc", "column": "ollector"},
    ],
    ids=["table", "column", "organization", "names shifted"],
)
def test_an_index_tells_nothing_across_columns_and_organizations(elsewhere: dict[str, Any]) -> None:
    here = blind_index(KEY, **WHERE, text="Ana Ruiz")

    assert here != blind_index(KEY, **{**WHERE, **elsewhere}, text="Ana Ruiz")


def test_an_index_can_not_be_tried_without_the_key() -> None:
    assert blind_index(KEY, **WHERE, text="Ana Ruiz") != blind_index(OTHER_KEY, **WHERE, text="Ana Ruiz")


def test_subkeys_differ_by_purpose_and_key() -> None:
    keys = {subkey(KEY, "cursor"), subkey(KEY, "digest"), subkey(OTHER_KEY, "cursor")}

    assert len(keys) == 3
    assert subkey(KEY, "cursor") == subkey(KEY, "cursor")
    assert len(subkey(KEY, "cursor", 64)) == 64


def test_no_purpose_yields_the_keys_of_values() -> None:
    inner = {KEY.derive(b"envelope AES_256_GCM_SIV"), KEY.derive(b"envelope commitment")}

    for purpose in ("envelope AES_256_GCM_SIV", "envelope commitment", ""):
        assert subkey(KEY, purpose) not in inner


def test_a_wiped_key_makes_no_index() -> None:
    key = DataKey(UUID(int=5), OWNER, bytes(32))
    key.wipe()

    with pytest.raises(SealedError):
        blind_index(key, **WHERE, text="Ana Ruiz")


@pytest.mark.parametrize(
    "written",
    [
        "ana@example.org",
        " Ana@Example.ORG \n",
        "ＡＮＡ@example.org",
        "\u00a0ana@example.org",
    ],
)
def test_ways_to_write_an_address_are_one(written: str) -> None:
    assert normalize_email(written) == "ana@example.org"


def test_composed_and_decomposed_letters_are_one() -> None:
    assert normalize_email("jose\u0301@example.org") == normalize_email("JOS\u00c9@example.org")


@given(text=st.text())
def test_normalizing_twice_changes_nothing(text: str) -> None:
    assert normalize_email(normalize_email(text)) == normalize_email(text)
