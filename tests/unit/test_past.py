"""Rows as they were: changes laid one over the other."""

from typing import Any

from models.past import Told, fold

A, B = "018f0000-0000-7000-8000-00000000000a", "018f0000-0000-7000-8000-00000000000b"


def inserted(row_id: str, **columns: Any) -> Told:
    """Return the change that made a row."""
    return Told("INSERT", "record", row_id, {name: (None, value) for name, value in columns.items()})


def test_a_row_is_what_it_was_made_of_and_what_changed_it() -> None:
    changes = [inserted(A, id=A, site_code="W-1", version=1), inserted(B, id=B, site_code="W-9", version=1)]
    changes.append(Told("UPDATE", "record", A, {"site_code": ("W-1", "W-2"), "version": (1, 2)}))

    assert fold(changes) == {
        "record": [{"id": A, "site_code": "W-2", "version": 2}, {"id": B, "site_code": "W-9", "version": 1}]
    }


def test_a_row_that_was_deleted_is_gone_and_one_that_was_made_again_is_new() -> None:
    changes = [inserted(A, id=A, site_code="W-1", method="Grab"), Told("DELETE", "record", A, {"id": (A, None)})]

    assert fold(changes) == {}
    assert fold([*changes, inserted(A, id=A, site_code="W-3")]) == {"record": [{"id": A, "site_code": "W-3"}]}


def test_a_row_whose_beginning_is_not_told_is_none() -> None:
    assert fold([Told("UPDATE", "record", A, {"site_code": ("W-1", "W-2")})]) == {}


def test_what_is_secret_and_what_no_table_has_any_more_is_in_no_row() -> None:
    changes = [inserted(A, id=A, creation_digest="secret", collector_index="secret", dropped_in_2031="x")]

    assert fold(changes) == {"record": [{"id": A}]}
