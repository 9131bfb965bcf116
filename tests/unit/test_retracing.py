"""A row is what its changes say, one over the other; and what departs from them is named."""

import hashlib
from typing import Any

import pytest

from models.inventory import entity_of
from models.record import Record
from models.retracing import Trace, told
from models.session import Session
from models.user import User

MADE = ("INSERT", {"id": [None, "r"], "site_code": [None, "A"], "comment": [None, "\\x01"]})
MOVED = ("UPDATE", {"site_code": ["A", "B"]})
EMPTIED = ("UPDATE", {"comment": ["\\x01", None]})
GONE = ("DELETE", {"id": ["r", None], "site_code": ["B", None]})


def traced(*changes: tuple[str, Any], is_whole: bool = True) -> Trace:
    """Follow changes."""
    trace = Trace(is_whole)
    for operation, columns in changes:
        trace.follow(operation, columns)
    return trace


def test_changes_one_over_the_other_give_the_row() -> None:
    trace = traced(MADE, MOVED, EMPTIED)

    assert trace.departed == set()
    assert trace.values == {"id": "r", "site_code": "B"}
    assert trace.differences({"id": "r", "site_code": "B"}) == []
    assert trace.differences({"id": "r", "site_code": "A"}) == ["site_code"]
    assert trace.differences({"id": "r", "site_code": "B", "comment": "\\x01"}) == ["comment"]
    assert trace.differences({"id": "r"}) == ["site_code"]
    assert trace.differences(None) == ["id"]


def test_a_row_that_was_deleted_is_gone_and_may_come_again() -> None:
    gone = traced(MADE, MOVED, EMPTIED, GONE)

    assert (gone.departed, gone.values, gone.differences(None)) == (set(), None, [])
    assert gone.differences({"id": "r"}) == ["id"]
    assert traced(MADE, MOVED, EMPTIED, GONE, MADE).values == {"id": "r", "site_code": "A", "comment": "\\x01"}


@pytest.mark.parametrize(
    ("changes", "departed"),
    [
        ([MADE, ("UPDATE", {"site_code": ["C", "B"]})], {"site_code"}),
        ([MADE, ("UPDATE", {"method": ["grab", None]})], {"method"}),
        ([MADE, MADE], {"id", "site_code", "comment"}),
        ([MOVED], {"id", "site_code"}),
        ([MADE, MOVED, GONE], {"comment"}),
        ([MADE, GONE], {"site_code", "comment"}),
        ([MADE, ("UPDATE", {"site_code": "B", "method": ["one"]})], {"site_code", "method"}),
    ],
    ids=[
        "another before",
        "one that was null",
        "made twice",
        "never made",
        "gone untold",
        "gone as another",
        "no pair",
    ],
)
def test_a_change_that_does_not_go_on_from_the_one_before_departs(
    changes: list[tuple[str, Any]], departed: set[str]
) -> None:
    assert traced(*changes).departed == departed


def test_where_the_first_changes_have_left_the_trail_the_next_say_what_was_before() -> None:
    trace = traced(MOVED, EMPTIED, is_whole=False)

    assert trace.departed == set()
    assert trace.values == {"site_code": "B"}
    assert traced(MOVED, EMPTIED, GONE, is_whole=False).departed == set()
    assert traced(MOVED, ("UPDATE", {"site_code": ["A", "C"]}), is_whole=False).departed == {"site_code"}
    # A row that is there has all its changes.
    assert trace.differences({"id": "r", "site_code": "B"}) == ["id"]


def test_secrets_are_told_by_a_digest_or_not_at_all() -> None:
    digest = "sha256:" + hashlib.sha256(b"\\xabcd").hexdigest()

    session = told(entity_of(Session), {"id": "s", "refresh_digest": "\\xabcd", "spent_digest": None})
    assert session == {"id": "s", "refresh_digest": digest}
    person = told(entity_of(User), {"email_index": "\\x00", "password_hash": "$argon2id$…", "status": "ACTIVE"})
    assert person["email_index"] == "secret"
    assert person["password_hash"] == "sha256:" + hashlib.sha256("$argon2id$…".encode()).hexdigest()
    assert person["status"] == "ACTIVE"
    assert told(entity_of(Record), {"comment": "\\x01", "collector_index": "\\x02"}) == {
        "comment": "\\x01",
        "collector_index": "secret",
    }
