"""Which logs a restored database has set back: heads were published that it does not know any more."""

from dataclasses import dataclass
from uuid import UUID

from auth.principal import SYSTEM_ID
from models.encryption.keystore import KeyStore
from models.ledger.checkpoint import Head
from models.ledger.tree import last_head
from models.reading import OneStatement, Snapshot
from models.sealed_batch import HEADS_ID
from models.transaction import Tenant
from resolvers.rollback_guard import SetBackError
from resolvers.sealing import Sealer


@dataclass(frozen=True, slots=True)
class SetBack:
    """A log that does not go on from what was published of it.

    slug: of the organization; `-` is the service's own trail. None: the tree over all heads, which is begun anew with
    any of them. published_size, kept_size: leaves that were published, and that are there.
    """

    organization_id: UUID
    slug: str | None
    origin: str
    published_size: int
    kept_size: int


async def logs_set_back(sealer: Sealer, store: KeyStore) -> list[SetBack]:
    """Return the logs that were set back; none where nothing outside of the database knows better.

    Raises:
        UnavailableError: the database is away, or what was published can't be read.
    """
    found: list[SetBack] = []
    if sealer.guard is None:
        return found
    for organization_id in (SYSTEM_ID, *await store.organizations(), HEADS_ID):
        async with Snapshot(Tenant(organization_id=organization_id)) as connection:
            stored = await last_head(connection, organization_id)
            head = Head(sealer.origin(organization_id, stored.generation), stored.frontier.size, stored.frontier.root)
            try:
                await sealer.guard.require(connection, organization_id, head)
            except SetBackError as error:
                slug = await _slug(organization_id)
                found.append(SetBack(organization_id, slug, head.origin, error.published.size, head.size))
    return found


async def _slug(organization_id: UUID) -> str | None:
    if organization_id == HEADS_ID:
        return None
    if organization_id == SYSTEM_ID:
        return "-"
    async with OneStatement(Tenant(organization_id=organization_id)) as connection:
        found: str | None = await connection.fetchval("select slug from organization where id = $1", organization_id)
    return found or str(organization_id)
