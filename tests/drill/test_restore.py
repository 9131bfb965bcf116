"""A short round of the drill in which a database is restored to a moment, and what its journal tells apart."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from auth.action import Action
from drills.journal import Act, Kept, Told
from drills.restore import restore_under_load
from drills.timed import TimedRound, _Told

FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory of this test's own, with a short path."""
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_what_was_committed_before_a_moment_is_restored_and_nothing_else(directory: Path) -> None:
    found = restore_under_load(directory / "drill", 0.05, seed=7)

    assert found.acknowledged > 10
    assert found.after > 10
    assert found.under_way <= found.writers
    assert found.segments > 0
    assert found.rows > found.filled
    assert found.opened > found.filled
    assert found.entries > found.acknowledged
    assert 0 < found.until_served_s < 120
    assert found.promised_gib > 0


def _kept(version: int) -> Kept:
    return Kept(FIRST, version, "DRAFT", "A", "b", "c", 0)


def test_the_journal_tells_what_was_before_after_and_under_way() -> None:
    journal = TimedRound(
        told=[
            _Told(1, 10.0, FIRST, _kept(1)),
            _Told(1, 12.0, FIRST, _kept(2)),
            _Told(1, 14.0, FIRST, _kept(3)),
            _Told(2, 11.5, SECOND, None),
        ]
    )

    as_of = journal.as_of(11.0)

    assert as_of.must == {FIRST: _kept(1), SECOND: None}
    # The second change was begun before the moment and acknowledged after it; the third was begun after it.
    assert as_of.may == {FIRST: _kept(2), SECOND: None}
    assert (as_of.acknowledged, as_of.after) == (1, 3)


def test_the_journal_notes_when_something_was_answered() -> None:
    journal = TimedRound()

    journal.note_now(FIRST, _kept(1))
    journal.note(Act(Action.RECORD_CREATE, FIRST, 1, Told.DONE))

    assert journal.as_of(journal.told[0].at).must == {FIRST: _kept(1)}
    assert journal.touched == {FIRST: _kept(1)}
    assert len(journal.of(Told.DONE)) == 1
