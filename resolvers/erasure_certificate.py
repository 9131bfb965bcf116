"""The certificate of an erasure: what was done, when, by the end of which keys, and what is left and why.

There are two of a person's. The one that stays in the organization of the request tells of that organization alone: an
account reaches into others, and none of these learns of them. The person gets the whole one by mail. Either
holds no personal data, no ids of other organizations, and no words that anybody typed. Whoever has the key by which
this installation signs its audit trail verifies it without us (`fieldward/certificate_verifier.py`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from models.encryption.envelope import OwnerKind
from models.encryption.keystore import KeyStore
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


@dataclass(frozen=True, slots=True)
class Told:
    """What of an erasure a certificate tells.

    key_ids: keys that were destroyed. rows: how many rows were changed, by table. account_ended: whether the keys of
    the person's account were destroyed, too, which are named in the whole alone. organizations: in how many it was;
    None where that is not said.
    """

    key_ids: Sequence[UUID]
    rows: Mapping[str, int]
    account_ended: bool
    organizations: int | None = None


async def whole_of(store: KeyStore, erased: Erased) -> Told:
    """Return all of an erasure: what its person is told.

    Raises:
        UnavailableError: the keystore is away.
    """
    rows: Counter[str] = Counter()
    for counted in erased.rows.values():
        rows.update(counted)
    return Told(erased.key_ids, rows, await _has_account(store, erased), erased.organizations)


async def share_of(store: KeyStore, erased: Erased, organization_id: UUID) -> Told:
    """Return what of an erasure is told in one organization: nothing of others, nor whether there are any.

    The id of a key says when it was made, and so would that of an account whether it was somewhere else before.

    Raises:
        UnavailableError: the keystore is away.
    """
    keys = await store.by_ids(erased.key_ids)
    own = [key.id for key in keys if organization_id in (key.owner.within, key.owner.id)]
    return Told(own, erased.rows.get(organization_id, {}), await _has_account(store, erased))


def certificate_of(sealer: Sealer, request: ErasureRequest, told: Told, *, destroyed_at: datetime, at: datetime) -> str:
    """Return the signed certificate of a request that was carried out, as JSON.

    at: the moment of it, by the database's clock.
    """
    whole = {} if told.organizations is None else {"organizations": told.organizations}
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
        **whole,
        "account_keys_destroyed": told.account_ended,
        "keys": keys_of(told.key_ids),
        "rows_changed": dict(sorted(told.rows.items())),
        "remains": [
            {"what": one.what, "why": one.why, "columns": list(one.columns)} for one in remainders(request.kind)
        ],
    }
    return signed_statement(sealer.signer, certificate_name(sealer), CERTIFICATE_TYPE, said)


def certificate_name(sealer: Sealer) -> str:
    """Return as whom the installation signs certificates: its key has the name of each thing that it signs."""
    return f"{sealer.name}/erasures"


def keys_of(key_ids: Iterable[UUID]) -> dict[str, Any]:
    """Return which keys were destroyed: how many, the SHA-256 of their ids, and the ids where they are not too many.

    The digest is of the ids in their order, in lower case, each with a line feed behind it.
    """
    ids = sorted(map(str, key_ids))
    digest = sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()
    return {"count": len(ids), "sha256": digest, "ids": ids if len(ids) <= MOST_IDS else None}


async def _has_account(store: KeyStore, erased: Erased) -> bool:
    return any(key.owner.kind is OwnerKind.PERSON for key in await store.by_ids(erased.key_ids))


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
