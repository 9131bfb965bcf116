"""The proof that a request comes from an enrolled device: a short JWT, signed by a key that never leaves the device.

The device makes a P-256 key pair where the private half can't be taken out (Android Keystore, Secure Enclave,
WebCrypto), gives the public half once, when it is enrolled, and from then on signs a proof for each sign-in and each
refresh. A proof is a JWS in its compact form (RFC 7515):

- Its header is exactly `{"typ": "fieldward-device-proof+jwt", "alg": "ES256"}`: no `jwk`, no `kid`, nothing else.
- Its claims are exactly these four:
    - `aud`: the service's audience, a text (`FIELDWARD_AUDIENCE`).
    - `iat`: when it was made, in whole seconds since 1970, at most `LONGEST_AGE_S` off the service's clock.
    - `jti`: 16 to 64 letters, digits, `-` and `_`, random and new for each proof, such as a UUID of version 4.
    - `for`: the base64url without padding of the SHA-256 of what the proof is for. That is a few lines in UTF-8, joined
      by one line feed each, with the inputs exactly as they are sent:
        - `enrolDevice`: `enrolment`, the code.
        - `signIn`: `sign-in`, the organization or an empty line, the address.
        - `refreshSession`: `refresh`, the refresh token.
- It is signed with ES256: ECDSA over P-256 with SHA-256, the signature as its 64 bytes R and S (RFC 7518, 3.4).

So a proof is good for one refresh token, one code, or one address, and for a few minutes; whoever steals one without
the key can do nothing with it that was not done by it. A worked example is in `docs/devices.md`.

Pure: time is an argument, and nothing here is stored or looked up. Standards: RFC 8725 (JWT best current practices),
RFC 7517 and RFC 7518 (keys and ES256), RFC 7638 (thumbprints). The shape is that of RFC 9449 (DPoP), which is for HTTP
requests and access tokens, and not for these.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NewType, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from auth.errors import DeviceProofError, StaleProofError

LONGEST_AGE_S: Final = 120
"""Seconds that the device's clock may be behind, or ahead of, the service's."""
LONGEST_PROOF: Final = 1000
LONGEST_JWK: Final = 1000

_ALGORITHM: Final = "ES256"
_TYPE: Final = "fieldward-device-proof+jwt"
_HEADER: Final = {"typ": _TYPE, "alg": _ALGORITHM}
_CLAIMS: Final = frozenset({"aud", "iat", "jti", "for"})
_JTI: Final = re.compile("[A-Za-z0-9_-]{16,64}")
_COORDINATE: Final = re.compile("[A-Za-z0-9_-]{43}")
_REFUSED: Final = "The device's proof is not valid."
_STALE: Final = "The device's proof was not made just now. Set the device's clock, and make a new one."

Binding = NewType("Binding", str)
"""What a proof is for, as its claim `for` says it."""


class DeviceKeyError(ValueError):
    """A text that is not the public half of a P-256 key. The message says what was expected, and shows nothing."""


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The public half of a device's key pair. `thumbprint` names it (RFC 7638)."""

    _public: ec.EllipticCurvePublicKey = field(repr=False)

    @classmethod
    def from_jwk(cls, text: str) -> Self:
        """Return the key that a JWK says, such as WebCrypto exports: members that it does not take are left out.

        Raises:
            DeviceKeyError: the text is no such key, is one of another curve, or holds a private half.
        """
        try:
            said = json.loads(text) if len(text) <= LONGEST_JWK else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or said.get("kty") != "EC" or said.get("crv") != "P-256":
            raise DeviceKeyError("Expected the JWK of a P-256 public key, as JSON.")
        if "d" in said:
            raise DeviceKeyError("Expected the public half alone. This private key is known now: make another.")
        try:
            point = ec.EllipticCurvePublicNumbers(
                _coordinate(said.get("x")), _coordinate(said.get("y")), ec.SECP256R1()
            )
            return cls(point.public_key())
        except ValueError:
            raise DeviceKeyError("Expected a point of P-256: x and y, each 32 bytes in base64url.") from None

    @classmethod
    def from_der(cls, der: bytes) -> Self:
        """Return the key that was stored. Raises `DeviceKeyError` if it is no P-256 key."""
        try:
            public = serialization.load_der_public_key(der)
        except ValueError:
            raise DeviceKeyError("Expected a public key in DER.") from None
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
            raise DeviceKeyError("Expected a P-256 key.")
        return cls(public)

    def to_der(self) -> bytes:
        """Return what is stored of it: a SubjectPublicKeyInfo (RFC 5480)."""
        return self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def thumbprint(self) -> str:
        """The key's name: the base64url of the SHA-256 of its JWK, as RFC 7638 writes it."""
        numbers = self._public.public_numbers()
        x, y = (_base64url(one.to_bytes(32, "big")) for one in (numbers.x, numbers.y))
        return _base64url(sha256(f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()).digest())

    def claims_of(self, proof: str, audience: str) -> Mapping[str, Any]:
        """Return what a text says that this key signed. Raises whatever a parser trips over."""
        if jwt.get_unverified_header(proof) != _HEADER:
            raise jwt.InvalidTokenError
        said: Mapping[str, Any] = jwt.decode(
            proof,
            self._public,
            algorithms=[_ALGORITHM],
            audience=audience,
            # The time is compared with the caller's clock, below.
            options={"require": sorted(_CLAIMS), "strict_aud": True, "verify_iat": False},
        )
        return said


def for_enrolment(code: str) -> Binding:
    """Return what a proof is for that enrols a device: the code, as it is sent."""
    return _bound("enrolment", code)


def for_sign_in(organization: str | None, email: str) -> Binding:
    """Return what a proof is for that signs in: the organization and the address, as they are sent."""
    return _bound("sign-in", organization or "", email)


def for_refresh(refresh_token: str) -> Binding:
    """Return what a proof is for that refreshes: the refresh token."""
    return _bound("refresh", refresh_token)


def verify_device_proof(proof: str, key: DeviceKey, *, binding: Binding, audience: str, now: datetime) -> str:
    """Require that the key's holder made the proof just now, for this; return its `jti`, by which it is told apart.

    Raises:
        StaleProofError: all is right but its time. It says so, since a wrong clock is what people can mend.
        DeviceProofError: anything else is wrong with it. It never says what.
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("Expected a time with its zone.")
    if len(proof) > LONGEST_PROOF:
        raise DeviceProofError(_REFUSED)
    try:
        said = key.claims_of(proof, audience)
        made_at, jti = said["iat"], said["jti"]
        is_good = said.keys() == _CLAIMS and type(made_at) is int and _JTI.fullmatch(jti) and said["for"] == binding
    except Exception:
        # Whatever bytes a stranger sends, and however a parser trips over them, the answer is the same.
        raise DeviceProofError(_REFUSED) from None
    if not is_good:
        raise DeviceProofError(_REFUSED)
    if abs(now.timestamp() - made_at) > LONGEST_AGE_S:
        raise StaleProofError(_STALE)
    return str(jti)


def _bound(*lines: str) -> Binding:
    # Only the last may hold a line feed: an organization is a slug by the time that a proof is asked for.
    return Binding(_base64url(sha256("\n".join(lines).encode("utf-8", "replace")).digest()))


def _coordinate(text: Any) -> int:
    if not isinstance(text, str) or not _COORDINATE.fullmatch(text):
        raise ValueError
    return int.from_bytes(base64.urlsafe_b64decode(f"{text}="), "big")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
