"""Recovery codes: how long they are, and what is taken for one."""

import pytest

from auth.recovery_code import BITS, COUNT, new_recovery_codes, normal_recovery_code


def test_there_are_ten_and_each_is_random_enough() -> None:
    codes = new_recovery_codes()

    assert len(set(codes)) == COUNT == 10
    assert BITS >= 64
    assert all(len(normal_recovery_code(code) or "") * 5 == BITS for code in codes)


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("ABCD-EFGH-JKMN-PQRS", "ABCDEFGHJKMNPQRS"),
        (" abcd efgh jkmn pqrs\n", "ABCDEFGHJKMNPQRS"),
        ("oOiI-lL00-1100-ABCD", "0011110011 00ABCD".replace(" ", "")),
    ],
)
def test_what_is_typed_otherwise_is_the_same_code(typed: str, normal: str) -> None:
    assert normal_recovery_code(typed) == normal


@pytest.mark.parametrize("typed", ["", "ABCD", "ABCD-EFGH-JKMN-PQRSS", "UUUU-UUUU-UUUU-UUUU", "ABCD-EFGH-JKMN-PQR€"])
def test_what_can_be_no_code_is_none(typed: str) -> None:
    assert normal_recovery_code(typed) is None
