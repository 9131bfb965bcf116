"""The errors that a caller may be told about.

Each carries a stable code, a message without secrets and, where an input is at fault, the path of that input.
Anything that is not a `FieldwardError` is masked before it leaves the server.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """What went wrong, as clients match on it. Codes are never renamed."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    REAUTHENTICATE = "REAUTHENTICATE"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    INVALID_INPUT = "INVALID_INPUT"
    RATE_LIMITED = "RATE_LIMITED"
    TOO_COMPLEX = "TOO_COMPLEX"
    PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
    UNTRUSTED_DOCUMENT = "UNTRUSTED_DOCUMENT"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    INTERNAL = "INTERNAL"


class FieldwardError(Exception):
    """Base of every error that may be shown to a caller.

    `field` is the path of the input at fault, outermost name first: `("input", "siteCode")`; empty when no single
    input is. `noted` is what the audit trail says where the code alone would not tell what happened; clients are told
    the code, and `detail` where there is something that a program does about it.
    """

    code: ClassVar[Code] = Code.INTERNAL
    noted: ClassVar[str | None] = None
    detail: ClassVar[str | None] = None

    def __init__(self, message: str, *, field: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.field = tuple(field)


class UnauthenticatedError(FieldwardError):
    """Nobody is signed in, or the session, user or device behind the token is no longer good."""

    code = Code.UNAUTHENTICATED


class BlockedDeviceError(UnauthenticatedError):
    """Somebody is who they say, and comes by a device that was blocked."""

    noted = detail = "DEVICE_BLOCKED"


class UnenrolledDeviceError(UnauthenticatedError):
    """Somebody is who they say, and comes by a device that has no key yet, or no longer has the one it proved."""

    noted = detail = "DEVICE_NOT_ENROLLED"


class DeviceProofError(UnauthenticatedError):
    """A device's proof is not by its key, or not for this: whoever sent it is not known to have the device."""

    noted = detail = "DEVICE_PROOF_REFUSED"


class MissingProofError(DeviceProofError):
    """There is no proof where one is demanded."""

    noted = detail = "DEVICE_PROOF_MISSING"


class StaleProofError(DeviceProofError):
    """A device's proof is by its key and for this, and was not made just now, or was used before."""

    noted = detail = "DEVICE_PROOF_STALE"


class ForeignNetworkError(UnauthenticatedError):
    """A program's token is good, and comes from an address that its service account is not for."""

    noted = "FOREIGN_NETWORK"


class ReusedTokenError(UnauthenticatedError):
    """A refresh token that was used before came once more: one of the two who used it stole it."""

    noted = "REFRESH_REUSED"


class CrossSiteError(UnauthenticatedError):
    """A request that came with a browser's cookie, or wants one, and may be another site's doing."""

    noted = "CROSS_SITE"


class ClonedPasskeyError(UnauthenticatedError):
    """A passkey counts its uses, and said a count that it was past already: there are two of it."""

    noted = "PASSKEY_CLONED"


class ForbiddenError(FieldwardError):
    """The viewer is known and may not do this. Names the missing permission and where it is missing, never the value.

    `scope` is `ORGANIZATION` or a project's global id; None where no permission is missing in any one scope.
    """

    code = Code.FORBIDDEN

    def __init__(
        self,
        message: str,
        *,
        permission: str | None = None,
        scope: str | None = None,
        field: Sequence[str | int] = (),
    ) -> None:
        super().__init__(message, field=field)
        self.permission = permission
        self.scope = scope


class NotFoundError(FieldwardError):
    """No such row for this viewer: it never existed, or it is not theirs to know of. The two look the same."""

    code = Code.NOT_FOUND


class ReauthenticateError(FieldwardError):
    """The viewer may do this, and has to prove anew who they are before: they signed in too long ago."""

    code = Code.REAUTHENTICATE


class RateLimitedError(FieldwardError):
    """Too many tries. Try again later: `retry_after_s` says after how many seconds, where that is known."""

    code = Code.RATE_LIMITED

    def __init__(self, message: str, *, retry_after_s: int | None = None, field: Sequence[str | int] = ()) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class ThrottledError(RateLimitedError):
    """Whoever guesses has to wait: the guess was not looked at."""

    noted = "THROTTLED"
