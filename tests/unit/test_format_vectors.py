"""`docs/format-vectors.json` is what `docs/format.md` says, and what the service reads and writes.

The vectors are made here by a writer that knows the page and nothing of the service, with fixed keys and nonces.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encryption.blind_index import (
    blind_index,
    normalize_code,
    normalize_email,
    normalize_name,
    subkey,
)
from models.encryption.codec import Codec, Date, DecimalNumber, Integer, Json, Number, Place, Point, Text, Time
from models.encryption.envelope import Algorithm, Cell, DataKey, KeyOwner, KeyPurpose, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import _context
from models.encryption.provider import WrappingKeyError
from models.errors import TamperedError
from tests.support import format as page
from tests.support.format import DoesNotOpenError, Key

ROOT: Final = Path(__file__).resolve().parent.parent.parent
VECTORS: Final = ROOT / "docs" / "format-vectors.json"

ACME, OTHER = UUID("018f3a00-0000-7000-8000-0000000000a1"), UUID("018f3a00-0000-7000-8000-0000000000a2")
ANA, BEN = UUID("018f3a00-0000-7000-8000-0000000000b1"), UUID("018f3a00-0000-7000-8000-0000000000b2")
ROW, OTHER_ROW = UUID("018f3a00-0000-7000-8000-0000000000c1"), UUID("018f3a00-0000-7000-8000-0000000000c2")
NOBODY: Final = UUID(int=0)
WRAPPING_KEY: Final = bytes(range(64, 96))

CODECS: Final[dict[str, type[Codec[Any]]]] = {
    "text": Text,
    "integer": Integer,
    "number": Number,
    "decimal": DecimalNumber,
    "date": Date,
    "time": Time,
    "json": Json,
    "place": Place,
}
NORMAL: Final[dict[str, Callable[[str], str]]] = {
    "name": normalize_name,
    "code": normalize_code,
    "email": normalize_email,
    "none": str,
}
TYPED: Final[dict[str, tuple[str, Any, str]]] = {
    "whole number": ("integer", -12345678901234567890, "-12345678901234567890"),
    "number": ("number", 0.1, "0.1"),
    "large number": ("number", 1e16, "1e+16"),
    "small number": ("number", 0.00001, "1e-05"),
    "whole value of a number": ("number", 7.0, "7.0"),
    "negative zero": ("number", -0.0, "-0.0"),
    "decimal number": ("decimal", Decimal("7.10"), "7.10"),
    "decimal number with an exponent": ("decimal", Decimal("1.20E+9"), "1.20E+9"),
    "date": ("date", date(2026, 2, 3), "2026-02-03"),
    "time": ("time", datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-02-03T04:05:06Z"),
    "time with microseconds": ("time", datetime(2026, 2, 3, 4, 5, 6, 70, tzinfo=UTC), "2026-02-03T04:05:06.000070Z"),
    "JSON": ("json", {"b": [1, 2.5, None, True], "a": {"ü": "x"}}, '{"a":{"ü":"x"},"b":[1,2.5,null,true]}'),
    "place": ("place", Point(latitude=47.5, longitude=-122.25), "[-122.25,47.5]"),
}


def _secret(name: str) -> bytes:
    return sha256(name.encode()).digest()


def _key(name: str, kind: str, owner_id: UUID, purpose: str, within: UUID | None = None) -> Key:
    number = int.from_bytes(sha256(f"id of {name}".encode()).digest()[:6], "big")
    return Key(UUID(f"018f3a00-0000-7000-9000-{number:012x}"), kind, owner_id, purpose, _secret(name), within)


_COLLECTOR: Final = _key("organization index", "ORGANIZATION", ACME, "INDEX")
SUBJECT: Final = UUID(
    bytes=page.blind_index(_COLLECTOR, page.Place(ACME, "record", "collector", NOBODY), "jürgen müller")
)
KEYS: Final[dict[str, Key]] = {
    "system": _key("system", "SYSTEM", NOBODY, "VALUES"),
    "system index": _key("system index", "SYSTEM", NOBODY, "INDEX"),
    "organization": _key("organization", "ORGANIZATION", ACME, "VALUES"),
    "organization index": _COLLECTOR,
    "organization attribution": _key("organization attribution", "ORGANIZATION", ACME, "ATTRIBUTION"),
    "other organization": _key("other organization", "ORGANIZATION", OTHER, "VALUES"),
    "person": _key("person", "PERSON", ANA, "VALUES"),
    "other person": _key("other person", "PERSON", BEN, "VALUES"),
    "subject": _key("subject", "SUBJECT", SUBJECT, "VALUES", ACME),
    "subject index": _key("subject index", "SUBJECT", SUBJECT, "INDEX", ACME),
    "import": _key("import", "IMPORT", OTHER_ROW, "CONTENT", ACME),
    "erasure": _key("erasure", "ERASURE", ROW, "VALUES", ACME),
}
COMMENT: Final = page.Place(ACME, "record", "comment", ROW)
FLOW: Final = "Turbid after the storm"


def _nonce(name: str) -> bytes:
    return sha256(f"nonce of {name}".encode()).digest()[:12]


def _placed(place: page.Place) -> dict[str, str]:
    return {
        "organization_id": str(place.organization_id),
        "table": place.table,
        "column": place.column,
        "row_id": str(place.row_id),
    }


def _sealed(
    name: str,
    key: str,
    place: page.Place,
    text: str,
    *,
    algorithm: int = 1,
    pad: bool = False,
    type_: str = "text",
) -> dict[str, Any]:
    used = KEYS[key]
    value = page.write(used, place, text, nonce=_nonce(name), algorithm=algorithm, pad=pad)
    return {
        "name": name,
        "key": key,
        **_placed(place),
        "algorithm": algorithm,
        "padded": pad,
        "type": type_,
        "text": text,
        "nonce": _nonce(name).hex(),
        "subkey": used.derive(page.ALGORITHMS[algorithm][1]).hex(),
        "commitment": page.commitment_of(used).hex(),
        "content": page.content_of(text, pad=pad).hex(),
        "associated_data": page.associated_of(used, place, value[:46]).hex(),
        "value": value.hex(),
    }


def _positive() -> list[dict[str, Any]]:
    made = [
        _sealed("plain", "organization", COMMENT, FLOW),
        _sealed("plain, GCM", "organization", COMMENT, FLOW, algorithm=2),
        _sealed("padded", "person", page.Place(ACME, "membership", "name", ROW), "Ana Ruiz", pad=True),
        _sealed(
            "padded, GCM", "person", page.Place(ACME, "membership", "name", ROW), "Ana Ruiz", pad=True, algorithm=2
        ),
        _sealed("padded to the end", "organization", COMMENT, "x" * 30, pad=True),
        _sealed("padded beyond the first block", "organization", COMMENT, "x" * 31, pad=True),
        _sealed("empty", "organization", COMMENT, ""),
        _sealed("empty, padded", "organization", COMMENT, "", pad=True),
        _sealed("empty, GCM", "organization", COMMENT, "", algorithm=2),
        _sealed("not ASCII", "organization", COMMENT, "Jürgen saw a heron 😀 鷺"),
        _sealed("not ASCII, padded", "organization", COMMENT, "Jürgen saw a heron 😀 鷺", pad=True),
        _sealed(
            "of no tenant", "person", page.Place(NOBODY, "user_account", "email", ANA), "ana@example.org", pad=True
        ),
        _sealed("the installation's", "system", page.Place(NOBODY, "account", "note", ROW), FLOW),
        _sealed("a subject's", "subject", page.Place(ACME, "record", "collector", ROW), "Jürgen Müller", pad=True),
        _sealed(
            "attribution",
            "organization attribution",
            page.Place(ACME, "record", "reviewer", ROW),
            "Ben Okafor",
            pad=True,
        ),
        _sealed("a piece of an import", "import", page.Place(ACME, "import_chunk", "content", ROW), "a,b\r\n1,2\r\n"),
        _sealed(
            "of an erasure", "erasure", page.Place(ACME, "erasure_request", "named", ROW), '["Ana Ruiz"]', pad=True
        ),
    ]
    # No column seals under these keys. That the format could tells that the purpose is no part of it.
    made += [
        _sealed(f"under the {name} key", name, COMMENT, FLOW)
        for name in ("system index", "organization index", "subject index")
    ]
    visit = page.Place(ACME, "visit", "told", ROW)
    made += [_sealed(f"a {name}", "organization", visit, text, type_=type_) for name, (type_, _, text) in TYPED.items()]
    return made


def _refused(name: str, why: str, place: page.Place, value: bytes) -> dict[str, str]:
    return {"name": name, "why": why, **_placed(place), "value": value.hex()}


def _negative() -> list[dict[str, str]]:
    key = KEYS["organization"]
    value = page.write(key, COMMENT, FLOW, nonce=_nonce("negative"))
    name = page.write(KEYS["person"], COMMENT, FLOW, nonce=_nonce("negative, person"))

    def changed(position: int, new: bytes) -> bytes:
        return value[:position] + new + value[position + len(new) :]

    def as_if(owner: Key) -> bytes:
        # Sealed by somebody who has the secret and calls the key another's.
        return page.write(replace(owner, id=key.id, secret=key.secret), COMMENT, FLOW, nonce=_nonce("negative"))

    swapped = page.Place(ROW, "record", "comment", ACME)
    shifted = page.Place(ACME, "recordc", "omment", ROW)
    impostor = replace(key, secret=_secret("impostor"))
    crafted = page.write(impostor, COMMENT, FLOW, nonce=_nonce("negative"))
    odd = {
        "unknown layout": b"\x02" + FLOW.encode(),
        "padding without its mark": b"\x01" + bytes(31),
        "padding that is no multiple of 32": b"\x01" + FLOW.encode() + b"\x80",
        "padding that is too long": b"\x01\x80" + bytes(62),
        "padding that ends otherwise": b"\x01" + b"x" * 31,
        "no UTF-8": b"\x00\xff",
    }
    return [
        _refused("moved to another row", "associated data", replace(COMMENT, row_id=OTHER_ROW), value),
        _refused("moved to another column", "associated data", replace(COMMENT, column="review_reason"), value),
        _refused("moved to another table", "associated data", replace(COMMENT, table="measurement"), value),
        _refused("moved to another organization", "associated data", replace(COMMENT, organization_id=OTHER), value),
        _refused("moved to no organization", "associated data", replace(COMMENT, organization_id=NOBODY), value),
        _refused("row and organization exchanged", "associated data", swapped, value),
        _refused("table and column shifted", "associated data", shifted, value),
        _refused("sealed as of another organization", "associated data", COMMENT, as_if(KEYS["other organization"])),
        _refused(
            "sealed as of a person of the same id", "associated data", COMMENT, as_if(replace(key, owner_kind="PERSON"))
        ),
        _refused("sealed as of a person", "associated data", COMMENT, as_if(KEYS["person"])),
        _refused("format 0", "header", COMMENT, changed(0, b"\x00")),
        _refused("format 2", "header", COMMENT, changed(0, b"\x02")),
        _refused("the other algorithm", "tag", COMMENT, changed(1, b"\x02")),
        _refused("no algorithm", "header", COMMENT, changed(1, b"\x03")),
        _refused("the id of another key", "commitment", COMMENT, changed(2, KEYS["person"].id.bytes)),
        _refused("the id and commitment of another key", "tag", COMMENT, changed(2, name[2:34])),
        _refused("the id of no key", "key", COMMENT, changed(2, bytes(16))),
        _refused("another commitment", "commitment", COMMENT, changed(18, bytes(16))),
        _refused("sealed under another secret", "commitment", COMMENT, crafted),
        _refused(
            "sealed under another secret with the right commitment",
            "tag",
            COMMENT,
            crafted[:18] + value[18:34] + crafted[34:],
        ),
        _refused("another nonce", "tag", COMMENT, changed(34, bytes(12))),
        _refused("a changed ciphertext", "tag", COMMENT, changed(50, bytes([value[50] ^ 1]))),
        _refused("a changed tag", "tag", COMMENT, changed(len(value) - 1, bytes([value[-1] ^ 0x80]))),
        _refused("without its last byte", "tag", COMMENT, value[:-1]),
        _refused("with a byte more", "tag", COMMENT, value + b"\x00"),
        _refused("the header alone", "header", COMMENT, value[:46]),
        _refused("one byte short of the shortest", "header", COMMENT, value[:62]),
        _refused("no bytes", "header", COMMENT, b""),
        _refused("the text itself", "header", COMMENT, FLOW.encode() * 4),
        *(
            _refused(what, "content", COMMENT, page.write_content(key, COMMENT, content, nonce=_nonce(what)))
            for what, content in odd.items()
        ),
    ]


def _index(
    name: str, key: str, organization_id: UUID, table: str, column: str, text: str, normal: str
) -> dict[str, Any]:
    used, place = KEYS[key], page.Place(organization_id, table, column, NOBODY)
    normalized = {"Jürgen  Müller ": "jürgen müller", " Ana@Example.ORG": "ana@example.org"}.get(text, text)
    return {
        "name": name,
        "key": key,
        "organization_id": str(organization_id),
        "table": table,
        "column": column,
        "text": text,
        "normalize": normal,
        "normalized": normalized,
        "info": page.blind_index_info(place).hex(),
        "subkey": used.derive(page.blind_index_info(place)).hex(),
        "index": page.blind_index(used, place, normalized).hex(),
    }


def _wrapped(key: str) -> dict[str, Any]:
    wrapped = page.wrap(WRAPPING_KEY, KEYS[key], nonce=_nonce(f"wrapped {key}"))
    context = page.context_of(KEYS[key])
    return {
        "name": key,
        "key": key,
        "context": context,
        "associated_data": page.wrapping_associated(wrapped[:21], context).hex(),
        "wrapped": wrapped.hex(),
    }


def _wrapped_refused() -> list[dict[str, Any]]:
    wrapped, context = bytes.fromhex(_wrapped("subject")["wrapped"]), page.context_of(KEYS["subject"])
    without = {name: value for name, value in context.items() if name != "within"}
    return [
        *(
            {"name": f"another {name}", "context": {**context, name: other}, "wrapped": wrapped.hex()}
            for name, other in (
                ("owner_kind", "PERSON"),
                ("owner_id", str(ANA)),
                ("key_id", str(KEYS["person"].id)),
                ("purpose", "INDEX"),
                ("within", str(OTHER)),
            )
        ),
        {"name": "without within", "context": without, "wrapped": wrapped.hex()},
        {"name": "another format", "context": context, "wrapped": (b"\x02" + wrapped[1:]).hex()},
        {"name": "another wrapping key", "context": context, "wrapped": (wrapped[:1] + bytes(8) + wrapped[9:]).hex()},
        {"name": "another nonce", "context": context, "wrapped": (wrapped[:9] + bytes(12) + wrapped[21:]).hex()},
        {"name": "a changed tag", "context": context, "wrapped": (wrapped[:-1] + bytes([wrapped[-1] ^ 1])).hex()},
        {"name": "without its last byte", "context": context, "wrapped": wrapped[:-1].hex()},
    ]


def vectors() -> dict[str, Any]:
    """Return all vectors, as the page's own writer makes them."""
    return {
        "about": "Test vectors of docs/format.md. Bytes are in hexadecimal. The secrets are for tests alone.",
        "keys": {
            name: {
                "id": str(key.id),
                "owner_kind": key.owner_kind,
                "owner_id": str(key.owner_id),
                "purpose": key.purpose,
                "within": None if key.within is None else str(key.within),
                "secret": key.secret.hex(),
            }
            for name, key in KEYS.items()
        },
        "sealed": _positive(),
        "refused": _negative(),
        "blind_indexes": [
            _index("a collector", "organization index", ACME, "record", "collector", "Jürgen  Müller ", "name"),
            _index("an address", "system index", NOBODY, "user_account", "email", " Ana@Example.ORG", "email"),
            _index("a pseudonym", "subject index", ACME, "record", "collector_pseudonym", "pseudonym", "none"),
        ],
        "subkeys": [
            {"key": "organization index", "purpose": purpose, "subkey": page.subkey(_COLLECTOR, purpose).hex()}
            for purpose in ("cursor", "creation digest")
        ],
        "wrapping_key": {"key": WRAPPING_KEY.hex(), "id": page.wrapping_id(WRAPPING_KEY).hex()},
        "wrapped": [_wrapped(key) for key in ("organization", "person", "subject", "system index")],
        "wrapped_refused": _wrapped_refused(),
    }


def written() -> str:
    """Return the vectors as the file has them."""
    return json.dumps(vectors(), ensure_ascii=False, indent=1) + "\n"


STORED: Final[dict[str, Any]] = json.loads(VECTORS.read_text()) if VECTORS.exists() else vectors()
READERS: Final = {key.id: key for key in map(page.key_of, STORED["keys"].values())}


def _data_key(name: str, algorithm: Algorithm = Algorithm.AES_256_GCM_SIV) -> DataKey:
    told = page.key_of(STORED["keys"][name])
    owner = KeyOwner(OwnerKind(told.owner_kind), told.owner_id, KeyPurpose(told.purpose), told.within)
    return DataKey(told.id, owner, told.secret, algorithm=algorithm)


def _cell(vector: Mapping[str, Any]) -> Cell:
    place = page.place_of(vector)
    return Cell(place.organization_id, place.table, place.column, place.row_id)


def _named(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", STORED[section], ids=lambda vector: str(vector.get("name", "")))


def test_the_published_vectors_are_those_that_the_page_makes() -> None:
    assert VECTORS.read_text() == written()


def test_every_kind_of_owner_and_purpose_and_type_is_among_them() -> None:
    owners = {(key["owner_kind"], key["purpose"]) for key in STORED["keys"].values()}

    # An export's key seals the pieces of its file, and no values: tests/model/test_export_file.py reads those.
    assert {kind for kind, _ in owners} == set(OwnerKind) - {OwnerKind.EXPORT}
    # Nothing is sealed by what signs.
    assert {purpose for _, purpose in owners} == set(KeyPurpose) - {KeyPurpose.SIGNING}
    assert {vector["type"] for vector in STORED["sealed"]} == set(CODECS)
    assert {codec for codec in Codec.__subclasses__() if codec.__module__ == Codec.__module__} == set(CODECS.values())
    assert {vector["algorithm"] for vector in STORED["sealed"]} == set(Algorithm)


@_named("sealed")
class TestSealedValues:
    def test_the_service_opens_it(self, vector: dict[str, Any]) -> None:
        assert open_sealed(_data_key(vector["key"]), _cell(vector), bytes.fromhex(vector["value"])) == vector["text"]

    def test_a_reader_of_the_page_opens_it(self, vector: dict[str, Any]) -> None:
        assert page.read(READERS, page.place_of(vector), bytes.fromhex(vector["value"])) == vector["text"]

    def test_a_reader_of_the_page_opens_what_the_service_seals(self, vector: dict[str, Any]) -> None:
        key = _data_key(vector["key"], Algorithm(vector["algorithm"]))

        value = seal(key, _cell(vector), vector["text"], pad=vector["padded"])

        assert len(value) == len(vector["value"]) // 2
        assert value[:34] == bytes.fromhex(vector["value"])[:34]
        assert page.read(READERS, page.place_of(vector), value) == vector["text"]


@_named("refused")
class TestRefusedValues:
    def test_the_service_refuses_it_under_any_key(self, vector: dict[str, Any]) -> None:
        for name in STORED["keys"]:
            with pytest.raises(TamperedError):
                open_sealed(_data_key(name), _cell(vector), bytes.fromhex(vector["value"]))

    def test_a_reader_of_the_page_refuses_it(self, vector: dict[str, Any]) -> None:
        why = "tag" if vector["why"] == "associated data" else vector["why"]

        with pytest.raises(DoesNotOpenError, match=f"^{why}$"):
            page.read(READERS, page.place_of(vector), bytes.fromhex(vector["value"]))


@pytest.mark.parametrize("name", TYPED)
def test_a_typed_value_is_the_text_of_its_vector(name: str) -> None:
    type_, value, text = TYPED[name]
    (vector,) = [one for one in STORED["sealed"] if one["name"] == f"a {name}"]

    assert CODECS[type_].encode(value) == vector["text"] == text
    again = CODECS[type_].decode(text)
    assert again == value
    # What is equal may be written otherwise: 7.10 and 7.1, -0.0 and 0.0.
    assert CODECS[type_].encode(again) == text
    assert type(again) is type(value)


@given(
    text=st.text(max_size=80),
    pad=st.booleans(),
    algorithm=st.sampled_from(Algorithm),
    nonce=st.binary(min_size=12, max_size=12),
    name=st.sampled_from(sorted(KEYS)),
)
def test_the_service_opens_what_a_writer_of_the_page_seals_and_the_other_way_round(
    text: str, pad: bool, algorithm: Algorithm, nonce: bytes, name: str
) -> None:
    key, cell = KEYS[name], Cell(ACME, "record", "comment", ROW)

    value = page.write(key, COMMENT, text, nonce=nonce, algorithm=algorithm, pad=pad)

    assert open_sealed(_data_key(name), cell, value) == text
    assert page.read(READERS, COMMENT, seal(_data_key(name, algorithm), cell, text, pad=pad)) == text


@_named("blind_indexes")
def test_a_blind_index_is_the_services_and_the_pages(vector: dict[str, Any]) -> None:
    place = page.Place(UUID(vector["organization_id"]), vector["table"], vector["column"], NOBODY)
    where: dict[str, Any] = {"table": place.table, "column": place.column, "organization_id": place.organization_id}
    text = NORMAL[vector["normalize"]](vector["text"])

    assert text == vector["normalized"]
    assert blind_index(_data_key(vector["key"]), **where, text=text).hex() == vector["index"]
    assert page.blind_index(page.key_of(STORED["keys"][vector["key"]]), place, text).hex() == vector["index"]


@pytest.mark.parametrize("vector", STORED["subkeys"], ids=lambda vector: str(vector["purpose"]))
def test_a_subkey_is_the_services_and_the_pages(vector: dict[str, Any]) -> None:
    assert subkey(_data_key(vector["key"]), vector["purpose"]).hex() == vector["subkey"]
    assert page.subkey(page.key_of(STORED["keys"][vector["key"]]), vector["purpose"]).hex() == vector["subkey"]


@_named("wrapped")
def test_a_wrapped_key_opens_here_and_there(vector: dict[str, Any]) -> None:
    key, wrapped = _data_key(vector["key"]), bytes.fromhex(vector["wrapped"])
    provider = FileKeyProvider(WRAPPING_KEY)

    assert _context(key.owner, key.id) == vector["context"]
    secret = asyncio.run(provider.unwrap(wrapped, vector["context"]))
    again = asyncio.run(provider.wrap(secret, vector["context"]))

    assert secret.hex() == STORED["keys"][vector["key"]]["secret"]
    assert again.wrapping_key == STORED["wrapping_key"]["id"]
    for content in (wrapped, again.content):
        assert page.unwrap(WRAPPING_KEY, vector["context"], content) == secret


@_named("wrapped_refused")
def test_a_wrapped_key_that_was_changed_opens_nowhere(vector: dict[str, Any]) -> None:
    wrapped = bytes.fromhex(vector["wrapped"])

    with pytest.raises((TamperedError, WrappingKeyError)):
        asyncio.run(FileKeyProvider(WRAPPING_KEY).unwrap(wrapped, vector["context"]))
    with pytest.raises(DoesNotOpenError):
        page.unwrap(WRAPPING_KEY, vector["context"], wrapped)


def test_the_reader_of_the_page_knows_nothing_of_the_service() -> None:
    text = (ROOT / "tests" / "support" / "format.py").read_text()

    imported = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert len(imported) > 5
    assert not [line for line in imported if line.split()[1].split(".")[0] in {"models", "auth", "resolvers", "tests"}]
