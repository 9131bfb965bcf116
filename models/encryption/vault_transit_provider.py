"""A key-encryption key in the transit engine of HashiCorp Vault, or of OpenBao, which never leaves it.

The context goes along as transit's associated data, so the key's type has to be an AEAD (aes256-gcm96, the default,
aes128-gcm96 or chacha20-poly1305) and Vault 1.13 or newer: an older one ignores associated data, and would bind
nothing. Associated data, each part after its length in two bytes: the context's names and values, sorted.

What is stored is the ciphertext as Vault writes it, `vault:v<version>:<base64>`. The token wants `update` on
`encrypt/<key>`, `decrypt/<key>` and `keys/<key>/rotate`, and `read` on `keys/<key>`. Leave `create` away: with it
Vault makes up a missing key instead of refusing.

hvac is optional. The token is sent to the configured address alone: redirects are not followed.
"""

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import structlog

from models.encryption.provider import Wrapped, WrappingKeyError
from models.errors import TamperedError, UnavailableError

_CIPHERTEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,9}):([A-Za-z0-9+/]+={0,2})")
_UNOPENED: Final = ("message authentication failed", "invalid ciphertext")
_UNKNOWN_VERSION: Final = ("version is too new", "too old")

log = structlog.get_logger()


class VaultTransitProvider:
    """Wraps with a named key of transit.

    url: Vault's address. Its certificate is checked, against `VAULT_CACERT` where that is set.
    token, key_name: who asks, and for which key.
    mount, namespace: where transit is mounted, and in which namespace.
    timeout_s: for how long a call waits at most.

    Raises:
        WrappingKeyError: hvac is not installed.
    """

    name = "vault-transit"

    __slots__ = ("_key_name", "_mount", "_timeout_s", "_transit")

    def __init__(
        self,
        url: str,
        token: str,
        key_name: str,
        *,
        mount: str = "transit",
        timeout_s: float = 2.0,
        namespace: str | None = None,
    ) -> None:
        try:
            import hvac
        except ImportError as error:
            raise WrappingKeyError("Vault needs hvac: install requirements-providers.txt.") from error
        # Answers as they came: hvac's own errors forget the status where they don't know it.
        client = hvac.Client(
            url=url,
            token=token,
            timeout=timeout_s,
            namespace=namespace,
            allow_redirects=False,
            adapter=hvac.adapters.RawAdapter,
            ignore_exceptions=True,
        )
        self._transit: Any = client.secrets.transit
        self._key_name = key_name
        self._mount = mount
        self._timeout_s = timeout_s

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> Wrapped:
        """Return the secret, wrapped by Vault and bound to the context. Raises as `KeyProvider` says."""
        answer = await self._ask("encrypt_data", plaintext=_text(secret), associated_data=_associated(context))
        ciphertext = str(answer.get("ciphertext"))
        version = _version_of(ciphertext)
        if version is None:
            raise _away("encrypt_data", "no ciphertext in the answer")
        return Wrapped(ciphertext.encode(), f"{self._key_name}:v{version}")

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret. Raises as `KeyProvider.unwrap` says."""
        ciphertext = wrapped.decode("ascii", "replace")
        # Vault reads several spellings as the same ciphertext; only the one that it wrote is unchanged.
        if _version_of(ciphertext) is None:
            raise TamperedError("A wrapped data key is no ciphertext of Vault.")
        answer = await self._ask("decrypt_data", ciphertext=ciphertext, associated_data=_associated(context))
        try:
            return base64.b64decode(answer["plaintext"], validate=True)
        except (KeyError, TypeError, ValueError):
            failure = _away("decrypt_data", "no plaintext in the answer")
        raise failure

    async def newest(self) -> str:
        """Return the name of the key's latest version. Raises as `KeyProvider` says."""
        answer = await self._ask("read_key")
        version = answer.get("latest_version")
        if not isinstance(version, int):
            raise _away("read_key", "no version in the answer")
        return f"{self._key_name}:v{version}"

    async def rotate(self) -> str:
        """Make a new version of the key, which wraps from now on, and return its name. Raises as `KeyProvider` says."""
        await self._ask("rotate_key")
        return await self.newest()

    def __repr__(self) -> str:
        return "<key-encryption key in Vault>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("A key provider is never copied nor written out.")

    async def _ask(self, operation: str, **parameters: str) -> Mapping[str, Any]:
        from requests import exceptions as found

        call = getattr(self._transit, operation)
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await asyncio.to_thread(call, name=self._key_name, mount_point=self._mount, **parameters)
                return _data(operation, answer.status_code, answer.content)
        except TimeoutError:
            failure = _away(operation, "no answer in time")
        except (found.ConnectionError, found.Timeout, found.ChunkedEncodingError, found.ContentDecodingError) as error:
            failure = _away(operation, type(error).__name__)
        except found.RequestException as error:
            failure = WrappingKeyError(f"Vault can't be asked to {_words(operation)}: {type(error).__name__}.")
        # Out here, so that it carries no error of the library along: they hold what was sent, and the token.
        raise failure


def _data(operation: str, status: int, content: bytes) -> Mapping[str, Any]:
    try:
        body = json.loads(content) if content else {}
    except ValueError:
        body = None
    if status in (200, 204) and isinstance(body, dict):
        data = body.get("data")
        return data if isinstance(data, dict) else {}
    if 400 <= status < 500 and status not in (412, 429):
        raise _refusal(operation, status, str(body.get("errors")) if isinstance(body, dict) else "")
    raise _away(operation, f"status {status}")


def _refusal(operation: str, status: int, errors: str) -> Exception:
    is_known = not any(sign in errors for sign in _UNKNOWN_VERSION)
    if operation == "decrypt_data" and status == 400 and is_known and any(sign in errors for sign in _UNOPENED):
        return TamperedError("A wrapped data key does not open for its owner.")
    return WrappingKeyError(f"Vault refuses to {_words(operation)}: status {status}.")


def _away(operation: str, reason: str) -> Exception:
    # The error's text is shown to clients, so the reason is for the log.
    log.warning("key_provider_away", provider="vault-transit", doing=operation, failure=reason)
    return UnavailableError("The key provider does not answer. Try again later.")


def _words(operation: str) -> str:
    return operation.replace("_", " ")


def _version_of(ciphertext: str) -> int | None:
    found = _CIPHERTEXT.fullmatch(ciphertext)
    if found is None:
        return None
    try:
        is_canonical = _text(base64.b64decode(found[2], validate=True)) == found[2]
    except binascii.Error:
        return None
    return int(found[1]) if is_canonical else None


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _associated(context: Mapping[str, str]) -> str:
    parts = [part.encode() for name in sorted(context) for part in (name, context[name])]
    return _text(b"".join(len(part).to_bytes(2, "big") + part for part in parts))
