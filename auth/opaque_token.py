"""Tokens that say nothing: where to look something up, and a secret of 256 random bits that proves it.

Promises: of a secret only the digest is stored; whatever is wrong with a token, its kind has one answer. As text it is
the kind's prefix and 92 characters: prefix and checksum let a scanner find one that leaked, and have a typing slip
refused without a look-up.
"""

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Final, Self
from uuid import UUID

from auth.errors import UnauthenticatedError

SECRET_BYTES: Final = 32

_CHECKSUM_BYTES: Final = 5  # 16 + 16 + 32 + 5 bytes are 92 characters with no bit to spare: one spelling per token
_WELL_FORMED: Final = re.compile("[A-Za-z0-9_-]{92}")


@dataclass(frozen=True, slots=True)
class OpaqueToken:
    """The row that a token is looked up by, and the secret that proves it. A subclass is one kind of token.

    prefix: what its text begins with, another for each kind. refused: what is answered to one that is not good.
    """

    prefix: ClassVar[str]
    refused: ClassVar[str]

    organization_id: UUID
    row_id: UUID
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"Expected {SECRET_BYTES} bytes of secret.")

    @classmethod
    def new(cls, organization_id: UUID, row_id: UUID) -> Self:
        """Return a token of the row with a fresh secret."""
        return cls(organization_id, row_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the token that `encode` made the text of.

        Raises:
            UnauthenticatedError: the text is no such token, or was mistyped. It never says which.
        """
        encoded = text.removeprefix(cls.prefix)
        well_formed = text.startswith(cls.prefix) and _WELL_FORMED.fullmatch(encoded) is not None
        data = base64.urlsafe_b64decode(encoded) if well_formed else b""
        body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if not well_formed or checksum != cls._checksum(body):
            raise UnauthenticatedError(cls.refused)
        return cls(UUID(bytes=body[:16]), UUID(bytes=body[16:32]), body[32:])

    def encode(self) -> str:
        """Return the token as text: its prefix and 92 characters, of which the last part is a checksum."""
        body = self.organization_id.bytes + self.row_id.bytes + self.secret
        return self.prefix + base64.urlsafe_b64encode(body + self._checksum(body)).decode("ascii")

    def digest(self) -> bytes:
        """Return what is stored of the secret."""
        return digest(self.secret)

    @classmethod
    def _checksum(cls, body: bytes) -> bytes:
        return sha256(cls.prefix.encode() + body).digest()[:_CHECKSUM_BYTES]


class SessionToken(OpaqueToken):
    """What a session goes on by."""

    __slots__ = ()

    @property
    def session_id(self) -> UUID:
        """Which session."""
        return self.row_id


class RefreshToken(SessionToken):
    """What a client that holds tokens sends for new ones. It works once."""

    __slots__ = ()
    prefix = "fwr_"
    refused = "The refresh token is not valid."


class CookieToken(SessionToken):
    """What a browser's cookie holds."""

    __slots__ = ()
    prefix = "fwb_"
    refused = "The cookie is not valid."


class ServiceToken(OpaqueToken):
    """One of a service account's tokens."""

    __slots__ = ()
    prefix = "fws_"
    refused = "The service account's token is not valid."

    @property
    def token_id(self) -> UUID:
        """Which token: an account may have two that are good."""
        return self.row_id


class InvitationToken(OpaqueToken):
    """What the link of an invitation holds."""

    __slots__ = ()
    prefix = "fwi_"
    refused = "The invitation is not valid."

    @property
    def invitation_id(self) -> UUID:
        """Which invitation."""
        return self.row_id


class ErasureToken(OpaqueToken):
    """What the link holds by which somebody confirms that they are to be erased."""

    __slots__ = ()
    prefix = "fwe_"
    refused = "The link is not valid any more."

    @property
    def request_id(self) -> UUID:
        """Which request."""
        return self.row_id


class ExportToken(OpaqueToken):
    """What the link to an export's file holds."""

    __slots__ = ()
    prefix = "fwx_"
    refused = "The link is not valid any more."

    @property
    def export_id(self) -> UUID:
        """Which export."""
        return self.row_id


def digest(secret: bytes) -> bytes:
    """Return the SHA-256 of a secret. One fast round is enough for 256 random bits; never for a password."""
    return sha256(secret).digest()


def is_same_digest(one: bytes, other: bytes) -> bool:
    """Return whether two digests are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)
