"""The code by which a device is enrolled: short enough to be read aloud and typed, long enough not to be guessed.

Twelve characters of Crockford's base 32, in three groups: 60 random bits. Of what looks alike, one is in the alphabet,
and the others are taken for it: I and L for 1, O for 0; case, blanks and hyphens don't matter. There is no U, so that
no code spells what nobody wants to read aloud.

Source: D. Crockford, Base 32, https://www.crockford.com/base32.html
"""

import secrets
from typing import Final

LENGTH: Final = 12
_GROUP: Final = 4
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LONGEST: Final = 64
"""Characters that are looked at at all."""
_MEANT: Final = str.maketrans("ILO", "110", " -\t\r\n")


def new_code() -> str:
    """Return a fresh code, as it is shown: `7K4M-Q2ZD-0XHW`."""
    code = "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
    return "-".join(code[start : start + _GROUP] for start in range(0, LENGTH, _GROUP))


def plain_code(text: str) -> str | None:
    """Return the twelve characters that were meant; None if the text is no code at all."""
    if len(text) > _LONGEST:
        return None
    code = text.upper().translate(_MEANT)
    return code if len(code) == LENGTH and all(one in _ALPHABET for one in code) else None
