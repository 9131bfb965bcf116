"""How values of other types than text become the text that is sealed, and come back with their Python type.

What is written is the same whoever writes it: numbers in the shortest form that gives the same number back, dates and
times by RFC 3339, JSON without blanks, a place as a GeoJSON position (RFC 7946, 3.1.1). `docs/format.md` says it for
other languages.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isfinite
from typing import Any, ClassVar, Generic, TypeVar

import orjson

from models.errors import TamperedError

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Point:
    """What is known of a place: degrees north and east, WGS 84, each of which may be missing."""

    latitude: float | None
    longitude: float | None

    def __post_init__(self) -> None:
        north, east = self.latitude or 0, self.longitude or 0
        if not (-90 <= north <= 90 and -180 <= east <= 180):
            raise ValueError("Expected a latitude from -90 to 90 and a longitude from -180 to 180.")

    def __bool__(self) -> bool:
        return self.latitude is not None or self.longitude is not None


class Codec(ABC, Generic[V]):
    """Writes and reads the values of one type. Codecs are classes, so that a migration can name them.

    python_type: what values are instances of; with `is_strict`, of no subclass: to Python a boolean is a whole number,
    and a time a date. expected: what is said of a value that is none.
    """

    python_type: ClassVar[type[Any]]
    expected: ClassVar[str]
    is_strict: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def encode(value: Any) -> str:
        """Return the text of a value. Raises `ValueError` or `TypeError` for what is none."""

    @staticmethod
    @abstractmethod
    def decode(text: str) -> Any:
        """Return the value of a text that was written here."""


def read_back(codec: type[Codec[V]], text: str) -> V:
    """Return the value of a text that opened.

    Raises:
        TamperedError: it is no text that a value of that type is written as.
    """
    try:
        value: V = codec.decode(text)
        return value
    except (ValueError, TypeError, ArithmeticError):
        # What Python says of a text that is no number, or no date, quotes it.
        del text
    raise TamperedError(f"A value opened to a text that is not {codec.expected}.")


class Text(Codec[str]):
    """A text, as it is."""

    python_type = str
    expected = "a text"

    @staticmethod
    def encode(value: str) -> str:
        """Return the text itself."""
        return value

    @staticmethod
    def decode(text: str) -> str:
        """Return the text itself."""
        return text


class Integer(Codec[int]):
    """A whole number of any size."""

    python_type = int
    expected = "a whole number"
    is_strict = True

    @staticmethod
    def encode(value: int) -> str:
        """Return the number in decimal digits."""
        return str(value)

    @staticmethod
    def decode(text: str) -> int:
        """Return the number of decimal digits."""
        return int(text)


class Number(Codec[float]):
    """A finite binary number of 64 bits (IEEE 754)."""

    python_type = float
    expected = "a finite number"

    @staticmethod
    def encode(value: float) -> str:
        """Return the shortest text that gives the same number back."""
        if not isfinite(value):
            raise ValueError("Expected a finite number.")
        return repr(float(value))

    @staticmethod
    def decode(text: str) -> float:
        """Return the number nearest to the text."""
        return float(text)


class DecimalNumber(Codec[Decimal]):
    """A decimal number, with the digits that it was given with."""

    python_type = Decimal
    expected = "a finite decimal number"

    @staticmethod
    def encode(value: Decimal) -> str:
        """Return the number with all its digits."""
        if not value.is_finite():
            raise ValueError("Expected a finite number.")
        return str(value)

    @staticmethod
    def decode(text: str) -> Decimal:
        """Return the number with all its digits."""
        return Decimal(text)


class Date(Codec[date]):
    """A day of the Gregorian calendar."""

    python_type = date
    expected = "a date"
    is_strict = True

    @staticmethod
    def encode(value: date) -> str:
        """Return the day as in RFC 3339."""
        return value.isoformat()

    @staticmethod
    def decode(text: str) -> date:
        """Return the day of RFC 3339."""
        return date.fromisoformat(text)


class Time(Codec[datetime]):
    """A moment, to the microsecond."""

    python_type = datetime
    expected = "a time with its offset"

    @staticmethod
    def encode(value: datetime) -> str:
        """Return the moment in UTC."""
        if value.utcoffset() is None:
            raise ValueError("Expected a time with its offset.")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")

    @staticmethod
    def decode(text: str) -> datetime:
        """Return the moment of RFC 3339."""
        return datetime.fromisoformat(text)


class Json(Codec[Any]):
    """What JSON can say (RFC 8259)."""

    python_type = object
    expected = "a JSON value"

    @staticmethod
    def encode(value: Any) -> str:
        """Return the value with its objects' names sorted and without blanks."""
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        # The writer makes null of what is no number, and a text of a date: neither would come back.
        if orjson.loads(written) != value:
            raise ValueError("Expected a JSON value.")
        text: str = written.decode()
        return text

    @staticmethod
    def decode(text: str) -> Any:
        """Return the value."""
        return orjson.loads(text)


class Place(Codec[Point]):
    """A place, as a GeoJSON position: east, then north; null for what is not known."""

    python_type = Point
    expected = "a place"

    @staticmethod
    def encode(value: Point) -> str:
        """Return the place's degrees, east in front. Of which nothing is known is no place."""
        if not value:
            raise ValueError("Expected a latitude or a longitude.")
        return f"[{_degrees(value.longitude)},{_degrees(value.latitude)}]"

    @staticmethod
    def decode(text: str) -> Point:
        """Return the place of a position."""
        longitude, latitude = orjson.loads(text)
        return Point(latitude, longitude)


def _degrees(value: float | None) -> str:
    return "null" if value is None else repr(float(value))
