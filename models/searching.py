"""Finding encrypted values that are declared to be searchable: equality by their blind index, and nothing else."""

import hmac
from collections.abc import Iterable
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.encryption.blind_index import blind_indexes, subkey
from models.encryption.keyring import active_keyring
from models.encryption.owner import index_owner
from models.inventory import Column, InventoryError


async def load_index_key(organization_id: UUID) -> None:
    """Bring the key of the organization's blind indexes into memory; where it is there already, nothing waits.

    organization_id: the nil UUID for a table outside the tenants.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    await active_keyring().load([index_owner(organization_id)])


def index_of(column: Column, organization_id: UUID, text: str) -> bytes:
    """Return the blind index of a value of the column. The organization's index key is in memory.

    organization_id: the nil UUID for a table outside the tenants.

    Raises:
        InventoryError: the column is not declared to be searchable.
        SealedError: the key is not in memory.
    """
    return indexes_of(column, organization_id, (text,))[0]


def indexes_of(column: Column, organization_id: UUID, texts: Iterable[str]) -> list[bytes]:
    """Return the blind index of each of the values, as `index_of` does."""
    if column.search is None:
        raise InventoryError(f"The column {column.entity}.{column.name} is not searchable.")
    return blind_indexes(
        active_keyring().current(index_owner(organization_id)),
        table=column.entity,
        column=column.name,
        organization_id=organization_id,
        texts=map(column.search.normalize, texts),
    )


def keyed_digest(purpose: str, value: bytes) -> bytes:
    """Return 32 bytes that stand for a value, under the installation's own key: equal for equal values of a purpose.

    For what is too short to be hidden by a plain digest, such as codes that people type. `load_index_key(SYSTEM_ID)`
    has brought the key into memory.

    Raises:
        SealedError: the key is not in memory.
    """
    return hmac.digest(subkey(active_keyring().current(index_owner(SYSTEM_ID)), purpose), value, "sha256")
