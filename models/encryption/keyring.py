"""Data keys in memory, for a bounded time.

Loading a key may wait for the keystore and the provider; taking one that is loaded never does. A key is in
memory for at most `lifetime_s`, then it is overwritten. While the keystore or the provider is away, keys that
are loaded serve on until then. The map of keys is replaced as a whole, never changed, so that no reader meets
half of a change.

Take a key where it is used, and don't hold it across an `await`: it may be wiped meanwhile.
"""

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from uuid import UUID

import structlog
import uuid_utils.compat

from models.encryption.envelope import SECRET_LENGTH, Algorithm, DataKey, KeyOwner, key_bytes_of
from models.encryption.keystore import KeyStore, StoredKey
from models.encryption.provider import KeyProvider, Wrapped, WrappingKeyError
from models.errors import ErasedError, SealedError, TamperedError, UnavailableError

RENEWED_AFTER: Final = 0.8
"""The part of its lifetime after which loading a key renews it, so that what was loaded lasts for the
request."""

COUNTED_EVERY: Final = 4096
"""Seals of one key after which the keystore is told of them, with the next load. Those that a process has not told of
are lost when it is killed."""

T = TypeVar("T")

log = structlog.get_logger()
_active: ContextVar["Keyring"] = ContextVar("active keyring")


def active_keyring() -> "Keyring":
    """Return the keyring of the running request or command.

    Raises:
        SealedError: none was activated.
    """
    try:
        return _active.get()
    except LookupError:
        raise SealedError("No keyring is active here: values stay sealed.") from None


@dataclass(frozen=True, slots=True)
class _Held:
    key: DataKey
    due_at: float
    expires_at: float


UNWRAPPABLE: Final = (TamperedError, WrappingKeyError)
"""What loading raises where the keystore has a key in a form that does not unwrap."""


async def load_each(load: Callable[[Collection[T]], Awaitable[None]], wanted: Collection[T]) -> dict[T, Exception]:
    """Load keys; where one can't be unwrapped, each by itself, so that it keeps no other from being loaded.

    load: `Keyring.load` or `Keyring.load_ids`. Returns why, for those that can't.

    Raises:
        UnavailableError: the keystore or the provider is away.
    """
    try:
        await load(wanted)
    except UNWRAPPABLE as error:
        if len(wanted) == 1:
            return dict.fromkeys(wanted, error)
        failures: dict[T, Exception] = {}
        for one in wanted:
            failures |= await load_each(load, [one])
        return failures
    return {}


def unknown_key(blob: bytes) -> TamperedError:
    """Return what a value is whose key the keystore does not know: no key is ever taken out of it."""
    return TamperedError(f"A value names the data key {UUID(bytes=key_bytes_of(blob))}, which never was.")


class Keyring:
    """The data keys that this process holds.

    provider: wraps new keys. others: unwrap what was wrapped by them before, by their names.
    lifetime_s: for how long a key stays in memory after it was unwrapped.
    algorithm: what its keys seal with.
    clock: seconds that never go back.
    asked: how often keys were to be loaded. fetched: how often not all were in memory, so that the keystore was asked.
    failures: how often it, or the provider, was away then.
    """

    def __init__(
        self,
        store: KeyStore,
        provider: KeyProvider,
        *,
        others: Collection[KeyProvider] = (),
        lifetime_s: float,
        algorithm: Algorithm = Algorithm.AES_256_GCM_SIV,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._provider = provider
        self._providers = {one.name: one for one in (*others, provider)}
        self._lifetime_s = lifetime_s
        self._algorithm = algorithm
        self._clock = clock
        self._held: Mapping[bytes, _Held] = {}
        self._current: Mapping[KeyOwner, _Held] = {}
        self._soonest_end = math.inf
        self._destroyed: set[bytes] = set()
        self._erased: set[KeyOwner] = set()
        self._told: dict[UUID, int] = {}
        self._untold: dict[UUID, int] = {}
        self._loading = asyncio.Lock()
        self.asked = 0
        self.fetched = 0
        self.failures = 0

    @property
    def held(self) -> int:
        """How many keys are in memory."""
        return len(self._held)

    @property
    def provider(self) -> KeyProvider:
        """What wraps new keys."""
        return self._provider

    async def load(self, owners: Collection[KeyOwner]) -> None:
        """Bring each owner's current key into memory, for `current`. An owner's first key is made and stored.

        Of a person who was erased it is remembered that they were: they get no key any more.

        Raises:
            UnavailableError: the keystore or the provider is away, and a key was not in memory.
        """
        if not self._erased.isdisjoint(owners):
            owners = [owner for owner in owners if owner not in self._erased]
        await self._load(owners, self._held_by_owner, self.has_current, self._load_current)

    async def load_ids(self, key_ids: Collection[UUID]) -> None:
        """Bring the keys into memory, for `get`. Of destroyed ones it is remembered that they are; those that never
        were stay away, without an error.

        Raises:
            UnavailableError: the keystore or the provider is away, and a key was not in memory.
        """
        await self._load(key_ids, self._held_by_id, self.has, self._load_by_ids)

    def current(self, owner: KeyOwner) -> DataKey:
        """Return the key that seals new values of the owner.

        Raises:
            ErasedError: the owner is known to be erased, and has none.
            SealedError: it is not in memory.
        """
        held = self._current.get(owner)
        if held is None or held.expires_at <= self._clock():
            if owner in self._erased:
                raise ErasedError(f"{owner.kind} {owner.id} was erased and has no data key.")
            raise SealedError(f"The current data key of {owner.kind} {owner.id} is not loaded.")
        return held.key

    def get(self, key_id: UUID) -> DataKey:
        """Return the key of that id.

        Raises:
            ErasedError: it is known to be destroyed.
            SealedError: it is not in memory.
        """
        return self._get(key_id.bytes)

    def key_of(self, blob: bytes) -> DataKey:
        """Return the key that a stored value names.

        Raises:
            ErasedError: it is known to be destroyed.
            SealedError: it is not in memory.
            TamperedError: the bytes are no stored value.
        """
        return self._get(key_bytes_of(blob))

    def has(self, key_id: UUID) -> bool:
        """Return whether `get` would return the key."""
        held = self._held.get(key_id.bytes)
        return held is not None and held.expires_at > self._clock()

    def has_current(self, owner: KeyOwner) -> bool:
        """Return whether `current` would return a key."""
        held = self._current.get(owner)
        return held is not None and held.expires_at > self._clock()

    def add(self, key: DataKey, *, is_current: bool = False) -> None:
        """Hold the key from now on, for one lifetime. Holding it already is harmless, and renews it.

        Raises:
            ValueError: another secret or owner is held under that id.
        """
        self._add([(key, is_current)])

    def forget(self, owners: Collection[KeyOwner]) -> None:
        """Wipe all keys of the owners: after their destruction, or to meet a new one at once."""
        self._drop(lambda held: held.key.owner in owners)

    def hear_retired(self, key_id: UUID) -> None:
        """Have the next load of the key's owner look which key is current now. What is under way goes on with it."""
        held = self._held.get(key_id.bytes)
        if held is not None and self._current.get(held.key.owner) is held:
            self._current = {**self._current, held.key.owner: replace(held, due_at=-math.inf)}

    def hear_destroyed(self, key_id: UUID) -> None:
        """Wipe the key at once: it was destroyed. Of one that is not in memory nothing is remembered."""
        if key_id.bytes in self._held:
            self._destroyed.add(key_id.bytes)
            self._drop(lambda held: held.key.id == key_id)

    def let_go(self, key_id: UUID) -> None:
        """Wipe the key at once, since somebody says that it was destroyed: whoever needs it asks the keystore.

        Anybody can say so who reaches the keystore's database. A key that is still there comes back with the next load.
        """
        self._drop(lambda held: held.key.id == key_id)

    def held_ids(self) -> list[UUID]:
        """Return the ids of the keys in memory."""
        return [held.key.id for held in self._held.values()]

    async def look_again(self) -> None:
        """Ask the keystore of every key in memory: which were retired or destroyed, in case a word of it was missed.

        Raises:
            UnavailableError: the keystore is away.
        """
        ids = self.held_ids()
        found = {row.id: row for row in await self._store.by_ids(ids)}
        for key_id in ids:
            row = found.get(key_id)
            if row is None:
                # No key is ever taken out: what it sealed is not erased, but broken.
                self.let_go(key_id)
            elif row.destroyed_at is not None:
                self.hear_destroyed(key_id)
            elif row.retired_at is not None:
                self.hear_retired(key_id)

    async def tell_seals(self) -> None:
        """Tell the keystore how often keys have sealed since it was last told.

        Raises:
            UnavailableError: the keystore is away. It is told the next time.
        """
        async with self._loading:
            await self._tell_seals()

    async def new_key(self, owner: KeyOwner) -> StoredKey:
        """Return a new data key of the owner, wrapped and not yet stored.

        Raises:
            UnavailableError: the provider is away.
        """
        key_id = uuid_utils.compat.uuid7()
        wrapped = await self._wrap(os.urandom(SECRET_LENGTH), owner, key_id)
        return StoredKey(key_id, owner, self._provider.name, wrapped.wrapping_key, wrapped.content)

    async def rewrapped(self, row: StoredKey) -> StoredKey:
        """Return the stored key as the newest key-encryption key of the provider wraps it.

        Raises:
            WrappingKeyError: the key-encryption key that wrapped it is not at hand.
            UnavailableError: a provider is away.
        """
        wrapped = await self._wrap(await self._secret_of(row), row.owner, row.id)
        return replace(row, provider=self._provider.name, wrapping_key=wrapped.wrapping_key, wrapped=wrapped.content)

    async def _tell_seals(self) -> None:
        telling = dict(self._untold)
        for held in self._held.values():
            if own := held.key.seals - self._told.get(held.key.id, held.key.seals):
                telling[held.key.id] = telling.get(held.key.id, 0) + own
        if not telling:
            return
        told = {held.key.id: held.key.seals for held in self._held.values()}
        totals = await self._store.count(telling)
        self._untold = {}
        for held in self._held.values():
            key = held.key
            if (total := totals.get(key.id)) is not None and key.id in told:
                since = key.seals - told[key.id]
                self._told[key.id], key.seals = total, total + since

    def wipe_expired(self) -> None:
        """Wipe the keys whose lifetime has ended. Every load does, and a server's keeper while it is idle."""
        now = self._clock()
        if self._soonest_end <= now:
            self._drop(lambda held: held.expires_at <= now)

    def wipe(self) -> None:
        """Wipe all keys, at the end of the process."""
        self._drop(lambda _: True)

    @contextmanager
    def activate(self) -> Iterator["Keyring"]:
        """Make this the keyring that attributes open with, in this task and those started from it."""
        token = _active.set(self)
        try:
            yield self
        finally:
            _active.reset(token)

    def _get(self, key_bytes: bytes) -> DataKey:
        held = self._held.get(key_bytes)
        if held is None or held.expires_at <= self._clock():
            if key_bytes in self._destroyed:
                raise ErasedError(f"The data key {UUID(bytes=key_bytes)} was destroyed.")
            raise SealedError(f"The data key {UUID(bytes=key_bytes)} is not loaded.")
        return held.key

    def _held_by_owner(self, owner: KeyOwner) -> _Held | None:
        # A method, and not the map's own: the map is replaced while a load waits.
        return self._current.get(owner)

    def _held_by_id(self, key_id: UUID) -> _Held | None:
        return self._held.get(key_id.bytes)

    async def _load(
        self,
        wanted: Collection[T],
        held: Callable[[T], _Held | None],
        is_warm: Callable[[T], bool],
        fetch: Callable[[list[T]], Awaitable[None]],
    ) -> None:
        self.wipe_expired()
        self.asked += 1
        if not self._due(wanted, held):
            return
        if self._loading.locked() and all(map(is_warm, wanted)):
            return  # Somebody is loading; what is in memory will do.
        async with self._loading:
            due = self._due(wanted, held)
            if not due:
                return
            self.fetched += 1
            try:
                await fetch(due)
            except UnavailableError as error:
                self.failures += 1
                if not all(map(is_warm, wanted)):
                    raise
                log.warning("data_keys_not_renewed", failure=type(error.__cause__ or error).__name__)

    def _due(self, wanted: Iterable[T], held: Callable[[T], _Held | None]) -> list[T]:
        now = self._clock()
        found = ((one, held(one)) for one in dict.fromkeys(wanted))
        return [one for one, entry in found if entry is None or entry.due_at <= now or self._owes(entry.key)]

    def _owes(self, key: DataKey) -> bool:
        """Return whether the key has sealed so often since the keystore was told that it is to be told now."""
        return key.seals - self._told.get(key.id, 0) >= COUNTED_EVERY

    async def _load_current(self, owners: list[KeyOwner]) -> None:
        stored = await self._store.current(owners)
        missing = set(owners) - {row.owner for row in stored}
        if missing:
            made = await self._store.add(await asyncio.gather(*map(self.new_key, missing)))
            stored += made
            # None was made for them: a key of theirs was destroyed.
            self._erased |= missing - {row.owner for row in made}
        keys = await asyncio.gather(*map(self._unwrap, stored))
        self._add([(key, True) for key in keys])
        # Not a reason to refuse anybody a key: the next load tells of them.
        with contextlib.suppress(UnavailableError):
            await self._tell_seals()

    async def _load_by_ids(self, key_ids: list[UUID]) -> None:
        found = await self._store.by_ids(key_ids)
        stored = [row for row in found if row.wrapped is not None]
        self._destroyed.update(row.id.bytes for row in found if row.wrapped is None)
        # Renewing a key whose row is gone or destroyed means the opposite: it leaves the memory now.
        gone = set(key_ids) - {row.id for row in stored}
        self._drop(lambda held: held.key.id in gone)
        keys = await asyncio.gather(*map(self._unwrap, stored))
        self._add([(key, row.retired_at is None) for row, key in zip(stored, keys, strict=True)])

    async def _wrap(self, secret: bytes, owner: KeyOwner, key_id: UUID) -> Wrapped:
        with _provider_failures():
            return await self._provider.wrap(secret, _context(owner, key_id))

    async def _unwrap(self, row: StoredKey) -> DataKey:
        return DataKey(row.id, row.owner, await self._secret_of(row), algorithm=self._algorithm, seals=row.seals)

    async def _secret_of(self, row: StoredKey) -> bytes:
        provider = self._providers.get(row.provider)
        if provider is None or row.wrapped is None:
            raise WrappingKeyError(f"The data key {row.id} was wrapped by the provider {row.provider!r}.")
        with _provider_failures():
            return await provider.unwrap(row.wrapped, _context(row.owner, row.id))

    def _add(self, keys: Iterable[tuple[DataKey, bool]]) -> None:
        now = self._clock()
        due_at, expires_at = now + self._lifetime_s * RENEWED_AFTER, now + self._lifetime_s
        held_by_id, current = dict(self._held), dict(self._current)
        for added, is_current in keys:
            before = held_by_id.get(added.id.bytes)
            key = added if before is None else _the_same(before.key, added)
            self._told.setdefault(key.id, key.seals)
            held = held_by_id[key.id.bytes] = _Held(key, due_at, expires_at)
            if is_current:
                current[key.owner] = held
        self._held, self._current = held_by_id, current
        self._soonest_end = min(self._soonest_end, expires_at)

    def _drop(self, is_dropped: Callable[[_Held], bool]) -> None:
        before = self._held.values()
        self._held = {held.key.id.bytes: held for held in before if not is_dropped(held)}
        # An entry here never outlives its key's above, which may have been renewed since under its id.
        self._current = {owner: held for owner, held in self._current.items() if not is_dropped(held)}
        self._soonest_end = min((held.expires_at for held in self._held.values()), default=math.inf)
        for held in before:
            key = held.key
            if key.id.bytes not in self._held:
                if own := key.seals - self._told.pop(key.id, key.seals):
                    self._untold[key.id] = self._untold.get(key.id, 0) + own
                key.wipe()


def _the_same(held: DataKey, added: DataKey) -> DataKey:
    if added.owner != held.owner or not added.has_secret_of(held):
        raise ValueError(f"Another data key is held under the id {held.id}.")
    if added is not held:
        added.wipe()  # One object for each key, so that wiping it leaves no twin.
    return held


@contextmanager
def _provider_failures() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise UnavailableError("The key provider does not answer. Try again later.") from error


def _context(owner: KeyOwner, key_id: UUID) -> dict[str, str]:
    """Return what a wrapped key is bound to."""
    context = {
        "owner_kind": owner.kind.value,
        "owner_id": str(owner.id),
        "key_id": str(key_id),
        "purpose": owner.purpose.value,
    }
    if owner.within is not None:
        context["within"] = str(owner.within)
    return context
