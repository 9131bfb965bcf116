"""Refusing what legal holds forbid."""

from collections.abc import Sequence

from models.errors import ConflictError
from models.legal_hold import Held


def require_not_held(holds: Sequence[Held], *, at: tuple[str | int, ...] = ("input", "id")) -> None:
    """Raise `ConflictError` where a hold keeps what is about to go. It names the holds, and nothing of why."""
    if holds:
        ids = ", ".join(f"LegalHold:{one.hold_id}" for one in holds[:3])
        raise ConflictError(f"A legal hold keeps this: {ids}.", field=at)
