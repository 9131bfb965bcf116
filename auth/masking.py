"""What stands for a value towards those who may not read it."""

import base64

_LENGTH = 8


def pseudonym(index: bytes | None) -> str | None:
    """Return a name for a person that tells only whether two are the same, within one organization.

    index: the blind index of the name, keyed per organization: the same person has another pseudonym elsewhere, and
        names can't be tried against it from outside. Who may write names in the organization can try them: see
        `docs/security.md`. None stays None.
    """
    if index is None:
        return None
    return f"person-{base64.b32encode(index)[:_LENGTH].decode().lower()}"
