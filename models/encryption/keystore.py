"""The keystore: the table of wrapped data keys, in a database of its own.

It is backed up apart from the data, so that a key that was destroyed can be gone from every backup while the
data's backups live on. Rows hold no secret: `wrapped` opens with the key-encryption key of its provider
alone, for its owner alone. At most one key of an owner is current; a partial unique index keeps it so,
whatever processes race.

Whoever ends a key says so on the channel `CHANNEL`, in the statement that does it, so that other processes hear of it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from tortoise import fields
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.backends.base.client import BaseDBAsyncClient
from tortoise.connection import get_connection
from tortoise.exceptions import TransactionManagementError
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from auth.principal import SYSTEM_ID
from models.encryption.envelope import KeyOwner, KeyPurpose, OwnerKind
from models.errors import TamperedError
from models.transaction import database_failures

KEYSTORE: Final = "keystore"
"""The name of the connection, and of Tortoise's app."""

CHANNEL: Final = "fieldward_keys"
"""Where it is said that keys ended. What is sent is a key's id, after `retired` or `destroyed`."""

_CURRENT: Final = "retired_at is null and destroyed_at is null"

_COLUMNS: Final = (
    "k.id, k.owner_kind, k.owner_id, k.purpose, k.organization_id, k.provider, k.wrapping_key, k.wrapped, k.seals,"
    " k.created_at, k.retired_at, k.emptied_at, k.destroyed_at"
)

_CURRENT_OF_OWNERS: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    join unnest($1::text[], $2::uuid[], $3::text[]) as o(kind, id, purpose)
      on k.owner_kind = o.kind and k.owner_id = o.id and k.purpose = o.purpose
    where k.retired_at is null and k.destroyed_at is null
"""

_BY_IDS: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    where k.id = any($1::uuid[])
"""

_INSERT: Final = """
    insert into wrapped_key
        (id, owner_kind, owner_id, purpose, organization_id, provider, wrapping_key, wrapped, seals, created_at)
    select i.id, i.owner_kind, i.owner_id, i.purpose, i.organization_id, i.provider, i.wrapping_key, i.wrapped, 0, now()
    from unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::bytea[])
        as i(id, owner_kind, owner_id, purpose, organization_id, provider, wrapping_key, wrapped)
    where not (i.owner_kind = 'PERSON' and exists (
        select from wrapped_key d
        where d.owner_kind = i.owner_kind and d.owner_id = i.owner_id and d.destroyed_at is not null
    ))
    on conflict do nothing
"""

_RETIRE: Final = f"""
    with ended as (
        update wrapped_key k set retired_at = now()
        where k.id = any($1::uuid[]) and k.retired_at is null and k.destroyed_at is null
        returning k.id
    )
    select pg_notify('{CHANNEL}', 'retired ' || e.id) from ended e
"""

_OF_OWNERS: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    join unnest($1::text[], $2::uuid[]) as o(kind, id) on k.owner_kind = o.kind and k.owner_id = o.id
    where k.destroyed_at is null
    union all
    select {_COLUMNS}
    from wrapped_key k
    where k.organization_id = any($3::uuid[]) and k.destroyed_at is null
"""

# A subject's id is the blind index of a name: a trigger puts another in its place.
_DESTROY: Final = f"""
    with ended as (
        update wrapped_key k
        set wrapped = null, destroyed_at = now()
        where k.id = any($1::uuid[]) and k.destroyed_at is null
        returning k.id
    )
    select e.id, pg_notify('{CHANNEL}', 'destroyed ' || e.id) from ended e
"""

_COUNT: Final = """
    update wrapped_key k set seals = k.seals + u.count
    from unnest($1::uuid[], $2::bigint[]) as u(id, count)
    where k.id = u.id
    returning k.id, k.seals
"""

_EMPTIED: Final = """
    update wrapped_key k set emptied_at = now()
    where k.id = any($1::uuid[]) and k.retired_at <= now() - $2::interval and k.emptied_at is null
    returning k.id
"""

_LEFT: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    where k.retired_at is not null and k.emptied_at is null and k.destroyed_at is null and k.purpose <> 'SIGNING'
    order by k.retired_at, k.id
"""

_OVERDUE: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    where k.retired_at is null and k.destroyed_at is null and k.purpose not in ('INDEX', 'SIGNING', 'CONTENT')
      and (k.created_at < now() - $1::interval or k.seals >= $2)
    order by k.id
"""

_CURRENT_OF_ALL: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    where k.retired_at is null and k.destroyed_at is null and k.purpose not in ('INDEX', 'SIGNING', 'CONTENT')
    order by k.id
"""

_WRAPPED_BY_OTHERS: Final = f"""
    select {_COLUMNS}
    from wrapped_key k
    where k.wrapped is not null and (k.provider, k.wrapping_key) <> ($1, $2) and k.id > $3
    order by k.id
    limit $4
"""

_REWRAP: Final = """
    update wrapped_key k set provider = $3, wrapping_key = $4, wrapped = $5
    where k.id = $1 and k.wrapped = $2
"""

_SIGNING: Final = f"""
    select {_COLUMNS},
           extract(epoch from clock_timestamp() - k.created_at)::float8 as age_s,
           extract(epoch from clock_timestamp() - k.retired_at)::float8 as retired_for_s
    from wrapped_key k
    where k.owner_kind = 'SYSTEM' and k.purpose = 'SIGNING' and k.destroyed_at is null
    order by k.created_at desc, k.id desc
"""

_ORGANIZATIONS: Final = """
    select distinct k.owner_id from wrapped_key k where k.owner_kind = 'ORGANIZATION' order by k.owner_id
"""

_BEGINNINGS: Final = """
    select distinct substring(k.wrapped from 1 for $2::int) as start
    from wrapped_key k
    where k.provider = $1 and k.wrapped is not null
"""

_STATUS: Final = """
    select k.owner_kind, k.purpose, k.provider, k.wrapping_key,
           count(*) filter (where k.retired_at is null and k.destroyed_at is null) as current,
           count(*) filter (where k.retired_at is not null and k.destroyed_at is null) as retired,
           count(*) filter (
               where k.retired_at is not null and k.emptied_at is null and k.destroyed_at is null
                 and k.purpose <> 'SIGNING'
           ) as left_over,
           count(*) filter (where k.destroyed_at is not null) as destroyed,
           coalesce(max(k.seals) filter (where k.retired_at is null and k.destroyed_at is null), 0) as most_seals,
           min(k.created_at) filter (where k.retired_at is null and k.destroyed_at is null) as oldest
    from wrapped_key k
    group by k.owner_kind, k.purpose, k.provider, k.wrapping_key
    order by k.owner_kind, k.purpose, k.provider, k.wrapping_key
"""


class WrappedKey(Model):
    """A data key as it is stored. `wrapped` is null once the key is destroyed, and only then.

    organization_id: of a subject, the organization that knows it. wrapping_key: which key of the provider wrapped it.
    seals: how often it has sealed. emptied_at: since when no live row holds a value under it.
    """

    id = fields.UUIDField(primary_key=True)
    owner_kind = fields.CharField(max_length=16)
    owner_id = fields.UUIDField()
    purpose = fields.CharField(max_length=16)
    organization_id = fields.UUIDField(null=True)
    provider = fields.CharField(max_length=32)
    wrapping_key = fields.CharField(max_length=300)
    wrapped = fields.BinaryField(null=True)
    seals = fields.BigIntField(default=0)
    created_at = fields.DatetimeField(auto_now_add=True)
    retired_at = fields.DatetimeField(null=True)
    emptied_at = fields.DatetimeField(null=True)
    destroyed_at = fields.DatetimeField(null=True)

    class Meta:
        app = KEYSTORE
        table = "wrapped_key"
        # Written out, since Tortoise would take the docstring and ask for a migration whenever a word of it changes.
        table_description = "Data keys, each wrapped by the key-encryption key."
        constraints = (
            UniqueConstraint(
                fields=("owner_kind", "owner_id", "purpose"), name="wrapped_key_current", condition=_CURRENT
            ),
            CheckConstraint(check="(wrapped is null) = (destroyed_at is not null)", name="wrapped_key_destroyed"),
        )


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of the keystore. RETIRED keys still open what they sealed; destroyed ones open nothing."""

    id: UUID
    owner: KeyOwner
    provider: str
    wrapping_key: str
    wrapped: bytes | None
    seals: int = 0
    created_at: datetime | None = None
    retired_at: datetime | None = None
    emptied_at: datetime | None = None
    destroyed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AgedKey:
    """A key of signatures, and how old it is by the keystore's clock: whose machines have one is of no account.

    retired_for_s: for how many seconds it has not been the current one; None for the one that is.
    """

    stored: StoredKey
    age_s: float
    retired_for_s: float | None


@dataclass(frozen=True, slots=True)
class KeyCount:
    """How many keys of one kind, purpose and wrapping key there are.

    left_over: retired keys that live rows may still hold values under. most_seals: of the current one that has sealed
    most. oldest: when the oldest current one was made.
    """

    owner_kind: str
    purpose: str
    provider: str
    wrapping_key: str
    current: int
    retired: int
    left_over: int
    destroyed: int
    most_seals: int
    oldest: datetime | None


class KeyStore:
    """Reads and writes the keystore, one statement a call unless it says otherwise.

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
        therefore be another key than the one given. A person of whom a key was destroyed gets none any more: they were
        erased, and nobody would erase them again. Two statements.
        """
        # In one order for all, so that two processes that add for the same owners can't block each other.
        ordered = sorted(keys, key=lambda key: (key.owner.kind, key.owner.id, key.owner.purpose))
        kinds, ids, purposes = _unzipped(key.owner for key in ordered)
        await self._run(
            _INSERT,
            [key.id for key in ordered],
            kinds,
            ids,
            purposes,
            [key.owner.within for key in ordered],
            [key.provider for key in ordered],
            [key.wrapping_key for key in ordered],
            [key.wrapped for key in ordered],
        )
        # A statement of its own: the insert's snapshot does not see what another process committed meanwhile.
        return await self.current([key.owner for key in ordered])

    async def retire(self, key_ids: Iterable[UUID]) -> None:
        """End the time in which the keys seal new values. They still open old ones."""
        await self._run(_RETIRE, list(key_ids))

    async def keys_of(self, owners: Collection[KeyOwner]) -> list[StoredKey]:
        """Return every key of the owners that is not destroyed, whatever its purpose, retired ones included.

        An organization's are also those of the subjects that it knows.
        """
        kinds, ids, _ = _unzipped(owners)
        organizations = [owner.id for owner in owners if owner.kind is OwnerKind.ORGANIZATION]
        return await self._fetch(_OF_OWNERS, kinds, ids, organizations)

    async def destroy(self, key_ids: Iterable[UUID]) -> list[UUID]:
        """Erase keys for good, and return those that were not destroyed before.

        What they sealed is unreadable as soon as the keyrings have heard of it, and the keystore's backups have run
        out.
        """
        return [row["id"] for row in await self._run(_DESTROY, list(key_ids))]

    async def count(self, seals: Mapping[UUID, int]) -> dict[UUID, int]:
        """Add to how often keys have sealed, and return how often each has by now."""
        rows = await self._run(_COUNT, list(seals), list(seals.values()))
        return {row["id"]: row["seals"] for row in rows}

    async def left(self) -> list[StoredKey]:
        """Return the retired keys under which live rows may still hold values, those that ended first in front."""
        return await self._fetch(_LEFT)

    async def note_emptied(self, key_ids: Iterable[UUID], *, retired_for_s: float) -> list[UUID]:
        """Remember that no live row holds a value under these keys any more, and return which were noted.

        retired_for_s: those that were retired later than so many seconds ago, by the keystore's clock, are left out.
        """
        return [row["id"] for row in await self._run(_EMPTIED, list(key_ids), timedelta(seconds=retired_for_s))]

    async def current_of_all(self) -> list[StoredKey]:
        """Return the current keys of all owners that seal values."""
        return await self._fetch(_CURRENT_OF_ALL)

    async def overdue(self, *, oldest_days: float, most_seals: int) -> list[StoredKey]:
        """Return the current keys that seal values and are older, or have sealed oftener, than they should."""
        return await self._fetch(_OVERDUE, timedelta(days=oldest_days), most_seals)

    async def signing(self) -> list[AgedKey]:
        """Return the keys of signatures that are not destroyed, the newest in front."""
        rows = await self._run(_SIGNING)
        return [AgedKey(_stored(row), row["age_s"], row["retired_for_s"]) for row in rows]

    async def wrapped_by_others(
        self, provider: str, wrapping_key: str, *, after: UUID = SYSTEM_ID, most: int
    ) -> list[StoredKey]:
        """Return keys that any other key-encryption key has wrapped, in the order of their ids. after: a key's id."""
        return await self._fetch(_WRAPPED_BY_OTHERS, provider, wrapping_key, after, most)

    async def rewrap(self, key: StoredKey, now: StoredKey) -> None:
        """Put the key's new wrapping in the place of the one it had, unless that has changed meanwhile."""
        await self._run(_REWRAP, key.id, key.wrapped, now.provider, now.wrapping_key, now.wrapped)

    async def organizations(self) -> list[UUID]:
        """Return the organizations that ever had a key: all that there are."""
        return [row["owner_id"] for row in await self._run(_ORGANIZATIONS)]

    async def beginnings(self, provider: str, length: int) -> list[bytes]:
        """Return the different first bytes of what the provider has wrapped, which is not taken from a label."""
        return [bytes(row["start"]) for row in await self._run(_BEGINNINGS, provider, length)]

    async def counts(self) -> list[KeyCount]:
        """Return how many keys there are, by kind, purpose and wrapping key."""
        return [KeyCount(**row) for row in await self._run(_STATUS)]

    async def _fetch(self, text: str, *arguments: Any) -> list[StoredKey]:
        return [_stored(row) for row in await self._run(text, *arguments)]

    async def _run(self, text: str, *arguments: Any) -> list[dict[str, Any]]:
        connection: BaseDBAsyncClient = get_connection(self._connection_name)
        with database_failures():
            try:
                return [dict(row) for row in await connection.execute_query_dict(text, list(arguments))]
            except TransactionManagementError:
                # The server takes no writes any more: the next statement gets a connection to one that does.
                await cast(AsyncpgDBClient, connection)._expire_connections()
                raise


def _unzipped(owners: Iterable[KeyOwner]) -> tuple[list[str], list[UUID], list[str]]:
    told = [(owner.kind.value, owner.id, owner.purpose.value) for owner in owners]
    return [kind for kind, _, _ in told], [owner_id for _, owner_id, _ in told], [purpose for _, _, purpose in told]


def _stored(row: dict[str, Any]) -> StoredKey:
    try:
        kind, purpose = OwnerKind(row["owner_kind"]), KeyPurpose(row["purpose"])
    except ValueError as error:
        raise TamperedError(f"The data key {row['id']} is of no kind of owner or purpose that there is.") from error
    owner = KeyOwner(kind, row["owner_id"], purpose, row["organization_id"])
    return StoredKey(
        id=row["id"],
        owner=owner,
        provider=row["provider"],
        wrapping_key=row["wrapping_key"],
        wrapped=row["wrapped"],
        seals=row["seals"],
        created_at=row["created_at"],
        retired_at=row["retired_at"],
        emptied_at=row["emptied_at"],
        destroyed_at=row["destroyed_at"],
    )
