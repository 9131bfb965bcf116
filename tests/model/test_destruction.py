"""The log of destroyed keys: in the keystore and in a file, each of which teaches the other."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from models.base import new_id
from models.encryption.destruction import Destruction, DestructionLog, _append
from tests.support.world import World


@pytest.fixture
def keystore_database(own_keystore: str) -> str:
    """A keystore of this test's own, whose keys end."""
    return own_keystore


@pytest.fixture
def log(world: World, tmp_path: Path) -> DestructionLog:
    """A log beside the keystore of the run, which other tests write to as well."""
    return DestructionLog(tmp_path / "destructions.jsonl")


def a_destruction() -> Destruction:
    """A destruction of nothing."""
    return Destruction(new_id(), datetime.now(UTC), new_id(), None, (new_id(), new_id()), (new_id(),))


async def ids(log: DestructionLog) -> set[UUID]:
    """Return the ids of what a log knows."""
    return {one.id for one in await log.all()}


async def test_what_was_added_is_read_again_as_it_was(log: DestructionLog) -> None:
    one, other = a_destruction(), a_destruction()
    await log.add(one)
    await log.add(other)

    assert [found for found in await log.all() if found.id in {one.id, other.id}] == [one, other]


async def test_a_keystore_from_a_backup_learns_from_the_file(log: DestructionLog, tmp_path: Path) -> None:
    one = a_destruction()
    # As the file would be, were the keystore older.
    alone = DestructionLog(tmp_path / "alone.jsonl")
    _append(tmp_path / "alone.jsonl", [one])

    assert one.id in await ids(alone)
    assert one.id in await ids(log)


async def test_another_machine_learns_from_the_keystore(log: DestructionLog, tmp_path: Path) -> None:
    one = a_destruction()
    await log.add(one)
    other = tmp_path / "other.jsonl"

    assert one.id in await ids(DestructionLog(other))
    assert str(one.id).encode() in other.read_bytes()
    assert other.stat().st_mode & 0o777 == 0o600
    before = other.read_bytes()
    await DestructionLog(other).all()
    assert other.read_bytes() == before


async def test_a_line_that_was_cut_short_is_none_and_is_cut_off(log: DestructionLog, tmp_path: Path) -> None:
    one, other = a_destruction(), a_destruction()
    path = tmp_path / "destructions.jsonl"
    await log.add(one)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": "0198')

    assert one.id in await ids(log)
    await log.add(other)
    assert path.read_bytes().startswith(whole)
    assert {one.id, other.id} <= await ids(log)
    assert b'"0198{' not in path.read_bytes()


async def test_a_file_that_is_no_log_is_refused(log: DestructionLog, tmp_path: Path) -> None:
    (tmp_path / "destructions.jsonl").write_text('{"id": "no"}\n')

    with pytest.raises(ValueError, match="log of destroyed keys"):
        await log.all()


async def test_a_copy_elsewhere_knows_it_at_once_and_gives_it_back(world: World, tmp_path: Path) -> None:
    one, copy = a_destruction(), tmp_path / "backups" / "destructions.jsonl"
    copy.parent.mkdir()
    await DestructionLog(tmp_path / "first.jsonl", [copy]).add(one)

    assert str(one.id).encode() in copy.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    # The disk with the file and the databases is lost, and the copy is not.
    anew = tmp_path / "second.jsonl"
    other = a_destruction()
    _append(copy, [other])
    assert {one.id, other.id} <= await ids(DestructionLog(anew, [copy]))
    assert str(other.id).encode() in anew.read_bytes()


async def test_a_copy_that_is_away_holds_nothing_up(world: World, tmp_path: Path) -> None:
    one, away = a_destruction(), tmp_path / "unmounted" / "destructions.jsonl"
    log = DestructionLog(tmp_path / "first.jsonl", [away])

    await log.add(one)

    assert one.id in await ids(log)
    assert not away.exists()


async def test_a_copy_that_others_may_write_is_not_believed(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    forged = a_destruction()
    _append(copy, [forged])
    copy.chmod(0o666)

    assert forged.id not in await ids(DestructionLog(tmp_path / "first.jsonl", [copy]))
