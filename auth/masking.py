"""What stands for a value towards those who may not read it."""

import base64

_LENGTH = 8


def pseudonym(index: bytes | None) -> str | None:
    """Return a name for a person that tells only whether two are the same, within one organization.

    index: the blind index of the name, keyed per organization, so that nobody can try names against it, and the same
        person has another pseudonym elsewhere. None stays None.
    """
    if index is None:
        return None
    return f"person-{base64.b32encode(index)[:_LENGTH].decode().lower()}"
