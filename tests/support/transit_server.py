"""Vault's transit engine as a server, as far as its HTTP API is documented and a key provider speaks it.

Keys are AES-256-GCM and real; tokens, statuses and error bodies are as Vault's. There are two tokens: root may do all,
and the service's own may use and rotate the keys whose names begin with "fieldward". Keys live per namespace and
mount, in memory. Run it with `python -m tests.support.transit_server PORT`.
"""

import base64
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ROOT_TOKEN: Final = "hvs.root-token-of-the-tests"
SERVICE_TOKEN: Final = "hvs.service-token-of-the-tests"
MOUNT: Final = "transit"


@dataclass
class Key:
    """A named key: its versions from 1 on, and which of them may be used."""

    versions: list[AESGCM] = field(default_factory=list)
    min_decryption_version: int = 1
    min_encryption_version: int = 0

    def rotate(self) -> None:
        """Add a version."""
        self.versions.append(AESGCM(AESGCM.generate_key(256)))


@dataclass(frozen=True)
class RefusedError(Exception):
    """What is answered instead."""

    status: int
    errors: tuple[str, ...]


class Transit:
    """The engine's paths."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], Key] = {}

    async def answer(self, request: Request) -> Response:
        """Answer a request, or refuse it."""
        body: dict[str, Any] = {} if request.method == "GET" else await request.json() if await request.body() else {}
        try:
            return self._answer(request, body)
        except RefusedError as refused:
            return JSONResponse({"errors": refused.errors}, refused.status)

    def _answer(self, request: Request, body: dict[str, Any]) -> Response:
        mount, verb, name = (request.path_params[part] for part in ("mount", "verb", "name"))
        action = request.path_params.get("action", "")
        is_root = _require_permission(request, mount, verb, name, action)
        if mount != MOUNT:
            raise RefusedError(404, (f'no handler for route "{mount}/{verb}/{name}". route entry not found.',))
        place = (request.headers.get("x-vault-namespace", ""), name)
        match (request.method, verb, action):
            case ("POST" | "PUT", "keys", ""):
                self._made(place)
                return _described(name, self._keys[place])
            case ("GET", "keys", ""):
                if place not in self._keys:
                    raise RefusedError(404, ())
                return _described(name, self._keys[place])
            case ("POST" | "PUT", "keys", "rotate"):
                self._found(place).rotate()
                return _described(name, self._keys[place])
            case ("POST" | "PUT", "keys", "config"):
                key = self._found(place)
                key.min_decryption_version = body.get("min_decryption_version", key.min_decryption_version)
                key.min_encryption_version = body.get("min_encryption_version", key.min_encryption_version)
                return _described(name, key)
            case ("POST" | "PUT", "encrypt", ""):
                # Who may create makes a missing key by using it.
                return _encrypted(self._made(place) if is_root else self._found(place), body)
            case ("POST" | "PUT", "decrypt", ""):
                return _decrypted(self._found(place), body)
        raise RefusedError(405, ("unsupported operation",))

    def _made(self, place: tuple[str, str]) -> Key:
        if place not in self._keys:
            self._keys[place] = Key()
            self._keys[place].rotate()
        return self._keys[place]

    def _found(self, place: tuple[str, str]) -> Key:
        if place not in self._keys:
            raise RefusedError(400, ("encryption key not found",))
        return self._keys[place]


def _require_permission(request: Request, mount: str, verb: str, name: str, action: str) -> bool:
    token = request.headers.get("x-vault-token")
    is_ours = mount == MOUNT and name.startswith("fieldward") and (verb != "keys" or action == "rotate")
    reads_ours = mount == MOUNT and name.startswith("fieldward") and request.method == "GET"
    if token != ROOT_TOKEN and not (token == SERVICE_TOKEN and (is_ours or reads_ours)):
        raise RefusedError(403, ("1 error occurred:\n\t* permission denied\n\n",))
    return token == ROOT_TOKEN


def _encrypted(key: Key, body: dict[str, Any]) -> Response:
    version = body.get("key_version", 0) or len(key.versions)
    if version > len(key.versions):
        raise RefusedError(400, ("requested version for encryption is higher than the latest key version",))
    if version < key.min_encryption_version:
        raise RefusedError(400, ("requested version for encryption is less than the minimum encryption key version",))
    nonce = os.urandom(12)
    sealed = nonce + key.versions[version - 1].encrypt(nonce, _bytes(body, "plaintext"), _associated(body))
    return _data({"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}", "key_version": version})


def _decrypted(key: Key, body: dict[str, Any]) -> Response:
    prefix, colon, encoded = body["ciphertext"].removeprefix("vault:v").partition(":")
    if not body["ciphertext"].startswith("vault:v"):
        raise RefusedError(400, ("invalid ciphertext: no prefix",))
    if not colon:
        raise RefusedError(400, ("invalid ciphertext: wrong number of fields",))
    if not prefix.isdigit():
        raise RefusedError(400, ("invalid ciphertext: version number could not be decoded",))
    version = int(prefix) or 1
    if version > len(key.versions):
        raise RefusedError(400, ("invalid ciphertext: version is too new",))
    if version < key.min_decryption_version:
        raise RefusedError(400, ("ciphertext or signature version is disallowed by policy (too old)",))
    try:
        sealed = base64.b64decode(encoded)
    except ValueError:
        raise RefusedError(400, ("invalid ciphertext: could not decode base64",)) from None
    if len(sealed) < 12:
        raise RefusedError(400, ("invalid ciphertext length",))
    try:
        opened = key.versions[version - 1].decrypt(sealed[:12], sealed[12:], _associated(body))
    except InvalidTag:
        raise RefusedError(400, ("cipher: message authentication failed",)) from None
    return _data({"plaintext": base64.b64encode(opened).decode()})


def _bytes(body: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(body[name], validate=True)
    except ValueError as error:
        raise RefusedError(400, (f"failed to base64-decode {name}",)) from error


def _associated(body: dict[str, Any]) -> bytes | None:
    return _bytes(body, "associated_data") if body.get("associated_data") else None


def _described(name: str, key: Key) -> Response:
    return _data(
        {
            "name": name,
            "type": "aes256-gcm96",
            "latest_version": len(key.versions),
            "min_available_version": 0,
            "min_decryption_version": key.min_decryption_version,
            "min_encryption_version": key.min_encryption_version,
            "keys": {str(version): 0 for version in range(key.min_decryption_version, len(key.versions) + 1)},
        }
    )


def _data(data: dict[str, Any]) -> Response:
    return JSONResponse({"request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "data": data})


async def _health(_: Request) -> Response:
    return JSONResponse({"initialized": True, "sealed": False, "standby": False})


def build_app() -> Starlette:
    """Return the server, without keys."""
    transit = Transit()
    methods = ["GET", "POST", "PUT"]
    return Starlette(
        routes=[
            Route("/v1/sys/health", _health),
            Route("/v1/{mount}/{verb}/{name}", transit.answer, methods=methods),
            Route("/v1/{mount}/{verb}/{name}/{action}", transit.answer, methods=methods),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(build_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
