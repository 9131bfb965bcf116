"""Replacing data keys while the service reads and writes.

New keys seal at once what is written from then on. What lies under the old ones is sealed anew in batches, each an
audited change like any other, so that the trail knows every stored value. Where the work is, the data say: whoever is
killed, or runs beside another, goes on where values are left under retired keys.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from auth.action import Action
from auth.principal import SYSTEM_ID
from models.audit_writing import append_entries
from models.encryption.envelope import SEALS_BEFORE_ROTATION, OwnerKind
from models.encryption.file_provider import BEGINNING, FileKeyProvider
from models.encryption.keyring import Keyring, active_keyring
from models.encryption.keystore import KeyStore, StoredKey
from models.encryption.rotation import replace_keys, rewrap_keys
from models.encryption.signing import VERIFIES_S
from models.inventory import Entity
from models.reading import OneStatement
from models.resealing import (
    NO_ROW,
    Resealed,
    count_stale,
    is_stale,
    keys_left,
    load_keys,
    lock_stale,
    reseal_rows,
    resealable,
)
from models.transaction import Tenant
from resolvers.change import Change, Intent, commit_change
from resolvers.read_log import entries_of_broken
from resolvers.trail import Actor

BATCH: Final = 200
"""Rows that are sealed anew in one transaction."""
SLACK_S: Final = 30.0
"""Seconds that a transaction may take at the most which seals with a key that it took before that was retired."""

Progress = Callable[[str, int, int | None], object]
"""Told a step, how much of it is done, and of how much, where that is known."""


@dataclass(slots=True)
class Rotation:
    """What was done: how many values were sealed anew, and which do not open, by table and column.

    left_over: retired keys under which a server may still seal for a moment, so that values are looked for again later.
    is_through: whether everything was looked at.
    """

    values: int = 0
    broken: list[tuple[str, str, UUID]] = field(default_factory=list)
    left_over: int = 0
    is_through: bool = True


async def rotate_data_keys(
    keyring: Keyring, store: KeyStore, actor: Actor, *, progress: Progress = lambda *_: None
) -> int:
    """Give every owner of values a new data key, and return how many were replaced.

    Raises:
        UnavailableError: the keystore or the key provider is away. What was replaced so far stays so.
    """
    keys = await store.current_of_all()
    await replace(keyring, store, actor, keys, progress=progress)
    return len(keys)


async def rotate_overdue_keys(keyring: Keyring, store: KeyStore, actor: Actor, *, oldest_days: float) -> int:
    """Give the owners of data keys that are too old, or have sealed too often, new ones; return how many."""
    keys = await store.overdue(oldest_days=oldest_days, most_seals=SEALS_BEFORE_ROTATION)
    if keys:
        await replace(keyring, store, actor, keys)
    return len(keys)


async def rotate_signing_key(keyring: Keyring, store: KeyStore, actor: Actor) -> int:
    """Replace the key of access tokens, and return how many there were: one, or none before the first sign-in.

    The new one signs once every process knows of it; the old one verifies until the last token that it signed has run
    out (`models/encryption/signing.py`).

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    current = [one.stored for one in await store.signing() if one.retired_for_s is None]
    await replace(keyring, store, actor, current)
    return len(current)


async def revoke_signing_keys(keyring: Keyring, store: KeyStore, actor: Actor) -> int:
    """Replace the key of access tokens and destroy all that there were, and return how many those are.

    For a key that somebody else may have: each access token is refused as soon as the servers have heard, and who is
    signed in refreshes.

    Raises:
        UnavailableError: the keystore or the key provider is away.
    """
    keys = [one.stored for one in await store.signing()]
    await replace(keyring, store, actor, [key for key in keys if key.retired_at is None])
    return await _destroy(store, actor, keys)


async def rotate_overdue_signing_key(keyring: Keyring, store: KeyStore, actor: Actor, *, oldest_days: float) -> int:
    """Replace the key of access tokens if it is too old, destroy those whose time is over; return how many."""
    keys = await store.signing()
    overdue = [one.stored for one in keys if one.retired_for_s is None and one.age_s > oldest_days * 86_400]
    if overdue:
        await replace(keyring, store, actor, overdue)
    spent = [one.stored for one in keys if (one.retired_for_s or 0) >= VERIFIES_S]
    return len(overdue) + (await _destroy(store, actor, spent) if spent else 0)


async def replace(
    keyring: Keyring,
    store: KeyStore,
    actor: Actor,
    keys: Sequence[StoredKey],
    *,
    progress: Progress = lambda *_: None,
) -> None:
    """Replace keys, with an entry in the trail of each organization that they are of."""
    done = 0

    def note(more: int) -> None:
        nonlocal done
        done += more
        progress("Replacing keys", done, len(keys))

    by_tenant: dict[UUID, list[UUID]] = {}
    for key in keys:
        by_tenant.setdefault(_tenant_of(key), []).append(key.id)
    for tenant_id, ids in by_tenant.items():
        intent = Intent(Action.KEY_ROTATE, _within(actor, tenant_id), entity="wrapped_key", subjects=ids)
        await commit_change(intent, _nothing_else)
    await replace_keys(keyring, store, keys, progress=note)


async def rewrap_data_keys(
    keyring: Keyring, store: KeyStore, actor: Actor, *, progress: Progress = lambda *_: None
) -> int:
    """Wrap all data keys by the newest key-encryption key, and return how many were not yet. Resumes what was begun.

    Raises:
        WrappingKeyError: the key-encryption key of one is not at hand.
        UnavailableError: the keystore or a key provider is away.
    """
    done = 0

    def note(more: int) -> None:
        nonlocal done
        done += more
        progress("Wrapping keys anew", done, None)

    await commit_change(Intent(Action.KEY_REWRAP, _within(actor, SYSTEM_ID), entity="wrapped_key"), _nothing_else)
    return await rewrap_keys(keyring, store, progress=note)


async def prune_wrapping_keys(store: KeyStore, provider: FileKeyProvider, actor: Actor) -> list[str]:
    """Take key-encryption keys out of the file that wrap nothing any more, and return their names.

    Raises:
        UnavailableError: the keystore or the database is away. Nothing was taken out.
    """
    await commit_change(Intent(Action.KEY_PRUNE, _within(actor, SYSTEM_ID), entity="wrapped_key"), _nothing_else)
    return await provider.drop(await store.beginnings(provider.name, BEGINNING))


async def reseal(
    store: KeyStore,
    actor: Actor,
    *,
    share: float = 1.0,
    lifetime_s: float,
    most_batches: int | None = None,
    progress: Progress | None = None,
) -> Rotation:
    """Seal what lies under retired keys anew, until nothing is left that is not locked at that moment.

    most_batches: stop after so many, with more left to do. share: the part of the time that it works; the rest it
    leaves to others. lifetime_s: how long any server keeps a key in memory, and so goes on to seal with a retired one,
    should no word of it have reached that server.

    Raises:
        UnavailableError: a database or the key provider is away. What was sealed anew so far stays so.
    """
    result = Rotation()
    keys = await store.left()
    if not keys:
        return result
    started = time.monotonic()
    ids = [key.id for key in keys]
    tenants = await store.organizations()
    total = await _count(tenants, ids) if progress is not None else None
    done, batches = 0, 0
    left: set[UUID] = set()
    for tenant_id in tenants:
        for entity in resealable():
            if not await _is_stale(tenant_id, entity, ids):
                continue
            after: UUID | None = NO_ROW
            while after is not None:
                if batches == most_batches:
                    result.is_through = False
                    return result
                batches += 1
                began = time.monotonic()
                after, rows, resealed = await _reseal_batch(actor, tenant_id, entity, ids, after)
                done += rows
                result.values += resealed.values
                result.broken += [(column.entity, column.name, row_id) for column, row_id in resealed.broken]
                if resealed.broken:
                    await _note_broken(_within(actor, tenant_id), resealed)
                if progress is not None:
                    progress("Sealing values anew", done, total)
                if share < 1:
                    await asyncio.sleep((time.monotonic() - began) * (1 / share - 1))
            async with OneStatement(Tenant(organization_id=tenant_id)) as connection:
                left |= await keys_left(connection, entity, tenant_id, ids)
    result.left_over = await _note_emptied(store, keys, left, started, lifetime_s)
    return result


async def _destroy(store: KeyStore, actor: Actor, keys: Sequence[StoredKey]) -> int:
    intent = Intent(
        Action.KEY_DESTROY, _within(actor, SYSTEM_ID), entity="wrapped_key", subjects=[key.id for key in keys]
    )
    await commit_change(intent, _nothing_else)
    return len(await store.destroy([key.id for key in keys]))


def _tenant_of(key: StoredKey) -> UUID:
    """Return the organization in whose trail it stands what becomes of a key; of a person's, the installation."""
    owner = key.owner
    if owner.kind is OwnerKind.ORGANIZATION:
        return owner.id
    return owner.within or SYSTEM_ID


def _within(actor: Actor, organization_id: UUID) -> Actor:
    return Actor(organization_id=organization_id, origin=actor.origin)


async def _nothing_else(_: Change) -> None:
    """Change no row: keys lie in a database of their own, and what is done to them is an entry by itself."""


async def _note_broken(actor: Actor, resealed: Resealed) -> None:
    """Write down which values did not open, as whoever reads them does."""
    by_column: dict[tuple[str, str], list[UUID]] = {}
    for column, row_id in resealed.broken:
        by_column.setdefault((column.entity, column.name), []).append(row_id)
    await active_keyring().load(actor.key_owners)
    await append_entries(entries_of_broken(actor, Action.KEY_RESEAL, by_column))


async def _reseal_batch(
    actor: Actor, tenant_id: UUID, entity: Entity, keys: Sequence[UUID], after: UUID
) -> tuple[UUID | None, int, Resealed]:
    """Seal some rows anew; return the last one's id, None where no others follow, and how many they were."""

    async def work(change: Change) -> tuple[UUID | None, int, Resealed]:
        stale = await lock_stale(change.connection, entity, tenant_id, keys, after=after, most=BATCH)
        await load_keys(stale)
        resealed = await reseal_rows(change.connection, stale, keys)
        count = len(stale.rows)
        return (stale.rows[-1]["id"] if count == BATCH else None), count, resealed

    intent = Intent(action=Action.KEY_RESEAL, actor=_within(actor, tenant_id), entity=entity.name)
    return await commit_change(intent, work)


async def _count(tenants: Sequence[UUID], keys: Sequence[UUID]) -> int:
    total = 0
    for tenant_id in tenants:
        for entity in resealable():
            async with OneStatement(Tenant(organization_id=tenant_id)) as connection:
                total += await count_stale(connection, entity, tenant_id, keys)
    return total


async def _is_stale(tenant_id: UUID, entity: Entity, keys: Sequence[UUID]) -> bool:
    async with OneStatement(Tenant(organization_id=tenant_id)) as connection:
        return await is_stale(connection, entity, tenant_id, keys)


async def _note_emptied(
    store: KeyStore, keys: Sequence[StoredKey], left: Collection[UUID], started: float, lifetime_s: float
) -> int:
    """Note the keys under which nothing is left nor can come, and return how many others there are."""
    # For how long is said, and not since when: the keystore's clock may be another than ours.
    settled_s = lifetime_s + SLACK_S + (time.monotonic() - started)
    emptied = await store.note_emptied([key.id for key in keys if key.id not in left], retired_for_s=settled_s)
    return len(keys) - len(emptied)
