"""A key-encryption key in AWS KMS, which never leaves it.

The context goes along as KMS's encryption context: KMS binds what it wraps to it, and writes it to CloudTrail. boto3
is optional, and finds credentials where it always does; they want `kms:Encrypt`, `kms:Decrypt` and `kms:DescribeKey`.
Opening names no key, so that data keys wrapped by a former one still open: which keys may open is up to those
permissions, so give `kms:Decrypt` on these keys alone.

botocore logs the bodies of requests and answers at DEBUG, and with them data keys. The constructor raises its logger
to WARNING where that would happen. Whoever lowers it afterwards, or one below it such as `botocore.parsers`, writes
data keys to the log.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from models.encryption.provider import Wrapped, WrappingKeyError
from models.errors import TamperedError, UnavailableError

ATTEMPTS: Final = 2

_BUSY: Final = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

T = TypeVar("T")

log = structlog.get_logger()


class AwsKmsProvider:
    """Wraps with a symmetric key of AWS KMS.

    key_id: the key's id or ARN, or an alias, which is how a key is followed by another one.
    region, endpoint_url: where KMS is, unless boto3's own settings say so.
    timeout_s: for how long a call waits at most, a second attempt included.

    Raises:
        WrappingKeyError: boto3 is not installed, or can't be set up.
    """

    name = "aws-kms"

    __slots__ = ("_client", "_key_id", "_newest", "_timeout_s")

    def __init__(
        self, key_id: str, *, region: str | None = None, endpoint_url: str | None = None, timeout_s: float = 2.0
    ) -> None:
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise WrappingKeyError("AWS KMS needs boto3: install requirements-providers.txt.") from error
        _keep_bodies_out_of_the_log()
        # An attempt's share each, so that the thread that waits ends about when the call gives up on it.
        share_s = timeout_s / ATTEMPTS
        config = Config(
            connect_timeout=share_s,
            read_timeout=share_s,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        )
        try:
            # A session of its own: boto3's default one belongs to whoever else uses boto3 here.
            self._client: Any = boto3.session.Session().client(
                "kms", region_name=region, endpoint_url=endpoint_url, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise WrappingKeyError(f"AWS KMS can't be set up: {type(error).__name__}.") from error
        self._key_id = key_id
        self._timeout_s = timeout_s
        self._newest: str | None = None

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> Wrapped:
        """Return the secret, wrapped by KMS and bound to the context. Raises as `KeyProvider` says."""
        wrapped = await self._ask(
            "encrypt",
            lambda answer: Wrapped(answer["CiphertextBlob"], answer["KeyId"]),
            KeyId=self._key_id,
            Plaintext=secret,
            EncryptionContext=dict(context),
        )
        # An alias may have been pointed to another key since.
        self._newest = wrapped.wrapping_key
        return wrapped

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret. Raises as `KeyProvider.unwrap` says."""
        if not wrapped:
            raise TamperedError("A wrapped data key is empty.")
        return await self._ask(
            "decrypt",
            lambda answer: bytes(answer["Plaintext"]),
            CiphertextBlob=wrapped,
            EncryptionContext=dict(context),
        )

    async def newest(self) -> str:
        """Return the ARN of the key that wraps from now on, as far as was noticed. Raises as `KeyProvider` says."""
        return self._newest if self._newest is not None else await self.rotate()

    async def rotate(self) -> str:
        """Look up what the configured key id or alias stands for now, and return that key's ARN.

        Keys are made in KMS, and not here: point the alias to another key first. Where KMS renews the material of one
        key, its ARN stays, and KMS opens what the former material wrapped. Raises as `KeyProvider` says.
        """
        self._newest = await self._ask(
            "describe_key", lambda answer: str(answer["KeyMetadata"]["Arn"]), KeyId=self._key_id
        )
        return self._newest

    def __repr__(self) -> str:
        return "<key-encryption key in AWS KMS>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A key provider is never copied nor written out.")

    async def _ask(self, operation: str, read: Callable[[Mapping[str, Any]], T], **parameters: Any) -> T:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            async with asyncio.timeout(self._timeout_s):
                return read(await asyncio.to_thread(getattr(self._client, operation), **parameters))
        except TimeoutError:
            failure = _away(operation, "no answer in time")
        except ClientError as error:
            failure = _refusal(operation, error.response)
        except (BotoCoreError, ResponseParserError) as error:
            failure = _failure(operation, error)
        except (AttributeError, KeyError):  # botocore stumbles over JSON that is no object.
            failure = _away(operation, "no answer of KMS")
        # Out here, so that it carries no error of the library along: some hold what was sent.
        raise failure


def _keep_bodies_out_of_the_log() -> None:
    logger = logging.getLogger("botocore")
    if logger.level < logging.INFO:
        logger.setLevel(logging.WARNING)


def _away(operation: str, reason: str) -> Exception:
    # The error's text is shown to clients, so the reason is for the log.
    log.warning("key_provider_away", provider="aws-kms", doing=operation, failure=reason)
    return UnavailableError("The key provider does not answer. Try again later.")


def _refusal(operation: str, response: Mapping[str, Any]) -> Exception:
    code = str(response.get("Error", {}).get("Code", "unknown"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status >= 500 or status == 429 or code in _BUSY:
        return _away(operation, f"{status} {code}")
    # Opening names nothing but the wrapped key and its context: if they are no valid input, they were changed.
    if operation == "decrypt" and code in ("InvalidCiphertextException", "ValidationException"):
        return TamperedError("A wrapped data key does not open for its owner.")
    return WrappingKeyError(f"AWS KMS refuses to {operation.replace('_', ' ')}: {code}.")


def _failure(operation: str, error: Exception) -> Exception:
    from botocore import exceptions as found
    from botocore.parsers import ResponseParserError

    passing = (
        found.ConnectionError,
        found.HTTPClientError,
        found.CredentialRetrievalError,
        found.MetadataRetrievalError,
        ResponseParserError,
    )
    if isinstance(error, passing):
        return _away(operation, type(error).__name__)
    return WrappingKeyError(f"AWS KMS can't be asked to {operation.replace('_', ' ')}: {type(error).__name__}.")
