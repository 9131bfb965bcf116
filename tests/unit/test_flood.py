"""The floodgate: the first of a kind are written, the rest counted, and nothing forgotten."""

from resolvers.flood import MOST_KINDS, WINDOW_S, WRITTEN_EACH, Floodgate


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_of_a_kind_are_written_and_the_rest_counted_into_the_next_entry() -> None:
    clock = Clock()
    gate = Floodgate(clock=clock)

    verdicts = [gate.admit("sign-in") for _ in range(WRITTEN_EACH + 7)]
    clock.now += WINDOW_S

    assert verdicts == [0] * WRITTEN_EACH + [None] * 7
    assert gate.admit("sign-in") == 7
    assert gate.admit("sign-in") == 0


def test_kinds_do_not_use_up_each_others_share() -> None:
    gate = Floodgate(clock=Clock())
    for _ in range(WRITTEN_EACH + 1):
        gate.admit("one")

    assert gate.admit("one") is None
    assert gate.admit("another") == 0


def test_however_many_kinds_there_are_the_memory_is_bounded() -> None:
    gate = Floodgate(clock=Clock())

    for number in range(MOST_KINDS + 100):
        gate.admit(number)

    assert len(gate._kinds) == MOST_KINDS
