"""Values of other types than text: what they are written as, that they come back, and what is refused."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.encryption.codec import (
    Codec,
    Date,
    DecimalNumber,
    Integer,
    Json,
    Number,
    Place,
    Point,
    Text,
    Time,
    read_back,
)
from models.encryption.column import EncryptedField
from models.errors import InvalidInputError, TamperedError

CODECS: list[type[Codec[Any]]] = [Text, Integer, Number, DecimalNumber, Date, Time, Json, Place]

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
VALUES: dict[type[Codec[Any]], st.SearchStrategy[Any]] = {
    Text: st.text(),
    Integer: st.integers(),
    Number: st.floats(allow_nan=False, allow_infinity=False),
    DecimalNumber: st.decimals(allow_nan=False, allow_infinity=False),
    Date: st.dates(),
    # A day from the ends, where an offset leads out of the calendar.
    Time: st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=OFFSETS),
    Json: JSON,
    Place: st.builds(
        Point, latitude=st.floats(-90, 90, allow_nan=False), longitude=st.floats(-180, 180, allow_nan=False)
    ),
}


class Weekday(IntEnum):
    """A whole number that is more than that."""

    MONDAY = 1


class Nowhere(tzinfo):
    """A zone that does not say its offset."""

    def utcoffset(self, _: datetime | None) -> None:
        """Say nothing."""

    def dst(self, _: datetime | None) -> None:
        """Say nothing."""

    def tzname(self, _: datetime | None) -> str:
        """Say where."""
        return "nowhere"


@dataclass
class Pair:
    """What a JSON writer would take for an object."""

    one: int


REFUSED: list[tuple[type[Codec[Any]], Any]] = [
    *((codec, object()) for codec in CODECS),
    *((codec, b"bytes") for codec in CODECS),
    *((codec, 1) for codec in CODECS if codec not in (Integer, Json)),
    *((codec, "1") for codec in CODECS if codec not in (Text, Json)),
    *((codec, True) for codec in CODECS if codec is not Json),
    (Integer, 1.0),
    (Integer, Weekday.MONDAY),
    (Integer, Decimal(1)),
    (Integer, 10**5000),
    *((Number, value) for value in (math.nan, math.inf, -math.inf, Decimal(1))),
    *((DecimalNumber, Decimal(value)) for value in ("NaN", "sNaN", "Infinity", "-Infinity")),
    (DecimalNumber, 1.5),
    (Date, datetime(2026, 2, 3, tzinfo=UTC)),
    (Time, date(2026, 2, 3)),
    (Time, datetime(2026, 2, 3)),
    (Time, datetime(2026, 2, 3, tzinfo=Nowhere())),
    (Time, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    (Time, datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))),
    *((Json, value) for value in (math.nan, [math.inf], {"a": {"b": math.nan}}, {1: 2}, {1, 2}, 2**64, "\ud800")),
    *((Json, value) for value in ((1, 2), date(2026, 2, 3), Pair(1), [datetime(2026, 2, 3, tzinfo=UTC)])),
    (Place, (47.5, -122.25)),
    (Place, [47.5, -122.25]),
]


def _named(value: Any) -> str:
    """Return what a test's case is called: some values have no text of their own."""
    return (value if isinstance(value, type) else type(value)).__name__


def _field(codec: type[Codec[Any]]) -> EncryptedField[Any]:
    field: EncryptedField[Any] = EncryptedField(max_length=1000, codec=codec)
    field.model_field_name = "told"
    return field


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.data())
def test_a_value_comes_back_equal_and_of_its_type(codec: type[Codec[Any]], data: st.DataObject) -> None:
    value = data.draw(VALUES[codec])

    text = codec.encode(value)

    again = read_back(codec, text)
    assert again == value
    assert type(again) is type(value)
    # What is written is one thing: reading it and writing it anew changes no byte, as 7.10 and 7.1 would.
    assert codec.encode(again) == text
    assert "\0" not in text or codec is Text


@given(value=VALUES[Number])
def test_a_number_keeps_its_sign_and_every_bit(value: float) -> None:
    again = Number.decode(Number.encode(value))

    assert again.hex() == value.hex()


@given(value=VALUES[Time])
def test_a_time_is_written_in_utc(value: datetime) -> None:
    text = Time.encode(value)

    assert text.endswith("Z")
    assert Time.decode(text).utcoffset() == timedelta(0)


@given(value=st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_number_keeps_its_digits_and_exponent(value: Decimal) -> None:
    assert DecimalNumber.decode(DecimalNumber.encode(value)).as_tuple() == value.as_tuple()


@given(value=JSON)
def test_json_has_sorted_names_and_no_blanks(value: Any) -> None:
    text = Json.encode(value)

    assert orjson.loads(text) == value
    assert orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode() == text


def test_a_zone_with_a_name_is_as_good_as_an_offset() -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("America/Los_Angeles"))

    assert Time.encode(summer) == "2026-07-01T19:00:00Z"


@pytest.mark.parametrize(("codec", "value"), REFUSED, ids=_named)
def test_what_is_no_value_of_the_type_is_refused_by_the_columns_name(codec: type[Codec[Any]], value: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        _field(codec).text_of(value)

    assert caught.value.field == ("told",)
    assert caught.value.message == f"Expected {codec.expected}."


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        *((latitude, 0.0) for latitude in (90.0001, -90.0001, math.inf, math.nan)),
        *((0.0, longitude) for longitude in (180.0001, -180.0001, -math.inf, math.nan)),
    ],
)
def test_there_is_no_place_out_of_range(latitude: float, longitude: float) -> None:
    with pytest.raises(ValueError, match="latitude from -90 to 90"):
        Point(latitude, longitude)
    with pytest.raises(TamperedError):
        read_back(Place, f"[{longitude!r},{latitude!r}]")


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        *((codec, "") for codec in CODECS if codec is not Text),
        *((codec, "heron") for codec in CODECS if codec is not Text),
        (Integer, "1.5"),
        (Integer, "9" * 5000),
        (Date, "2026-02-30"),
        (Time, "2026-02-03T25:00:00Z"),
        (Json, "[1,"),
        (Json, "NaN"),
        (Json, "[" * 5000),
        (Place, "[1]"),
        (Place, "[1,2,3]"),
        (Place, '["1","2"]'),
        (Place, "null"),
        (Place, "7"),
        (Place, "[0,91]"),
    ],
)
def test_a_text_of_no_such_value_is_tampered_with_and_not_repeated(codec: type[Codec[Any]], text: str) -> None:
    with pytest.raises(TamperedError) as caught:
        read_back(codec, text)

    assert codec.expected in str(caught.value)
    assert not text or text not in str(caught.value)


def test_every_type_has_its_values_here() -> None:
    declared = {codec for codec in Codec.__subclasses__() if codec.__module__ == Codec.__module__}

    assert declared == set(CODECS) == set(VALUES)
    assert {codec for codec, _ in REFUSED} == declared
