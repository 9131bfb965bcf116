"""What a blind index tells, and what it does not."""

import unicodedata
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encryption.blind_index import (
    blind_index,
    blind_indexes,
    normalize_code,
    normalize_email,
    normalize_name,
    subkey,
)
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


NORMALIZERS = [normalize_code, normalize_email, normalize_name]
BLANK = st.text(" \t\n\u00a0\u2003\u3000", max_size=3)


@pytest.mark.parametrize("normalize", NORMALIZERS)
@given(text=st.text())
def test_normalizing_twice_changes_nothing(normalize: Callable[[str], str], text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@pytest.mark.parametrize("normalize", NORMALIZERS)
@given(text=st.text(), before=BLANK, after=BLANK)
def test_the_form_of_letters_and_the_blanks_around_a_value_do_not_count(
    normalize: Callable[[str], str], text: str, before: str, after: str
) -> None:
    decomposed, composed = unicodedata.normalize("NFD", text), unicodedata.normalize("NFC", text)
    ways = [f"{before}{text}{after}", decomposed, composed]

    assert {normalize(way) for way in ways} == {normalize(text)}


@pytest.mark.parametrize("normalize", NORMALIZERS)
@given(text=st.text(st.characters(categories=["Lu", "Ll", "Nd", "Pd", "Zs"])))
def test_case_does_not_count(normalize: Callable[[str], str], text: str) -> None:
    assert normalize(text.casefold()) == normalize(text)


@given(words=st.lists(st.text("aZ\u00df\u01c4-", min_size=1), min_size=1, max_size=4), blank=BLANK.filter(bool))
def test_of_a_name_blanks_inside_count_as_one_and_of_a_code_as_none(words: list[str], blank: str) -> None:
    assert normalize_name(blank.join(words)) == normalize_name(" ".join(words))
    assert normalize_code("E\u00af") == normalize_code("\u0112")
    assert normalize_code(blank.join(words)) == normalize_code("".join(words))


def test_what_differs_in_more_than_that_stays_apart() -> None:
    assert normalize_name("Ana Ruiz") != normalize_name("AnaRuiz")
    assert normalize_name("Ana Ruiz") != normalize_name("Ana Ru\u00edz")
    assert normalize_code("SN-77") != normalize_code("SN77")


@given(texts=st.lists(st.text()))
def test_several_indexes_are_those_of_each(texts: list[str]) -> None:
    assert blind_indexes(KEY, **WHERE, texts=texts) == [blind_index(KEY, **WHERE, text=text) for text in texts]
