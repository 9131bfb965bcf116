"""What every key provider promises, over the real wire protocols."""

import base64
import logging
import pickle
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from fieldward.container import load_providers
from fieldward.settings import Settings
from models.encryption.aws_kms_provider import AwsKmsProvider
from models.encryption.file_provider import FileKeyProvider
from models.encryption.provider import KeyProvider, WrappingKeyError
from models.encryption.vault_transit_provider import VaultTransitProvider
from models.errors import TamperedError, UnavailableError
from tests.support.key_provider import AT, AWS_SECRET, CONTEXT, OPERATIONS, PATIENT_S, SECRET
from tests.support.key_servers import REGION, answering_server, hanging_server, kms_admin, new_kms_key, new_vault_key
from tests.support.server import free_port
from tests.support.transit_server import SERVICE_TOKEN

pytestmark = pytest.mark.usefixtures("aws_credentials")


@dataclass(frozen=True)
class Places:
    """Where a provider of a test keeps its key."""

    kms: str
    vault: str
    directory: Path


@dataclass(frozen=True)
class Case:
    """A provider with a key of its own, and what its operator does before asking it to rotate."""

    provider: KeyProvider
    prepare: Callable[[], object] = lambda: None


def kms_case(places: Places) -> Case:
    """A provider of an alias in KMS, which its operator points to another key."""
    alias = f"alias/{uuid4()}"
    admin = kms_admin(places.kms)
    admin.create_alias(AliasName=alias, TargetKeyId=new_kms_key(places.kms))
    return Case(
        AwsKmsProvider(alias, region=REGION, endpoint_url=places.kms, timeout_s=PATIENT_S),
        lambda: admin.update_alias(AliasName=alias, TargetKeyId=new_kms_key(places.kms)),
    )


def vault_case(places: Places) -> Case:
    """A provider of a key in Vault."""
    return Case(VaultTransitProvider(places.vault, SERVICE_TOKEN, new_vault_key(places.vault), timeout_s=PATIENT_S))


CASES: Final = [
    pytest.param(kms_case, id="aws-kms"),
    pytest.param(vault_case, id="vault-transit"),
    pytest.param(lambda places: Case(FileKeyProvider.create(places.directory / "key")), id="file"),
]


@pytest.fixture
def places(kms: str, vault: str, tmp_path: Path) -> Places:
    return Places(kms, vault, tmp_path)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, places: Places) -> Case:
    """Each provider, with a key of its own."""
    made: Case = request.param(places)
    return made


async def test_what_was_wrapped_opens_and_names_its_wrapping_key(case: Case) -> None:
    wrapped = await case.provider.wrap(SECRET, CONTEXT)

    assert SECRET not in wrapped.content
    assert base64.b64encode(SECRET) not in wrapped.content
    assert wrapped.wrapping_key == await case.provider.newest()
    assert await case.provider.unwrap(wrapped.content, dict(reversed(CONTEXT.items()))) == SECRET


@pytest.mark.parametrize(
    "context",
    [
        {**CONTEXT, "owner_id": "8"},
        {"owner_kind": "person", "owner_id": "7"},
        {**CONTEXT, "more": ""},
        {"owner_kind": "person", "owner_id": "7purpose", "": "data key"},
        {},
    ],
)
async def test_it_opens_in_its_context_alone(case: Case, context: Mapping[str, str]) -> None:
    wrapped = await case.provider.wrap(SECRET, CONTEXT)

    with pytest.raises(TamperedError):
        await case.provider.unwrap(wrapped.content, context)


async def test_every_changed_byte_is_caught(case: Case) -> None:
    content = (await case.provider.wrap(SECRET, CONTEXT)).content

    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1
        with pytest.raises((TamperedError, WrappingKeyError)):
            await case.provider.unwrap(bytes(changed), CONTEXT)


async def test_what_was_cut_or_lengthened_is_caught(case: Case) -> None:
    content = (await case.provider.wrap(SECRET, CONTEXT)).content

    for bad in (
        b"",
        content[:1],
        content[:12],
        content[: len(content) // 2],
        content[:-1],
        content + b"A",
        b"\xff" * 9,
    ):
        with pytest.raises((TamperedError, WrappingKeyError)):
            await case.provider.unwrap(bad, CONTEXT)


async def test_after_a_rotation_another_key_wraps_and_the_former_still_opens(case: Case) -> None:
    before = await case.provider.wrap(SECRET, CONTEXT)
    case.prepare()

    name = await case.provider.rotate()

    after = await case.provider.wrap(SECRET, CONTEXT)
    assert name != before.wrapping_key
    assert after.wrapping_key == name == await case.provider.newest()
    assert await case.provider.unwrap(before.content, CONTEXT) == SECRET
    assert await case.provider.unwrap(after.content, CONTEXT) == SECRET


async def test_nothing_secret_is_shown_or_logged(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    # As if none was made before in this process.
    logging.getLogger("botocore").setLevel(logging.NOTSET)
    caplog.set_level(logging.DEBUG)
    shown = []

    for made in (kms_case(places), vault_case(places)):
        caplog.clear()
        wrapped = await made.provider.wrap(SECRET, CONTEXT)
        await made.provider.unwrap(wrapped.content, CONTEXT)
        with pytest.raises(TamperedError) as refused:
            await made.provider.unwrap(wrapped.content, {})
        shown += [caplog.text, repr(made.provider), *traceback.format_exception(refused.value)]
    for name, operation in [(name, operation) for name in AT for operation in OPERATIONS.values()]:
        with pytest.raises(UnavailableError) as away, capture_logs() as logged:
            await operation(AT[name](f"http://127.0.0.1:{free_port()}", PATIENT_S))
        assert {one["event"] for one in logged} == {"key_provider_away"}
        shown.append(repr(logged))
        assert away.value.__cause__ is away.value.__context__ is None
        shown += [caplog.text, *traceback.format_exception(away.value)]

    text = "".join(shown)
    for secret in (SECRET, SERVICE_TOKEN.encode(), AWS_SECRET.encode()):
        for form in (secret.decode(), base64.b64encode(secret).decode(), secret.hex()):
            assert form not in text


async def test_a_provider_is_never_written_out(case: Case) -> None:
    assert not hasattr(case.provider, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(case.provider)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", AT)
async def test_a_server_that_is_away_is_unavailable(name: str, operation: str) -> None:
    provider = AT[name](f"http://127.0.0.1:{free_port()}", PATIENT_S)

    with pytest.raises(UnavailableError):
        await OPERATIONS[operation](provider)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", AT)
async def test_a_server_that_hangs_is_unavailable_in_time(name: str, operation: str) -> None:
    with hanging_server() as url:
        provider = AT[name](url, 0.4)
        before = time.monotonic()

        with pytest.raises(UnavailableError):
            await OPERATIONS[operation](provider)

        assert time.monotonic() - before < 1.4


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"data": []}', b"<html>Sign in to the network</html>"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", AT)
async def test_an_answer_that_makes_no_sense_is_unavailable(name: str, operation: str, content: bytes) -> None:
    with answering_server(200, content) as url, pytest.raises(UnavailableError):
        await OPERATIONS[operation](AT[name](url, PATIENT_S))


@pytest.mark.parametrize(("name", "library"), [("aws-kms", "boto3"), ("vault-transit", "hvac")])
def test_a_missing_library_says_what_to_install(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(WrappingKeyError, match=re.escape("requirements-providers.txt")):
        AT[name]("http://127.0.0.1", PATIENT_S)


def test_who_wrapped_before_still_unwraps_where_the_settings_name_both(tmp_path: Path) -> None:
    named = Settings(
        data_directory=tmp_path,
        aws_kms_key="alias/fieldward",
        aws_kms_region=REGION,
        vault_url="http://127.0.0.1:9",
        vault_token=SecretStr("token"),
        vault_key="fieldward",
    )

    found = {}
    for name in ("file", "aws-kms", "vault-transit"):
        provider, others = load_providers(named.model_copy(update={"key_provider": name}))
        found[provider.name] = {one.name for one in others}

    assert found == {
        "file": {"aws-kms", "vault-transit"},
        "aws-kms": {"file", "vault-transit"},
        "vault-transit": {"file", "aws-kms"},
    }
