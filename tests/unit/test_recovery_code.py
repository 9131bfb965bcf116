"""Recovery codes: how long they are, and what is taken for one."""

import pytest

from auth.recovery_code import BITS, COUNT, new_recovery_codes, normal_recovery_code


def test_there_are_ten_and_each_is_random_enough() -> None:
    codes = new_recovery_codes()

    assert len(set(codes)) == COUNT == 10
    assert BITS >= 112
    assert all(len(normal_recovery_code(code) or "") * 5 == BITS for code in codes)
    assert all([len(group) for group in code.split("-")] == [4] * 6 for code in codes)


@pytest.mark.parametrize(
    ("typed", "normal"),
    [
        ("ABCD-EFGH-JKMN-PQRS-TVWX-YZ01", "ABCDEFGHJKMNPQRSTVWXYZ01"),
        (" abcd efgh jkmn pqrs tvwx yz01\n", "ABCDEFGHJKMNPQRSTVWXYZ01"),
        ("oOiI-lL00-1100-ABCD-EFGH-JKMN", "001111001100ABCDEFGHJKMN"),
    ],
)
def test_what_is_typed_otherwise_is_the_same_code(typed: str, normal: str) -> None:
    assert normal_recovery_code(typed) == normal


@pytest.mark.parametrize(
    "typed",
    ["", "ABCD", "ABCD-EFGH-JKMN-PQRS", "ABCD-EFGH-JKMN-PQRS-TVWX-YZ012", "U" * 24, "ABCD-EFGH-JKMN-PQRS-TVWX-YZ0€"],
)
def test_what_can_be_no_code_is_none(typed: str) -> None:
    assert normal_recovery_code(typed) is None
