"""Recovery codes: what somebody writes down for the day on which their second factor is gone. Each works once.

Look-up secrets by NIST SP 800-63B-4, section 3.1.2: random, and long enough that nobody guesses one of them.
"""

import secrets
from collections.abc import Sequence
from typing import Final

COUNT: Final = 10
BITS: Final = 120
"""Of each code. OWASP ASVS 5.0 asks for 112 where a plain digest of them is kept (6.5.2), NIST for 64."""

_ALPHABET: Final = "ABCDEFGHJKMNPQRSTVWXYZ0123456789"
"""Crockford's base32 and no letter that is read as another; what is typed instead of one is taken as it."""
_BITS_EACH: Final = 5
_LENGTH: Final = BITS // _BITS_EACH
_GROUP: Final = 4
_MISREAD: Final = str.maketrans("OIL", "011", "- \t\r\n")


def new_recovery_codes() -> Sequence[str]:
    """Return fresh codes, as they are shown: `ABCD-EFGH-JKMN-PQRS-TVWX-YZ01`."""
    return [_new_code() for _ in range(COUNT)]


def normal_recovery_code(typed: str) -> str | None:
    """Return a code in the form that is digested; None if what was typed can't be one."""
    code = typed.upper().translate(_MISREAD)
    return code if len(code) == _LENGTH and set(code) <= set(_ALPHABET) else None


def _new_code() -> str:
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
    return "-".join(code[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))
