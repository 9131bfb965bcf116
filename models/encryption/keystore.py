"""The keystore: the table of wrapped data keys, in a database of its own.

It is backed up apart from the data, so that a key that was destroyed can be gone from every backup while the
data's backups live on. Rows hold no secret: `wrapped` opens with the key-encryption key of its provider
alone, for its owner alone. At most one key of an owner is current; a partial unique index keeps it so,
whatever processes race.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tortoise import fields
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.encryption.envelope import KeyOwner, OwnerKind
from models.transaction import database_failures

KEYSTORE: Final = "keystore"
"""The name of the connection, and of Tortoise's app."""

_CURRENT: Final = "retired_at is null and destroyed_at is null"


_CURRENT_OF_OWNERS: Final = """
    select k.id, k.owner_kind, k.owner_id, k.provider, k.wrapped, k.retired_at, k.destroyed_at
    from wrapped_key k
    join unnest($1::text[], $2::uuid[]) as o(kind, id) on k.owner_kind = o.kind and k.owner_id = o.id
    where k.retired_at is null and k.destroyed_at is null
"""

_BY_IDS: Final = """
    select k.id, k.owner_kind, k.owner_id, k.provider, k.wrapped, k.retired_at, k.destroyed_at
    from wrapped_key k
    where k.id = any($1::uuid[])
"""

_INSERT: Final = """
    insert into wrapped_key (id, owner_kind, owner_id, provider, wrapped, created_at)
    select i.id, i.owner_kind, i.owner_id, i.provider, i.wrapped, now()
    from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::bytea[])
        as i(id, owner_kind, owner_id, provider, wrapped)
    on conflict do nothing
"""

_RETIRE: Final = """
    update wrapped_key set retired_at = now() where id = any($1::uuid[]) and retired_at is null
"""

_DESTROY: Final = """
    update wrapped_key k set wrapped = null, destroyed_at = now()
    from unnest($1::text[], $2::uuid[]) as o(kind, id)
    where k.owner_kind = o.kind and k.owner_id = o.id and k.destroyed_at is null
    returning k.id, k.owner_kind, k.owner_id, k.provider, k.wrapped, k.retired_at, k.destroyed_at
"""


class WrappedKey(Model):
    """A data key as it is stored. `wrapped` is null once the key is destroyed, and only then."""

    id = fields.UUIDField(primary_key=True)
    owner_kind = fields.CharField(max_length=16)
    owner_id = fields.UUIDField()
    provider = fields.CharField(max_length=32)
    wrapped = fields.BinaryField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    retired_at = fields.DatetimeField(null=True)
    destroyed_at = fields.DatetimeField(null=True)

    class Meta:
        app = KEYSTORE
        table = "wrapped_key"
        # Written out, since Tortoise would take the docstring and ask for a migration whenever a word of it changes.
        table_description = "Data keys, each wrapped by the key-encryption key."
        constraints = (
            UniqueConstraint(fields=("owner_kind", "owner_id"), name="wrapped_key_current", condition=_CURRENT),
            CheckConstraint(check="(wrapped is null) = (destroyed_at is not null)", name="wrapped_key_destroyed"),
        )


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of the keystore. RETIRED keys still open what they sealed; destroyed ones open nothing."""

    id: UUID
    owner: KeyOwner
    provider: str
    wrapped: bytes | None
    retired_at: datetime | None = None
    destroyed_at: datetime | None = None


class KeyStore:
    """Reads and writes the keystore, one statement a call.

    Every method raises `UnavailableError` where its database does not answer.
    """

    def __init__(self, connection_name: str = KEYSTORE) -> None:
        self._connection_name = connection_name

    async def current(self, owners: Collection[KeyOwner]) -> list[StoredKey]:
        """Return the current key of each of the owners that has one."""
        return await self._fetch(_CURRENT_OF_OWNERS, *_unzipped(owners))

    async def by_ids(self, key_ids: Iterable[UUID]) -> list[StoredKey]:
        """Return those of the keys that were ever stored, destroyed ones included."""
        return await self._fetch(_BY_IDS, list(key_ids))

    async def add(self, keys: Collection[StoredKey]) -> list[StoredKey]:
        """Store each as its owner's current key, unless the owner has one, and return the owners' current keys.

        Of two processes that add a first key of one owner, both get the same one back. What is returned may
        therefore be another key than the one given.
        """
        # In one order for all, so that two processes that add for the same owners can't block each other.
        ordered = sorted(keys, key=lambda key: (key.owner.kind, key.owner.id))
        await self._fetch(
            _INSERT,
            [key.id for key in ordered],
            *_unzipped(key.owner for key in ordered),
            [key.provider for key in ordered],
            [key.wrapped for key in ordered],
        )
        # A statement of its own: the insert's snapshot does not see what another process committed meanwhile.
        return await self.current([key.owner for key in ordered])

    async def retire(self, key_ids: Iterable[UUID]) -> None:
        """End the time in which the keys seal new values. They still open old ones."""
        await self._fetch(_RETIRE, list(key_ids))

    async def destroy(self, owners: Collection[KeyOwner]) -> list[StoredKey]:
        """Erase every key of the owners for good, and return the keys without their secrets.

        What they sealed is unreadable as soon as the keyrings' lifetime and the keystore's backups have run out.
        """
        return await self._fetch(_DESTROY, *_unzipped(owners))

    async def _fetch(self, text: str, *arguments: Any) -> list[StoredKey]:
        with database_failures():
            connection: BaseDBAsyncClient = get_connection(self._connection_name)
            rows = await connection.execute_query_dict(text, list(arguments))
        return [_stored(row) for row in rows]


def _unzipped(owners: Iterable[KeyOwner]) -> tuple[list[str], list[UUID]]:
    pairs = [(owner.kind.value, owner.id) for owner in owners]
    return [kind for kind, _ in pairs], [owner_id for _, owner_id in pairs]


def _stored(row: dict[str, Any]) -> StoredKey:
    return StoredKey(
        id=row["id"],
        owner=KeyOwner(OwnerKind(row["owner_kind"]), row["owner_id"]),
        provider=row["provider"],
        wrapped=row["wrapped"],
        retired_at=row["retired_at"],
        destroyed_at=row["destroyed_at"],
    )
