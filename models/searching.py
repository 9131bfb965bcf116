"""Finding encrypted values that are declared to be searchable: equality by their blind index, and nothing else."""

from uuid import UUID

from models.encryption.blind_index import blind_index
from models.encryption.keyring import active_keyring
from models.encryption.owner import index_owner
from models.inventory import Column, InventoryError


def index_of(column: Column, organization_id: UUID, text: str) -> bytes:
    """Return the blind index of a value of the column. The organization's index key is in memory.

    organization_id: the nil UUID for a table outside the tenants.

    Raises:
        InventoryError: the column is not declared to be searchable.
        SealedError: the key is not in memory.
    """
    if column.search is None:
        raise InventoryError(f"The column {column.entity}.{column.name} is not searchable.")
    return blind_index(
        active_keyring().current(index_owner(organization_id)),
        table=column.entity,
        column=column.name,
        organization_id=organization_id,
        text=column.search.normalize(text),
    )
