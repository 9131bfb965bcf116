"""Codes that an app shows for half a minute: TOTP by RFC 6238, with SHA-1, six digits and steps of thirty seconds.

SHA-1 and six digits are what every app takes; a code is guessed against a few tries and not against a digest. A code of
the step before is taken as well, for who types slowly and for clocks that are behind (RFC 6238, section 5.2), so it is
good for a minute. That no step is used twice is for whoever keeps the newest one.
"""

import hmac
from datetime import datetime
from typing import Final

import pyotp

STEP_S: Final = 30
DRIFT: Final = 1
"""Steps that a code may be old. None is taken of a step that has not begun."""
SECRET_CHARACTERS: Final = 32
"""Of base32: 160 random bits, as RFC 4226 recommends (section 4, R6)."""
_DIGITS: Final = 6


def new_totp_secret() -> str:
    """Return a fresh secret in base32."""
    return pyotp.random_base32(SECRET_CHARACTERS)


def totp_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the `otpauth:` URI by which an app takes the secret over, from a QR code for one."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def step_of(moment: datetime) -> int:
    """Return the number of the step that the moment lies in."""
    return int(moment.timestamp()) // STEP_S


def matching_step(secret: str, code: str, *, at: datetime) -> int | None:
    """Return the newest step, of those that may be meant at a moment, whose code this is; None if it is none's.

    code: as it was typed, blanks among it. Compared in constant time, and with each of the steps whichever is right.
    """
    digits = "".join(code.split())
    if len(digits) != _DIGITS or not digits.isascii() or not digits.isdigit():
        return None
    generator, now = pyotp.TOTP(secret), step_of(at)
    found = None
    for step in range(max(now - DRIFT, 0), now + 1):
        if hmac.compare_digest(generator.generate_otp(step), digits):
            found = step
    return found
