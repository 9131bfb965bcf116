"""The certificate of an erasure: what was done, when, by the end of which keys, and what is left and why.

It holds no personal data, no ids of other organizations, and no words that anybody typed. Whoever has the key by which
this installation signs its audit trail verifies it without us (`fieldward/certificate_verifier.py`).
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from models.erasure_request import ErasureRequest
from models.ledger.signed_statement import CERTIFICATE_TYPE, signed_statement
from resolvers.erasure import Erased
from resolvers.erasure_reach import remainders
from resolvers.sealing import Sealer

VERSION: Final = 1
"""The version of what a certificate says."""
MOST_IDS: Final = 5_000
"""Keys that are named one by one; of more there are a count and a digest alone."""
KEYS_KEPT: Final = timedelta(days=30)
"""For how long there may be a backup of the keystore that still has a key."""


def certificate_of(sealer: Sealer, request: ErasureRequest, erased: Erased, *, at: datetime) -> str:
    """Return the signed certificate of a request that was carried out, as JSON.

    at: the moment of it, by the database's clock.
    """
    destroyed_at = erased.at or at
    said: dict[str, Any] = {
        "version": VERSION,
        "request": str(request.id),
        "kind": request.kind.value,
        "issuer": sealer.name,
        "requested_at": _moment(request.created_at),
        "confirmed_at": _moment(request.confirmed_at),
        "due_at": _moment(request.due_at),
        "destroyed_at": _moment(destroyed_at),
        "issued_at": _moment(at),
        "backups_of_keys_end_at": _moment(destroyed_at + KEYS_KEPT),
        "organizations": erased.organizations,
        "keys": keys_of(erased),
        "rows_changed": dict(sorted(erased.rows.items())),
        "remains": [
            {"what": one.what, "why": one.why, "columns": list(one.columns)} for one in remainders(request.kind)
        ],
    }
    return signed_statement(sealer.signer, certificate_name(sealer), CERTIFICATE_TYPE, said)


def certificate_name(sealer: Sealer) -> str:
    """Return as whom the installation signs certificates: its key has the name of each thing that it signs."""
    return f"{sealer.name}/erasures"


def keys_of(erased: Erased) -> dict[str, Any]:
    """Return which keys were destroyed: how many, the SHA-256 of their ids, and the ids where they are not too many.

    The digest is of the ids in their order, in lower case, each with a line feed behind it.
    """
    ids = sorted(map(str, erased.key_ids))
    digest = sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()
    return {"count": len(ids), "sha256": digest, "ids": ids if len(ids) <= MOST_IDS else None}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
