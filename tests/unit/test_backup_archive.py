"""Archived WAL and the catalogue: what is written over, what follows what, what is deleted when."""

import gzip
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from fieldward.backup.catalogue import ABOUT, Backup, backup_named, backups_in
from fieldward.backup.error import BackupError, DamagedBackupError
from fieldward.backup.job import ages_of
from fieldward.backup.line import (
    NOTE,
    Line,
    archive_settings,
    clear_unfinished,
    end_line,
    locked,
    noted_line,
    settled_line,
)
from fieldward.backup.pruning import prune
from fieldward.backup.restoring import choose_run
from fieldward.backup.wal import Segment, opened, run_from
from fieldward.settings import Settings
from resolvers.backup_watch import BackupAges

SIZE = 1024
NOW = datetime(2026, 3, 3, 10, tzinfo=UTC)
ODD = "a b%c'd"
"""A name that a shell, or PostgreSQL, may read otherwise."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory."""
    made = tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """A directory of backups."""
    made = tmp_path / ODD
    made.mkdir()
    return made


@pytest.fixture
def line(data: Path, backups: Path) -> Line:
    """The line that the data directory is archived to."""
    return settled_line(data, backups)


def _archive(line: Line, data: Path, name: str) -> int:
    command = archive_settings(line, 60)["archive_command"]
    # As PostgreSQL's shell_archive.c puts them in.
    command = command.replace("%%", "\0").replace("%p", name).replace("%f", name).replace("\0", "%")
    return subprocess.run(["/bin/sh", "-c", command], cwd=data, check=False).returncode


def _segments(line: Line, *numbers: int, timeline: int = 1) -> None:
    for number in numbers:
        content = gzip.compress(number.to_bytes(8, "big") * (SIZE // 8))
        (line.wal / f"{Segment(timeline, number, SIZE).name}.gz").write_bytes(content)


def _backup(line: Line, days: float, first: int = 1) -> Backup:
    at = NOW - timedelta(days=days)
    one = Backup(
        id=f"{at:%Y%m%dT%H%M%SZ}-0000",
        line=line,
        started_at=at,
        finished_at=at + timedelta(minutes=1),
        first=Segment(1, first, SIZE),
        last=Segment(1, first + 1, SIZE),
        size=1000,
        postgres="18.0",
        system_identifier="7",
        census={"rows": {}},
    )
    one.files.mkdir(parents=True)
    (one.files / "PG_VERSION").write_text("18")
    (one.directory / ABOUT).write_bytes(one.to_json())
    return one


def test_a_segment_is_archived_whole_and_twice_is_the_same(line: Line, data: Path) -> None:
    (data / "000000010000000000000001").write_bytes(b"x" * SIZE)

    assert _archive(line, data, "000000010000000000000001") == 0
    assert _archive(line, data, "000000010000000000000001") == 0

    (kept,) = line.wal.iterdir()
    assert gzip.decompress(kept.read_bytes()) == b"x" * SIZE
    (segment,) = run_from(line, Segment(1, 1, 2**24)).segments
    assert segment.name == "000000010000000000000001"


def test_a_segment_is_never_written_over(line: Line, data: Path) -> None:
    name = "000000010000000000000001"
    (data / name).write_bytes(b"x" * SIZE)
    assert _archive(line, data, name) == 0
    (data / name).write_bytes(b"y" * SIZE)

    assert _archive(line, data, name) != 0

    assert gzip.decompress((line.wal / f"{name}.gz").read_bytes()) == b"x" * SIZE


def test_what_can_not_be_archived_leaves_nothing(line: Line, data: Path) -> None:
    assert _archive(line, data, "000000010000000000000001") != 0

    assert list(line.wal.iterdir()) == []


def test_what_an_archiver_left_is_no_segment(line: Line, data: Path) -> None:
    left = line.wal / ".000000010000000000000001.123"
    left.write_bytes(b"half")

    assert run_from(line, Segment(1, 1, SIZE)).segments == []

    clear_unfinished(line)
    assert not left.exists()


@pytest.mark.parametrize(
    ("timeline", "lsn", "name"),
    [
        (1, "0/1000000", "000000010000000000000000"),
        (1, "0/1000001", "000000010000000000000001"),
        (2, "1/0", "0000000200000000000000FF"),
        (1, "A/FF000028", "000000010000000A000000FF"),
    ],
)
def test_a_place_in_the_wal_lies_in_its_segment(timeline: int, lsn: str, name: str) -> None:
    found = Segment.holding(timeline, lsn, 2**24)

    assert found.name == name
    assert Segment.named(name, 2**24) == found


def test_the_last_segment_of_a_file_number_is_followed_by_the_first_of_the_next() -> None:
    last = Segment.named("0000000100000000000000FF", 2**24)

    assert last is not None
    assert last.next.name == "000000010000000100000000"
    assert Segment.named("00000001.history", 2**24) is None


def test_a_run_ends_before_the_first_segment_that_is_missing(line: Line) -> None:
    _segments(line, 3, 4, 6, 7)
    _segments(line, 5, timeline=2)

    run = run_from(line, Segment(1, 3, SIZE))

    assert [one.number for one in run.segments] == [3, 4]
    assert run.missing == Segment(1, 5, SIZE)
    assert run_from(line, Segment(1, 6, SIZE)).missing is None


def test_a_damaged_segment_is_not_handed_out(line: Line) -> None:
    _segments(line, 1, 2, 3)
    first, second, third = (line.wal / f"{Segment(1, number, SIZE).name}.gz" for number in (1, 2, 3))
    first.write_bytes(first.read_bytes()[:-9])
    second.write_bytes(gzip.compress(b"short"))
    third.unlink()
    third.symlink_to("/etc/hostname")

    for number in (1, 2, 3):
        with pytest.raises(DamagedBackupError, match="archived segment"):
            list(opened(line, Segment(1, number, SIZE)))


def test_a_data_directory_goes_on_in_its_line_until_it_ran_without(data: Path, backups: Path, line: Line) -> None:
    assert settled_line(data, backups) == line
    assert noted_line(data, backups) == line

    end_line(data)

    assert noted_line(data, backups) is None
    assert settled_line(data, backups) != line


def test_a_line_that_is_gone_is_not_gone_on_in(data: Path, backups: Path, line: Line) -> None:
    line.wal.rmdir()

    assert noted_line(data, backups) is None
    assert settled_line(data, backups) != line


@pytest.mark.parametrize("name", ["../elsewhere", "", "."])
def test_a_note_that_leads_elsewhere_is_no_line(data: Path, backups: Path, name: str) -> None:
    (data / NOTE).write_text(name)

    assert noted_line(data, backups) is None


def test_a_directory_of_backups_is_not_made(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="not there"):
        settled_line(data, tmp_path / "unmounted")

    assert not (tmp_path / "unmounted").exists()


def test_what_is_half_made_or_half_deleted_is_no_backup(line: Line, backups: Path) -> None:
    kept = _backup(line, 1)
    for suffix in (".unfinished", ".going"):
        (line.base / f"20260101T000000Z-1{suffix}").mkdir()

    assert backups_in(backups) == [kept]


def test_a_backup_that_says_nothing_is_damaged(line: Line, backups: Path) -> None:
    (_backup(line, 1).directory / ABOUT).write_text('{"first": 1')

    with pytest.raises(DamagedBackupError, match="does not say"):
        backups_in(backups)


def test_a_backup_is_found_by_its_id_and_else_the_newest(line: Line, backups: Path) -> None:
    old, new = _backup(line, 2), _backup(line, 1)

    found = backups_in(backups)

    assert backup_named(found, None) == new
    assert backup_named(found, old.id) == old
    with pytest.raises(BackupError, match="no backup x"):
        backup_named(found, "x")
    with pytest.raises(BackupError, match="no backup yet"):
        backup_named([], None)


def test_a_moment_before_a_backup_is_over_is_not_restored(line: Line) -> None:
    one = _backup(line, 1)

    with pytest.raises(BackupError, match="before that"):
        choose_run(one, one.started_at)


def test_what_is_too_old_goes_with_the_wal_that_nobody_needs(line: Line, data: Path, backups: Path) -> None:
    old, new = _backup(line, 29, first=1), _backup(line, 27, first=5)
    _segments(line, *range(1, 9))

    done = prune(backups, data_directory=data, now=NOW, keep=timedelta(days=28))

    assert (done.backups, done.segments, done.too_old) == ([old.id], 4, None)
    assert backups_in(backups) == [new]
    assert [one.number for one in run_from(line, Segment(1, 5, SIZE)).segments] == [5, 6, 7, 8]
    assert not (line.wal / f"{Segment(1, 4, SIZE).name}.gz").exists()


def test_the_newest_is_kept_and_told_however_old(line: Line, data: Path, backups: Path) -> None:
    _backup(line, 50)
    newest = _backup(line, 40)

    done = prune(backups, data_directory=data, now=NOW, keep=timedelta(days=28))

    assert done.too_old == newest.id
    assert backups_in(backups) == [newest]


def test_a_line_that_is_over_goes_with_its_last_backup(line: Line, data: Path, backups: Path) -> None:
    _backup(line, 40)
    _segments(line, 1, 2, 3)
    end_line(data)
    other = settled_line(data, backups)
    kept = _backup(other, 1)

    done = prune(backups, data_directory=data, now=NOW, keep=timedelta(days=28))

    assert done.segments == 3
    assert not line.directory.exists()
    assert backups_in(backups) == [kept]


def test_nobody_deletes_while_another_is_at_work(line: Line, data: Path, backups: Path) -> None:
    kept = _backup(line, 50)

    with locked(backups, shared=True), pytest.raises(BackupError, match="Somebody else"):
        prune(backups, data_directory=data, now=NOW, keep=timedelta(days=28))

    assert backups_in(backups) == [kept]


def test_what_is_made_is_its_owners_alone(line: Line, data: Path) -> None:
    for path in (line.directory, line.base, line.wal):
        assert path.stat().st_mode & 0o077 == 0
    assert (data / NOTE).stat().st_mode & 0o077 == 0
    assert [one.name for one in data.iterdir()] == [NOTE]


def test_backups_that_are_not_there_are_as_old_as_can_be(line: Line, data: Path, backups: Path) -> None:
    settings = Settings(data_directory=data, backup_directory=backups)
    made = _backup(line, 1)
    there = ages_of(settings)
    away = backups.rename(backups.with_name("unmounted"))
    gone = ages_of(settings)
    backups.mkdir()
    empty = ages_of(settings)
    backups.rmdir()
    away.rename(backups)
    end_line(data)

    assert there == BackupAges(made.started_at, made.started_at)
    assert gone == empty == ages_of(settings) == BackupAges(datetime.fromtimestamp(0, UTC), None)
    assert ages_of(Settings(data_directory=data)) is None


def test_of_barmans_backups_the_newest_is_as_old_as_its_census(data: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    url = SecretStr("postgres://app@db1/fieldward")
    settings = Settings(data_directory=data, backup_directory=kept, database_url=url, barman_servers="fieldward")
    away = ages_of(settings)
    kept.mkdir()
    empty = ages_of(settings)
    for name, at in (
        ("census-20260303T020000.json", 1000),
        ("census-20260304T020000.json", 2000),
        ("ways-in.json", 3000),
    ):
        (kept / name).write_text("{}")
        os.utime(kept / name, (at, at))

    assert away == empty == BackupAges(datetime.fromtimestamp(0, UTC), None)
    assert ages_of(settings) == BackupAges(datetime.fromtimestamp(2000, UTC), None)
    assert ages_of(settings.model_copy(update={"barman_servers": None})) is None
