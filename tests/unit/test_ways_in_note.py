"""Which note of what lets somebody in a restore believes."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldward.backup.job import newest_note
from fieldward.backup.line import write_whole
from resolvers.way_in import WaysIn

NOW = datetime(2026, 3, 3, 10, tzinfo=UTC)


def _note(path: Path, at: datetime) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_whole(path, WaysIn(at, {}, {}).to_json())
    return path


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A note that is ours."""
    return _note(tmp_path / "data" / "ways-in.json", NOW)


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A newer one, elsewhere."""
    return _note(tmp_path / "backups" / "ways-in.json", NOW + timedelta(minutes=1))


def _believed(*paths: Path) -> datetime | None:
    found = newest_note(list(paths))
    return None if found is None else found.at


def test_the_newest_is_believed(older: Path, newer: Path) -> None:
    assert _believed(older, newer) == NOW + timedelta(minutes=1)
    assert _believed(older, newer.with_name("none")) == NOW


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_can_write_is_not(older: Path, newer: Path, mode: int) -> None:
    newer.chmod(mode)

    assert _believed(older, newer) == NOW
    assert _believed(newer) is None


def test_one_that_leads_elsewhere_is_not(older: Path, newer: Path) -> None:
    kept = newer.rename(newer.with_name("kept.json"))
    newer.symlink_to(kept)

    assert _believed(older, newer) == NOW


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_another_s_is_not_unless_the_directory_is_theirs(older: Path, newer: Path) -> None:
    os.chown(newer, 12345, -1)
    assert _believed(older, newer) == NOW

    os.chown(newer.parent, 12345, -1)
    assert _believed(older, newer) == NOW + timedelta(minutes=1)
