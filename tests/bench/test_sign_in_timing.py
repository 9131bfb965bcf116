"""The test that holds two samples of times against each other."""

import random

import pytest

from bench.sections.sign_in_timing import LEAST_P, compare


def test_p_is_what_shuffling_the_samples_gives() -> None:
    """That is what p means: how often samples of one kind lie as far apart as these."""
    ones, others = [float(one) for one in range(30)], [one + 6.5 for one in range(30)]
    compared = compare(ones, others)
    found = abs(compared.larger_percent - 50)
    lots, both, shuffles = random.Random(3), ones + others, 2000  # noqa: S311

    def is_as_far() -> bool:
        lots.shuffle(both)
        return abs(compare(both[:30], both[30:]).larger_percent - 50) >= found

    assert compared.p == pytest.approx(sum(is_as_far() for _ in range(shuffles)) / shuffles, abs=0.02)


def test_equal_samples_do_not_differ() -> None:
    compared = compare([1.0, 2.0, 3.0] * 20, [1.0, 2.0, 3.0] * 20)

    assert compared.p == 1.0
    assert compared.larger_percent == 50.0


def test_a_millisecond_in_fifty_is_found_in_two_hundred_tries() -> None:
    lots = random.Random(1)  # noqa: S311
    ones = [lots.gauss(50, 2) for _ in range(200)]
    others = [lots.gauss(51, 2) for _ in range(200)]

    assert compare(ones, others).p < LEAST_P
    assert compare(ones, others).larger_percent < 50
    assert compare(others, ones).p == pytest.approx(compare(ones, others).p)


def test_samples_of_one_kind_are_told_apart_as_seldom_as_is_said() -> None:
    lots = random.Random(2)  # noqa: S311
    told = sum(
        compare([lots.expovariate(1) for _ in range(50)], [lots.expovariate(1) for _ in range(50)]).p < LEAST_P
        for _ in range(500)
    )

    assert told <= 12
