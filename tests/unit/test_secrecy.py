"""What values print, and what goes along with their errors: nothing that is guarded.

There are tools that report, with an error, the variables of every function that it passed. Those of this test are left
out: what somebody passes stays in their own hands.
"""

import dataclasses
import importlib
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from pydantic import SecretStr
from strawberry import ID

from auth.principal import Channel, Origin
from fieldward.settings import Settings
from models.encryption import envelope
from models.encryption.blind_index import blind_index
from models.encryption.codec import Codec, Date, DecimalNumber, Integer, Json, Number, Place, Time, read_back
from models.encryption.column import Sealed
from models.encryption.envelope import Cell, DataKey, KeyOwner, OwnerKind, open_sealed, seal
from models.encryption.file_provider import FileKeyProvider
from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore
from models.errors import SealedError, TamperedError
from models.inventory import entities, entity_of
from models.record import Medium, Record, SignatureMeaning
from models.row import ColumnOpener, row_type
from schema.api import build_api

ORGANIZATION: Final = UUID(int=1)
CELL: Final = Cell(ORGANIZATION, "record", "comment", UUID(int=10))
WORD: Final = "zqkcanaryofthetest"
SECRET: Final = b"zqksecretofthetestzqksecretofthe"
HERE: Final = __file__
PACKAGES: Final = ("auth", "models", "resolvers", "schema", "fieldward")
MORE: Final = frozenset({"password", "token", "access_token", "refresh_token", "password_hash", "secret", "cells"})
"""Fields that hold something guarded, beside those named as a sealed column."""
OTHERS: Final = frozenset({"name", "named", "note", "reason"})
"""Names of sealed columns that other things have as well, and the classes in which they are guarded."""
GUARDED_THERE: Final = {
    "NewPerson": {"name"},
    "Intent": {"reason"},
    "ErasureRequest": {"named"},
    "ReportedMeasurement": {"source"},
    "Incident": {"note"},
    "CloseIncidentInput": {"note"},
}
PUBLIC: Final = frozenset({"DemoPerson"})
"""Of the demo, whose people are made up."""


def a_key() -> DataKey:
    """Return a key whose secret would be seen."""
    return DataKey(UUID(int=5), KeyOwner(OwnerKind.ORGANIZATION, ORGANIZATION), SECRET)


def wiped() -> DataKey:
    """Return a key that was wiped."""
    key = a_key()
    key.wipe()
    return key


def used_up() -> DataKey:
    """Return a key that has sealed as often as it may."""
    key = a_key()
    key.seals = envelope.MOST_SEALS
    return key


def sealed_as(content: bytes) -> bytes:
    """Return a value whose content is laid out as we never do."""
    key = a_key()
    header = seal(key, CELL, "")[:46]
    cipher = AESGCMSIV(key.derive(b"envelope AES_256_GCM_SIV"))
    return header + cipher.encrypt(header[34:], content, envelope._associated(key, CELL, header))


def spoilt() -> bytes:
    """Return a value that was changed."""
    blob = seal(a_key(), CELL, WORD)
    return blob[:-1] + bytes([blob[-1] ^ 1])


FAILURES: Final[dict[str, tuple[type[Exception], Callable[[], object]]]] = {
    "sealing with a wiped key": (SealedError, lambda: seal(wiped(), CELL, WORD)),
    "sealing with a key that is used up": (SealedError, lambda: seal(used_up(), CELL, WORD)),
    "sealing what is no text": (UnicodeEncodeError, lambda: seal(a_key(), CELL, WORD + "\ud800")),
    "sealing what is no text, padded": (UnicodeEncodeError, lambda: seal(a_key(), CELL, WORD + "\ud800", pad=True)),
    "opening with a wiped key": (SealedError, lambda: open_sealed(wiped(), CELL, seal(a_key(), CELL, WORD))),
    "opening what was changed": (TamperedError, lambda: open_sealed(a_key(), CELL, spoilt())),
    "opening an unknown layout": (
        TamperedError,
        lambda: open_sealed(a_key(), CELL, sealed_as(b"\x07" + WORD.encode())),
    ),
    "opening what is no text": (
        TamperedError,
        lambda: open_sealed(a_key(), CELL, sealed_as(b"\x00\xff" + WORD.encode())),
    ),
    "an index with a wiped key": (
        SealedError,
        lambda: blind_index(wiped(), table="record", column="collector", organization_id=ORGANIZATION, text=WORD),
    ),
    "deriving from a wiped key": (SealedError, lambda: wiped().derive(b"info")),
    "a secret that is too long": (
        ValueError,
        lambda: DataKey(UUID(int=5), KeyOwner(OwnerKind.SYSTEM, UUID(int=0)), SECRET + SECRET),
    ),
    **{
        f"a text that is no {codec.__name__}": (TamperedError, lambda codec=codec: read_back(codec, f"[{WORD}"))  # type: ignore[misc]
        for codec in (Integer, Number, DecimalNumber, Date, Time, Json, Place)
    },
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_is_raised_carries_no_value_and_no_secret(case: str) -> None:
    kind, fail = FAILURES[case]

    with pytest.raises(kind) as raised:
        fail()

    told = "".join(told_of(raised.value))
    assert told
    assert WORD not in told
    assert "zqksecret" not in told


def test_the_search_finds_what_a_variable_holds() -> None:
    def fail(text: str) -> None:
        raise ValueError(len(text))

    with pytest.raises(ValueError, match="18") as raised:
        fail(WORD)

    assert WORD in "".join(told_of(raised.value, own=True))


def test_a_column_of_another_type_tells_nothing_of_what_it_opened() -> None:
    class Odd(Codec[int]):
        python_type = int
        expected = "a whole number"

        @staticmethod
        def encode(value: Any) -> str:
            return str(value)

        @staticmethod
        def decode(text: str) -> int:
            return int(text)

    keyring = Keyring(KeyStore(), FileKeyProvider(bytes(32)), lifetime_s=1000)
    keyring.add(a_key())
    entity = entity_of(Record)
    blob = seal(a_key(), CELL, WORD)
    with keyring.activate():
        opener = ColumnOpener(entity.columns["comment"], entity)
        opener._codec = Odd
        columns: dict[str, list[Any]] = {"comment": [blob], "id": [CELL.row_id], "organization_id": [ORGANIZATION]}
        opened = opener.open_all(columns.__getitem__, [0])
        with pytest.raises(TamperedError) as of_one:
            Sealed(blob).open(CELL, Odd)

    assert row_type(entity).entity is entity
    assert opened.values == [None]
    ((_, of_many),) = opened.broken
    for raised in (of_many, of_one.value):
        assert isinstance(raised, TamperedError)
        assert WORD not in "".join(told_of(raised))


def test_nothing_that_holds_a_guarded_value_prints_it() -> None:
    build_api()
    sealed = {column.name for entity in entities() for column in entity.columns.values() if column.is_sealed}
    shown = [
        f"{kind.__module__}.{kind.__qualname__}.{field.name}"
        for kind in _dataclasses()
        if kind.__name__ not in PUBLIC and _prints_fields(kind)
        for field in dataclasses.fields(kind)
        if field.repr and field.name in ((sealed | MORE) - OTHERS | GUARDED_THERE.get(kind.__name__, set()))
    ]

    assert {"comment", "collector", "email", "serial_number", "source_row", "user_agent"} <= sealed
    assert not shown


def test_inputs_settings_and_origins_print_no_value() -> None:
    from schema.document import Asked
    from schema.record_change import ApproveRecordInput, CreateRecordInput
    from schema.sign_in import SignInInput
    from schema.transport import Answer

    build_api()
    given: list[object] = [
        SignInInput(email=WORD, password=WORD),
        ApproveRecordInput(
            id=ID("Record:1"), expected_version=1, meaning=SignatureMeaning.REVIEW, password=WORD, reason=WORD
        ),
        CreateRecordInput(
            project_id=ID("Project:1"),
            site_code="W",
            collected_at=datetime.now(UTC),
            medium=Medium.WATER,
            comment=WORD,
        ),
        Settings(database_url=SecretStr(f"postgres://fieldward_app:{WORD}@host/fieldward")),
        Origin(Channel.API, UUID(int=1), ip_address=WORD, user_agent=WORD),
        Answer(200, b"application/json", WORD.encode()),
        Asked("{ viewer { role } }", None, False, {"input": WORD}, None, None),
    ]

    for one in given:
        assert WORD not in f"{one} {one!r} {[one]}"


def told_of(error: BaseException, *, own: bool = False) -> Iterator[str]:
    """Yield what a tool that reports errors is told: each error of the chain, hidden ones too, with all variables.

    own: those of this test's functions among them.
    """
    met: BaseException | None = error
    while met is not None:
        yield f"{met!r} {met} {vars(met)} {met.args}"
        if isinstance(met, UnicodeError):
            yield f"{getattr(met, 'object', '')!r}"
        for frame, _ in traceback.walk_tb(met.__traceback__):
            if own or frame.f_code.co_filename != HERE:
                yield f"{frame.f_code.co_qualname}: {frame.f_locals!r}"
        met = met.__cause__ or met.__context__


def _dataclasses() -> Iterator[type[Any]]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if "migrations" in found.name or found.name.endswith("__main__"):
                continue
            for one in vars(importlib.import_module(found.name)).values():
                if isinstance(one, type) and dataclasses.is_dataclass(one) and one.__module__ == found.name:
                    yield one


def _prints_fields(kind: type[Any]) -> bool:
    """Return whether it prints as dataclasses do."""
    return hasattr(kind.__repr__, "__wrapped__")
