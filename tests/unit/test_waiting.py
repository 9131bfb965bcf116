"""Who is told to come again while others wait for a connection, and who waits all the same."""

from collections.abc import Iterator
from contextlib import ExitStack
from uuid import UUID

import pytest

from models import waiting
from models.deadline import deadline
from models.errors import CrowdedError
from models.waiting import CROWDED_AFTER_S, Line

SAID = "Too much to do."
BASIN, DELTA = UUID(int=1), UUID(int=2)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    return made


@pytest.fixture
def waiters() -> Iterator[ExitStack]:
    """Who waits, until the test is over."""
    with ExitStack() as stack:
        yield stack


def operation(line: Line, organization_id: UUID | None, waiters: ExitStack) -> None:
    with deadline(30):
        waiters.enter_context(line.waiting(organization_id))


async def test_who_comes_while_the_first_has_not_waited_long_waits_as_well(clock: Clock, waiters: ExitStack) -> None:
    line = Line(SAID)
    operation(line, BASIN, waiters)
    clock.now += CROWDED_AFTER_S

    operation(line, BASIN, waiters)

    assert line.length == 2


async def test_where_the_first_has_waited_long_one_of_each_organization_waits(clock: Clock, waiters: ExitStack) -> None:
    line = Line(SAID)
    operation(line, BASIN, waiters)
    clock.now += CROWDED_AFTER_S + 0.1

    with pytest.raises(CrowdedError, match=SAID) as refused:
        operation(line, BASIN, waiters)
    operation(line, DELTA, waiters)
    operation(line, None, waiters)
    with pytest.raises(CrowdedError):
        operation(line, DELTA, waiters)

    assert refused.value.retry_after_s in {1, 2, 3}
    assert line.length == 3


@pytest.mark.parametrize("organization_id", [None, BASIN])
async def test_a_job_that_waits_takes_nobody_the_place_that_an_organization_has(
    clock: Clock, waiters: ExitStack, organization_id: UUID | None
) -> None:
    """At a start connections are opened slowly, and jobs of no organization wait for them: who signs in then, waits."""
    line = Line(SAID)
    waiters.enter_context(line.waiting(organization_id))
    clock.now += CROWDED_AFTER_S + 0.1

    operation(line, organization_id, waiters)
    with pytest.raises(CrowdedError):
        operation(line, organization_id, waiters)
    waiters.enter_context(line.waiting(organization_id))

    assert line.length == 3


async def test_whoever_was_served_leaves_the_line_to_the_next(clock: Clock, waiters: ExitStack) -> None:
    line = Line(SAID)
    with ExitStack() as first:
        operation(line, BASIN, first)
        clock.now += CROWDED_AFTER_S + 0.1

    operation(line, BASIN, waiters)
    operation(line, BASIN, waiters)

    assert (line.length, line.waits) == (2, 1)
    assert line.waited_s == pytest.approx(CROWDED_AFTER_S + 0.1)


async def test_a_line_that_refuses_nobody_lets_everybody_wait(clock: Clock, waiters: ExitStack) -> None:
    line = Line()
    for _ in range(3):
        operation(line, BASIN, waiters)
        clock.now += 2 * CROWDED_AFTER_S

    assert line.length == 3
