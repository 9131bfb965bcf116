"""A short round of the drill in which the primary is killed, stopped and cut off, and what its bookkeeping finds."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from drills.caller import Answer, Caller
from drills.error import DrillError
from drills.failover import FailedOver, _require_accounted, _require_in_time, failover_under_load
from drills.journal import Round, Told
from drills.patroni import why_no_cluster
from drills.steadfast import SteadfastWriter

SEED = 5


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path, for sockets below it; where this machine can be made into several."""
    reason = why_no_cluster()
    if reason is not None:
        if os.environ.get("DRILLS_REQUIRED"):
            pytest.fail(f"The drill is required here, and can't be: {reason}")
        pytest.skip(reason)
    made = Path(tempfile.mkdtemp(prefix="fw"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_nothing_acknowledged_is_lost_or_doubled_when_another_machine_becomes_primary(directory: Path) -> None:
    found = failover_under_load(directory / "drill", kills=1, stops=1, cuts=1, seed=SEED)

    assert found.rounds == found.promotions == 3
    assert found.held["writes"] > 50
    assert found.held["changes"] > found.held["writes"]
    assert found.told["AWAY"] > 0
    assert found.records > 0
    assert found.opened > 0
    assert found.sealed > found.held["writes"]
    assert found.attempted == found.told.total() + found.unanswered > found.held["writes"]


DONE = Answer(UUID(int=1), {"done": {"record": {"version": 1}, "errors": []}}, None)
AGAIN = Answer(UUID(int=2), DONE.data, None, is_replayed=True)
AWAY = Answer(UUID(int=3), None, "UNAVAILABLE")
REFUSED = Answer(UUID(int=4), None, "CONFLICT")


class Scripted:
    """Answers one thing after the other, and remembers how much its writer had attempted by then."""

    password = "what nobody is asked for"

    def __init__(self, *answers: Answer | None) -> None:
        self._answers = iter(answers)
        self.writer: SteadfastWriter
        self.attempted: list[int] = []

    def ask(self, *_: object, **__: object) -> Answer | None:
        """Return the next answer."""
        self.attempted.append(self.writer.attempted)
        return next(self._answers)


@pytest.fixture
def story() -> tuple[SteadfastWriter, Scripted, FailedOver]:
    """A writer who was told everything that there is to be told, and what the drill knows of it."""
    scripted, journal = Scripted(DONE, None, AGAIN, None, DONE, AWAY, None, REFUSED), Round()
    writer = scripted.writer = SteadfastWriter(0, cast(Caller, scripted), "Project:1", SEED)
    writer._create(journal)
    for _ in ("was done", "was not done"):
        writer._create(journal)
        writer.settle(journal)
    writer._create(journal)
    writer._read(journal)
    writer._be_refused(journal)
    found = FailedOver(SEED)
    found.told.update(one.told.value for one in journal.acts)
    found.settled.update({"done": 1, "not done": 1})
    return writer, scripted, found


def test_each_operation_is_noted_before_it_is_asked_and_has_one_word(
    story: tuple[SteadfastWriter, Scripted, FailedOver],
) -> None:
    writer, scripted, found = story

    _require_accounted(found, [writer])

    # What is sent again under its key is the same operation.
    assert scripted.attempted == [1, 2, 2, 3, 3, 4, 5, 6]
    assert writer.told == {Told.DONE: 1, Told.UNKNOWN: 2, Told.AWAY: 1, None: 1, Told.REFUSED: 1}
    assert found.told == {"DONE": 3, "AWAY": 1, "REFUSED": 1}
    assert (found.attempted, found.unanswered) == (6, 1)


def test_an_operation_of_which_there_is_no_word_is_found(story: tuple[SteadfastWriter, Scripted, FailedOver]) -> None:
    writer, _, found = story
    writer.attempted += 1

    with pytest.raises(DrillError, match="writer 0 attempted 7 operations, and was told of 6"):
        _require_accounted(found, [writer])


def test_an_operation_that_stays_unknown_is_found(story: tuple[SteadfastWriter, Scripted, FailedOver]) -> None:
    writer, _, found = story
    found.settled -= Counter({"not done": 1})

    with pytest.raises(DrillError, match="of 2 operations nobody could say what became of them, of 1 it is known"):
        _require_accounted(found, [writer])


def test_an_operation_that_was_not_held_against_the_database_is_found(
    story: tuple[SteadfastWriter, Scripted, FailedOver],
) -> None:
    writer, _, found = story
    found.told -= Counter({"DONE": 1})

    with pytest.raises(DrillError, match="6 operations were attempted, and 5 are accounted for"):
        _require_accounted(found, [writer])


def test_the_full_drill_is_held_to_the_goal() -> None:
    found = FailedOver(SEED, pauses_s={"machine killed": [4.0, 30.0]})
    _require_in_time(found, is_full=True)

    found.pauses_s["cut off, and back"] = [30.1]
    _require_in_time(found, is_full=False)
    with pytest.raises(DrillError, match=r"30\.1 s, beyond the goal of 30 s"):
        _require_in_time(found, is_full=True)
