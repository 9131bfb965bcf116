"""What the key file promises: who opens it, and that no key of it is lost."""

import asyncio
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from models.encryption.file_provider import BEGINNING, FileKeyProvider
from models.encryption.provider import WrappingKeyError
from models.errors import TamperedError


async def test_what_was_wrapped_opens_in_its_context_alone() -> None:
    provider = FileKeyProvider(bytes(range(32)))
    wrapped = (await provider.wrap(b"secret", {"owner": "a", "purpose": "data key"})).content

    assert await provider.unwrap(wrapped, {"purpose": "data key", "owner": "a"}) == b"secret"
    for context in ({"owner": "b", "purpose": "data key"}, {"owner": "a"}, {"ownera": "", "purpose": "data key"}):
        with pytest.raises(TamperedError):
            await provider.unwrap(wrapped, context)


async def test_every_changed_byte_of_a_wrapped_key_is_caught() -> None:
    provider = FileKeyProvider(bytes(range(32)))
    wrapped = (await provider.wrap(b"secret", {})).content

    for position in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[position] ^= 1
        for bad in (bytes(changed), wrapped[:position]):
            with pytest.raises((TamperedError, WrappingKeyError)):
                await provider.unwrap(bad, {})


async def test_another_key_encryption_key_is_named_as_such() -> None:
    wrapped = (await FileKeyProvider(bytes(32)).wrap(b"secret", {})).content

    with pytest.raises(WrappingKeyError, match="another key-encryption key"):
        await FileKeyProvider(bytes(range(32))).unwrap(wrapped, {})


async def test_a_key_file_is_the_owners_alone_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    wrapped = (await FileKeyProvider.create(path).wrap(b"secret", {})).content

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 32
    assert await FileKeyProvider.open(path).unwrap(wrapped, {}) == b"secret"


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileKeyProvider.create(path)
    before = path.read_bytes()

    with pytest.raises(WrappingKeyError, match="never overwritten"):
        FileKeyProvider.create(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o666])
def test_a_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    FileKeyProvider.create(path)
    path.chmod(mode)

    with pytest.raises(WrappingKeyError, match="open to others"):
        FileKeyProvider.open(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileKeyProvider.create(path)
    os.chown(path, 65534, 65534)

    with pytest.raises(WrappingKeyError, match="another user"):
        FileKeyProvider.open(path)


def test_what_is_no_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(32))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "short").write_bytes(bytes(31))
    (tmp_path / "short").chmod(0o600)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "directory").mkdir(mode=0o700)

    for name in ("missing", "link", "short", "pipe", "directory"):
        with pytest.raises(WrappingKeyError):
            FileKeyProvider.open(tmp_path / name)


def test_a_provider_shows_nothing_of_its_key() -> None:
    provider = FileKeyProvider(bytes(range(32)))

    assert bytes(range(32)).hex() not in repr(provider)
    assert not hasattr(provider, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(provider)


async def test_a_new_key_encryption_key_wraps_and_the_old_one_opens_until_it_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "key"
    ours, theirs = FileKeyProvider.create(path), FileKeyProvider.open(path)
    before = await ours.wrap(b"secret", {})

    newest = await ours.rotate()

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size == 64
    # The other process is told by nobody, and wraps with the new one at once.
    assert (await theirs.wrap(b"secret", {})).wrapping_key == newest == await theirs.newest()
    assert await theirs.unwrap(before.content, {}) == b"secret"
    assert await ours.drop([before.content[:BEGINNING]]) == []
    assert await ours.drop([]) == [before.wrapping_key]
    assert path.stat().st_size == 32
    for provider in (ours, theirs, FileKeyProvider.open(path)):
        await provider.newest()
        with pytest.raises(WrappingKeyError):
            await provider.unwrap(before.content, {})


def _rotate_often(path: Path) -> None:
    provider = FileKeyProvider.open(path)
    for _ in range(15):
        asyncio.run(provider.rotate())


def test_key_encryption_keys_that_two_processes_make_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "key-encryption-key"
    FileKeyProvider.create(path)
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        for done in [pool.submit(_rotate_often, path) for _ in range(4)]:
            done.result()

    assert path.stat().st_size == (1 + 4 * 15) * 32


def _rotated(path: Path) -> str:
    return asyncio.run(FileKeyProvider.open(path).rotate())


def test_of_two_that_rotate_at_once_neither_loses_the_others_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    FileKeyProvider.create(path)

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(_rotated, [path] * 12))

    keys = path.read_bytes()
    assert len(keys) == 13 * 32
    assert len(set(names)) == 12
    assert {FileKeyProvider(keys[at : at + 32])._newest[1:].hex() for at in range(0, 12 * 32, 32)} == set(names)
