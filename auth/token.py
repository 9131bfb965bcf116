"""The tokens of a session: short signed ones for access, opaque ones for refreshing.

Promises: an access token is accepted only if this service signed it, with Ed25519 and nothing else, for this issuer
and audience, and it lives now and for at most five minutes; whatever is wrong, the answer is the same one error. A
refresh token says which session it belongs to, carries 256 random bits, and is stored as a digest. Time is an
argument: nothing here reads a clock.

An accepted access token says who asked when it was issued. Whether session, user and device are still good is for the
caller to look up.

Standards: RFC 9068 (JWT profile for access tokens), RFC 8725 (JWT best current practices), RFC 8037 (Ed25519 in JOSE),
RFC 7638 (key ids are thumbprints).
"""

import base64
import hmac
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.errors import UnauthenticatedError
from auth.private_key import StoredKey

PublicKey = Ed25519PublicKey

LONGEST_LIFETIME_S: Final = 300
KEPT_S: Final = 60
"""Seconds for which a verified token is not verified again."""
LONGEST_TOKEN: Final = 4096
"""Characters; a longer one is refused before anything of it is parsed."""

SECRET_BYTES: Final = 32

_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "at+jwt"
_CLAIMS: Final = ("iss", "aud", "sub", "sid", "org", "iat", "exp", "jti")
_ACCESS_REFUSED: Final = "The access token is not valid."

_REFRESH_PREFIX: Final = "fwr_"
SERVICE_PREFIX: Final = "fws_"
_COOKIE_PREFIX: Final = "fwb_"
_CHECKSUM_BYTES: Final = 5  # 16 + 16 + 32 + 5 bytes are 92 characters with no bit to spare: one spelling per token
_OPAQUE: Final = re.compile("[A-Za-z0-9_-]{92}")
_REFRESH_REFUSED: Final = "The refresh token is not valid."
_COOKIE_REFUSED: Final = "The cookie is not valid."
_SERVICE_REFUSED: Final = "The service account's token is not valid."
_INVITATION_PREFIX: Final = "fwi_"
_INVITATION_REFUSED: Final = "The invitation is not valid."


class SigningKey(StoredKey):
    """A key that signs access tokens. `id` is the thumbprint of the public half (RFC 7638), so it need not be kept."""

    __slots__ = ("id",)

    def __init__(self, private: Ed25519PrivateKey) -> None:
        super().__init__(private)
        self.id = _thumbprint(private.public_key())

    @property
    def public(self) -> PublicKey:
        """The half that verifies."""
        return self._private.public_key()

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the claims as a signed access token. They are not judged; see `issue_access_token`."""
        headers = {"typ": _TYPE, "kid": self.id}
        return jwt.encode(dict(claims), self._private, algorithm=_ALGORITHM, headers=headers)

    def __repr__(self) -> str:
        return f"<SigningKey {self.id}>"


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """Who asks, in which session and organization. `token_id` is new for each token.

    expires_at: of a verified token, the second since 1970 at which it ends; its issuer sets it.
    """

    user_id: UUID
    session_id: UUID
    organization_id: UUID
    token_id: UUID = field(default_factory=uuid4)
    expires_at: float = field(default=math.inf, compare=False)


def issue_access_token(
    key: SigningKey, claims: AccessClaims, *, now: datetime, issuer: str, audience: str, lifetime_s: int
) -> str:
    """Return a signed access token that is good from `now` for `lifetime_s` seconds, 1 to 300.

    Raises:
        ValueError: a lifetime out of bounds, or a `now` without a time zone.
    """
    if not 1 <= lifetime_s <= LONGEST_LIFETIME_S:
        raise ValueError(f"Expected a lifetime from 1 to {LONGEST_LIFETIME_S} seconds, got {lifetime_s}.")
    issued_at = int(_seconds(now))
    return key.sign(
        {
            "iss": issuer,
            "aud": audience,
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "org": str(claims.organization_id),
            "iat": issued_at,
            "exp": issued_at + lifetime_s,
            "jti": str(claims.token_id),
        }
    )


class VerifiedTokens:
    """Access tokens that were verified not long ago, so that each request need not check the same signature again.

    What a token says and how long it lives does not change; whether its session still stands is asked each time,
    elsewhere. Tokens are kept by their digest, and only so many.
    """

    def __init__(self, *, most: int = 4096) -> None:
        self._most = most
        self._known: dict[bytes, tuple[AccessClaims, float, float]] = {}

    def get(self, token: str, *, now: datetime) -> AccessClaims | None:
        """Return what a token says that was verified before and is alive."""
        known = self._known.get(digest(token.encode("ascii", "replace")))
        if known is None:
            return None
        claims, not_before, expires_at = known
        return claims if not_before <= _seconds(now) < expires_at else None

    def keep(self, token: str, claims: AccessClaims, *, now: datetime) -> None:
        """Remember a token that was just verified: for a while, and no longer than it lives."""
        if len(self._known) >= self._most:
            self._known.clear()
        at = _seconds(now)
        self._known[digest(token.encode("ascii", "replace"))] = (claims, at, min(at + KEPT_S, claims.expires_at))


def verify_access_token(
    token: str, keys: Mapping[str, PublicKey], *, now: datetime, issuer: str, audience: str, leeway_s: int = 5
) -> AccessClaims:
    """Return the claims of a good access token.

    keys: the public keys that may have signed it, by id. leeway_s: how far the clocks of issuer and verifier may be
    apart, at both ends of the token's life.

    Raises:
        UnauthenticatedError: anything is wrong with the token. It never says what.
        ValueError: `now` has no time zone.
    """
    at = _seconds(now)
    if not isinstance(token, str) or len(token) > LONGEST_TOKEN:
        raise UnauthenticatedError(_ACCESS_REFUSED)
    try:
        key = _key_of(token, keys)
        said = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            issuer=issuer,
            audience=audience,
            # PyJWT would compare with its own clock; `_require_alive` compares with the caller's.
            options={
                "require": list(_CLAIMS),
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        _require_alive(said, at, leeway_s)
        return AccessClaims(
            user_id=_uuid(said["sub"]),
            session_id=_uuid(said["sid"]),
            organization_id=_uuid(said["org"]),
            token_id=_uuid(said["jti"]),
            expires_at=float(said["exp"]),
        )
    except Exception:
        # Whatever bytes a stranger sends, and however a parser trips over them, the answer is the same.
        raise UnauthenticatedError(_ACCESS_REFUSED) from None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A session's refresh token: where to look the session up, and the secret that proves it."""

    organization_id: UUID
    session_id: UUID
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"Expected {SECRET_BYTES} bytes of secret.")

    @classmethod
    def new(cls, organization_id: UUID, session_id: UUID) -> "RefreshToken":
        """Return a token for the session with a fresh secret."""
        return cls(organization_id, session_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        """Return the token that `encode` made the text of.

        Raises:
            UnauthenticatedError: the text is no such token, or was mistyped. It never says which.
        """
        return cls(*_decoded(_REFRESH_PREFIX, text, _REFRESH_REFUSED))

    def encode(self) -> str:
        """Return the token as text: `fwr_` and 92 characters, of which the last part is a checksum.

        Prefix and checksum let a scanner find a leaked token, and a typing slip be refused without a look-up.
        """
        return _encoded(_REFRESH_PREFIX, self.organization_id, self.session_id, self.secret)

    def digest(self) -> bytes:
        """Return what is stored of the secret."""
        return digest(self.secret)


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """A service account's token: where to look it up, and the secret that proves it."""

    organization_id: UUID
    token_id: UUID
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, organization_id: UUID, token_id: UUID) -> "ServiceToken":
        """Return a token under that id with a fresh secret."""
        return cls(organization_id, token_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "ServiceToken":
        """Return the token that `encode` made the text of.

        Raises:
            UnauthenticatedError: the text is no such token, or was mistyped. It never says which.
        """
        return cls(*_decoded(SERVICE_PREFIX, text, _SERVICE_REFUSED))

    def encode(self) -> str:
        """Return the token as text: `fws_` and 92 characters, of which the last part is a checksum."""
        return _encoded(SERVICE_PREFIX, self.organization_id, self.token_id, self.secret)

    def digest(self) -> bytes:
        """Return what is stored of the secret."""
        return digest(self.secret)


@dataclass(frozen=True, slots=True)
class CookieToken:
    """What a browser's cookie holds: where to look the session up, and the secret that proves it."""

    organization_id: UUID
    session_id: UUID
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, organization_id: UUID, session_id: UUID) -> "CookieToken":
        """Return a token for the session with a fresh secret."""
        return cls(organization_id, session_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "CookieToken":
        """Return the token that `encode` made the text of.

        Raises:
            UnauthenticatedError: the text is no such token. It never says why.
        """
        return cls(*_decoded(_COOKIE_PREFIX, text, _COOKIE_REFUSED))

    def encode(self) -> str:
        """Return the token as text: `fwb_` and 92 characters, of which the last part is a checksum."""
        return _encoded(_COOKIE_PREFIX, self.organization_id, self.session_id, self.secret)

    def digest(self) -> bytes:
        """Return what is stored of the secret."""
        return digest(self.secret)


@dataclass(frozen=True, slots=True)
class InvitationToken:
    """What the link of an invitation holds: where to look the invitation up, and the secret that proves it."""

    organization_id: UUID
    invitation_id: UUID
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, organization_id: UUID, invitation_id: UUID) -> "InvitationToken":
        """Return a token of the invitation with a fresh secret."""
        return cls(organization_id, invitation_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "InvitationToken":
        """Return the token that `encode` made the text of.

        Raises:
            UnauthenticatedError: the text is no such token, or was mistyped. It never says which.
        """
        return cls(*_decoded(_INVITATION_PREFIX, text, _INVITATION_REFUSED))

    def encode(self) -> str:
        """Return the token as text: `fwi_` and 92 characters, of which the last part is a checksum."""
        return _encoded(_INVITATION_PREFIX, self.organization_id, self.invitation_id, self.secret)

    def digest(self) -> bytes:
        """Return what is stored of the secret."""
        return digest(self.secret)


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of a secret. One fast round is enough for 256 random bits; never for a password."""
    return sha256(secret).digest()


def is_same_digest(one: bytes, other: bytes) -> bool:
    """Return whether two digests are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)


def _key_of(token: str, keys: Mapping[str, PublicKey]) -> PublicKey:
    """Return the key that the header names, if the header is exactly one of ours: no `jwk`, `jku`, `crit` or `b64`."""
    header = jwt.get_unverified_header(token)
    if header.keys() != {"alg", "typ", "kid"} or header["alg"] != _ALGORITHM or header["typ"] != _TYPE:
        raise jwt.InvalidTokenError
    key = keys[header["kid"]]
    if not isinstance(key, Ed25519PublicKey):
        raise jwt.InvalidKeyError
    return key


def _require_alive(said: Mapping[str, Any], at: float, leeway_s: int) -> None:
    issued_at, expires_at, not_before = said["iat"], said["exp"], said.get("nbf", said["iat"])
    if not all(type(second) is int for second in (issued_at, expires_at, not_before)):
        raise jwt.InvalidTokenError
    if not 0 < expires_at - issued_at <= LONGEST_LIFETIME_S:
        raise jwt.InvalidTokenError
    if max(issued_at, not_before) > at + leeway_s or expires_at <= at - leeway_s:
        raise jwt.ExpiredSignatureError


def _uuid(text: str) -> UUID:
    value = UUID(text)
    if str(value) != text:
        raise ValueError("Expected a UUID in its one canonical form.")
    return value


def _seconds(now: datetime) -> float:
    if now.tzinfo is None:
        raise ValueError("Expected a time with its zone.")
    return now.timestamp()


def _thumbprint(public: PublicKey) -> str:
    x = _base64url(public.public_bytes_raw())
    return _base64url(sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _encoded(prefix: str, organization_id: UUID, row_id: UUID, secret: bytes) -> str:
    body = organization_id.bytes + row_id.bytes + secret
    return prefix + base64.urlsafe_b64encode(body + _checksum(prefix, body)).decode("ascii")


def _decoded(prefix: str, text: str, refusal: str) -> tuple[UUID, UUID, bytes]:
    encoded = text.removeprefix(prefix)
    well_formed = text.startswith(prefix) and _OPAQUE.fullmatch(encoded) is not None
    data = base64.urlsafe_b64decode(encoded) if well_formed else b""
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if not well_formed or checksum != _checksum(prefix, body):
        raise UnauthenticatedError(refusal)
    return UUID(bytes=body[:16]), UUID(bytes=body[16:32]), body[32:]


def _checksum(prefix: str, body: bytes) -> bytes:
    return sha256(prefix.encode() + body).digest()[:_CHECKSUM_BYTES]
