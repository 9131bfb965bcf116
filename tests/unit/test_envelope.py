"""What an encrypted value promises."""

import copy
import hmac
import pickle
from dataclasses import replace
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from models.encryption import envelope
from models.encryption.envelope import (
    Algorithm,
    Cell,
    DataKey,
    KeyOwner,
    OwnerKind,
    key_id_of,
    open_sealed,
    seal,
)
from models.errors import SealedError, TamperedError

ORGANIZATION, OTHER_ORGANIZATION = UUID(int=1), UUID(int=2)
OWNER = KeyOwner(OwnerKind.ORGANIZATION, ORGANIZATION)
SECRET = bytes(range(32))
CELL = Cell(organization_id=ORGANIZATION, table="record", column="comment", row_id=UUID(int=10))
TEXT = "Turbid after the storm; Jürgen saw a heron. 😀"


def a_key(
    key_id: int = 5,
    owner: KeyOwner = OWNER,
    secret: bytes = SECRET,
    algorithm: Algorithm = Algorithm.AES_256_GCM_SIV,
) -> DataKey:
    return DataKey(UUID(int=key_id), owner, secret, algorithm=algorithm)


@given(text=st.text(), pad=st.booleans(), algorithm=st.sampled_from(Algorithm))
def test_a_value_opens_to_what_was_sealed(text: str, pad: bool, algorithm: Algorithm) -> None:
    key = a_key(algorithm=algorithm)

    assert open_sealed(key, CELL, seal(key, CELL, text, pad=pad)) == text


@pytest.mark.parametrize("sealing", Algorithm)
@pytest.mark.parametrize("opening", Algorithm)
def test_a_key_opens_what_it_sealed_with_another_algorithm(sealing: Algorithm, opening: Algorithm) -> None:
    blob = seal(a_key(algorithm=sealing), CELL, TEXT)

    assert blob[1] == sealing
    assert open_sealed(a_key(algorithm=opening), CELL, blob) == TEXT


def test_a_value_names_its_key() -> None:
    assert key_id_of(seal(a_key(key_id=77), CELL, TEXT)) == UUID(int=77)


def test_the_same_text_is_sealed_differently_each_time() -> None:
    key = a_key()

    assert len({seal(key, CELL, TEXT) for _ in range(100)}) == 100


def test_the_text_is_not_in_the_value() -> None:
    assert b"heron" not in seal(a_key(), CELL, TEXT)


def test_the_format_is_what_the_docstring_says() -> None:
    blob = seal(a_key(), CELL, TEXT)

    def derived(info: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=UUID(int=5).bytes, info=info).derive(SECRET)

    def parts(*contents: bytes) -> bytes:
        return b"".join(len(content).to_bytes(2, "big") + content for content in contents)

    header, nonce = blob[:46], blob[34:46]
    commitment = hmac.digest(derived(b"envelope commitment"), b"\x01" + UUID(int=5).bytes, "sha256")[:16]
    assert header[:34] == b"\x01\x01" + UUID(int=5).bytes + commitment
    associated = parts(
        header, b"ORGANIZATION", ORGANIZATION.bytes, b"record", b"comment", ORGANIZATION.bytes, CELL.row_id.bytes
    )
    cipher = AESGCMSIV(derived(b"envelope AES_256_GCM_SIV"))
    assert cipher.decrypt(nonce, blob[46:], associated) == b"\x00" + TEXT.encode()


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(CELL, row_id=UUID(int=11)),
        replace(CELL, table="measurement"),
        replace(CELL, column="review_reason"),
        replace(CELL, organization_id=OTHER_ORGANIZATION),
        replace(CELL, organization_id=CELL.row_id, row_id=CELL.organization_id),
        replace(CELL, table="recordc", column="omment"),
    ],
    ids=["row", "table", "column", "organization", "ids swapped", "names shifted"],
)
def test_a_moved_value_does_not_open(elsewhere: Cell) -> None:
    key = a_key()
    blob = seal(key, CELL, TEXT)

    with pytest.raises(TamperedError):
        open_sealed(key, elsewhere, blob)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_flipped_bit_is_caught(algorithm: Algorithm) -> None:
    key = a_key(algorithm=algorithm)
    blob = seal(key, CELL, "Low flow", pad=True)

    for position in range(len(blob)):
        for bit in range(8):
            changed = bytearray(blob)
            changed[position] ^= 1 << bit
            with pytest.raises(TamperedError):
                open_sealed(key, CELL, bytes(changed))


def test_every_truncation_is_caught() -> None:
    key = a_key()
    blob = seal(key, CELL, "Low flow")

    for length in range(len(blob)):
        with pytest.raises(TamperedError):
            open_sealed(key, CELL, blob[:length])
    with pytest.raises(TamperedError):
        open_sealed(key, CELL, blob + b"\x00")


@given(blob=st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(blob: bytes) -> None:
    with pytest.raises(TamperedError):
        open_sealed(a_key(), CELL, blob)
    if len(blob) < 63 or blob[0] != 1:
        with pytest.raises(TamperedError):
            key_id_of(blob)


def test_a_swapped_key_id_does_not_open() -> None:
    blob = seal(a_key(key_id=5), CELL, TEXT)
    renamed = blob[:2] + UUID(int=6).bytes + blob[18:]

    for key in (a_key(key_id=5), a_key(key_id=6), a_key(key_id=6, secret=bytes(32))):
        with pytest.raises(TamperedError):
            open_sealed(key, CELL, renamed)


@pytest.mark.parametrize(("position", "value"), [(0, 0), (0, 2), (1, 0), (1, 3)], ids=str)
def test_an_unknown_format_or_algorithm_is_refused(position: int, value: int) -> None:
    blob = bytearray(seal(a_key(), CELL, TEXT))
    blob[position] = value

    with pytest.raises(TamperedError):
        open_sealed(a_key(), CELL, bytes(blob))


def test_a_value_cannot_be_passed_off_as_of_the_other_algorithm() -> None:
    siv, gcm = a_key(), a_key(algorithm=Algorithm.AES_256_GCM)
    blob = seal(siv, CELL, TEXT)

    with pytest.raises(TamperedError):
        open_sealed(siv, CELL, seal(gcm, CELL, TEXT)[:34] + blob[34:])


@pytest.mark.parametrize(
    "owner",
    [KeyOwner(OwnerKind.ORGANIZATION, OTHER_ORGANIZATION), KeyOwner(OwnerKind.PERSON, ORGANIZATION)],
    ids=["another id", "another kind"],
)
def test_a_key_passed_off_as_anothers_opens_nothing(owner: KeyOwner) -> None:
    blob = seal(a_key(), CELL, TEXT)

    with pytest.raises(TamperedError):
        open_sealed(a_key(owner=owner), CELL, blob)


def test_another_secret_under_the_same_id_opens_nothing() -> None:
    blob = seal(a_key(), CELL, TEXT)

    with pytest.raises(TamperedError):
        open_sealed(a_key(secret=bytes(32)), CELL, blob)


def test_padding_hides_the_length_of_names() -> None:
    key = a_key()

    names = ["", "Li", "Bo Ek", "Maria-Theresia Hoffmann"]
    assert len({len(seal(key, CELL, name, pad=True)) for name in names}) == 1
    assert len({len(seal(key, CELL, name)) for name in names}) == 4


@given(length=st.integers(0, 300))
def test_padded_values_grow_by_buckets(length: int) -> None:
    content = len(seal(a_key(), CELL, "x" * length, pad=True)) - 46 - 16

    assert content % 32 == 0
    assert content - length <= 33


def test_lone_surrogates_are_not_sealed() -> None:
    with pytest.raises(UnicodeEncodeError):
        seal(a_key(), CELL, "\ud800")


def test_a_key_shows_nothing_of_its_secret() -> None:
    key = a_key()

    for shown in (repr(key), str(key), f"{key}"):
        assert SECRET.hex() not in shown
        assert repr(SECRET) not in shown
        assert "secret" not in shown
    assert not hasattr(key, "__dict__")


def test_a_key_is_neither_copied_nor_written_out() -> None:
    for act in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            act(a_key())


def test_errors_do_not_repeat_the_value() -> None:
    key = a_key()
    blob = seal(key, CELL, TEXT)

    with pytest.raises(TamperedError) as caught:
        open_sealed(key, replace(CELL, row_id=UUID(int=11)), blob)
    assert blob.hex() not in str(caught.value)
    assert str(blob) not in str(caught.value)


def test_a_wiped_key_does_nothing_any_more() -> None:
    key = a_key()
    blob = seal(key, CELL, TEXT)
    secret = key._secret
    key.wipe()

    assert not any(secret)
    with pytest.raises(SealedError):
        open_sealed(key, CELL, blob)
    with pytest.raises(SealedError):
        seal(key, CELL, TEXT)
    with pytest.raises(SealedError):
        key.derive(b"anything")


def test_a_key_seals_only_as_often_as_its_mode_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MOST_SEALS", 2)
    key = a_key()
    seal(key, CELL, TEXT)
    last = seal(key, CELL, TEXT)

    with pytest.raises(SealedError):
        seal(key, CELL, TEXT)
    assert open_sealed(key, CELL, last) == TEXT


def test_a_secret_of_another_length_is_no_key() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        a_key(secret=bytes(16))
