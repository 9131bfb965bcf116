"""Access tokens: short-lived and signed, of a person's session or of a program.

Promises: an access token is accepted only if this service signed it, with Ed25519 and nothing else, for this issuer
and audience, and it lives now and for at most five minutes; whatever is wrong, the answer is the same one error. Time
is an argument: nothing here reads a clock. Tokens that say nothing and are looked up: `auth/opaque_token.py`.

An accepted access token says who asked when it was issued. Whether session, user and device are still good is for the
caller to look up.

Standards: RFC 9068 (JWT profile for access tokens), RFC 8725 (JWT best current practices), RFC 8037 (Ed25519 in JOSE),
RFC 7638 (key ids are thumbprints).
"""

import base64
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from auth.errors import UnauthenticatedError
from auth.opaque_token import digest

PublicKey = Ed25519PublicKey

LONGEST_LIFETIME_S: Final = 300
KEPT_S: Final = 60
"""Seconds for which a verified token is not verified again."""
LONGEST_TOKEN: Final = 4096
"""Characters; a longer one is refused before anything of it is parsed."""

_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "at+jwt"
_CLAIMS: Final = ("iss", "aud", "sub", "org", "iat", "exp", "jti")
_KEY_ID: Final = re.compile("[A-Za-z0-9_-]{43}")
_ACCESS_REFUSED: Final = "The access token is not valid."


class SigningKey:
    """A key that signs access tokens. `id` is the thumbprint of the public half (RFC 7638), so it need not be kept.

    seed: the private key, 32 bytes (RFC 8032, 5.1.5). Nothing gives it back.
    """

    __slots__ = ("_private", "id")

    def __init__(self, seed: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.id = _thumbprint(self._private.public_key())

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

    expires_at: of a verified token, the second since 1970 at which it ends; its issuer sets it. key_id: of a verified
        token, which key has signed it.
    """

    user_id: UUID
    session_id: UUID
    organization_id: UUID
    token_id: UUID = field(default_factory=uuid4)
    expires_at: float = field(default=math.inf, compare=False)
    key_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ProgramClaims:
    """Which program asks, in which organization, and by which of its tokens it was let in.

    scope: the names of the permissions that it is cut down to; None for all that its service account has.
    """

    service_account_id: UUID
    service_token_id: UUID
    organization_id: UUID
    scope: tuple[str, ...] | None = None
    token_id: UUID = field(default_factory=uuid4)
    expires_at: float = field(default=math.inf, compare=False)
    key_id: str = field(default="", compare=False)


Claims = AccessClaims | ProgramClaims
"""What an access token says: of a person's session, or of a program."""


def issue_access_token(
    key: SigningKey, claims: Claims, *, now: datetime, issuer: str, audience: str, lifetime_s: int
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
            **_said_of(claims),
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
        self._known: dict[bytes, tuple[Claims, float, float]] = {}

    def get(self, token: str, *, now: datetime) -> Claims | None:
        """Return what a token says that was verified before and is alive."""
        known = self._known.get(digest(token.encode("ascii", "replace")))
        if known is None:
            return None
        claims, not_before, expires_at = known
        return claims if not_before <= _seconds(now) < expires_at else None

    def keep(self, token: str, claims: Claims, *, now: datetime) -> None:
        """Remember a token that was just verified: for a while, and no longer than it lives."""
        if len(self._known) >= self._most:
            self._known.clear()
        at = _seconds(now)
        self._known[digest(token.encode("ascii", "replace"))] = (claims, at, min(at + KEPT_S, claims.expires_at))


def verify_access_token(
    token: str, keys: Mapping[str, PublicKey], *, now: datetime, issuer: str, audience: str, leeway_s: int = 5
) -> Claims:
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
        key_id, key = _key_of(token, keys)
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
        return _claims(said, key_id)
    except Exception:
        # Whatever bytes a stranger sends, and however a parser trips over them, the answer is the same.
        raise UnauthenticatedError(_ACCESS_REFUSED) from None


def key_id_of(token: str) -> str | None:
    """Return which key an access token says has signed it; None for what is no access token. Nothing is verified."""
    try:
        header = jwt.get_unverified_header(token) if len(token) <= LONGEST_TOKEN else {}
    except jwt.InvalidTokenError:
        return None
    key_id = header.get("kid")
    well_formed = isinstance(key_id, str) and _KEY_ID.fullmatch(key_id) is not None
    return key_id if well_formed and header.get("alg") == _ALGORITHM and header.get("typ") == _TYPE else None


def public_jwk(key: PublicKey) -> dict[str, str]:
    """Return the public half as it is published (RFC 7517; RFC 8037 for Ed25519)."""
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": _base64url(key.public_bytes_raw()),
        "kid": _thumbprint(key),
        "use": "sig",
        "alg": _ALGORITHM,
    }


def _key_of(token: str, keys: Mapping[str, PublicKey]) -> tuple[str, PublicKey]:
    """Return the key that the header names, if the header is exactly one of ours: no `jwk`, `jku`, `crit` or `b64`."""
    header = jwt.get_unverified_header(token)
    if header.keys() != {"alg", "typ", "kid"} or header["alg"] != _ALGORITHM or header["typ"] != _TYPE:
        raise jwt.InvalidTokenError
    key_id: str = header["kid"]
    key = keys[key_id]
    if not isinstance(key, Ed25519PublicKey):
        raise jwt.InvalidKeyError
    return key_id, key


def _said_of(claims: Claims) -> dict[str, str]:
    """Return whom a token is of: a person and their session, or a program (RFC 9068, 2.2) and its token."""
    if isinstance(claims, AccessClaims):
        return {"sub": str(claims.user_id), "sid": str(claims.session_id)}
    program = str(claims.service_account_id)
    said = {"sub": program, "client_id": program, "sat": str(claims.service_token_id)}
    return said if claims.scope is None else {**said, "scope": " ".join(claims.scope)}


def _claims(said: Mapping[str, Any], key_id: str) -> Claims:
    organization_id, token_id = _uuid(said["org"]), _uuid(said["jti"])
    expires_at = float(said["exp"])
    if "client_id" not in said:
        return AccessClaims(_uuid(said["sub"]), _uuid(said["sid"]), organization_id, token_id, expires_at, key_id)
    if "sid" in said or said["sub"] != said["client_id"]:
        raise jwt.InvalidTokenError
    scope = tuple(said["scope"].split()) if "scope" in said else None
    return ProgramClaims(
        _uuid(said["client_id"]), _uuid(said["sat"]), organization_id, scope, token_id, expires_at, key_id
    )


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
