"""Access tokens (RFC 9068, EdDSA alone) and refresh tokens."""

import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.errors import UnauthenticatedError

PublicKey = Ed25519PublicKey
MESSAGE: Final = "The access token is not valid."


class SigningKey:
    """A key that signs access tokens."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.id = sha256(raw).hexdigest()[:16]

    @classmethod
    def generate(cls) -> "SigningKey":
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> "SigningKey":
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("Expected an Ed25519 key.")
        return cls(key)

    def to_pem(self) -> bytes:
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def private(self) -> Ed25519PrivateKey:
        return self._private

    @property
    def public(self) -> PublicKey:
        return self._private.public_key()

    def __repr__(self) -> str:
        return f"<signing key {self.id}>"


@dataclass(frozen=True, slots=True)
class AccessClaims:
    user_id: UUID
    session_id: UUID
    organization_id: UUID


def issue_access_token(
    key: SigningKey, claims: AccessClaims, *, now: datetime, issuer: str, audience: str, lifetime_s: int
) -> str:
    at = int(now.timestamp())
    return jwt.encode(
        {
            "sub": str(claims.user_id), "sid": str(claims.session_id), "org": str(claims.organization_id),
            "iss": issuer, "aud": audience, "iat": at, "exp": at + lifetime_s, "jti": str(uuid4()),
        },
        key.private, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": key.id},
    )


def verify_access_token(
    token: str, keys: Mapping[str, PublicKey], *, now: datetime, issuer: str, audience: str, leeway_s: int = 5
) -> AccessClaims:
    try:
        header = jwt.get_unverified_header(token)
        key = keys[header["kid"]]
        if header.get("typ") != "at+jwt":
            raise UnauthenticatedError(MESSAGE)
        said: dict[str, Any] = jwt.decode(
            token, key, algorithms=["EdDSA"], issuer=issuer, audience=audience,
            options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
        )
        at = now.timestamp()
        if said["exp"] <= at or said["iat"] > at + leeway_s or said["exp"] - said["iat"] > 300:
            raise UnauthenticatedError(MESSAGE)
        return AccessClaims(UUID(said["sub"]), UUID(said["sid"]), UUID(said["org"]))
    except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
        raise UnauthenticatedError(MESSAGE) from error


@dataclass(frozen=True, slots=True)
class RefreshToken:
    organization_id: UUID
    session_id: UUID
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, organization_id: UUID, session_id: UUID) -> "RefreshToken":
        return cls(organization_id, session_id, secrets.token_bytes(32))

    def encode(self) -> str:
        body = self.organization_id.bytes + self.session_id.bytes + self.secret
        return "fwr_" + base64.urlsafe_b64encode(body + sha256(body).digest()[:4]).decode()

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        try:
            raw = base64.urlsafe_b64decode(text.removeprefix("fwr_").encode("ascii"))
        except (ValueError, UnicodeEncodeError) as error:
            raise UnauthenticatedError("The refresh token is not valid.") from error
        body, checksum = raw[:64], raw[64:]
        if not text.startswith("fwr_") or len(body) != 64 or not hmac.compare_digest(sha256(body).digest()[:4], checksum):
            raise UnauthenticatedError("The refresh token is not valid.")
        return cls(UUID(bytes=body[:16]), UUID(bytes=body[16:32]), body[32:])

    def digest(self) -> bytes:
        return sha256(self.secret).digest()


_ = UTC
