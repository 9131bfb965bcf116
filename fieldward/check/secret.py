"""Whether a secret that an operator chose is one: long, nobody's default, and not easy to guess."""

from collections.abc import Mapping
from typing import Final

from auth.guessing import guess

LEAST_TOKEN: Final = 32
"""Characters of what is drawn at random for us, such as the token of `/metrics`: 128 bits as hexadecimal digits."""
LEAST_PASSWORD: Final = 16
"""Characters of a password that another service knows as well."""
_FEWEST_KINDS: Final = 8
"""Different characters. Of 16 random ones of 16 kinds, fewer come once in 30,000 times."""
_HARD: Final[Mapping[int, float]] = {LEAST_TOKEN: 1e18, LEAST_PASSWORD: 1e14}
"""Guesses that a secret takes at the least, by what is judged of it: no rate limit stands before who has a hash or a
connection of their own."""
_PLACEHOLDERS: Final = (
    *("changeme", "change-me", "change_me", "replaceme", "replace-me", "replace_me", "your-", "your_", "goes-here"),
    *("placeholder", "example", "dev-only", "insecure", "todo", "<", "{{"),
)
"""What stands in examples, and is put into production with them."""
_COMMON: Final = (
    *("password", "passwort", "secret", "fieldward", "postgres", "admin", "root", "test", "dummy", "letmein"),
    *("default", "sample", "token", "metrics", "xxxx", "1234"),
)


def weakness(secret: str, *, least: int) -> str | None:
    """Return why a secret is none, in words that say nothing of it; None where it is one.

    least: characters that it has at the least: `LEAST_TOKEN` or `LEAST_PASSWORD`.
    """
    if len(secret) < least:
        return f"expected at least {least} characters"
    folded = secret.casefold()
    if any(one in folded for one in _PLACEHOLDERS):
        return "expected one that is no example's"
    for word in _COMMON:
        folded = folded.replace(word, "")
    if len(folded) < least / 2:
        return "expected one that is no example's"
    if len(set(secret)) < _FEWEST_KINDS:
        return "expected a random one"
    found = guess(secret)
    if found.guesses < _HARD[least]:
        return f"expected a random one: {found.why}"
    return None
