"""When somebody is told of backups: too old, kept too long, not archived; once, and not too early."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from auth.principal import SYSTEM_ID
from resolvers.backup_metric import backup_figures
from resolvers.backup_watch import ArchiverState, ArchivingWatch, BackupAges, archiver_state, note_backups
from resolvers.incident_judging import Judge
from tests.support.incident import incidents
from tests.support.world import World

NOW = datetime(2026, 3, 3, 10, tzinfo=UTC)
FRESH = BackupAges(NOW - timedelta(hours=20), NOW - timedelta(days=27))
GOOD = ArchiverState(is_on=True, archived_at=NOW, failures=0, is_failing=False, waiting=1)


@pytest.mark.parametrize(
    ("ages", "lag_s", "rules"),
    [
        (FRESH, 0.0, []),
        (None, 0.0, []),
        (BackupAges(NOW - timedelta(hours=26), None), 0.0, ["backup_behind"]),
        (BackupAges(NOW - timedelta(hours=1), NOW - timedelta(days=30)), 0.0, ["backup_kept_too_long"]),
        (FRESH, 599.0, []),
        (FRESH, 600.0, ["archiving_behind"]),
        (None, 600.0, ["archiving_behind"]),
    ],
)
async def test_what_is_behind_is_an_incident_of_the_installation(
    world: World, ages: BackupAges | None, lag_s: float, rules: list[str]
) -> None:
    assert await note_backups(Judge(), ages, lag_s, now=NOW) == len(rules)

    found = await incidents(world)
    assert [one["rule"] for one in found] == rules
    assert all(one["organization_id"] == SYSTEM_ID for one in found)
    # Until it is closed there is one.
    assert await note_backups(Judge(), ages, lag_s, now=NOW) == 0
    assert len(await incidents(world)) == len(rules)


def test_archiving_that_stands_still_is_told_by_how_long() -> None:
    watch = ArchivingWatch(clock=iter([0.0, 0.0, 100.0, 700.0]).__next__)
    failing = ArchiverState(True, NOW, 3, True, 2)

    assert watch.lag_s(GOOD) == 0.0
    assert [watch.lag_s(failing), watch.lag_s(failing), watch.lag_s(failing)] == [0.0, 100.0, 700.0]


def test_an_archiver_that_gets_on_is_not_behind() -> None:
    watch = ArchivingWatch(clock=count(0.0, 400.0).__next__)
    busy = [ArchiverState(True, NOW + timedelta(minutes=minute), 0, False, 50) for minute in range(5)]

    assert all(watch.lag_s(one) <= 400.0 for one in busy)


def test_what_is_not_archived_at_all_is_not_behind() -> None:
    watch = ArchivingWatch(clock=count(0.0, 400.0).__next__)

    assert [watch.lag_s(ArchiverState(False, None, 0, True, 90)) for _ in range(3)] == [0.0] * 3


async def test_what_postgresql_says_of_archiving_is_read_by_the_service(world: World) -> None:
    state = await archiver_state()
    figures = await backup_figures(FRESH, now=NOW)

    assert (state.is_on, state.is_failing, state.failures) == (False, False, 0)
    assert figures.newest_age_s == timedelta(hours=20).total_seconds()
    assert figures.oldest_age_s == timedelta(days=27).total_seconds()
    assert not figures.is_archiving
    assert (await backup_figures(None, now=NOW)).newest_age_s is None
    none_yet = await backup_figures(BackupAges(NOW - timedelta(hours=3), None), now=NOW)
    assert (none_yet.newest_age_s, none_yet.oldest_age_s) == (timedelta(hours=3).total_seconds(), None)
