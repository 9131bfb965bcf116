"""Replacing keys: new data keys for their owners, and new wrappings for data keys.

Both are instant for whoever reads and writes: an old key opens what it sealed, and a wrapping is changed without the
key that is in it. Each step stands by itself, so that whoever is killed between two of them, or runs beside another,
loses nothing. What old keys sealed is sealed anew by `resolvers/key_rotation.py`.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final
from uuid import UUID

from models.encryption.keyring import Keyring
from models.encryption.keystore import KeyStore, StoredKey
from models.encryption.provider import WrappingKeyError
from models.errors import TamperedError

BATCH: Final = 100
"""Keys that are replaced, or wrapped anew, by one statement each."""

Progress = Callable[[int], object]
"""Told how many more are done."""


async def replace_keys(
    keyring: Keyring, store: KeyStore, keys: Sequence[StoredKey], *, progress: Progress = lambda _: None
) -> None:
    """Retire current keys and give their owners new ones.

    Whoever needs a key of an owner between the two statements makes it: the owner has one new key all the same.

    Raises:
        UnavailableError: the keystore or the key provider is away. What was replaced so far stays so.
    """
    left = iter(keys)
    while some := list(islice(left, BATCH)):
        new = [await keyring.new_key(key.owner) for key in some]
        await store.retire([key.id for key in some])
        for key in some:
            keyring.hear_retired(key.id)
        await store.add(new)
        progress(len(some))


async def rewrap_keys(keyring: Keyring, store: KeyStore, *, progress: Progress = lambda _: None) -> int:
    """Wrap every data key by the newest key-encryption key that was wrapped by another, and return how many.

    Raises:
        TamperedError, WrappingKeyError: one does not open for its owner, or its key-encryption key is not at hand. The
            others are wrapped first, unless it is so of a whole batch.
        UnavailableError: the keystore or a key provider is away. What was wrapped so far stays so.
    """
    done, after = 0, UUID(int=0)
    broken: Exception | None = None
    newest = await keyring.provider.newest()
    while some := await store.wrapped_by_others(keyring.provider.name, newest, after=after, most=BATCH):
        wrapped = 0
        for key in some:
            try:
                await store.rewrap(key, await keyring.rewrapped(key))
            except (TamperedError, WrappingKeyError) as error:
                broken = error
                continue
            wrapped += 1
        if broken is not None and not wrapped:
            break
        after = some[-1].id
        done += wrapped
        progress(wrapped)
    if broken is not None:
        raise broken
    return done
