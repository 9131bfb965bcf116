"""What each key provider makes of what its server answers, and what is particular to that server."""

import json
import traceback
from uuid import uuid4

import pytest

from models.encryption.aws_kms_provider import AwsKmsProvider
from models.encryption.provider import WrappingKeyError
from models.encryption.vault_transit_provider import VaultTransitProvider
from models.errors import TamperedError, UnavailableError
from tests.support.key_provider import AT, CONTEXT, OPERATIONS, PATIENT_S, SECRET
from tests.support.key_servers import REGION, answering_server, kms_admin, manage_vault, new_kms_key, new_vault_key
from tests.support.transit_server import SERVICE_TOKEN

pytestmark = pytest.mark.usefixtures("aws_credentials")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "InvalidCiphertextException", TamperedError),
        (400, "ValidationException", TamperedError),
        (400, "AccessDeniedException", WrappingKeyError),
        (400, "NotFoundException", WrappingKeyError),
        (400, "DisabledException", WrappingKeyError),
        (400, "KMSInvalidStateException", WrappingKeyError),
        (400, "IncorrectKeyException", WrappingKeyError),
        (400, "InvalidKeyUsageException", WrappingKeyError),
        (400, "UnrecognizedClientException", WrappingKeyError),
        (400, "ExpiredTokenException", WrappingKeyError),
        (400, "ThrottlingException", UnavailableError),
        (400, "LimitExceededException", UnavailableError),
        (429, "TooManyRequestsException", UnavailableError),
        (500, "KMSInternalException", UnavailableError),
        (500, "KeyUnavailableException", UnavailableError),
        (503, "DependencyTimeoutException", UnavailableError),
    ],
)
async def test_what_kms_refuses_is_told_apart(status: int, code: str, expected: type[Exception]) -> None:
    body = json.dumps({"__type": code, "message": "nothing to repeat"}).encode()
    with answering_server(status, body) as url:
        provider = AT["aws-kms"](url, PATIENT_S)

        with pytest.raises(expected) as unwrapping:
            await OPERATIONS["unwrap"](provider)
        # Nothing can be tampered with before it was wrapped.
        with pytest.raises(UnavailableError if expected is UnavailableError else WrappingKeyError):
            await OPERATIONS["wrap"](provider)

    assert "nothing to repeat" not in str(unwrapping.value)


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, "cipher: message authentication failed", TamperedError),
        (400, "invalid ciphertext: unable to decrypt", TamperedError),
        (400, "invalid ciphertext length", TamperedError),
        (400, "invalid ciphertext: version is too new", WrappingKeyError),
        (400, "ciphertext or signature version is disallowed by policy (too old)", WrappingKeyError),
        (400, "encryption key not found", WrappingKeyError),
        (400, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048", WrappingKeyError),
        (401, "missing client token", WrappingKeyError),
        (403, "permission denied", WrappingKeyError),
        (404, 'no handler for route "transit/decrypt/fieldward". route entry not found.', WrappingKeyError),
        (405, "unsupported operation", WrappingKeyError),
        (412, "required index state not present", UnavailableError),
        (429, "request path: rate limit quota exceeded", UnavailableError),
        (500, "internal error", UnavailableError),
        (501, "Vault is not initialized", UnavailableError),
        (502, "local node not active but active cluster node not found", UnavailableError),
        (503, "Vault is sealed", UnavailableError),
        (504, "", UnavailableError),
    ],
)
async def test_what_vault_refuses_is_told_apart(status: int, error: str, expected: type[Exception]) -> None:
    with answering_server(status, json.dumps({"errors": [error]}).encode()) as url:
        provider = AT["vault-transit"](url, PATIENT_S)

        with pytest.raises(expected):
            await OPERATIONS["unwrap"](provider)
        for operation in ("wrap", "newest", "rotate"):
            with pytest.raises(UnavailableError if expected is UnavailableError else WrappingKeyError):
                await OPERATIONS[operation](provider)


async def test_an_unknown_kms_key_or_alias_is_named_as_such(kms: str) -> None:
    for key_id in ("alias/missing", str(uuid4()), f"arn:aws:kms:{REGION}:123456789012:key/{uuid4()}"):
        provider = AwsKmsProvider(key_id, region=REGION, endpoint_url=kms, timeout_s=PATIENT_S)
        for operation in ("wrap", "newest", "rotate"):
            with pytest.raises(WrappingKeyError, match="NotFoundException"):
                await OPERATIONS[operation](provider)


async def test_a_kms_key_that_may_not_be_looked_at_is_named_as_such(kms: str) -> None:
    deny = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:DescribeKey", "Resource": "*"}
    arn = new_kms_key(kms, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))

    with pytest.raises(WrappingKeyError, match="AccessDeniedException"):
        await AwsKmsProvider(arn, region=REGION, endpoint_url=kms, timeout_s=PATIENT_S).newest()


async def test_the_arn_of_a_kms_key_is_what_it_is_called(kms: str) -> None:
    arn = new_kms_key(kms)
    provider = AwsKmsProvider(arn.rpartition("/")[2], region=REGION, endpoint_url=kms, timeout_s=PATIENT_S)

    assert await provider.newest() == arn
    assert await provider.rotate() == arn
    assert (await provider.wrap(SECRET, CONTEXT)).wrapping_key == arn


async def test_an_alias_pointed_elsewhere_is_noticed_by_wrapping(kms: str) -> None:
    alias = f"alias/{uuid4()}"
    before, after = new_kms_key(kms), new_kms_key(kms)
    kms_admin(kms).create_alias(AliasName=alias, TargetKeyId=before)
    provider = AwsKmsProvider(alias, region=REGION, endpoint_url=kms, timeout_s=PATIENT_S)
    assert await provider.newest() == before

    kms_admin(kms).update_alias(AliasName=alias, TargetKeyId=after)

    assert (await provider.wrap(SECRET, CONTEXT)).wrapping_key == after
    assert await provider.newest() == after


async def test_a_kms_that_can_not_be_set_up_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)

    with pytest.raises(WrappingKeyError, match="NoRegionError"):
        AwsKmsProvider("alias/any")
    with pytest.raises(WrappingKeyError, match="ValueError"):
        AwsKmsProvider("alias/any", region=REGION, endpoint_url="no address")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(WrappingKeyError, match="NoCredentialsError"):
        await AwsKmsProvider("alias/any", region=REGION).wrap(SECRET, CONTEXT)


async def test_a_vault_key_that_is_unknown_or_forbidden_is_named_as_such(vault: str) -> None:
    for name, mount in (("fieldward-missing", "transit"), ("payroll", "transit"), ("fieldward", "elsewhere")):
        provider = VaultTransitProvider(vault, SERVICE_TOKEN, name, mount=mount, timeout_s=PATIENT_S)
        for operation in OPERATIONS.values():
            with pytest.raises(WrappingKeyError):
                await operation(provider)


async def test_a_token_that_vault_does_not_know_is_refused_and_never_repeated(vault: str) -> None:
    name = new_vault_key(vault)

    for token in ("hvs.another", "hvs.with-an-end-of-line\n", "hvs.with-an-é"):
        for operation in OPERATIONS.values():
            with pytest.raises(WrappingKeyError) as refused:
                await operation(VaultTransitProvider(vault, token, name, timeout_s=PATIENT_S))
            assert token.strip() not in "".join(traceback.format_exception(refused.value))


async def test_a_vault_version_below_the_floor_is_named_as_such(vault: str) -> None:
    name = new_vault_key(vault)
    provider = VaultTransitProvider(vault, SERVICE_TOKEN, name, timeout_s=PATIENT_S)
    wrapped = await provider.wrap(SECRET, CONTEXT)
    assert wrapped.wrapping_key == f"{name}:v1"
    assert await provider.rotate() == f"{name}:v2"
    manage_vault(vault, f"keys/{name}/config", {"min_decryption_version": 2})

    with pytest.raises(WrappingKeyError):
        await provider.unwrap(wrapped.content, CONTEXT)
    with pytest.raises(WrappingKeyError):
        await provider.unwrap(wrapped.content.replace(b"vault:v1:", b"vault:v9:"), CONTEXT)


async def test_a_vault_namespace_is_asked_for(vault: str) -> None:
    name = f"fieldward-{uuid4()}"
    manage_vault(vault, f"keys/{name}", {}, namespace="fields")

    assert await VaultTransitProvider(vault, SERVICE_TOKEN, name, namespace="fields").newest() == f"{name}:v1"
    with pytest.raises(WrappingKeyError):
        await VaultTransitProvider(vault, SERVICE_TOKEN, name).newest()


async def test_another_spelling_of_a_vault_ciphertext_is_refused(vault: str) -> None:
    provider = VaultTransitProvider(vault, SERVICE_TOKEN, new_vault_key(vault), timeout_s=PATIENT_S)
    content = (await provider.wrap(SECRET, CONTEXT)).content

    for other in (content.replace(b":v1:", b":v0:"), content.replace(b":v1:", b":v01:"), content + b"\n"):
        with pytest.raises(TamperedError):
            await provider.unwrap(other, CONTEXT)


async def test_vaults_token_follows_no_redirect(vault: str) -> None:
    name = new_vault_key(vault)
    elsewhere = {"location": f"{vault}/v1/transit/keys/{name}"}

    with answering_server(307, b"", elsewhere) as url, pytest.raises(UnavailableError):
        await VaultTransitProvider(url, SERVICE_TOKEN, name).newest()
