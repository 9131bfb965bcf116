"""Moments and days that a database would keep as infinity are refused, by everything that takes one."""

from datetime import date, datetime

import pytest

from schema.scalar import SCALARS

REFUSED = {
    datetime: [
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T22:59:59.999999-01:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T01:00:00+01:00",
    ],
    date: ["9999-12-31", "0001-01-01"],
}
TAKEN = {
    datetime: ["9999-12-31T23:59:59.999998Z", "0001-01-01T00:00:00.000001Z"],
    date: ["9999-12-30", "0001-01-02"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in REFUSED.items() for text in texts])
def test_the_first_and_the_last_are_refused(kind: type[date], text: str) -> None:
    parse = SCALARS[kind].parse_value
    assert parse is not None

    with pytest.raises(ValueError, match=r"^Expected a (time|date) (after|between) "):
        parse(text)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in TAKEN.items() for text in texts])
def test_those_beside_them_are_taken(kind: type[date], text: str) -> None:
    parse = SCALARS[kind].parse_value
    assert parse is not None

    assert isinstance(parse(text), kind)
